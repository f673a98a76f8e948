# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing moves for a long time, and both endpoints live: that is no fault, and nobody is ended.

The engine's time is scaled down: what is seconds here is most of a minute there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from harness.moments import MIDDLE, START, Held
from harness.processes import state_of
from harness.sessions import Session, Sessions
from harness.streams import CommitGate, sh
from harness.waiting import let_pass, wait_until

Hold = Callable[..., Held]

#: A peer that says nothing for so long is lost; commands that do nothing for longer are not.
PATIENCE = {"peer.HEARTBEAT": 0.2, "peer.SILENCE": 2.0}
LONG = 5.0
#: More than a connection's buffers hold.
SIZE = 40_000_000
WAYS: dict[str, dict[str, Any]] = {"direct": {}, "pumped": {"checksum": "sha256"}}


def expect_to_live(session: Session) -> None:
    endpoints = session.endpoints.values()
    let_pass(LONG, lambda: not any(end.has_said("ended") for end in endpoints), "the session lives")


@pytest.mark.parametrize("role", ["input", "remote", "output"])
def test_a_command_is_stopped_for_long(hold: Hold, role: str) -> None:
    """With SIGSTOP, as by a debugger, a snapshot of its machine, or a job control."""
    held = hold(MIDDLE, patience=PATIENCE)
    held.wait()
    pid = held.pid(role)
    os.killpg(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T", "the command is stopped")
    expect_to_live(held.session)
    os.killpg(pid, signal.SIGCONT)
    held.go_on()
    held.expect_whole()


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())
def test_nobody_writes_for_long(hold: Hold, options: dict[str, Any]) -> None:
    """A tape is changed: the connections are idle, from the first moment on."""
    held = hold(START, patience=PATIENCE, **options)
    held.wait()
    expect_to_live(held.session)
    held.go_on()
    held.expect_whole()


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("writer", "reader"), [("input", "remote"), ("remote", "output")])
def test_nobody_reads_for_long(
    sessions: Sessions, tmp_path: Path, writer: str, reader: str, options: dict[str, Any]
) -> None:
    """The connection is full, and its writer waits."""
    gate = CommitGate(tmp_path)
    awake = tmp_path / "awake"
    os.mkfifo(awake)
    commands = {
        writer: sh(f"head -c {SIZE} /dev/zero; : > {tmp_path}/written"),
        reader: sh(f": < {awake}; {gate.script}"),
    }
    session = sessions.start(dict(commands), patience=PATIENCE, **options)
    session.local.wait_for("started")
    expect_to_live(session)
    assert not (tmp_path / "written").exists()
    with awake.open("w"):
        pass
    ended = sessions.end(session)
    assert ended.verdict == Verdict(None, None, [])
    assert gate.whole.stat().st_size == SIZE


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())
def test_an_output_comes_long_after_the_input_has_ended(
    sessions: Sessions, tmp_path: Path, options: dict[str, Any]
) -> None:
    """A filter that sorts says nothing before it has read everything."""
    gate = CommitGate(tmp_path)
    awake = tmp_path / "awake"
    os.mkfifo(awake)
    remote = sh(f"cat > {tmp_path}/read && : < {awake} && cat {tmp_path}/read")
    commands = {"input": sh("echo x"), "remote": remote, "output": gate.argv}
    session = sessions.start(dict(commands), patience=PATIENCE, **options)
    expect_to_live(session)
    with awake.open("w"):
        pass
    assert sessions.end(session).verdict == Verdict(None, None, [])
    assert gate.whole.read_bytes() == b"x\n"
