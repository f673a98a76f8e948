# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole sessions: two endpoints as processes, real commands, real deaths."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from harness.middlebox import Middlebox
from harness.pythons import PYTHONS
from harness.sessions import Ended, Redirected, Sessions, Words
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

SIZE = 3_000_000


WAYS: dict[str, dict[str, Any]] = {
    "local": {"listen": "local"},
    "remote": {"listen": "remote"},
    "encrypted": {"listen": "remote", "encrypt": True},
    "checked": {"listen": "local", "checksum": "sha256"},
}


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def session_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every session of this page goes either way, direct and pumped."""
    return dict(request.param)


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    """Random bytes, which are also in the file `data`."""
    data = os.urandom(SIZE)
    (tmp_path / "data").write_bytes(data)
    return data


# What arrives is what was sent, on every Python


@PYTHONS
def test_push(sessions: Sessions, tmp_path: Path, data: bytes, python: str) -> None:
    gate = CommitGate(tmp_path)
    ended = sessions.run({"input": ["cat", f"{tmp_path}/data"], "remote": gate.argv}, python=python)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.bytes("input") == {SIZE}
    assert gate.whole.read_bytes() == data


@PYTHONS
def test_pull(sessions: Sessions, tmp_path: Path, data: bytes, python: str) -> None:
    gate = CommitGate(tmp_path)
    ended = sessions.run({"remote": ["cat", f"{tmp_path}/data"], "output": gate.argv}, python=python)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.bytes("output") == {SIZE}
    assert gate.whole.read_bytes() == data


@PYTHONS
def test_filter(sessions: Sessions, tmp_path: Path, data: bytes, python: str) -> None:
    gate = CommitGate(tmp_path)
    commands = {"input": ["cat", f"{tmp_path}/data"], "remote": sh("cat; echo more"), "output": gate.argv}
    ended = sessions.run(commands, python=python)
    assert ended.verdict == Verdict(None, None, [])
    assert (ended.bytes("input"), ended.bytes("output")) == ({SIZE}, {SIZE + 5})
    assert gate.whole.read_bytes() == data + b"more\n"


# Files in the place of the local commands


@PYTHONS
def test_a_file_is_pushed(sessions: Sessions, tmp_path: Path, data: bytes, python: str) -> None:
    gate = CommitGate(tmp_path)
    ended = sessions.run({"input": tmp_path / "data", "remote": gate.argv}, python=python)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.bytes("input") == {SIZE}
    assert gate.whole.read_bytes() == data


@PYTHONS
def test_a_file_is_pulled(sessions: Sessions, tmp_path: Path, data: bytes, python: str) -> None:
    commands = {"remote": ["cat", f"{tmp_path}/data"], "output": tmp_path / "copy"}
    ended = sessions.run(commands, python=python)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.bytes("output") == {SIZE}
    assert (tmp_path / "copy").read_bytes() == data


def test_a_filter_runs_between_two_files(sessions: Sessions, tmp_path: Path, data: bytes) -> None:
    commands = {"input": tmp_path / "data", "remote": sh("cat; echo more"), "output": tmp_path / "copy"}
    ended = sessions.run(commands)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.bytes("input") == {SIZE}
    assert (tmp_path / "copy").read_bytes() == data + b"more\n"


def test_a_file_and_a_command_go_together(sessions: Sessions, tmp_path: Path) -> None:
    ended = sessions.run({"input": ["echo", "x"], "remote": ["cat"], "output": tmp_path / "copy"})
    assert ended.verdict == Verdict(None, None, [])
    assert (tmp_path / "copy").read_bytes() == b"x\n"


def test_a_file_with_nothing_in_it_is_a_stream_too(sessions: Sessions, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    ended = sessions.run({"input": tmp_path / "data", "remote": ["cat"], "output": tmp_path / "copy"})
    assert ended.verdict == Verdict(None, None, [])
    assert (tmp_path / "copy").read_bytes() == b""


def test_a_file_whose_reader_ends_early_fails_the_session(sessions: Sessions, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(20_000_000))
    ended = sessions.run({"input": tmp_path / "data", "remote": ["head", "-c", "10"]})
    failure = ended.verdict.failure or ""
    assert failure.startswith(
        "input file 'input' on here could not be sent to its end, "
        "after remote command 'remote' on there had ended without reading it all: "
    )
    assert ended.command("input")["rc"] == 141


def test_a_file_may_be_read_in_part_when_141_is_accepted(sessions: Sessions, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(20_000_000))
    ended = sessions.run(
        {"input": tmp_path / "data", "remote": sh("head -c 1000 | wc -c")}, accept_rc={"input": [0, 141]}
    )
    assert ended.verdict.failure is None
    (warning,) = ended.verdict.warnings
    assert "remote command 'remote' on there ended after " in warning
    assert ended.command("remote")["stdout"] == "1000\n"


def test_a_writer_that_fails_is_the_culprit_and_the_file_that_is_written_its_victim(
    sessions: Sessions, tmp_path: Path
) -> None:
    commands = {"remote": sh("head -c 5000000 /dev/zero; exit 3"), "output": tmp_path / "copy"}
    ended = sessions.run(commands)
    assert ended.verdict == Verdict("remote command 'remote' on there exited 3", "remote", [])
    assert ended.command("output")["is_victim"]
    assert ended.command("output")["rc"] == 1


def test_a_file_that_can_not_be_written_is_the_culprit(sessions: Sessions) -> None:
    ended = sessions.run({"remote": ["cat", "/dev/zero"], "output": Path("/dev/full")})
    words = "output file 'output' on here could not be written: No space left on device"
    assert ended.verdict == Verdict(words, "output", [])


def test_a_file_that_can_not_be_read_is_the_culprit(sessions: Sessions, tmp_path: Path) -> None:
    """Nobody can read at the beginning of a process's memory, whatever statuses are accepted."""
    gate = CommitGate(tmp_path)
    ended = sessions.run(
        {"input": Path("/proc/self/mem"), "remote": gate.argv}, accept_rc={"input": [0, 1, 141]}
    )
    words = "input file 'input' on here could not be read: Input/output error"
    assert ended.verdict == Verdict(words, "input", [])
    assert not gate.whole.exists()


@pytest.mark.parametrize("end", ["local", "remote"])
def test_a_file_that_waits_ends_when_an_endpoint_is_killed(
    sessions: Sessions, tmp_path: Path, end: str
) -> None:
    commands = {"remote": sh("echo x; sleep 60"), "output": tmp_path / "copy"}
    session = sessions.start(commands)
    wait_until(lambda: (tmp_path / "copy").exists() and (tmp_path / "copy").stat().st_size, "it flows")
    session.endpoints[end].kill()
    wait_until(lambda: not session.processes(), "nothing is left")


def test_a_file_that_waits_ends_when_the_session_is_given_up(sessions: Sessions, tmp_path: Path) -> None:
    """Its writer does not stop by itself: the stream breaks, and no status is left open."""
    session = sessions.start({"remote": sh("echo x; sleep 60"), "output": tmp_path / "copy"})
    wait_until(lambda: (tmp_path / "copy").exists() and (tmp_path / "copy").stat().st_size, "it flows")
    session.local.let_go()
    ended = sessions.end(session)
    assert ended.reason("local")["kind"] == "abandoned"
    assert ended.command("output")["rc"] == 1
    assert ended.command("output")["is_victim"]


def test_a_file_that_waits_for_its_reader_ends_when_the_session_is_given_up(
    sessions: Sessions, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(bytes(20_000_000))
    session = sessions.start({"input": tmp_path / "data", "remote": sh("sleep 60")})
    session.local.wait_for("started")
    session.local.let_go()
    ended = sessions.end(session)
    assert ended.reason("local")["kind"] == "abandoned"
    assert ended.command("input")["rc"] == 141


# A file beside a local command

#: Prints which descriptors its shell has.
OWN_DESCRIPTORS = "ls /proc/$$/fd"


@PYTHONS
def test_a_command_reads_a_file_and_what_it_prints_is_pushed(
    sessions: Sessions, tmp_path: Path, data: bytes, python: str
) -> None:
    gate = CommitGate(tmp_path)
    (tmp_path / "packed").write_bytes(gzip.compress(data))
    unpacking = Redirected(["gzip", "-dc"], tmp_path / "packed")
    ended = sessions.run({"input": unpacking, "remote": gate.argv}, python=python)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.bytes("input") == {SIZE}
    assert gate.whole.read_bytes() == data


@PYTHONS
def test_a_command_reads_what_is_pulled_and_prints_to_a_file(
    sessions: Sessions, tmp_path: Path, data: bytes, python: str
) -> None:
    packing = Redirected(["gzip", "-c"], tmp_path / "packed")
    ended = sessions.run({"remote": ["cat", f"{tmp_path}/data"], "output": packing}, python=python)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.bytes("output") == {SIZE}
    assert gzip.decompress((tmp_path / "packed").read_bytes()) == data
    assert "stdout" not in ended.command("output")


def test_a_command_has_the_file_itself_and_the_stream_itself(sessions: Sessions, tmp_path: Path) -> None:
    """So no byte of the file passes through the endpoint, and none of the stream unless it is pumped."""
    (tmp_path / "source").touch()
    shown = "own=$(readlink /proc/$$/fd/0 /proc/$$/fd/1); echo $own >&2"
    commands = {
        "input": Redirected(sh(f"{shown}; cat"), tmp_path / "source"),
        "remote": ["cat"],
        "output": Redirected(sh(f"{shown}; cat"), tmp_path / "copy"),
    }
    ended = sessions.run(commands)
    assert ended.verdict == Verdict(None, None, [])
    read, sent = ended.command("input")["stderr"].split()
    received, written = ended.command("output")["stderr"].split()
    assert (read, written) == (f"{tmp_path}/source", f"{tmp_path}/copy")
    assert sent.startswith("socket:[")
    assert received.startswith("socket:[")


@pytest.mark.parametrize("source", ["source", "/dev/null"])
def test_no_command_inherits_the_others_file(sessions: Sessions, tmp_path: Path, source: str) -> None:
    """Nor its own twice."""
    (tmp_path / "source").touch()
    commands = {
        "input": Redirected(sh(OWN_DESCRIPTORS), tmp_path / source),
        "remote": ["cat"],
        "output": Redirected(sh(f"cat; {OWN_DESCRIPTORS}"), tmp_path / "copy"),
    }
    assert sessions.run(commands).verdict == Verdict(None, None, [])
    assert (tmp_path / "copy").read_text().split() == ["0", "1", "2"] * 2


def test_the_statuses_of_a_command_with_a_file_are_accepted_as_any(
    sessions: Sessions, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(b"x\n")
    commands = {
        "input": Redirected(sh("cat; exit 3"), tmp_path / "source"),
        "remote": ["cat"],
        "output": Redirected(sh("cat; exit 4"), tmp_path / "copy"),
    }
    ended = sessions.run(commands, accept_rc={"input": [3], "output": [4]})
    assert ended.verdict == Verdict(None, None, [])
    assert (tmp_path / "copy").read_bytes() == b"x\n"


@pytest.mark.parametrize(("end", "words"), [("exit 3", "exited 3"), ("kill -9 $$", "was ended by SIGKILL")])
def test_a_command_with_a_file_that_fails_is_the_culprit(
    sessions: Sessions, tmp_path: Path, data: bytes, end: str, words: str
) -> None:
    gate = CommitGate(tmp_path)
    pushed = sessions.run({"input": Redirected(sh(f"cat; {end}"), tmp_path / "data"), "remote": gate.argv})
    assert pushed.verdict == Verdict(f"input command 'input' on here {words}", "input", [])
    assert not gate.whole.exists()
    pulled = sessions.run(
        {"remote": ["cat", f"{tmp_path}/data"], "output": Redirected(sh(f"cat; {end}"), tmp_path / "copy")}
    )
    assert pulled.verdict == Verdict(f"output command 'output' on here {words}", "output", [])


def test_a_command_with_a_file_whose_stream_breaks_is_its_writers_victim(
    sessions: Sessions, tmp_path: Path
) -> None:
    """Though it does not mind, and ends well."""
    reading = Redirected(sh("cat; exit 0"), tmp_path / "copy")
    ended = sessions.run({"remote": sh("head -c 5000000 /dev/zero; exit 3"), "output": reading})
    assert ended.verdict == Verdict("remote command 'remote' on there exited 3", "remote", [])
    assert ended.command("output")["is_victim"]


@pytest.mark.parametrize("end", ["local", "remote"])
def test_a_command_with_a_file_ends_when_an_endpoint_is_killed(
    sessions: Sessions, tmp_path: Path, end: str
) -> None:
    reading = Redirected(["cat"], tmp_path / "copy")
    session = sessions.start({"remote": sh("echo x; sleep 60"), "output": reading})
    wait_until(lambda: (tmp_path / "copy").exists() and (tmp_path / "copy").stat().st_size, "it flows")
    session.endpoints[end].kill()
    wait_until(lambda: not session.processes(), "nothing is left")


def test_a_device_that_is_full_is_in_the_words_of_the_command(sessions: Sessions) -> None:
    writing = Redirected(["cat"], Path("/dev/full"))
    ended = sessions.run({"remote": ["cat", "/dev/zero"], "output": writing})
    assert ended.verdict.culprit == "output"
    failure = ended.verdict.failure or ""
    assert failure.startswith("output command 'output' on here exited 1: cat: ")
    assert failure.endswith(": No space left on device")


def test_fifos_are_opened_by_the_commands_and_waited_for(
    sessions: Sessions, tmp_path: Path, data: bytes
) -> None:
    """Not by the endpoint, which goes on meanwhile."""
    for name in ("in", "out"):
        os.mkfifo(tmp_path / name)
    commands = {
        "input": Redirected(["cat"], tmp_path / "in"),
        "remote": ["cat"],
        "output": Redirected(["cat"], tmp_path / "out"),
    }
    session = sessions.start(commands, progress=0.1)
    wait_until(lambda: len(session.local.events("progress")) >= 3, "the endpoint goes on")
    with (
        subprocess.Popen(["cp", str(tmp_path / "data"), str(tmp_path / "in")]),
        (tmp_path / "out").open("rb") as out,
    ):
        assert out.read() == data
    assert sessions.end(session).verdict == Verdict(None, None, [])


def test_a_command_that_waits_for_a_fifo_ends_when_the_session_is_given_up(
    sessions: Sessions, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    session = sessions.start({"input": Redirected(["cat"], tmp_path / "fifo"), "remote": ["cat"]})
    session.local.wait_for("started")
    session.local.let_go()
    ended = sessions.end(session)
    assert ended.reason("local")["kind"] == "abandoned"
    assert ended.command("input")["signal"] == "SIGTERM"
    wait_until(lambda: not session.processes(), "nothing is left")


def test_a_fifo_that_can_not_be_opened_is_never_taken_for_an_empty_one(
    sessions: Sessions, tmp_path: Path
) -> None:
    """Whatever statuses a user may accept of the command."""
    gate = CommitGate(tmp_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        reading = Redirected(["cat"], tmp_path / "socket")
        ended = sessions.run(
            {"input": reading, "remote": gate.argv}, accept_rc={"input": [*range(127), *range(128, 256)]}
        )
    assert ended.verdict.culprit == "input"
    failure = ended.verdict.failure or ""
    assert failure.startswith("input command 'input' on here exited 127: ")
    assert f"cannot open {tmp_path}/socket: No such device or address" in failure
    assert not gate.whole.exists()


def test_nothing_is_a_stream_too(sessions: Sessions, tmp_path: Path) -> None:
    gate = CommitGate(tmp_path)
    ended = sessions.run({"input": ["true"], "remote": ["cat"], "output": gate.argv})
    assert ended.verdict == Verdict(None, None, [])
    assert (ended.bytes("input"), ended.bytes("output")) == ({0}, {0})
    assert gate.whole.read_bytes() == b""


def test_without_output_what_remote_prints_is_kept(sessions: Sessions) -> None:
    ended = sessions.run({"input": ["echo", "abc"], "remote": ["wc", "-c"]})
    assert ended.command("remote")["stdout"].strip() == "4"


def test_without_input_remote_has_nothing_to_read(sessions: Sessions) -> None:
    ended = sessions.run({"remote": sh("cat; echo end"), "output": ["cat"]})
    assert ended.command("output")["stdout"] == "end\n"


def test_commands_may_say_all_that_is_kept_of_them_in_any_bytes(sessions: Sessions) -> None:
    """Three full tails, in characters that JSON makes six of."""
    noise = "head -c 70000 /dev/zero"
    commands = {
        "input": sh(f"{noise} >&2"),
        "remote": sh(f"cat; {noise} >&2"),
        "output": sh(f"cat; {noise}; {noise} >&2"),
    }
    assert sessions.run(commands).verdict == Verdict(None, None, [])


def test_nothing_is_left_of_a_session(sessions: Sessions) -> None:
    session = sessions.start({"input": ["true"], "remote": ["cat"], "output": ["cat"]})
    sessions.end(session)
    assert session.processes() == {}
    assert (session.local.errors, session.remote.errors) == ("", "")


#: Writes a thousand bytes, marks the next as urgent, and goes on when nobody has stopped it.
URGENT = """
import socket, time
sock = socket.socket(fileno=1)
sock.sendall(b"a" * 1000)
sock.send(b"!", socket.MSG_OOB)
try:
    while True:
        time.sleep(0.05)
        sock.sendall(b"b")
except OSError:
    raise SystemExit(1)
"""


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_a_file_never_ends_before_its_stream(tmp_path: Path, listen: str) -> None:
    """What splice takes for the end need not be one, and accepting 141 accepts no such end."""
    sessions = Sessions(tmp_path, {"listen": listen})
    commands: dict[str, Any] = {"remote": [sys.executable, "-c", URGENT], "output": tmp_path / "copy"}
    ended = sessions.run(commands, accept_rc={"remote": [0, 1, 141]})
    sessions.close()
    assert ended.verdict.culprit == "output"
    assert "urgent data" in str(ended.verdict.failure)


# Failures


@pytest.mark.parametrize("role", ["input", "remote", "output"])
def test_a_failing_command_fails_the_session_and_no_reader_commits(
    sessions: Sessions, tmp_path: Path, role: str
) -> None:
    gate = CommitGate(tmp_path)
    commands = {
        "input": sh("head -c 100000 /dev/zero"),
        "remote": ["cat"],
        "output": sh(gate.script),
        role: sh("head -c 1000 /dev/zero; echo x: oops >&2; exit 3"),
    }
    ended = sessions.run(commands)
    where = {"input": "here", "remote": "there", "output": "here"}[role]
    assert ended.verdict == Verdict(f"{role} command '{role}' on {where} exited 3: x: oops", role, [])
    assert not gate.whole.exists()


READING_ON = {
    "one after the other": "cat > /dev/null; cat > /dev/null && touch {marker}",
    "side by side": "exec 3<&0; for i in 1 2; do (cat <&3 > /dev/null && touch {marker}) & done; wait",
}


@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("script", READING_ON.values(), ids=READING_ON.keys())
def test_a_reader_that_reads_on_after_the_error_sees_no_end_of_file(
    sessions: Sessions, tmp_path: Path, script: str, attempt: int
) -> None:
    """Linux reports a reset once, and a clean end of file from then on."""
    marker = tmp_path / "marker"
    failing = sh("head -c 3000000 /dev/zero; sleep 0.1; exit 3")
    ended = sessions.run({"input": failing, "remote": sh(script.format(marker=marker))})
    assert ended.verdict.failure == "input command 'input' on here exited 3"
    assert not marker.exists()


def test_statuses_are_known_where_the_parent_ignores_sigchld(sessions: Sessions) -> None:
    """That is inherited, and would have the system forget how the commands ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        session = sessions.start({"input": ["true"], "remote": sh("cat; exit 9")})
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert sessions.end(session).verdict.failure == "remote command 'remote' on there exited 9"


@pytest.mark.parametrize("role", ["input", "remote", "output"])
def test_a_missing_executable_starts_nothing(sessions: Sessions, tmp_path: Path, role: str) -> None:
    commands = {one: sh(f"cat; : > {tmp_path}/{one}") for one in ("input", "remote", "output")}
    session = sessions.start({**commands, role: ["./nonexistent"]})
    if role != "remote":
        # Whoever asked for the session has its local side's view, and gives it up.
        session.local.wait_ended()
        session.remote.let_go()
    ended = sessions.end(session)
    assert "there is no file './nonexistent'" in str(ended.verdict.failure)
    assert [path.name for path in tmp_path.iterdir() if path.name in commands] == []


def test_when_the_second_command_can_not_be_started_the_first_one_is_seen_to_end(
    sessions: Sessions, tmp_path: Path
) -> None:
    """Its file is there and executable, and no program."""
    (tmp_path / "bad").write_bytes(b"\x7fno program")
    (tmp_path / "bad").chmod(0o755)
    commands = {"input": [f"{tmp_path}/bad"], "remote": ["cat"], "output": ["cat"]}
    ended = sessions.run(commands, patience={"endpoint.ABORT_TIMEOUT": 2.0})
    assert ended.verdict.culprit == "input"
    assert "Exec format error" in str(ended.verdict.failure)
    assert ended.command("output")["rc"] is not None


EARLY = "remote command 'remote' on there ended after 10 of the "


@pytest.mark.parametrize("attempt", range(5))
def test_a_reader_may_end_early_when_sigpipe_is_accepted(sessions: Sessions, attempt: int) -> None:
    """Whether the broken pipe comes as a signal or, just then, as a write error."""
    commands = {"input": ["cat", "/dev/zero"], "remote": ["head", "-c", "10"]}
    verdict = sessions.run(commands, accept_rc={"input": [0, 141]}).verdict
    (warning,) = verdict.warnings
    assert warning.startswith(EARLY)
    assert (verdict.failure, verdict.culprit) == (None, None)


def test_a_reader_that_ends_early_breaks_the_pipe_as_in_a_shell(sessions: Sessions) -> None:
    commands = {"input": ["yes"], "remote": ["head", "-c", "10"]}
    verdict = sessions.run(commands).verdict
    assert verdict.culprit == "input"
    after = "after remote command 'remote' on there had ended without reading it all"
    assert after in str(verdict.failure)


def test_what_a_reader_left_is_a_failure_though_every_status_was_accepted(sessions: Sessions) -> None:
    commands = {"input": sh("trap '' PIPE; cat /dev/zero; exit 0"), "remote": ["head", "-c", "10"]}
    verdict = sessions.run(commands).verdict
    assert str(verdict.failure).startswith(EARLY)


def test_a_reader_need_not_read_the_end_of_file(sessions: Sessions) -> None:
    commands = {"input": ["printf", "0123456789"], "remote": ["head", "-c", "10"]}
    assert sessions.run(commands).verdict == Verdict(None, None, [])


# Deaths in the middle


PUSH, PULL = ("input", "remote"), ("remote", "output")
#: Writes a little, again and again, until it can not.
ENDLESS = "while head -c 100000 /dev/zero; do sleep 0.01; done"


def streaming(gate: CommitGate, roles: tuple[str, str]) -> dict[str, Words]:
    """A writer that never ends and a reader that commits what it read whole."""
    writer, reader = roles
    return {writer: sh(ENDLESS), reader: gate.argv}


@pytest.mark.parametrize(
    ("roles", "killed", "signum"),
    [
        *[(roles, killed, signal.SIGKILL) for roles in (PUSH, PULL) for killed in ("local", "remote")],
        *[(PUSH, "local", signum) for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)],
        *[(PULL, "remote", signum) for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)],
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else "",
)
def test_when_an_endpoint_dies_all_ends_and_no_reader_commits(
    sessions: Sessions, tmp_path: Path, roles: tuple[str, str], killed: str, signum: signal.Signals
) -> None:
    gate = CommitGate(tmp_path)
    session = sessions.start(streaming(gate, roles))
    wait_until(gate.has_bytes, "the stream flows")
    began = time.monotonic()
    session.endpoints[killed].process.send_signal(signum)
    survivor = session.endpoints["remote" if killed == "local" else "local"]
    view = survivor.wait_ended(timeout=15)
    wait_until(lambda: session.commands() == [], "no command is left", timeout=15)
    assert time.monotonic() - began < 15
    assert not gate.whole.exists()
    reason = view["own"]["reason"]
    if signum == signal.SIGKILL:
        assert reason["kind"] == "lost"
    else:
        assert (reason["kind"], reason["by"]) == ("interrupted", "peer")
        assert reason["text"] == f"it was ended by {signum.name}"


@pytest.mark.parametrize("roles", [PUSH, PULL], ids=["push", "pull"])
def test_the_reader_at_the_surviving_side_sees_an_error(
    sessions: Sessions, tmp_path: Path, roles: tuple[str, str]
) -> None:
    """Not only does it not commit: it has time to say what it saw."""
    writer, reader = roles
    status = tmp_path / "status"
    commands = {
        writer: sh(ENDLESS),
        reader: sh(f"cat > {tmp_path}/f; echo $? > {status}.part; mv {status}.part {status}"),
    }
    session = sessions.start(commands)
    wait_until(lambda: (tmp_path / "f").exists() and (tmp_path / "f").stat().st_size, "the stream flows")
    session.endpoints["local" if writer == "input" else "remote"].kill()
    wait_until(status.exists, "the reader's end")
    assert status.read_text() == "1\n"


@pytest.mark.parametrize("roles", [PUSH, PULL], ids=["push", "pull"])
def test_when_whoever_asked_goes_away_all_ends(
    sessions: Sessions, tmp_path: Path, roles: tuple[str, str]
) -> None:
    gate = CommitGate(tmp_path)
    session = sessions.start(streaming(gate, roles))
    wait_until(gate.has_bytes, "the stream flows")
    session.local.let_go()
    ended = sessions.end(session)
    assert ended.reason("local")["kind"] == "abandoned"
    assert ended.reason("remote")["by"] == "peer"
    assert not gate.whole.exists()
    wait_until(lambda: session.commands() == [], "no command is left")


CUTS = pytest.mark.parametrize(
    "number", [0, 1], ids=["the control connection is cut", "the data connection is cut"]
)


@pytest.fixture
def cut(sessions: Sessions, tmp_path: Path) -> Iterator[Callable[[tuple[str, str], int], Ended]]:
    """A session, one of whose connections is cut in the middle by something on the way."""
    boxes: list[Middlebox] = []

    def through(listener: str, port: int) -> int:
        boxes.append(Middlebox(port))
        return boxes[0].port

    def cut(roles: tuple[str, str], number: int) -> Ended:
        gate = CommitGate(tmp_path)
        session = sessions.start(streaming(gate, roles), through=through)
        wait_until(gate.has_bytes, "the stream flows")
        boxes[0].cut(number)
        return sessions.end(session)

    yield cut
    for box in boxes:
        box.close()


@CUTS
@pytest.mark.parametrize("roles", [PUSH, PULL], ids=["push", "pull"])
def test_when_a_connection_is_cut_on_the_way_no_reader_commits(
    cut: Callable[[tuple[str, str], int], Ended], tmp_path: Path, roles: tuple[str, str], number: int
) -> None:
    assert cut(roles, number).verdict.failure is not None
    assert not CommitGate(tmp_path).whole.exists()


@pytest.mark.parametrize("roles", [PUSH, PULL], ids=["push", "pull"])
def test_a_cut_data_connection_is_not_blamed_on_a_command(
    cut: Callable[[tuple[str, str], int], Ended], roles: tuple[str, str]
) -> None:
    verdict = cut(roles, 1).verdict
    assert verdict.culprit is None
    assert "is there a firewall that ends connections?" in str(verdict.failure)


def test_a_command_that_ignores_sigterm_is_killed(sessions: Sessions, tmp_path: Path) -> None:
    """Even one that nobody's broken connection would end."""
    ready = tmp_path / "ready"
    stubborn = sh(f"trap '' TERM; : > {ready}; while :; do sleep 1; done")
    patience = {"crew.NOTICE_GRACE": 0.1, "crew.TERM_GRACE": 0.2}
    session = sessions.start({"input": stubborn, "remote": ["cat"]}, patience=patience)
    wait_until(ready.exists, "it ignores SIGTERM")
    session.remote.kill()
    view = session.local.wait_ended(timeout=15)
    assert view["own"]["commands"]["input"]["signal"] == "SIGKILL"
    wait_until(lambda: session.commands() == [], "no command is left")


def test_a_command_that_an_abort_could_not_end_is_not_the_culprit(sessions: Sessions) -> None:
    """It waits for a disk, or has become another user's; the remote command failed by itself."""
    commands = {"input": ["sleep", "60"], "remote": sh("exit 9")}
    patience = {"crew.NOTICE_GRACE": 60.0, "endpoint.ABORT_TIMEOUT": 0.2}
    verdict = sessions.run(commands, patience=patience).verdict
    assert verdict == Verdict("remote command 'remote' on there exited 9", "remote", [])


@pytest.mark.parametrize("killed", ["local", "remote"])
def test_commands_that_notice_nothing_end_with_their_endpoint(sessions: Sessions, killed: str) -> None:
    """They neither read nor write: the guard of the one side and the abort of the other end them."""
    commands = {"input": ["sleep", "600"], "remote": ["sleep", "600"], "output": ["sleep", "600"]}
    session = sessions.start(commands, patience={"crew.NOTICE_GRACE": 0.1})
    session.local.wait_for("started")
    # An endpoint knows that a command was started a little before /proc shows its name.
    wait_until(lambda: session.commands() == ["sleep"] * 3, "all three run")
    session.endpoints[killed].kill()
    wait_until(lambda: session.commands() == [], "no command is left")


def test_what_a_session_that_ended_well_left_running_stays(sessions: Sessions, tmp_path: Path) -> None:
    commands = {"input": ["true"], "remote": sh("cat; sleep 600 > /dev/null 2>&1 < /dev/null &")}
    session = sessions.start(commands)
    assert sessions.end(session).verdict.failure is None
    wait_until(lambda: session.commands() == ["sleep"], "it has become what its shell left running")
