# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every process of a session, killed at every moment of its life."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.moments import BOUND, MOMENTS, Held
from harness.sessions import Sessions
from harness.waiting import wait_until

Hold = Callable[..., Held]

COMMANDS = {"input": "here", "remote": "there", "output": "here"}
ENDPOINTS = {"local": ["local"], "remote": ["remote"], "both": ["local", "remote"]}
SIGNALS = pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=lambda signum: signum.name)
#: Commands that wait do not notice that their connections broke: here nobody gives them long.
PATIENCE = {"crew.NOTICE_GRACE": 0.2}


@SIGNALS
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("role", COMMANDS)
def test_a_command_is_killed(hold: Hold, role: str, moment: str, signum: signal.Signals) -> None:
    """It is the culprit, whoever else noticed."""
    held = hold(moment, role, patience=PATIENCE)
    held.wait()
    began = time.monotonic()
    os.kill(held.pid(role), signum)
    words = f"{role} command '{role}' on {COMMANDS[role]} was ended by {signum.name}"
    verdict = held.expect_broken(began).verdict
    assert (verdict.culprit, str(verdict.failure).partition(": ")[0]) == (role, words)


#: What is said of the endpoint that was killed; of either when both were.
WORDS = {
    ("local", signal.SIGTERM): "local endpoint on here was interrupted: it was ended by SIGTERM",
    ("remote", signal.SIGTERM): "remote endpoint on there was interrupted: it was ended by SIGTERM",
    ("both", signal.SIGTERM): "was interrupted: it was ended by SIGTERM",
    ("local", signal.SIGKILL): "local endpoint on here was lost: ",
    ("remote", signal.SIGKILL): "remote endpoint on there was lost: ",
    ("both", signal.SIGKILL): "local endpoint on here never got the report of the remote endpoint on there",
}


@SIGNALS
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("which", ENDPOINTS)
def test_an_endpoint_is_killed(hold: Hold, which: str, moment: str, signum: signal.Signals) -> None:
    held = hold(moment, patience=PATIENCE)
    held.wait()
    began = time.monotonic()
    for side in ENDPOINTS[which]:
        held.session.endpoints[side].process.send_signal(signum)
    verdict = held.expect_broken(began).verdict
    assert verdict.culprit is None
    assert WORDS[which, signum] in str(verdict.failure)


#: What its peer says, or whoever gave the session up for it.
UNMET = {
    "local": "there and here could not connect to each other: no path to the other side was found",
    "remote": "local endpoint on here was interrupted: whoever asked for the session has ended",
}


@SIGNALS
@pytest.mark.parametrize("side", UNMET)
@pytest.mark.parametrize("listen", ["local", "remote"])
def test_an_endpoint_is_killed_before_the_two_have_met(
    sessions: Sessions, tmp_path: Path, side: str, listen: str, signum: signal.Signals
) -> None:
    """Its process has only just begun. The other one gives up, and nothing was started."""
    go = tmp_path / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)"
    commands = {role: ["touch", f"{tmp_path}/{role}"] for role in COMMANDS}
    session = sessions.start(dict(commands), listen=listen, timeout=0.5, before=dict.fromkeys(UNMET, wait))
    began = time.monotonic()
    session.endpoints[side].process.send_signal(signum)
    session.endpoints[side].process.wait()
    go.touch()
    failure = session.wait_over(BOUND).verdict.failure
    wait_until(lambda: not session.processes(), "nothing of the session is left", BOUND)
    assert time.monotonic() - began < BOUND
    assert str(failure).startswith(UNMET[side])
    assert not [role for role in COMMANDS if (tmp_path / role).exists()]
