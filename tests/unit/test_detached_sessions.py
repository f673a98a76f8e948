# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions whose result is on the target: the remote side alone tells what has become of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import build_detached_result
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import Scene
from harness.sessions import EndpointProcess, Session, Sessions, View, Words
from harness.streams import sh

FILTER: dict[str, Words] = {"input": sh("seq 9"), "remote": ["cat"], "output": ["cat"]}
Start = Callable[[dict[str, Words]], Session]


@pytest.fixture(params=["local", "remote"])
def listen(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(sessions: Sessions) -> Start:
    return lambda commands: sessions.start(commands, detached=True)


def result_of(view: View) -> dict[str, Any]:
    commands = {role: role for role in FILTER}
    scene = Scene({"local": "controller", "remote": "tapehost"}, commands)
    return build_detached_result(view, {"scene": scene.dump(), "commands": commands}, datetime.now())


def test_with_a_good_outcome_it_has_succeeded(start: Start) -> None:
    session = start(FILTER)
    session.local.wait_for("reported")
    session.local.conclude(backup_file="/backup/old")
    result = result_of(session.remote.wait_ended())
    assert (result["failed"], result["msg"], result["rc"]) == (False, "", 0)
    assert (result["bytes_sent"], result["bytes_received"]) == (18, 18)
    assert result["stdout_lines"] == [str(number) for number in range(1, 10)]
    assert result["backup_file"] == "/backup/old"


def test_a_failure_on_the_local_side_alone_fails_it(start: Start) -> None:
    session = start(FILTER)
    session.local.wait_for("reported")
    session.local.conclude(failure="the output file could not be given its name")
    result = result_of(session.remote.wait_ended())
    assert (result["failed"], result["msg"]) == (True, "the output file could not be given its name")


def test_a_command_that_fails_is_told_of_without_an_outcome(start: Start) -> None:
    result = result_of(start({**FILTER, "output": sh("cat; exit 3")}).remote.wait_ended())
    assert (result["failed"], result["rc"]) == (True, 3)
    assert result["msg"] == "output command 'output' on controller exited 3"


@pytest.mark.parametrize(
    ("end", "complaint"),
    [
        (EndpointProcess.kill, "local endpoint on controller was lost"),
        (EndpointProcess.let_go, "the session was aborted: whoever asked for the session has ended"),
    ],
    ids=["killed", "given up"],
)
def test_without_an_outcome_it_has_failed(
    start: Start, end: Callable[[EndpointProcess], None], complaint: str
) -> None:
    """All was well as far as both reports tell; but nobody knows what came then."""
    session = start(FILTER)
    session.local.wait_for("reported")
    end(session.local)
    view = session.remote.wait_ended()
    assert view["outcome"] is None
    assert complaint in result_of(view)["msg"]


def test_a_view_without_outcome_and_without_reason_is_no_success(start: Start) -> None:
    session = start(FILTER)
    session.local.wait_for("reported")
    session.local.conclude()
    view = session.remote.wait_ended()
    result = result_of({**view, "outcome": None})
    assert result["failed"]
    assert result["msg"] == "the local endpoint on controller never said what had become of the session"
