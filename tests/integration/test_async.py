# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks with async: their session needs neither the login nor, without poll, the playbook."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.ansible import CORE_VERSION, MODULE, Ansible, Run, TaskResult
from harness.middle import BOUND
from harness.network import Target, is_master, kill, processes_here, processes_in, run
from harness.processes import parent_of
from harness.streams import CommitGate
from harness.users import PASSWORD
from harness.waiting import wait_until

POLLED = {"async": 120, "poll": 1}
LEFT = {"async": 120, "poll": 0}
#: For Ansible's Python: files have names, and there is no process for another local endpoint.
NO_MORE_ENDPOINTS = """
import os, subprocess
del os.O_TMPFILE
class Popen(subprocess.Popen):
    def __init__(self, words, *args, **options):
        if words[1:2] == ["-I"]:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        super().__init__(words, *args, **options)
subprocess.Popen = Popen
"""


def wait_for_job(jid: str) -> dict[str, Any]:
    return {
        "async_status": {"jid": jid},
        "register": "status",
        "until": "status.finished",
        "retries": 60,
        "delay": 0.5,
    }


@pytest.fixture
def play(ansible: Ansible, target: Target) -> Callable[..., list[TaskResult]]:
    """Plays tasks on the target, each with its errors ignored."""

    def play(*tasks: dict[str, Any]) -> list[TaskResult]:
        all_tasks = [{"ignore_errors": True, **task} for task in tasks]
        return ansible.play({target.name: target.inventory()}, all_tasks)

    return play


class Stream:
    """A pull whose remote command writes until `end`."""

    def __init__(self, folder: Path) -> None:
        self._door = folder / "door"
        self.gate = CommitGate(folder)
        remote = f"while ! [ -e {self._door} ]; do echo line; sleep 0.05; done; echo the end"
        self.options = {"remote": remote, "output": self.gate.script, "shell": True}

    def end(self) -> None:
        self._door.touch()

    def expect_whole(self) -> None:
        assert self.gate.whole.read_text(encoding="ascii").endswith("line\nthe end\n")


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path)


@pytest.fixture
def start(ansible: Ansible, target: Target) -> Iterator[Callable[..., Run]]:
    """Starts a playbook of these tasks; what it leaves running ends with the test."""
    before = set(processes_here())
    yield lambda *tasks: ansible.start({target.name: target.inventory()}, list(tasks))
    for pid in set(processes_here()) - before:
        kill(pid)


def kill_logins(target: Target) -> None:
    """The sshd of each login, but not the one that listens."""
    logins = [pid for pid, words in processes_in(target.network).items() if "sshd: " in words]
    sessions = [pid for pid in logins if "listener" not in processes_in(target.network).get(pid, "")]
    assert sessions
    for pid in sessions:
        kill(pid)


# The result is that of any other task


@pytest.mark.parametrize("job", [POLLED, LEFT], ids=["polled", "left"])
def test_the_result_is_that_of_a_task_without_async(
    play: Callable[..., list[TaskResult]], tmp_path: Path, job: dict[str, int]
) -> None:
    """The whole report of both sides, a failure's words, a skip, an output file and its attributes."""
    out = tmp_path / "out"
    out.write_text("old", encoding="ascii")
    whole = {
        "input": "seq 1000",
        "remote": "sh -c 'tee /dev/stderr'",
        "output_file": str(out),
        "mode": "0640",
        "backup": True,
        "checksum": "sha256",
        "encrypt": True,
    }
    broken = {"remote": "sh -c 'echo no tape >&2; exit 3'", "output": "cat"}
    packed = {
        "input": "gzip -c",
        "input_file": "/proc/version",
        "remote": "gzip -dc",
        "output": "gzip -c",
        "output_file": str(tmp_path / "packed"),
    }
    unpacked = {
        "remote": "echo x",
        "output": "sh -c 'cat; exit 4'",
        "output_file": str(tmp_path / "unpacked"),
    }
    options = [whole, broken, packed, unpacked]
    if job == POLLED:
        options.append({**broken, "creates": "/etc"})
    tasks: list[dict[str, Any]] = [{MODULE: one} for one in options]
    without = play(*tasks)
    jobs = [{**task, **job, "register": f"job{number}"} for number, task in enumerate(tasks)]
    waits = [wait_for_job(f"{{{{ job{number}.ansible_job_id }}}}") for number in range(len(jobs))]
    given = play(*jobs) if job == POLLED else play(*jobs, *waits)[len(jobs) :]
    for one, other in zip(given, without, strict=True):
        assert one.kind == other.kind, one.msg
        differing = {"path", "backup_file", "start", "end", "delta"}
        if other.kind == "failed":
            # A reader of a broken stream has different words for it, by when it looks.
            differing |= {"output", "stderr", "stderr_lines"}
        for name in set(other) - differing:
            assert one[name] == other[name], name
    for result in (given[0], without[0]):
        assert {"path", "start", "end", "delta"} < set(result)
        assert Path(result["backup_file"]).exists()
    assert gzip.decompress((tmp_path / "packed").read_bytes()) == Path("/proc/version").read_bytes()
    assert not (tmp_path / "unpacked").exists()
    assert out.stat().st_mode & 0o777 == 0o640
    assert len(out.read_text(encoding="ascii").splitlines()) == 1000


def test_check_mode(play: Callable[..., list[TaskResult]]) -> None:
    task = {"check_mode": True, **POLLED}
    meets, skips = play(
        {MODULE: {"input": "true", "remote": "true"}, **task},
        {MODULE: {"input": "true", "remote": "true", "creates": "/etc"}, **task},
    )
    if CORE_VERSION < (2, 17):
        # Ansible itself refuses this there, whatever the action, before it calls it.
        refusal = ("failed", "check mode and async cannot be used on same task.")
        assert (meets.kind, meets.msg) == (skips.kind, skips.msg) == refusal
        return
    assert (meets.kind, meets["changed"], meets["rc"]) == ("ok", True, 0)
    assert meets.msg.startswith("Would run: ")
    assert (skips["changed"], skips.msg) == (False, "Would not run, since '/etc' exists on the target")


def test_become_and_another_user(ansible: Ansible, users_target: Target) -> None:
    host = users_target.inventory(ansible_user="op", ansible_python_interpreter="/usr/bin/python3")
    tasks = [
        {MODULE: {"input": "id -un", "remote": "sh -c 'cat; id -un'"}, "become": become, **POLLED}
        for become in (False, True)
    ]
    host["ansible_become_password"] = PASSWORD
    results = ansible.play({users_target.name: host}, tasks)
    assert [result["stdout"] for result in results] == ["root\nop\n", "root\nroot\n"]


@pytest.mark.parametrize("job", [POLLED, LEFT], ids=["polled", "left"])
def test_what_is_skipped_on_the_controller_is_no_job(
    play: Callable[..., list[TaskResult]], job: dict[str, int]
) -> None:
    (result,) = play({MODULE: {"input": "true", "remote": "true", "local_creates": "/etc"}, **job})
    assert (result.kind, result.msg) == ("skipped", "Did not run, since '/etc' exists on the controller")
    assert "ansible_job_id" not in result


def test_a_helper_has_no_async(play: Callable[..., list[TaskResult]]) -> None:
    task = {MODULE: {"input": "true", "remote": "cat", "helper": "/usr/local/bin/socketpipe"}, **POLLED}
    (result,) = play(task)
    assert (result.kind, result.msg) == (
        "failed",
        "helper: the program's protocol has no async; remove that or the helper from the task",
    )


# What it outlives


def test_a_session_outlives_its_login(start: Callable[..., Run], target: Target, stream: Stream) -> None:
    run = start({MODULE: stream.options, **POLLED})
    wait_until(stream.gate.has_bytes, "the stream flows", timeout=60)
    kill_logins(target)
    size = stream.gate.part.stat().st_size
    wait_until(lambda: stream.gate.has_bytes(size + 1), "the stream flows on")
    stream.end()
    result = run.wait()[-1]
    assert result.kind == "ok", result.msg
    stream.expect_whole()
    assert result["bytes_received"] == stream.gate.whole.stat().st_size


def test_without_poll_it_outlives_its_playbook(
    start: Callable[..., Run], ansible: Ansible, target: Target, stream: Stream, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = start(
        {MODULE: {"remote": stream.options["remote"], "shell": True, "output_file": str(out)}, **LEFT}
    )
    (started,) = run.wait()
    assert (started.kind, started["finished"]) == ("ok", False)
    kill_logins(target)
    stream.end()
    tasks = [wait_for_job(started["ansible_job_id"])]
    result = ansible.play({target.name: target.inventory()}, tasks)[-1]
    assert result.kind == "ok", result.msg
    assert out.read_text(encoding="ascii").endswith("the end\n")


@pytest.mark.parametrize("job", [POLLED, LEFT], ids=["polled", "left"])
def test_nobody_listens_while_the_stream_flows(
    start: Callable[..., Run], stream: Stream, job: dict[str, int]
) -> None:
    """The port is free for another session, and nobody is left waiting at it."""
    start({MODULE: {**stream.options, "listen": "local"}, **job})
    wait_until(stream.gate.has_bytes, "the stream flows", timeout=60)
    assert run("ss", "-Hltn").stdout == ""


# What ends it


def left_here(before: set[int]) -> list[str]:
    """But for the login's master connection, which outlives a playbook on purpose."""
    return [words for pid, words in processes_here().items() if pid not in before and not is_master(words)]


def expect_an_end(target: Target, gate: CommitGate, before: set[int]) -> None:
    """Of both sides, and of an unfinished stream."""

    def left() -> list[str]:
        # Ansible's own watch over the job looks every five seconds.
        there = [words for words in target.processes().values() if "async_wrapper" not in words]
        return [*left_here(before), *there]

    wait_until(lambda: not left(), "both sides have ended", BOUND)
    assert not gate.whole.exists()


def test_a_job_past_its_limit_ends_on_both_sides(
    start: Callable[..., Run], target: Target, stream: Stream
) -> None:
    before = set(processes_here())
    run = start({MODULE: stream.options, "async": 5, "poll": 1, "ignore_errors": True})
    wait_until(stream.gate.has_bytes, "the stream flows", timeout=60)
    result = run.wait()[-1]
    assert result.kind == "failed"
    assert "Timeout exceeded" in result.msg or "did not complete within the requested time" in result.msg
    expect_an_end(target, stream.gate, before)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_with_poll_it_ends_with_its_playbook(
    start: Callable[..., Run], target: Target, stream: Stream, signum: signal.Signals
) -> None:
    """Nobody would look at its result any more."""
    before = set(processes_here())
    run = start({MODULE: stream.options, **POLLED})
    wait_until(stream.gate.has_bytes, "the stream flows", timeout=60)
    os.kill(run.process.pid, signum)
    run.process.wait(BOUND)
    expect_an_end(target, stream.gate, before)


def test_the_target_says_that_the_local_side_was_killed(
    ansible: Ansible, start: Callable[..., Run], target: Target, stream: Stream
) -> None:
    (started,) = start({MODULE: stream.options, **LEFT}).wait()
    wait_until(stream.gate.has_bytes, "the stream flows", timeout=60)
    # The process that waits for the session, whose end is that of the local endpoint's standard input.
    readers = [pid for pid, words in processes_here().items() if words.startswith("/bin/sh -c cat")]
    kill(parent_of(parent_of(readers[0])))
    tasks = [wait_for_job(started["ansible_job_id"])]
    result = ansible.play({target.name: target.inventory()}, tasks)[-1]
    assert result.kind == "failed"
    assert result.msg == (
        "local endpoint on controller was interrupted: whoever asked for the session has ended or has "
        "given it up"
    )
    assert not stream.gate.whole.exists()


def test_no_hidden_name_stays_where_the_local_side_could_not_be_started(
    ansible: Ansible, start: Callable[..., Run], tmp_path: Path
) -> None:
    for name in ("python", "folder"):
        (tmp_path / name).mkdir()
    ansible.environment["PYTHONPATH"] = str(tmp_path / "python")
    (tmp_path / "python" / "sitecustomize.py").write_text(NO_MORE_ENDPOINTS, encoding="ascii")
    options = {"remote": "echo x", "output_file": str(tmp_path / "folder" / "f"), "timeout": 1}
    run = start({MODULE: options, **LEFT})
    assert run.wait()[-1].kind == "ok"
    wait_until(lambda: os.listdir(tmp_path / "folder") == [], "nothing is left")


def test_a_job_whose_target_never_comes_is_given_up(
    start: Callable[..., Run], target: Target, tmp_path: Path
) -> None:
    """It was skipped there, for example: nobody waits or listens here for ever."""
    before = set(processes_here())
    run = start({MODULE: {"input": "true", "remote": "true", "creates": "/etc", "timeout": 0.1}, **LEFT})
    assert run.wait()[-1].kind == "ok"
    wait_until(lambda: not left_here(before), "the local side has ended", timeout=40)
