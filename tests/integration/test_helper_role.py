# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `helper` and its playbook put the standalone program on a host, and take it away again.

Every prefix is a folder of the test's own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import yaml
from harness.ansible import BIN, ROOT, Ansible, Run, TaskResult
from harness.network import Target

ROLE = ROOT / "roles" / "helper"
ENGINE = ROOT / "plugins" / "module_utils" / "_engine"
PLAYBOOK = "dds.socketpipe.install_helper"
VERSION = re.compile(r"socketpipe \d+\.\d+\.\d+\S* \(dds\.socketpipe\)")
LOCAL: dict[str, object] = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
#: Of `harness.users`.
FREE = 4712

Hosts = dict[str, dict[str, object]]


class Entry(NamedTuple):
    """A file or folder: what a run may have changed of it."""

    mode: int
    owner: int
    modified: int
    content: bytes | None


def snapshot(folder: Path) -> dict[str, Entry]:
    """All that is in *folder*, by its name there."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = Entry(
            status.st_mode & 0o7777, status.st_uid, status.st_mtime_ns, content
        )
    return found


def files_in(folder: Path) -> dict[str, bytes]:
    """What is in each file there."""
    return {name: entry.content for name, entry in snapshot(folder).items() if entry.content is not None}


def write_engine(folder: Path, version: str) -> str:
    """A small engine, whose version is the name of a file too, as an option for `play`: the role takes it
    from wherever `helper_engine` says."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    (folder / "cli.py").write_text(
        f"from .{version} import WORDS\n\ndef main():\n    print(WORDS)\n", encoding="ascii"
    )
    # No template, though it looks like one, and no newline at its end.
    odd = f'WORDS = "the {version} socketpipe"\n\n# {{{{ x }}}} {{% x %}} \u00fc'
    (folder / f"{version}.py").write_text(odd, encoding="utf-8")
    # An option, for the role's own variables hide those of an inventory.
    return f"--extra-vars=helper_engine={folder}"


def engine_files() -> dict[str, bytes]:
    """What the real engine has to be below a prefix."""
    return {f"lib/socketpipe/_engine/{path.name}": path.read_bytes() for path in ENGINE.glob("*.py")}


def version_of(prefix: Path) -> str:
    """What the program says there, to any user, anywhere and with an empty environment."""
    program = prefix / "bin" / "socketpipe"
    done = subprocess.run(
        [program, "--version"], cwd="/", env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Played:
    """A run of the playbook."""

    def __init__(self, run: Run) -> None:
        self._results = run.wait()
        self.output = run.output

    @property
    def changed(self) -> int:
        """How many tasks did, or would, change something on the only host, where none failed."""
        (count,) = re.findall(r" changed=(\d+) .* failed=0 ", self.output)
        return int(count)

    def last(self, host: str) -> TaskResult:
        return [result for result in self._results if result.host == host][-1]

    def failure(self, host: str) -> str:
        assert self.last(host).kind == "failed", self.output
        return self.last(host).msg


def play(ansible: Ansible, hosts: Hosts, *options: str) -> Played:
    words = [str(BIN / "ansible-playbook"), PLAYBOOK, "-i", str(ansible.inventory(hosts)), *options]
    return Played(Run(ansible.within(*words), ansible.folder, ansible.environment))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "pre fix"


# Installed and removed


def test_the_whole_program_is_installed(ansible: Ansible, prefix: Path) -> None:
    played = play(ansible, {"host": {**LOCAL, "helper_prefix": str(prefix)}})
    assert played.changed > 0
    assert VERSION.fullmatch(version_of(prefix))
    program = prefix / "bin" / "socketpipe"
    shown = f"host has {version_of(prefix)} in {program}, run by {sys.executable}"
    assert played.last("host").msg == shown
    assert program.read_text(encoding="utf-8").startswith(f"#!{sys.executable} -IS\n")
    files = {name: content for name, content in files_in(prefix).items() if "__pycache__" not in name}
    bundle = files.pop("lib/socketpipe/engine.txt").decode()
    assert re.findall("^==> (.+) <==$", bundle, re.MULTILINE) == sorted(
        path.name for path in ENGINE.glob("*.py")
    )
    manual = {"share/man/man1/socketpipe.1": (ROLE / "files" / "socketpipe.1").read_bytes()}
    assert files == {"bin/socketpipe": program.read_bytes(), **engine_files(), **manual}


def test_the_life_of_an_installation(ansible: Ansible, prefix: Path, tmp_path: Path) -> None:
    # Which keeps nobody from running what is installed.
    ansible.within = lambda *words: ["sh", "-c", 'umask 077; exec "$@"', "sh", *words]
    engine = write_engine(tmp_path / "engine", "old")
    host = {**LOCAL, "helper_prefix": str(prefix)}
    library = prefix / "lib" / "socketpipe" / "_engine"
    programs = prefix / "bin"

    preview = play(ansible, {"host": host}, engine, "--check", "--diff")
    for line in ("+from _engine.cli import main", "+def main():", "+.TH SOCKETPIPE 1"):
        assert line in preview.output, line
    assert preview.changed > 0
    assert not prefix.exists()

    # Others use this folder too, and it is as Debian has it.
    programs.mkdir(parents=True)
    programs.chmod(0o2775)
    (programs / "other").touch()
    (programs / "other").chmod(0o644)
    assert play(ansible, {"host": host}, engine).changed > 0
    assert version_of(prefix) == "the old socketpipe"
    installed = snapshot(prefix)
    for name, entry in installed.items():
        is_file = entry.content is not None and name != "bin/socketpipe"
        assert entry.mode == (0o2775 if name == "bin" else 0o644 if is_file else 0o755), name
    assert (library / "__pycache__" / f"cli.{sys.implementation.cache_tag}.pyc").exists()

    again = play(ansible, {"host": host}, engine)
    assert again.changed == 0
    assert "the old socketpipe" in again.last("host").msg
    preview = play(ansible, {"host": host}, engine, "--check", "--diff")
    assert preview.changed == 0
    assert "+++ after" not in preview.output
    assert snapshot(prefix) == installed

    write_engine(tmp_path / "engine", "new")
    (library / "cli.py").chmod(0o600)
    (programs / "socketpipe").chmod(0o644)
    assert play(ansible, {"host": host}, engine).changed > 0
    assert version_of(prefix) == "the new socketpipe"
    files = {name: content for name, content in files_in(library).items() if "__pycache__" not in name}
    assert files == files_in(tmp_path / "engine")
    assert {path.name.split(".")[0] for path in library.glob("__pycache__/*")} == {"cli", "new"}
    assert (library / "cli.py").stat().st_mode & 0o777 == 0o644

    assert play(ansible, {"host": {**host, "helper_state": "absent"}}).changed == 1
    assert files_in(prefix) == {"bin/other": b""}
    assert not library.parent.exists()
    assert programs.stat().st_mode & 0o7777 == 0o2775
    # By the shorter name.
    assert play(ansible, {"host": {**host, "state": "absent"}}).changed == 0


def test_a_damaged_engine_is_repaired(ansible: Ansible, prefix: Path) -> None:
    host = {**LOCAL, "helper_prefix": str(prefix)}
    play(ansible, {"host": host})
    cli = prefix / "lib" / "socketpipe" / "_engine" / "cli.py"
    (cli.parent / "words.py").unlink()
    cli.write_bytes(cli.read_bytes().replace(b"main", b"mane"))
    assert play(ansible, {"host": host}).changed == 1
    assert files_in(prefix).items() >= engine_files().items()
    assert VERSION.fullmatch(version_of(prefix))


def test_an_interrupted_installation_is_completed(ansible: Ansible, prefix: Path) -> None:
    host = {**LOCAL, "helper_prefix": str(prefix)}
    obstacle = prefix / "lib" / "socketpipe" / "_engine" / "cli.py"
    obstacle.mkdir(parents=True)
    said = str(play(ansible, {"host": host}).last("host")["stderr"])
    assert said.startswith("The engine can not be put in place: [Errno 21] Is a directory: ")
    assert not (prefix / "bin" / "socketpipe").exists()

    obstacle.rmdir()
    assert play(ansible, {"host": host}).changed > 0
    files = files_in(prefix)
    assert {name for name in files if "_engine/" in name and "__pycache__" not in name} == {*engine_files()}
    assert files.items() >= engine_files().items()
    assert VERSION.fullmatch(version_of(prefix))


def test_a_new_file_of_the_same_size_and_second_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "_engine").mkdir()
    source = tmp_path / "_engine" / "cli.py"
    for word in (b"5312", b"9047"):
        (tmp_path / "engine.txt").write_bytes(b"==> cli.py <==\nprint('%b')\n\n" % word)
        put = subprocess.run(
            [sys.executable, "-IS", ROLE / "files" / "put_engine.py", tmp_path],
            capture_output=True,
            check=True,
        )
        assert put.stdout == b"cli.py\n"
        (compiled,) = source.parent.glob("__pycache__/cli.*")
        assert word in compiled.read_bytes()


# Users


@pytest.fixture
def home(users_target: Target) -> Iterator[Path]:
    """A folder of an ordinary user of `users_target`."""
    with TemporaryDirectory() as name:
        os.chown(name, FREE, FREE)
        yield Path(name)


def test_an_ordinary_user_installs_over_ssh_alone_and_as_root(
    ansible: Ansible, users_target: Target, home: Path
) -> None:
    host = users_target.inventory(
        ansible_user="free",
        ansible_python_interpreter="/usr/bin/python3",
        ansible_remote_tmp=f"{home}/.ansible/tmp",
    )
    owners = {"alone": FREE, "become": 0}
    hosts = {
        name: {**host, "helper_prefix": f"{home}/{name}", "ansible_become": name == "become"}
        for name in owners
    }
    played = play(ansible, hosts)
    for name, owner in owners.items():
        assert f"has {version_of(home / name)} in " in played.last(name).msg, played.output
        assert {entry.owner for entry in snapshot(home / name).values()} == {owner}


# Refused


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Hosts]:
    """Hosts that have a program of the same name, which has to stay as it is."""
    marker = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["helper_marker"]
    for name in ("original", "link"):
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / "original" / "bin" / "socketpipe").write_bytes(b"\x7fELF\x00\xff the original")
    (tmp_path / "link" / "own").write_text(f"# {marker}\n", encoding="ascii")
    (tmp_path / "link" / "bin" / "socketpipe").symlink_to("../own")
    before = snapshot(tmp_path / "original"), snapshot(tmp_path / "link")
    yield {name: {**LOCAL, "helper_prefix": str(tmp_path / name)} for name in ("original", "link")}
    assert (snapshot(tmp_path / "original"), snapshot(tmp_path / "link")) == before


def test_what_the_role_did_not_write_is_not_replaced(ansible: Ansible, foreign: Hosts) -> None:
    played = play(ansible, foreign)
    for name, host in foreign.items():
        assert played.failure(name) == (
            f"On {name} this role did not write {host['helper_prefix']}/bin/socketpipe, so nothing was "
            "changed; remove what is there, or set helper_prefix to another folder."
        )


def test_what_the_role_did_not_write_is_not_removed(ansible: Ansible, foreign: Hosts) -> None:
    played = play(ansible, foreign, "-e", "helper_state=absent")
    for name, host in foreign.items():
        program = f"{host['helper_prefix']}/bin/socketpipe"
        assert f"On {name} this role did not write {program}, so nothing was removed." in played.output
        assert played.last(name).kind == "skipped"


def test_wrong_variables_are_refused(ansible: Ansible, tmp_path: Path, prefix: Path) -> None:
    old = tmp_path / "old python"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    old.chmod(0o755)
    wrong = {
        "state": {"helper_state": "gone"},
        "relative": {"helper_prefix": "~/.local"},
        "old": {"helper_python": str(old)},
        "missing": {"helper_python": "python9"},
    }
    hosts = {name: {**LOCAL, "helper_prefix": str(prefix), **words} for name, words in wrong.items()}
    played = play(ansible, hosts)
    state = "value of helper_state must be one of: present, absent, got: gone"
    assert state in str(played.last("state")["argument_errors"])
    assert played.failure("relative") == "helper_prefix has to be an absolute path, and '~/.local' is not."
    for name in ("old", "missing"):
        assert played.failure(name) == (
            f"On {name} there is no Python 3.7 or later to run socketpipe with; tried: "
            f"{wrong[name]['helper_python']}; install one, or set helper_python to the path of one."
        )
    assert not prefix.exists()


# What is written about it


class Words(NamedTuple):
    """What the role says of its variables, in three places."""

    specification: dict[str, dict[str, Any]]
    defaults: dict[str, Any]
    readme: dict[str, str]


@pytest.fixture(scope="module")
def words() -> Words:
    def load(name: str) -> Any:
        return yaml.safe_load((ROLE / name).read_text(encoding="utf-8"))

    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(helper_\w+|state)` \| `([^`]+)` \|", readme, re.MULTILINE))
    return Words(
        load("meta/argument_specs.yml")["argument_specs"]["main"]["options"], load("defaults/main.yml"), rows
    )


def test_every_variable_is_specified_has_its_default_and_is_in_the_readme(words: Words) -> None:
    assert words.specification.keys() == words.readme.keys() == {"state", *words.defaults}


def test_the_defaults_agree(words: Words) -> None:
    # `state` has none, or any play's variable of that name would be one of the role's.
    defaults = {**words.defaults, "helper_state": "present", "state": "present"}
    assert words.defaults["helper_state"] == "{{ state | default('present') }}"
    assert {name: option["default"] for name, option in words.specification.items()} == defaults
    assert {name: value.strip('"') for name, value in words.readme.items()} == defaults


def test_the_playbook_names_every_variable(words: Words) -> None:
    text = (ROOT / "playbooks" / "install_helper.yml").read_text(encoding="utf-8")
    assert {name for name in words.defaults if name not in text} == set()
