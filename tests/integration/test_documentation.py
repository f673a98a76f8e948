# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command and every task that the documentation shows is run here as it stands.

`SUBSTITUTES` is all that is replaced in them, and `NOT_RUN` are the commands that are not run,
with the reason. A block that is neither run nor listed fails a test.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.ansible import BIN, MODULE, ROOT, Ansible, TaskResult
from harness.network import Target, run
from harness.pages import Block, blocks_of
from harness.program import Program
from harness.terminal import Terminal

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

#: Pages whose blocks are not run here.
ELSEWHERE = {"awx.md": "test_awx_documentation.py runs them"}

#: What the documentation names, and what takes its place. The folders hold small trees.
SUBSTITUTES = {
    "/dev/st0": "{world}/tape",  # a file
    "/tmp/x": "{world}/x",
    "/srv": "{world}/srv",
    "/etc": "{world}/etc",  # the machine's own changes while other tests run
    "/var": "{world}/var",
    "/backup": "{world}/backup",
    "/restored": "{world}/restored",
    "docker": "{world}/docker",  # a script that saves and loads a file
    "/usr/local/bin/socketpipe": "{world}/program/bin/socketpipe",
    "192.0.2.1": "{controller}",
    "delay: 30": "delay: 1",  # a test has less patience
}

#: Commands that are not run, each with the reason.
NOT_RUN = {
    "make demo": "test_demo.py runs what it runs",
    "make test": "it runs this test",
    "make integration": "it runs this test",
    "make lint": "it is another part of make test",
    "make sanity": "it is another part of make test",
    "make unit": "it is another part of make test",
    "make faults": "it is another part of make test",
    "make bench": "it is another part of make test",
    "make fuzz": "it is a part of make test, for longer",
    "make matrix": "it runs this test's neighbours, with other versions",
    "make docs": "it is a part of make release-check",
    "make release-check": "it is done before a release, with tools that nothing else needs",
    "ansible-playbook dds.socketpipe.install_helper -i inventory --become": "test_helper_role.py runs it",
    "ansible-playbook dds.socketpipe.install_helper -i inventory --become -e helper_state=absent": (
        "test_helper_role.py runs it"
    ),
}

#: In the order of the page: later commands need what earlier ones installed.
INSTALLATION = [
    "ansible-galaxy collection build --output-path ~",
    "cd ~ && ansible-galaxy collection install dds-socketpipe-*.tar.gz",
    "ansible-doc dds.socketpipe.socketpipe",
]
AD_HOC = (
    'ansible tapehost -m dds.socketpipe.socketpipe -a \'remote="dd of=/tmp/x bs=32k" input="tar cf - /etc"\''
)
SHORT_AD_HOC = AD_HOC.replace("dds.socketpipe.", "")
CHECK_AD_HOC = AD_HOC.replace("-m", "--check -m")
PREFLIGHT = "ansible-playbook dds.socketpipe.preflight"
ONE_TEST = ".venv/bin/python -m pytest tests/integration/test_transfers.py -k push"


BLOCKS = [block for page in PAGES if page.name not in ELSEWHERE for block in blocks_of(page)]
COMMANDS = [line for block in BLOCKS if block.language == "shell" for line in block.text.splitlines()]
YAML_BLOCKS = [block for block in BLOCKS if block.language == "yaml"]
RECIPES = [block for block in YAML_BLOCKS if block.text.startswith("- ")]
FRAGMENTS = [block for block in YAML_BLOCKS if block not in RECIPES]
SETTINGS = [block for block in BLOCKS if block.language == "ini"]


class World:
    """What stands in for the files and devices that the documentation names."""

    def __init__(self, folder: Path, controller: str) -> None:
        self.folder = folder
        self._names = {
            name: place.format(world=folder, controller=controller) for name, place in SUBSTITUTES.items()
        }
        for name in ("srv", "var", "etc"):
            (folder / name / "a folder").mkdir(parents=True)
            (folder / name / "a folder" / "a file").write_bytes(os.urandom(3_000_000))
            (folder / name / "small").write_bytes(b"small\n")
        (folder / "srv" / "disk.img").write_bytes(os.urandom(2_000_000))
        for name in ("backup", "restored", "unpacked"):
            (folder / name).mkdir()
        self._make_engine(folder / "docker")
        Program(folder / "program")

    def _make_engine(self, script: Path) -> None:
        (self.folder / "image").write_bytes(os.urandom(1_000_000))
        lines = (
            "#!/bin/sh",
            f"cd {self.folder}",
            'case "$*" in',
            '"save app:1.0") cat image ;;',
            "load) cat > loaded ;;",
            "*) exit 9 ;;",
            "esac",
        )
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        script.chmod(0o755)

    def substitute(self, text: str) -> str:
        names = "|".join(re.escape(name) for name in self._names)
        return re.sub(rf"(?<![\w.])({names})(?!\w)", lambda found: self._names[found[1]], text)

    def fill_tape(self) -> None:
        run("tar", "cf", self.folder / "tape", self.folder / "srv")

    def unpack(self, archive: str) -> Path:
        """Where the absolute names of *archive* end up."""
        run("tar", "xf", self.folder / archive, "-C", self.folder / "unpacked")
        return self.folder / "unpacked" / self.folder.relative_to("/")


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def world(tmp_path: Path, target: Target) -> World:
    folder = tmp_path / "world"
    folder.mkdir()
    return World(folder, target.controller_address)


# What each task has to have done, by its name.


def check_tape(world: World, result: TaskResult) -> None:
    assert tree(world.unpack("tape") / "srv") == tree(world.folder / "srv")
    # Whole tape blocks, but for the last one.
    assert re.search(r"^\d+\+[01] records out$", result["remote"]["stderr"], re.MULTILINE)


def check_restored(world: World, result: TaskResult) -> None:
    assert tree(world.folder / "restored" / world.folder.relative_to("/") / "srv") == tree(
        world.folder / "srv"
    )


def check_pushed(world: World, result: TaskResult) -> None:
    assert tree(world.folder / "restored") == {"disk.img": tree(world.folder / "srv")["disk.img"]}


def check_image_pulled(world: World, result: TaskResult) -> None:
    assert tree(world.folder / "backup") == {"disk.img": tree(world.folder / "srv")["disk.img"]}


def check_compressed(world: World, result: TaskResult) -> None:
    assert os.listdir(world.folder / "backup") == ["srv.tar.gz"]
    assert (world.folder / "backup" / "srv.tar.gz").stat().st_mode & 0o777 == 0o600
    assert tree(world.unpack("backup/srv.tar.gz") / "srv") == tree(world.folder / "srv")


def check_compressed_here(world: World, result: TaskResult) -> None:
    assert os.listdir(world.folder / "backup") == ["srv.tar.zst"]
    run("zstd", "-dq", world.folder / "backup" / "srv.tar.zst")
    assert tree(world.unpack("backup/srv.tar") / "srv") == tree(world.folder / "srv")


def check_pulled(world: World, result: TaskResult) -> None:
    assert os.listdir(world.folder / "backup") == ["var.tar"]
    assert tree(world.unpack("backup/var.tar") / "var") == tree(world.folder / "var")


def check_encrypted(world: World, result: TaskResult) -> None:
    archive = world.folder / "backup" / "srv.tar"
    assert result["checksum_received"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert tree(world.unpack("backup/srv.tar") / "srv") == tree(world.folder / "srv")


def check_pulled_in_the_background(world: World, result: TaskResult) -> None:
    assert tree(world.unpack("backup/srv.tar") / "srv") == tree(world.folder / "srv")


def check_copied(world: World, result: TaskResult) -> None:
    assert tree(world.unpack("x") / "srv") == tree(world.folder / "srv")


def check_image(world: World, result: TaskResult) -> None:
    assert (world.folder / "loaded").read_bytes() == (world.folder / "image").read_bytes()


CHECKS: dict[str, Callable[[World, TaskResult], None]] = {
    "Back up /srv on the tape drive of the target": check_tape,
    "Restore from the tape drive of the target": check_restored,
    "Compress /srv on the target": check_compressed,
    "Pull /srv and compress it on the controller": check_compressed_here,
    "Pull /var as root": check_pulled,
    "Pull /srv over a network that is not trusted": check_encrypted,
    "Push a disk image": check_pushed,
    "Pull /srv in the background, for twelve hours at most": lambda world, result: None,
    "Wait for the pull": check_pulled_in_the_background,
    "Pull a disk image, with a line every five minutes": check_image_pulled,
    "Back up /srv to a machine without Python": check_copied,
    "Copy an image to the target's container engine": check_image,
}


@pytest.mark.parametrize("block", [pytest.param(block, id=block.place) for block in RECIPES])
def test_task(block: Block, ansible: Ansible, target: Target, world: World) -> None:
    entries = yaml.safe_load(block.text)
    tasks = [task for entry in entries for task in entry.get("tasks", [entry])]
    plays = yaml.safe_load(world.substitute(block.text))
    world.fill_tape()
    results = ansible.play({"tapehost": target.inventory()}, plays)
    # The last ones are those of the tasks; a play that gathers facts has one more.
    for task, result in zip(tasks, results[-len(tasks) :], strict=True):
        assert (result.kind, result["changed"]) == ("ok", True), result.msg
        CHECKS[task["name"]](world, result)


def test_a_second_pull_does_nothing(ansible: Ansible, target: Target, world: World) -> None:
    block = next(block for block in RECIPES if "name: Pull /var" in block.text)
    tasks = yaml.safe_load(world.substitute(block.text))
    first, second = ansible.play({"tapehost": target.inventory()}, tasks * 2)
    assert (first["changed"], second["changed"]) == (True, False)


def test_a_broken_pull_leaves_no_file(ansible: Ansible, target: Target, world: World) -> None:
    """What the README says about output_file."""
    block = next(block for block in RECIPES if "name: Pull /var" in block.text)
    broken = world.substitute(block.text).replace("remote: tar cf -", "remote: tar cf - /nowhere")
    assert ansible.play({"tapehost": target.inventory()}, yaml.safe_load(broken))[-1].kind == "failed"
    assert os.listdir(world.folder / "backup") == []


# Commands


class Home:
    """A user's home, in which the collection was installed with the commands of the README."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.collections = folder / ".ansible" / "collections"
        self.checkout = folder / "checkout"
        # What other tests write meanwhile, and what no collection needs.
        ignored = shutil.ignore_patterns(".*cache", ".git", ".venv", ".ansible", ".hypothesis", "tests")
        shutil.copytree(ROOT, self.checkout, symlinks=True, ignore=ignored)
        self.said = {command: self._run(command) for command in INSTALLATION}

    def _run(self, command: str) -> str:
        environment = {**os.environ, "HOME": str(self.folder), "PATH": f"{BIN}:{os.environ['PATH']}"}
        environment.pop("ANSIBLE_COLLECTIONS_PATH", None)
        folder = self.checkout if command == INSTALLATION[0] else self.folder
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def adhoc(ansible: Ansible, target: Target, world: World) -> Callable[[str, Path], str]:
    """Runs an ad hoc command of the documentation, from a folder, and gives its output."""
    del ansible.environment["ANSIBLE_COLLECTIONS_PATH"]

    def run_command(command: str, folder: Path) -> str:
        program, *words = shlex.split(world.substitute(command))
        assert program == "ansible"
        done = ansible.adhoc({"tapehost": target.inventory()}, *words, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        run("tar", "df", world.folder / "x", "-C", "/")
        return done.stdout

    return run_command


def test_installation(home: Home) -> None:
    assert "Created collection for dds.socketpipe" in home.said[INSTALLATION[0]]
    assert "was installed successfully" in home.said[INSTALLATION[1]]
    assert "accept_rc" in home.said[INSTALLATION[2]]


def test_ad_hoc(home: Home, ansible: Ansible, adhoc: Callable[[str, Path], str]) -> None:
    """Anywhere, with the collection in the user's home."""
    ansible.environment["HOME"] = str(home.folder)
    assert "tapehost | CHANGED" in adhoc(AD_HOC, ansible.folder)


def test_check_mode_ad_hoc(home: Home, ansible: Ansible, target: Target, world: World) -> None:
    ansible.environment["HOME"] = str(home.folder)
    del ansible.environment["ANSIBLE_COLLECTIONS_PATH"]
    words = shlex.split(world.substitute(CHECK_AD_HOC))[1:]
    done = ansible.adhoc({"tapehost": target.inventory()}, *words)
    assert "tapehost | CHANGED" in done.stdout, done.stdout + done.stderr
    assert "Would run: " in done.stdout
    assert not (world.folder / "x").exists()


def test_preflight(home: Home, ansible: Ansible, target: Target) -> None:
    ansible.environment["HOME"] = str(home.folder)
    del ansible.environment["ANSIBLE_COLLECTIONS_PATH"]
    ansible.environment["ANSIBLE_INVENTORY"] = str(ansible.inventory({"tapehost": target.inventory()}))
    done = ansible.command(*PREFLIGHT.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r'"tapehost +(local|remote) ', done.stdout)


def test_short_name_ad_hoc_from_the_root_of_a_checkout(adhoc: Callable[[str, Path], str]) -> None:
    assert "tapehost | CHANGED" in adhoc(SHORT_AD_HOC, ROOT)


def test_full_name_ad_hoc_from_the_root_of_a_checkout(adhoc: Callable[[str, Path], str]) -> None:
    assert "tapehost | CHANGED" in adhoc(AD_HOC, ROOT)


def test_short_name_ad_hoc_with_the_two_settings(
    home: Home, ansible: Ansible, adhoc: Callable[[str, Path], str]
) -> None:
    """Anywhere, with the collection where only the settings say that it is."""
    settings, _callback = SETTINGS
    text = settings.text.replace("/usr/share/ansible/collections", str(home.collections))
    assert text.count(str(home.collections)) == 2
    (ansible.folder / "ansible.cfg").write_text(text, encoding="utf-8")
    assert "tapehost | CHANGED" in adhoc(SHORT_AD_HOC, ansible.folder)


def test_the_setting_for_bars_enables_them(
    home: Home, ansible: Ansible, target: Target, terminal: Terminal
) -> None:
    _collections, callback = SETTINGS
    (ansible.folder / "ansible.cfg").write_text(callback.text, encoding="utf-8")
    for name in ("ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_CALLBACKS_ENABLED"):
        del ansible.environment[name]
    ansible.environment.update(HOME=str(home.folder), TERM="xterm")
    task = {MODULE: {"input": "head -c 1000 /dev/zero", "remote": "cat"}}
    ansible.start({"tapehost": target.inventory()}, [task], terminal=terminal).wait()
    assert any(re.match("tapehost ━+ +input 1 kB, ", line) for line in terminal.lines), terminal.text


def test_the_command_for_one_test_finds_it() -> None:
    """With --collect-only, for what it runs is run anyway."""
    command = ONE_TEST.replace(".venv/bin", str(BIN)) + " --collect-only -q"
    found = subprocess.run(command.split(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "test_push" in found.stdout


# Completeness


def test_every_command_is_run_or_listed() -> None:
    run_here = {*INSTALLATION, AD_HOC, SHORT_AD_HOC, CHECK_AD_HOC, PREFLIGHT, ONE_TEST}
    assert set(COMMANDS) == run_here | set(NOT_RUN)


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert targets <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))


def test_every_task_is_checked() -> None:
    entries = [entry for block in RECIPES for entry in yaml.safe_load(block.text)]
    names = {task["name"] for entry in entries for task in entry.get("tasks", [entry])}
    assert names == set(CHECKS)


def test_every_block_is_of_a_kind_that_is_run_here() -> None:
    """Pictures and layouts are indented, and have no fence; test_program_documentation.py has consoles."""
    others = [block.place for block in BLOCKS if block.language not in ("shell", "yaml", "ini", "console")]
    assert others == []


def test_the_other_yaml_is_a_changelog_fragment() -> None:
    config = yaml.safe_load((ROOT / "changelogs" / "config.yaml").read_text(encoding="utf-8"))
    sections = {name for name, _title in config["sections"]}
    for block in FRAGMENTS:
        fragment: dict[str, Any] = yaml.safe_load(block.text)
        assert set(fragment) <= sections, block.place


# What the pages say about the code


def read(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def test_every_plugin_file_is_in_the_architecture() -> None:
    page = read("docs/architecture.md")
    files = {path.name for path in (ROOT / "plugins").rglob("*.py")} - {"__init__.py"}
    assert {name for name in files if name not in page} == set()


def test_every_file_in_the_architecture_exists() -> None:
    shown = set(re.findall(r"[\w/]*\w\.py\b", read("docs/architecture.md")))
    files = [str(path.relative_to(ROOT)) for path in ROOT.glob("plugins/**/*.py")]
    assert {name for name in shown if not any(f"/{file}".endswith(f"/{name}") for file in files)} == set()


def test_every_sentence_in_troubleshooting_is_one_of_the_code() -> None:
    """Each heading is the sentence with … for what differs; `Warning:` is Ansible's word."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "plugins").rglob("*.py"))
    # Python joins the parts of a long string.
    code = re.sub(r'"\n\s+f?"', "", code)
    sentences = re.findall(
        r"`([^`]+)`", "\n".join(re.findall(r"^### .*$", read("docs/troubleshooting.md"), re.M))
    )
    assert len(sentences) > 15
    parts = {part.strip(" ,:'()") for sentence in sentences for part in sentence.split("…")}
    assert {part for part in parts if part not in code} == set()


def test_every_returned_value_is_in_the_readme() -> None:
    module = read("plugins/modules/socketpipe.py")
    returned = yaml.safe_load(module.partition('RETURN = r"""')[2].partition('"""')[0])
    table = read("README.md").partition("## What it returns")[2].partition("\n## ")[0]
    assert {name for name in returned if f"`{name.removesuffix('_lines')}`" not in table} == set()


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
