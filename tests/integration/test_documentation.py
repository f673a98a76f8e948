# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command and every task that the documentation shows is run here as it stands.

`harness.documented` has all that is replaced in them, and `NOT_RUN` are the commands that are not run,
with the reason. A block that is neither run nor listed fails a test.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.ansible import BIN, MODULE, ROOT, Ansible, TaskResult
from harness.demo import expect_all_moved, make_home, run_demo
from harness.documented import Home, World, tree
from harness.network import Target, run
from harness.pages import PAGES, Block, blocks_of, expect_shown
from harness.terminal import Terminal

#: Commands that are not run, each with the reason.
NOT_RUN = {
    "make demo": "test_demo.py runs what it runs",
    "make test": "it runs this test",
    "make integration": "it runs this test",
    "make lint": "it is another part of make test",
    "make sanity": "it is another part of make test",
    "make unit": "it is another part of make test",
    "make faults": "it is another part of make test",
    "make bench": "it takes about 40 minutes; test_benchmark.py runs a part of it",
    "make gate": "it is another part of make test",
    "make fuzz": "it is a part of make test, for longer",
    "make matrix": "it runs this test's neighbours, with other versions",
    "make docs": "it is a part of make release-check",
    "make release-check": "it is done before a release, with tools that nothing else needs",
    "ansible-playbook dds.socketpipe.install_helper -i inventory --become": "test_helper_role.py runs it",
    "ansible-playbook dds.socketpipe.install_helper -i inventory --become -e helper_state=absent": (
        "test_helper_role.py runs it"
    ),
    "ansible-galaxy collection install dds.socketpipe": (
        "it gets what was published last; the tests install what is built of the checkout"
    ),
    "systemctl --user enable --now backup.timer": "no systemd runs in a test",
    "loginctl enable-linger": "no systemd runs in a test",
}

#: In the order of the page: later commands need what earlier ones installed.
INSTALLATION = [
    "ansible-galaxy collection build --output-path ~",
    "cd ~ && ansible-galaxy collection install dds-socketpipe-*.tar.gz",
    "ansible-doc dds.socketpipe.socketpipe",
]
REQUIREMENTS = "ansible-galaxy collection install -r requirements.yml"
DEMO = "ansible-playbook dds.socketpipe.demo"
AD_HOC = (
    'ansible tapehost -m dds.socketpipe.socketpipe -a \'remote="dd of=/tmp/x bs=32k" input="tar cf - /etc"\''
)
SHORT_AD_HOC = AD_HOC.replace("dds.socketpipe.", "")
CHECK_AD_HOC = AD_HOC.replace("-m", "--check -m")
PREFLIGHT = "ansible-playbook dds.socketpipe.preflight"
NIGHTLY = (
    "ansible-playbook dds.socketpipe.backup -i inventory"
    " -e backup_tree=/srv -e backup_dir=/backup -e backup_keep=7"
)
ONE_TEST = ".venv/bin/python -m pytest tests/integration/test_transfers.py -k push"


#: Pages whose blocks are not run here.
ELSEWHERE = {"awx.md": "test_awx_documentation.py runs them"}
BLOCKS = [block for page in PAGES if page.name not in ELSEWHERE for block in blocks_of(page)]
COMMANDS = [command for block in BLOCKS if block.language == "shell" for command in block.commands()]
YAML_BLOCKS = [block for block in BLOCKS if block.language == "yaml"]
RECIPES = [block for block in YAML_BLOCKS if block.text.startswith("- ")]
FRAGMENTS = [block for block in YAML_BLOCKS if block.page == "CONTRIBUTING.md"]
SETTINGS = [block for block in BLOCKS if block.language == "ini" and block.page == "docs/using.md"]
#: Their commands are typed in the order of the page. The other pages have tests of their own.
WALKED = [
    "docs/tutorial.md",
    "docs/backup.md",
    *(f"docs/guide/{name}.md" for name in ("tape", "database", "many-hosts", "firewalls", "benchmark")),
]


@pytest.fixture
def world(tmp_path: Path, target: Target, ansible: Ansible) -> World:
    folder = tmp_path / "world"
    folder.mkdir()
    world = World(folder, target)
    ansible.environment["PATH"] = f"{world.path}:{ansible.environment['PATH']}"
    return world


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
    assert set(os.listdir(world.folder / "backup")) == {"srv.tar.gz", "srv.tar.zst"}
    assert (world.folder / "backup" / "srv.tar.gz").stat().st_mode & 0o777 == 0o600
    assert tree(world.unpack("backup/srv.tar.gz") / "srv") == tree(world.folder / "srv")


def check_compressed_here(world: World, result: TaskResult) -> None:
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


def check_volume(image: str) -> Callable[[World, TaskResult], None]:
    def check(world: World, result: TaskResult) -> None:
        assert os.listdir(world.folder / "backup") == [image]
        content = run_bytes("zstd", "-dc", world.folder / "backup" / image)
        assert content == (world.folder / "data").read_bytes()
        assert not (world.folder / "data-backup").exists()

    return check


def check_sparse(image: str, original: str) -> Callable[[World, TaskResult], None]:
    def check(world: World, result: TaskResult) -> None:
        written = world.folder / image
        assert os.listdir(written.parent) == [written.name]
        assert written.read_bytes() == (world.folder / original).read_bytes()
        assert written.stat().st_blocks * 512 < written.stat().st_size // 2

    return check


def run_bytes(*words: str | Path) -> bytes:
    return subprocess.run(words, capture_output=True, check=True).stdout


def prepare_volume(world: World) -> None:
    run("zstd", "-q", world.folder / "data", "-o", world.folder / "backup" / "data.img.zst")
    (world.folder / "original").write_bytes((world.folder / "data").read_bytes())
    (world.folder / "data").write_bytes(b"old" * 1_000_000)


def check_volume_written(world: World, result: TaskResult) -> None:
    original = (world.folder / "original").read_bytes()
    assert (world.folder / "data").read_bytes() == original


def prepare_dump(world: World) -> None:
    (world.folder / "backup" / "shop.sql").write_bytes((world.folder / "image").read_bytes())


def check_file_of_the_tape(number: int, name: str) -> Callable[[World, TaskResult], None]:
    def check(world: World, result: TaskResult) -> None:
        assert tree(world.unpack(f"tape.{number}") / name) == tree(world.folder / name)

    return check


def check_pulled_by_host(world: World, result: TaskResult) -> None:
    assert tree(world.unpack("backup/tapehost.tar") / "srv") == tree(world.folder / "srv")


#: What has to be there for a task, by its name.
PREPARATIONS: dict[str, Callable[[World], None]] = {
    "Restore from the tape drive of the target": World.fill_tape,
    "Write a volume from a compressed image": prepare_volume,
    "Load a dump, which has to be whole": prepare_dump,
}
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
    "Write /srv as file 0": check_file_of_the_tape(0, "srv"),
    "Write /var as file 1": check_file_of_the_tape(1, "var"),
    "Load a dump, which has to be whole": check_image,
    "Pull a volume, and compress it here": check_volume("data.img.zst"),
    "Pull a volume into a sparse file": check_sparse("backup/data.img", "data"),
    "Write a volume from a compressed image": check_volume_written,
    "Push a disk image into a sparse file": check_sparse("restored/disk.img", "srv/disk.img"),
    "Pull the snapshot": check_volume("tapehost.img.zst"),
    "Pull /srv into a file of its own": check_pulled_by_host,
}


def tasks_of(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of plays and of blocks, too, in their order."""
    for entry in entries:
        inner = [*entry.get("tasks", []), *entry.get("block", []), *entry.get("always", [])]
        yield from tasks_of(inner) if inner else [entry]


@pytest.mark.parametrize("block", [pytest.param(block, id=block.place) for block in RECIPES])
def test_task(block: Block, ansible: Ansible, target: Target, world: World) -> None:
    tasks = list(tasks_of(yaml.safe_load(block.text)))
    plays = yaml.safe_load(world.substitute(block.text))
    for task in tasks:
        PREPARATIONS.get(task["name"], lambda world: None)(world)
    hosts = {"tapehost": target.inventory(ansible_python_interpreter=world.python)}
    results = ansible.play(hosts, plays)
    # The last ones are those of the tasks; a play that gathers facts has one more.
    for task, result in zip(tasks, results[-len(tasks) :], strict=True):
        assert (result.kind, result["changed"]) == ("ok", True), result.msg
        CHECKS.get(task["name"], lambda world, result: None)(world, result)


def test_a_second_pull_does_nothing(ansible: Ansible, target: Target, world: World) -> None:
    block = next(block for block in RECIPES if "name: Pull /var" in block.text)
    tasks = yaml.safe_load(world.substitute(block.text))
    first, second = ansible.play({"tapehost": target.inventory()}, tasks * 2)
    assert (first["changed"], second["changed"]) == (True, False)


def test_a_broken_pull_leaves_no_file(ansible: Ansible, target: Target, world: World) -> None:
    """What the README says about output_file."""
    block = next(block for block in RECIPES if "name: Pull /var" in block.text)
    broken = world.substitute(block.text).replace(
        "remote: tar cf -", f"remote: tar cf - {world.folder}/nowhere"
    )
    assert ansible.play({"tapehost": target.inventory()}, yaml.safe_load(broken))[-1].kind == "failed"
    assert os.listdir(world.folder / "backup") == []


# Commands


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"), INSTALLATION)


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


def test_the_requirements_are_what_is_installed(home: Home, ansible: Ansible) -> None:
    """ansible-galaxy has nothing to do, for it is there."""
    page = blocks_of(ROOT / "README.md")
    (text,) = (block.text for block in page if block.text.startswith("# requirements.yml\n"))
    (ansible.folder / "requirements.yml").write_text(text, encoding="utf-8")
    ansible.environment["HOME"] = str(home.folder)
    del ansible.environment["ANSIBLE_COLLECTIONS_PATH"]
    done = ansible.command(*REQUIREMENTS.split())
    assert "All requested collections are already installed" in done.stdout, done.stdout + done.stderr
    assert yaml.safe_load(text) == {"collections": [{"name": "dds.socketpipe"}]}


def test_the_demo_of_what_is_installed(home: Home, tmp_path: Path) -> None:
    program, playbook = DEMO.split()
    words = [str(BIN / program), playbook]
    where = {"ANSIBLE_COLLECTIONS_PATH": str(home.collections)}
    expect_all_moved(run_demo(words, make_home(tmp_path), tmp_path, **where), tmp_path)


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


# Pages


#: In the name of a backup.
TIME = re.compile(r"\b\d{8}T\d{6}Z\b")


class Walk:
    """Follows a page: writes the files that it shows, types its commands, and compares what they print."""

    def __init__(self, page: str, ansible: Ansible, home: Home, world: World, target: Target) -> None:
        self._world = world
        self._target = target
        self._home = home
        self._folder = ansible.folder
        self._blocks = [block for block in BLOCKS if block.page == page]
        # What a user has in the configuration of ssh.
        login = target.inventory()
        self._environment = {
            **ansible.environment,
            "HOME": str(home.folder),
            "PATH": f"{BIN}:{ansible.environment['PATH']}",
            "ANSIBLE_REMOTE_USER": str(login["ansible_user"]),
            "ANSIBLE_PRIVATE_KEY_FILE": str(login["ansible_ssh_private_key_file"]),
            "ANSIBLE_SSH_COMMON_ARGS": str(login["ansible_ssh_common_args"]),
            "ANSIBLE_PYTHON_INTERPRETER": world.python,
        }
        del self._environment["ANSIBLE_COLLECTIONS_PATH"]
        hosts = HOSTS.get(page, {}).items()
        self.write("inventory", "".join(f"{name} ansible_host=192.0.2.20 {more}\n" for name, more in hosts))

    def write(self, name: str, text: str) -> None:
        file = self._folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(self._world.substitute(text), encoding="utf-8")

    def go(self) -> None:
        printed = ""
        for block, following in zip(self._blocks, [*self._blocks[1:], None], strict=True):
            name = re.match(r"# ([\w./-]+)\n", block.text)
            if block.language == "shell":
                fails = following is not None and following.language == "text" and " no: " in following.text
                printed = "".join(self._type(command, fails) for command in block.commands())
            elif block.language == "text":
                expect_shown(self._world.substitute(block.text), self._as_on_the_page(printed))
            elif name:
                self.write(name[1], block.text)

    def _type(self, command: str, fails: bool) -> str:
        if command in NOT_RUN:
            return ""
        if command in self._home.said:
            return self._home.said[command]
        words = self._with_stored_time(self._world.substitute(command))
        if command.startswith("nft "):
            return self._target.run(*shlex.split(words)).stdout
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _with_stored_time(self, command: str) -> str:
        """A time of the page is that of the host's oldest backup."""
        host = command.partition("--limit ")[2].partition(" ")[0]
        stored = [path.name for path in self._world.manifests() if path.parent.name == host]
        return TIME.sub(lambda found: min(TIME.findall(" ".join(stored))), command)

    def _as_on_the_page(self, printed: str) -> str:
        """A backup has the name of its tree, which is another one here."""
        return printed.replace(f"{self._world.name}-", "")


#: The hosts of a page that does not show its inventory. All of them are the same target.
HOSTS = {
    "docs/backup.md": {"web1": "", "web2": ""},
    "docs/guide/tape.md": {"tapehost": ""},
    "docs/guide/database.md": {"db1": "", "db2": ""},
    "docs/guide/many-hosts.md": {"web1": "", "web2": "", "web3": "ansible_port=1"},
    "docs/guide/firewalls.md": {"web1": ""},
    "docs/guide/benchmark.md": {"web1": ""},
}


@pytest.fixture
def walk(home: Home, ansible: Ansible, target: Target, world: World) -> Callable[[str], None]:
    def walk(page: str) -> None:
        Walk(page, ansible, home, world, target).go()

    return walk


def test_the_tutorial(walk: Callable[[str], None], world: World, home: Home) -> None:
    walk("docs/tutorial.md")
    assert tree(world.folder / "restored") == tree(world.folder / "etc")
    assert len(os.listdir(home.folder / "backups" / "web1")) == 2


def test_the_jobs_of_the_tutorial_do_what_it_does_by_hand() -> None:
    blocks = [block for block in BLOCKS if block.page == "docs/tutorial.md"]
    by_hand = next(command for block in blocks for command in block.commands() if "backup_keep" in command)
    (cron,) = [block.text.splitlines()[-1] for block in blocks if block.language == "cron"]
    assert cron.split(maxsplit=5)[5] == by_hand
    _inventory, *units = (block.text for block in blocks if block.language == "ini")
    service, timer = map(unit_of, units)
    assert service["Service"]["ExecStart"].replace("%h", "$HOME").split() == by_hand.replace('"', "").split()
    assert timer["Install"]["WantedBy"] == "timers.target"


def unit_of(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_the_page_about_backups(walk: Callable[[str], None], world: World) -> None:
    walk("docs/backup.md")
    assert {path.parent.name for path in world.manifests()} == {"web1", "web2"}
    assert tree(world.folder / "restored") == tree(world.folder / "srv")
    manifest = json.loads(world.manifests()[0].read_text(encoding="utf-8"))
    table = read("docs/backup.md").partition("## The manifest")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(manifest)


def test_the_guide_to_tapes(walk: Callable[[str], None], world: World) -> None:
    (world.folder / "tape").write_bytes(b"old")
    walk("docs/guide/tape.md")
    assert tree(world.folder / "restored") == tree(world.folder / "srv")


def test_the_guide_to_databases(walk: Callable[[str], None], world: World) -> None:
    walk("docs/guide/database.md")
    for loaded in ("loaded", "loaded-too"):
        assert (world.folder / loaded).read_bytes() == (world.folder / "image").read_bytes()


def test_the_guide_to_many_hosts(walk: Callable[[str], None], world: World) -> None:
    walk("docs/guide/many-hosts.md")
    assert {path.parent.name for path in world.manifests()} == {"web1", "web2"}


def test_the_guide_to_firewalls(walk: Callable[[str], None], two_firewalls: None) -> None:
    walk("docs/guide/firewalls.md")


def test_the_guide_to_measuring(walk: Callable[[str], None]) -> None:
    walk("docs/guide/benchmark.md")


#: They let in what belongs to a connection that is there, and logins.
CLOSED = """
    add table inet filter
    add chain inet filter input {{ type filter hook input priority 0; }}
    add rule inet filter input iifname != {device} accept
    add rule inet filter input ct state established,related accept
    add rule inet filter input meta l4proto ipv6-icmp accept
    add rule inet filter input tcp dport 22 accept
    add chain inet filter input {{ policy drop; }}
"""


@pytest.fixture
def two_firewalls(target: Target) -> Iterator[None]:
    """Between controller and target, with no way but the login's."""
    run("nft", "-f", "-", input=CLOSED.format(device=target.link))
    target.run("nft", "-f", "-", input=CLOSED.format(device="eth0"))
    yield
    for closed in (run, target.run):
        closed("nft", "delete", "table", "inet", "filter")


def test_the_play_of_the_role(ansible: Ansible, target: Target, world: World) -> None:
    (block,) = blocks_of(ROOT / "roles" / "backup" / "README.md")
    ansible.play({"tapehost": target.inventory()}, yaml.safe_load(world.substitute(block.text)))
    assert [path.parent.name for path in world.manifests()] == ["tapehost"]


# Completeness


def test_every_command_is_run_or_listed() -> None:
    run_here = {
        *INSTALLATION,
        REQUIREMENTS,
        DEMO,
        AD_HOC,
        SHORT_AD_HOC,
        CHECK_AD_HOC,
        PREFLIGHT,
        ONE_TEST,
        NIGHTLY,
    }
    walked = {command for block in BLOCKS if block.page in WALKED for command in block.commands()}
    assert set(COMMANDS) - walked == (run_here | set(NOT_RUN)) - walked


def test_every_page_is_walked_that_has_no_test_of_its_own() -> None:
    pages = {block.page for block in BLOCKS if block.language in ("shell", "text")}
    assert pages - set(WALKED) == {"README.md", "CONTRIBUTING.md", "docs/using.md", "docs/program.md"}


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert targets <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))


def test_every_task_is_checked() -> None:
    entries = [entry for block in RECIPES for entry in yaml.safe_load(block.text)]
    tasks = tasks_of(entries)
    assert {task["name"] for task in tasks if "ansible.builtin.command" not in task} == set(CHECKS)


def test_every_block_is_of_a_kind_that_is_run_here() -> None:
    """Pictures and layouts are indented, and have no fence; test_program_documentation.py has consoles."""
    known = {"shell", "text", "yaml", "ini", "cron", "console"}
    assert [block.place for block in BLOCKS if block.language not in known] == []


def test_every_file_that_is_shown_has_its_name() -> None:
    """Then a walk through the page writes it."""
    files = [block for block in BLOCKS if block.language in ("yaml", "ini")]
    others = [block for block in files if block not in (*RECIPES, *FRAGMENTS, *SETTINGS)]
    assert [block.place for block in others if not re.match(r"# [\w./-]+\n", block.text)] == []


def test_the_yaml_for_contributors_is_a_changelog_fragment() -> None:
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


def test_every_playbook_and_task_file_of_a_backup_or_a_benchmark_is_in_the_architecture() -> None:
    page = read("docs/architecture.md")
    patterns = ("playbooks/*.yml", "playbooks/tasks/**/*.yml", "roles/backup/tasks/*.yml")
    files = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert [path.name for path in files if f"`{path.name}`" not in page] == []


def test_every_file_in_the_architecture_exists() -> None:
    shown = set(re.findall(r"[\w/]*\w\.(?:py|yml)\b", read("docs/architecture.md")))
    patterns = ("plugins/**/*.py", "roles/**/*.yml", "roles/**/*.py", "playbooks/**/*.yml")
    files = [str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern)]
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


def test_every_returned_value_is_on_the_page_about_the_task() -> None:
    module = read("plugins/modules/socketpipe.py")
    returned = yaml.safe_load(module.partition('RETURN = r"""')[2].partition('"""')[0])
    table = read("docs/using.md").partition("## What it returns")[2].partition("\n## ")[0]
    assert {name for name in returned if f"`{name.removesuffix('_lines')}`" not in table} == set()
