# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint tells of its progress while a session runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import progress as product
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.progress import ProgressEvents
from harness.processes import wait_ended
from harness.sessions import ENGINE, Session, Sessions
from harness.streams import sh
from harness.waiting import wait_until

QUICK = {"progress.INTERVAL": 0.02}
#: Two directions with known sizes, and no end before the test says so.
FILTER = {
    "input": sh("head -c 500000 /dev/zero; exec sleep 60"),
    "remote": sh("head -c 7; cat > /dev/null"),
    "output": sh("cat"),
}


def last_moved(session: Session) -> dict[str, int | None]:
    told = session.local.events("progress")
    moved: dict[str, int | None] = told[-1]["moved"] if told else {}
    return moved


@pytest.mark.parametrize("options", [{}, {"encrypt": True}], ids=["direct", "pumped"])
def test_a_session_tells_again_and_again_what_has_moved(sessions: Sessions, options: dict[str, Any]) -> None:
    session = sessions.start(FILTER, progress=0.02, patience=QUICK, **options)
    wait_until(lambda: last_moved(session) == {"input": 500_000, "output": 7}, "all is told")
    before = len(session.local.events("progress"))
    wait_until(lambda: len(session.local.events("progress")) > before, "it goes on though nothing moves")
    seconds = [event["seconds"] for event in session.local.events("progress")]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0.02


def test_only_directions_that_the_session_has_are_told(sessions: Sessions) -> None:
    commands = {"remote": sh("printf 123; exec sleep 60"), "output": ["cat"]}
    session = sessions.start(commands, progress=0.02, patience=QUICK)
    wait_until(lambda: last_moved(session) == {"output": 3}, "that is told")


def test_nothing_is_told_unless_it_is_asked_for(sessions: Sessions) -> None:
    session = sessions.start({"input": ["cat", "/dev/null"], "remote": ["cat"]}, patience=QUICK)
    sessions.end(session)
    assert session.local.events("started")
    assert session.local.events("progress") == []


def test_a_session_that_is_over_before_its_time_tells_nothing(sessions: Sessions) -> None:
    session = sessions.start({"input": ["cat", "/dev/null"], "remote": ["cat"]}, progress=30)
    assert sessions.end(session).verdict.failure is None
    assert session.local.events("progress") == []


def test_it_looks_twice_a_second_at_the_most(loop: Loop) -> None:
    told: list[dict[str, Any]] = []
    began = time.monotonic()
    ProgressEvents(loop, lambda: {"input": 5}, told.append, 0.001).begin(["input"])
    loop.run_until(lambda: told)
    assert time.monotonic() - began >= 0.5
    assert (told[0]["event"], told[0]["moved"]) == ("progress", {"input": 5})


def test_a_quiet_session_wakes_once_for_each_event(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "INTERVAL", 0.02)
    told: list[dict[str, Any]] = []
    rounds: list[int] = []
    ProgressEvents(loop, lambda: {"input": 5}, told.append, 0.02).begin(["input"])
    loop.run_until(lambda: rounds.append(len(told)) or len(told) == 5)  # type: ignore[func-returns-value]
    assert rounds == [0, 1, 2, 3, 4, 5]


def test_a_reader_who_does_not_read_stops_no_endpoint() -> None:
    """It may be stopped, with Ctrl-Z, and the session goes on; then whole events are left out."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from _engine.process import say_if_read\n"
        "for number in range(5000): say_if_read({'event': 'progress', 'number': number})\n"
    )
    words = [sys.executable, "-I", "-S", "-c", script, str(ENGINE.parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        wait_ended(process, 15)
        assert process.stdout is not None
        told = [json.loads(line)["number"] for line in process.stdout]
    assert 100 < len(told) < 5000
    assert told == list(range(len(told)))
