# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: what becomes of the commands when their endpoint is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import guard as guards
from harness.processes import is_running
from harness.sessions import ENGINE
from harness.waiting import wait_until

#: An endpoint as far as its guard is concerned: the guard, then two commands, then it does what
#: it is told on standard input. The command that ignores SIGTERM says when it does so. The bystander was
#: there before the guard, and was lent a connection; the guest is younger, in the bystander's group.
ENDPOINT = """
import json, os, socket, subprocess, sys, tempfile, time
sys.path.insert(0, sys.argv[1])
from _engine import guard as guards
from _engine.guard import Guard
guards.TERM_GRACE = float(sys.argv[2])
connection, unknown = socket.socket(), socket.socket()
secrets = [socket.socket(), tempfile.TemporaryFile(), *map(os.fdopen, os.pipe())]
hold = {"args": ["sleep", "600"], "stdin": connection, "stdout": sys.stderr}
bystander = subprocess.Popen(**hold, preexec_fn=os.setpgrp)
with open(f"/proc/{bystander.pid}/stat") as file:
    began = int(file.read().rpartition(")")[2].split()[19])
while time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") < began + 2: pass
guard = Guard()
guard.add_descriptor(connection.fileno())
with open(f"/proc/self/task/{os.getpid()}/children") as file:
    pids = {"guard": next(pid for pid in map(int, file.read().split()) if pid != bystander.pid)}
scripts = {"command": "sleep 600 & sleep 600; :", "stubborn": "trap '' TERM; echo; sleep 600; :"}
for name, script in scripts.items():
    stdout = subprocess.PIPE if name == "stubborn" else subprocess.DEVNULL
    words = ["sh", "-c", script]
    command = subprocess.Popen(words, stdout=stdout, start_new_session=True)
    guard.add_group(command.pid)
    pids[name] = command.pid
    if command.stdout: command.stdout.readline()
for name, sock in {"stray": connection, "stranger": unknown}.items():
    pids[name] = subprocess.Popen(**{**hold, "stdin": sock}, start_new_session=True).pid
pids["guest"] = subprocess.Popen(**hold, preexec_fn=lambda: os.setpgid(0, bystander.pid)).pid
pids["bystander"] = bystander.pid
print(json.dumps(pids), flush=True)
for line in sys.stdin:
    getattr(guard, line.strip())()
    print("done", flush=True)
"""


class Endpoint:
    def __init__(self, term_grace: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ENDPOINT, str(ENGINE.parent), str(term_grace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        pids: dict[str, int] = json.loads(self._read())
        self.guard, self.command, self.stubborn = (pids[name] for name in ("guard", "command", "stubborn"))
        #: They are in no group that the guard was told of; the stray holds a connection that it was.
        self.stray, self.stranger = pids["stray"], pids["stranger"]
        self.bystander, self.guest = pids["bystander"], pids["guest"]

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self._read() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.communicate()

    def close(self) -> None:
        self.kill()
        groups = (self.command, self.stubborn, self.stray, self.stranger, self.bystander)
        for kill, pid in (*((os.killpg, group) for group in groups), (os.kill, self.guard)):
            try:
                kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.fixture
def start() -> Iterator[Callable[..., Endpoint]]:
    started: list[Endpoint] = []

    def start(term_grace: float = 0.3) -> Endpoint:
        started.append(Endpoint(term_grace))
        return started[-1]

    yield start
    for endpoint in started:
        endpoint.close()


Start = Callable[..., Endpoint]


def group_members(group: int) -> list[int]:
    """Processes of the group that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def test_when_the_endpoint_is_killed_the_guard_ends_every_group_and_then_itself(start: Start) -> None:
    endpoint = start()
    assert len(group_members(endpoint.command)) == 3
    endpoint.kill()
    wait_until(lambda: not group_members(endpoint.command), "the end of the command and its children")
    wait_until(lambda: not group_members(endpoint.stubborn), "the end of the command that ignores SIGTERM")
    wait_until(lambda: not is_running(endpoint.guard), "the guard's own end")


def test_a_command_that_the_guard_was_not_told_of_in_time_is_found_by_its_connection(start: Start) -> None:
    """The endpoint was killed between the command's start and its word about it."""
    endpoint = start()
    endpoint.kill()
    wait_until(lambda: not is_running(endpoint.stray), "the end of the command")
    wait_until(lambda: not is_running(endpoint.guard), "the guard's own end")
    assert is_running(endpoint.stranger)


def test_who_was_lent_a_connection_is_no_command(start: Start) -> None:
    """A service may be given a command's descriptor: neither it nor who is in its group is ended for that."""
    endpoint = start()
    endpoint.kill()
    wait_until(lambda: not is_running(endpoint.guard), "the guard's own end")
    assert not is_running(endpoint.stray)
    assert is_running(endpoint.bystander)
    assert is_running(endpoint.guest)


def test_no_signal_goes_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """kill(2) takes group 1 for all processes there are, and group 0 for the guard's own."""
    signalled: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, signum: signalled.append(group))
    monkeypatch.setattr(guards, "TERM_GRACE", 0.0)
    guards._end_groups({0, 1, 2})
    assert set(signalled) == {2}


def test_while_the_endpoint_lives_who_holds_a_connection_is_left_alone(start: Start) -> None:
    """The endpoint itself does."""
    endpoint = start()
    endpoint.tell("end_groups")
    wait_until(lambda: not is_running(endpoint.guard), "the guard's own end")
    assert is_running(endpoint.stray)
    assert is_running(endpoint.process.pid)


def test_sigkill_comes_only_after_the_grace(start: Start) -> None:
    """With a grace that this test does not live to see, who ignores SIGTERM goes on."""
    endpoint = start(term_grace=60)
    endpoint.kill()
    wait_until(lambda: not group_members(endpoint.command), "the end of the command that heeds SIGTERM")
    assert is_running(endpoint.stubborn)


def test_the_guard_can_be_told_to_end_the_groups_while_the_endpoint_lives(start: Start) -> None:
    endpoint = start()
    endpoint.tell("end_groups")
    wait_until(lambda: not group_members(endpoint.command), "the end of the command")
    wait_until(lambda: not group_members(endpoint.stubborn), "the end of the command that ignores SIGTERM")
    assert is_running(endpoint.process.pid)


@pytest.mark.parametrize("how", ["end", "kill"])
def test_after_a_dismissal_nothing_is_ended(start: Start, how: str) -> None:
    """What a session that ended well has left running is meant to stay."""
    endpoint = start()
    endpoint.tell("dismiss")
    wait_until(lambda: not is_running(endpoint.guard), "the guard's end")
    getattr(endpoint, how)()
    assert len(group_members(endpoint.command)) == 3
    assert len(group_members(endpoint.stubborn)) == 2


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name)
def test_the_guard_outlives_the_signals_that_end_an_endpoint(start: Start, signum: signal.Signals) -> None:
    endpoint = start()
    wait_until(lambda: ignores(endpoint.guard, signum), "the guard ignores it")
    os.kill(endpoint.guard, signum)
    endpoint.kill()
    wait_until(lambda: not group_members(endpoint.command), "the end of the command")


def test_the_endpoint_goes_on_without_a_guard_that_was_killed(start: Start) -> None:
    endpoint = start()
    os.kill(endpoint.guard, signal.SIGKILL)
    wait_until(lambda: not is_running(endpoint.guard), "the guard's end")
    endpoint.tell("dismiss")
    endpoint.end()
    assert endpoint.process.returncode == 0


def test_the_guard_holds_nothing_but_its_pipe(start: Start) -> None:
    """Not the data sockets, which would stay open; not the login's streams, which would hang it."""
    endpoint = start()
    pipe = pipe_of(endpoint)
    assert pipe.startswith("pipe:")
    assert pipe in held_by(endpoint.process.pid)


def test_the_guard_is_in_nobodys_way(start: Start) -> None:
    """A session of its own, so that a signal to the login's group spares it, and no folder in use."""
    endpoint = start()
    wait_until(lambda: os.getsid(endpoint.guard) == endpoint.guard, "its session")
    wait_until(lambda: os.readlink(f"/proc/{endpoint.guard}/cwd") == "/", "its folder")


def test_commands_do_not_hold_the_guards_pipe(start: Start) -> None:
    """A command that held its other end would keep the guard from seeing the endpoint die."""
    endpoint = start()
    pipe = pipe_of(endpoint)
    for pid in (*group_members(endpoint.command), *group_members(endpoint.stubborn)):
        assert pipe not in held_by(pid)


def pipe_of(endpoint: Endpoint) -> str:
    """The one thing that its guard holds, when it has let go of all else."""
    wait_until(lambda: len(held_by(endpoint.guard) - {"/dev/null"}) == 1, "the guard has let go of all else")
    return (held_by(endpoint.guard) - {"/dev/null"}).pop()


def held_by(pid: int) -> set[str]:
    """Its descriptors, as /proc names them."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(entry))
        except OSError:
            continue  # it was closed meanwhile
    return found


def ignores(pid: int, signum: signal.Signals) -> bool:
    status: dict[str, Any] = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return bool(int(status["SigIgn"], 16) & 1 << signum - 1)
