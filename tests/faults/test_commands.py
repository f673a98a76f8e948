# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that do not behave: they leave others running, close what they were given, slip away."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from harness.moments import BOUND, END, Held
from harness.sessions import Session, Sessions
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

Hold = Callable[..., Held]

PUSH, PULL = ("input", "remote"), ("remote", "output")
WAYS: dict[str, dict[str, Any]] = {"direct": {}, "pumped": {"checksum": "sha256"}}
ALL_WAYS = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())
BOTH = pytest.mark.parametrize(("writer", "reader"), [PUSH, PULL])
SIZE = 1_000_000
WRITE = f"head -c {SIZE} /dev/zero"
#: Far more than connections and pipes hold.
ENDLESS = "cat /dev/zero"


def expect_nothing_left(session: Session) -> None:
    wait_until(lambda: not session.processes(), "nothing of the session is left", BOUND)


def expect_failure_of(writer: str, session: Session, gate: CommitGate) -> None:
    assert session.wait_over(BOUND).verdict.culprit == writer
    assert not gate.whole.exists()
    expect_nothing_left(session)


# Processes that a command leaves behind, and that hold its connection


@ALL_WAYS
@BOTH
def test_what_holds_the_connection_does_not_hold_up_the_end(
    sessions: Sessions, tmp_path: Path, writer: str, reader: str, options: dict[str, Any]
) -> None:
    """The stream ends with the command that was started, whoever else might still write."""
    gate = CommitGate(tmp_path)
    commands = {writer: sh(f"{WRITE}; sleep 600 & exit 0"), reader: gate.argv}
    session = sessions.start(dict(commands), **options)
    assert session.wait_over(BOUND).verdict == Verdict(None, None, [])
    assert gate.whole.stat().st_size == SIZE
    wait_until(lambda: session.commands() == ["sleep"], "what was left running stays")


@ALL_WAYS
@BOTH
def test_what_holds_the_connection_does_not_keep_a_broken_stream_open(
    sessions: Sessions, tmp_path: Path, writer: str, reader: str, options: dict[str, Any]
) -> None:
    gate = CommitGate(tmp_path)
    session = sessions.start({writer: sh(f"{WRITE}; sleep 600 & exit 3"), reader: gate.argv}, **options)
    expect_failure_of(writer, session, gate)


def daemon(script: str) -> str:
    """In a session and a group of its own, with what its starter has as input and output."""
    return f"exec 3<&0; setsid sh -c '{script}' <&3 3<&- &"


@ALL_WAYS
@BOTH
def test_a_daemon_can_not_go_on_with_a_broken_stream(
    sessions: Sessions, tmp_path: Path, writer: str, reader: str, options: dict[str, Any]
) -> None:
    """Nobody signals one that has left its group, but its writes fail."""
    gate = CommitGate(tmp_path)
    session = sessions.start(
        {writer: sh(f"{daemon(ENDLESS)} sleep 0.1; exit 3"), reader: gate.argv}, **options
    )
    expect_failure_of(writer, session, gate)


@pytest.mark.parametrize("side", ["local", "remote"])
def test_a_daemon_that_holds_the_connection_ends_with_its_endpoint(
    sessions: Sessions, tmp_path: Path, side: str
) -> None:
    """It neither reads nor writes: the guard of an endpoint that was killed finds it all the same."""
    writer, reader = PUSH if side == "local" else PULL
    gate = CommitGate(tmp_path)
    commands = {writer: sh(f"{daemon('exec sleep 600')} wait"), reader: gate.argv}
    session = sessions.start(dict(commands), patience={"crew.NOTICE_GRACE": 0.2})
    wait_until(lambda: "sleep" in session.commands(), "the daemon runs")
    began = time.monotonic()
    session.endpoints[side].process.send_signal(signal.SIGKILL)
    failure = session.wait_over(BOUND).verdict.failure
    expect_nothing_left(session)
    assert time.monotonic() - began < BOUND
    assert f"{side} endpoint" in str(failure)
    assert not gate.whole.exists()


# Commands that close what they were given


@ALL_WAYS
def test_a_writer_closes_its_output_long_before_it_ends(hold: Hold, options: dict[str, Any]) -> None:
    """That is no end yet: it could still fail."""
    held = hold(END, "input", **options)
    held.wait()
    assert not held.there.whole.exists()
    held.go_on()
    held.expect_whole()


@ALL_WAYS
@BOTH
def test_a_reader_closes_its_input_and_goes_on(
    sessions: Sessions, tmp_path: Path, writer: str, reader: str, options: dict[str, Any]
) -> None:
    """Its writer waits for it, and the session ends with it, in words."""
    commands = {writer: sh(ENDLESS), reader: sh("head -c 10 > /dev/null; exec <&-; sleep 0.3")}
    session = sessions.start(dict(commands), **options)
    verdict = session.wait_over(BOUND).verdict
    assert verdict.culprit == writer
    assert f"after {reader} command '{reader}' on " in str(verdict.failure)
    assert "had ended without reading it all" in str(verdict.failure)
    expect_nothing_left(session)


@pytest.mark.parametrize("role", ["input", "remote", "output"])
def test_a_command_closes_all_it_was_given(sessions: Sessions, tmp_path: Path, role: str) -> None:
    """An empty stream is a stream; what was not read is a failure."""
    gate = CommitGate(tmp_path)
    commands = {"input": sh(WRITE), "remote": ["cat"], "output": gate.argv}
    session = sessions.start({**commands, role: sh("exec <&- >&- 2>&-; sleep 0.1")})
    verdict = session.wait_over(BOUND).verdict
    expect_nothing_left(session)
    if role == "input":
        assert verdict.failure is None
        assert gate.whole.read_bytes() == b""
    else:
        assert verdict.failure is not None
        assert not gate.whole.exists() or role == "remote"


#: Programs made for inetd take their standard input for a socket with two directions.
SHUTDOWNS = {
    "after the end": "read(); sock.shutdown(socket.SHUT_WR)",
    "after the end, both": "read(); sock.shutdown(socket.SHUT_RDWR)",
    "at once": "sock.shutdown(socket.SHUT_WR); read()",
}
READ = """
import os, socket
sock = socket.socket(fileno=0)
def read():
    count = 0
    while (data := sock.recv(65536)):
        count += len(data)
    print(count, flush=True)
"""


@ALL_WAYS
@pytest.mark.parametrize("listen", ["local", "remote"])
@pytest.mark.parametrize("how", SHUTDOWNS.values(), ids=SHUTDOWNS.keys())
def test_a_reader_ends_the_direction_that_it_has_no_use_for(
    sessions: Sessions, how: str, listen: str, options: dict[str, Any]
) -> None:
    """With shutdown(2): two FINs are no reset."""
    commands = {"input": sh(WRITE), "remote": [sys.executable, "-c", READ + how]}
    session = sessions.start(dict(commands), listen=listen, **options)
    ended = session.wait_over(BOUND)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.command("remote")["stdout"] == f"{SIZE}\n"
    assert ended.bytes("input") == {SIZE}
    expect_nothing_left(session)


@ALL_WAYS
@pytest.mark.parametrize("how", SHUTDOWNS.values(), ids=SHUTDOWNS.keys())
def test_a_reader_that_does_so_does_not_make_a_broken_stream_whole(
    sessions: Sessions, how: str, options: dict[str, Any]
) -> None:
    commands = {"input": sh(f"{WRITE}; exit 3"), "remote": [sys.executable, "-c", READ + how]}
    session = sessions.start(dict(commands), **options)
    ended = session.wait_over(BOUND)
    assert ended.verdict.culprit == "input"
    assert "[Errno " in ended.command("remote")["stderr"]
    assert ended.command("remote")["stdout"] == ""
    expect_nothing_left(session)
