# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark playbook measures host after host, shows it in a table, and leaves nothing behind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.ansible import BIN, Ansible, Run
from harness.network import Keys, Target, leaving_nothing, run

SMALL = ("-e", "benchmark_size=20M", "-e", "benchmark_file_size=3M")
STREAMS = {
    "stream push: socketpipe",
    "stream push: socketpipe, encrypt",
    "stream push: socketpipe, checksum",
    "stream push: ssh",
    "stream pull: socketpipe",
    "stream pull: ssh",
}
FILES = {"file push: socketpipe", "file push: copy", "file pull: socketpipe", "file pull: fetch"}
SYNCHRONIZE = {"file push: synchronize", "file pull: synchronize"}
SSH = {"stream push: ssh", "stream pull: ssh"}
#: With no tool at all to compare it with.
ALONE = {"an empty task", "stream push: socketpipe", "stream pull: socketpipe"}


def benchmark(ansible: Ansible, hosts: dict[str, dict[str, object]], *options: str) -> Run:
    """The whole playbook, which takes its time."""
    inventory = str(ansible.inventory(hosts))
    words = [str(BIN / "ansible-playbook"), "dds.socketpipe.benchmark", "-i", inventory, *options]
    run = Run(words, ansible.folder, ansible.environment)
    run.wait(600)
    return run


def rows_of(host: str, done: Run) -> dict[str, str]:
    """What the table says of it, by what was measured."""
    rows = re.findall(rf'^ +"{host} +((?:an|stream|file) .*?) {{2,}}(.*)",?$', done.output, re.MULTILINE)
    return dict(rows)


def numbers_of(row: str) -> list[float]:
    return [float(number) for number in row.split()]


class Folders:
    """Where the files of a benchmark are, on the target and on the controller."""

    def __init__(self, folder: Path) -> None:
        self.there, self.here = folder / "there", folder / "here"
        self.there.mkdir()
        self.here.mkdir()
        self.options = ("-e", f"benchmark_folder={self.there}", "-e", f"benchmark_local_folder={self.here}")

    def left(self) -> list[str]:
        return os.listdir(self.there) + os.listdir(self.here)


@pytest.fixture(scope="module")
def master(shared_target: Target, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a login that somebody has made by hand, and that Ansible may share."""
    socket = tmp_path_factory.mktemp("master") / "m"
    inventory = shared_target.inventory()
    words = ["ssh", *str(inventory["ansible_ssh_common_args"]).split(), "-S", str(socket)]
    run(*words, "-i", keys.login, "-M", "-N", "-f", f"root@{shared_target.address}")
    yield socket
    run(*words, "-O", "exit", shared_target.address)


@pytest.fixture(scope="module")
def odd_key(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key for the login, where a shell would look for two others."""
    key = tmp_path_factory.mktemp("keys") / "somebody's key"
    key.write_bytes(keys.login.read_bytes())
    key.chmod(0o600)
    return key


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(tmp_path_factory.mktemp("folders"))


@pytest.fixture(scope="module")
def done(
    shared_target: Target,
    master: Path,
    odd_key: Path,
    folders: Folders,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Of one playbook, with the target under some names: `whole` has everything measured, and words in its
    login that a shell would misread; the others have something against them."""
    inventory = shared_target.inventory
    shared = inventory(benchmark_tools="ssh")
    del shared["ansible_ssh_private_key_file"]
    shared["ansible_ssh_common_args"] = f"{shared['ansible_ssh_common_args']} -o ControlPath={master}"
    hosts = {
        "absent": inventory(ansible_port=1),
        "whole": inventory(
            ansible_ssh_private_key_file=str(odd_key), ansible_ssh_extra_args="-o 'SetEnv=A=$(false);B'"
        ),
        "local": inventory(ansible_connection="local", benchmark_tools=["ssh"]),
        # After the first row, nobody listens any more.
        "lost": inventory(ansible_port="{{ 1 if benchmark_rows | default([]) else 22 }}", benchmark_tools=[]),
        "shared": shared,
    }
    folder = tmp_path_factory.mktemp("benchmark") / "ansible"
    folder.mkdir()
    with leaving_nothing(shared_target):
        return benchmark(Ansible(folder), hosts, "-v", *SMALL, *folders.options)


def test_everything_is_measured(done: Run) -> None:
    rows = rows_of("whole", done)
    assert set(rows) == {"an empty task", *STREAMS, *FILES, *SYNCHRONIZE}, done.output
    assert len(numbers_of(rows["an empty task"])) == 1
    for what in STREAMS:
        seconds, rate, flowing = numbers_of(rows[what])
        assert rate == pytest.approx(20 * 1.048576 / seconds, rel=0.02, abs=1), what
        # By the clock of dd, which runs for a part of the task.
        assert flowing > rate, what
    for what in FILES:
        seconds, rate = numbers_of(rows[what])
        assert rate == pytest.approx(3 * 1.048576 / seconds, rel=0.02, abs=1), what


def test_without_the_collection_synchronize_is_not_measured(done: Run) -> None:
    """The tests have no ansible.posix."""
    reason = "not measured: the collection ansible.posix is not installed on the controller"
    rows = rows_of("whole", done)
    assert {rows[what] for what in SYNCHRONIZE} == {reason}


def test_files_are_made_where_they_should_be_and_removed(done: Run, folders: Folders) -> None:
    for folder in (folders.there, folders.here):
        assert f'"path": "{folder}/socketpipe-benchmark.' in done.output
    assert folders.left() == []


def test_without_ssh_the_rows_of_ssh_say_so(done: Run) -> None:
    """And nothing else is measured than what was asked for."""
    rows = rows_of("local", done)
    assert set(rows) == {*ALONE, *SSH}
    reason = "not measured: Ansible does not log in with ssh here, but with local"
    assert {rows[what] for what in SSH} == {reason}


def test_a_login_that_ssh_can_not_repeat_is_told_in_the_words_of_ssh(done: Run) -> None:
    rows = rows_of("shared", done)
    assert set(rows) == {*ALONE, *SSH}
    for what in SSH:
        assert re.match(r"not measured: root@.*: Permission denied \(.*\)\.", rows[what])


def test_a_host_that_can_not_be_reached_is_in_the_table(done: Run) -> None:
    reason = r"no: .*(Connection refused|could not be sent)"
    assert re.search(rf'^ +"absent +{reason}', done.output, re.MULTILINE)
    rows = rows_of("lost", done)
    assert set(rows) == {"an empty task", "stream push: socketpipe"}
    assert re.match(reason, rows["stream push: socketpipe"])


def test_the_play_fails_for_those_that_failed_and_no_others(done: Run) -> None:
    assert done.process.returncode != 0
    recap = done.output.partition("PLAY RECAP")[2]
    failed = dict(re.findall(r"^(\w+) .*failed=(\d)", recap, re.MULTILINE))
    assert failed == {"absent": "1", "local": "0", "lost": "1", "shared": "0", "whole": "0"}


def test_a_failure_leaves_nothing_behind(
    ansible: Ansible, target: Target, small_disk: Path, tmp_path: Path
) -> None:
    """The controller has no room for the file, the host has."""
    folders = Folders(tmp_path)
    hosts = {target.name: target.inventory(benchmark_local_folder=str(small_disk))}
    done = benchmark(ansible, hosts, *SMALL, "-e", f"benchmark_folder={folders.there}")
    assert done.process.returncode != 0
    assert re.search(rf'^ +"{target.name} +no: .*No space left on device', done.output, re.MULTILINE)
    assert os.listdir(small_disk) + folders.left() == []


def test_wrong_variables_are_refused_in_a_sentence(ansible: Ansible, target: Target) -> None:
    wrong: dict[str, dict[str, object]] = {
        "a": {"benchmark_size": "much"},
        "b": {"benchmark_file_size": "0"},
        "c": {"benchmark_tools": "ssh,scp"},
        "d": {"benchmark_folder": "there"},
        "e": {"benchmark_local_folder": "here"},
    }
    done = benchmark(ansible, {name: target.inventory(**options) for name, options in wrong.items()})
    assert done.process.returncode != 0
    assert dict(re.findall(r'^fatal: \[(\w)\]: .*"msg": "(.*)"}$', done.output, re.MULTILINE)) == {
        "a": "benchmark_size has to be a number of bytes such as 500M or 10G, and 'much' is not.",
        "b": "benchmark_file_size has to be a number of bytes such as 500M or 10G, and '0' is not.",
        "c": "benchmark_tools can have encrypt, checksum, ssh, copy, fetch, synchronize, and not 'scp'.",
        "d": "benchmark_folder has to be an absolute path, and 'there' is not.",
        "e": "benchmark_local_folder has to be an absolute path, and 'here' is not.",
    }
    assert "Measure" not in done.output


def test_check_mode_is_refused(ansible: Ansible, target: Target) -> None:
    done = benchmark(ansible, {target.name: target.inventory()}, "--check")
    assert done.process.returncode != 0
    assert "In check mode nothing moves that could be measured" in done.output
    assert "Measure" not in done.output
