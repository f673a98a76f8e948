# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A preflight: the two sides meet, measure the round trip, and run nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from harness import by_hand
from harness.by_hand import Control, Stage, report_by_hand
from harness.sessions import Sessions, Words
from harness.streams import sh

ROLES = ("input", "remote", "output")
WAYS = pytest.mark.parametrize("listen", ["local", "remote", "auto"])
FILTER: dict[str, Words] = {role: ["true"] for role in ROLES}
#: As many round trips are measured.
PROBES = 5


@WAYS
def test_no_command_runs(sessions: Sessions, tmp_path: Path) -> None:
    commands = {role: sh(f": > {tmp_path}/{role}") for role in ROLES}
    session = sessions.start(commands, preflight=True)
    ended = sessions.end(session)
    assert ended.verdict == Verdict(None, None, [])
    for report in ended.reports.values():
        assert (report["commands"], report["directions"], report["reason"]) == ({}, {}, None)
    assert [path.name for path in tmp_path.iterdir() if path.name in ROLES] == []
    assert session.processes() == {}
    assert (session.local.errors, session.remote.errors) == ("", "")


@WAYS
def test_the_round_trip_is_a_part_of_the_local_sides_path(sessions: Sessions) -> None:
    reports = sessions.run(FILTER, preflight=True).reports
    assert 0 < reports["local"]["path"]["round_trip"] < 1
    assert "round_trip" not in reports["remote"]["path"]


@WAYS
def test_both_sides_agree_on_the_path(sessions: Sessions) -> None:
    reports = sessions.run(FILTER, preflight=True).reports
    local, remote = reports["local"]["path"], reports["remote"]["path"]
    where = ("listener", "address", "port", "family")
    assert [local[name] for name in where] == [remote[name] for name in where]


@WAYS
def test_only_the_control_connection_is_made(sessions: Sessions) -> None:
    reports = sessions.run(FILTER, preflight=True).reports
    purposes = {one["purpose"] for report in reports.values() for one in report["attempts"]}
    assert purposes == {"control"}


@pytest.mark.parametrize("listen", ["local", "remote"])
@pytest.mark.parametrize("role", ROLES)
def test_a_missing_executable_is_found(sessions: Sessions, role: str) -> None:
    session = sessions.start({**FILTER, role: ["./nonexistent"]}, preflight=True)
    if role != "remote":
        # Whoever asked for the session has its local side's view, and gives it up.
        session.local.wait_ended()
        session.remote.let_go()
    ended = sessions.end(session)
    assert ended.verdict.culprit == role
    assert "there is no file './nonexistent'" in str(ended.verdict.failure)


def test_without_a_way_it_fails_as_a_session_does(stage: Stage) -> None:
    endpoint = stage.start("remote", FILTER, "local", preflight=True, timeout=0.3)
    own = endpoint.wait_ended()["own"]
    assert own["reason"]["kind"] == "connect"
    assert [one["purpose"] for one in own["attempts"]] == ["control"]


# By the book


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_as_the_local_side_plays_it(stage: Stage, listen: str) -> None:
    control = stage.pick("local", FILTER, listen, preflight=True)
    for number in range(PROBES):
        assert control.hear() == {"type": "probe", "number": number}
        control.say("echo", number=number)
    report = finish(control)
    assert (report["commands"], report["directions"]) == ({}, {})
    assert stage.endpoint.wait_ended() == {"own": report, "peer": report_by_hand(Side.REMOTE, strangers=7)}


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_as_the_remote_side_plays_it(stage: Stage, listen: str) -> None:
    control = stage.pick("remote", FILTER, listen, preflight=True)
    for number in range(PROBES):
        control.say("probe", number=number)
        assert control.hear_until("echo") == {"type": "echo", "number": number}
    report = control.say_finished(strangers=7)
    control.sock.shutdown(1)
    assert stage.endpoint.wait_ended()["peer"] == report


def test_the_next_probe_waits_for_the_echo_of_the_last(stage: Stage) -> None:
    control = stage.pick("local", FILTER, "local", preflight=True)
    assert control.hear() == {"type": "probe", "number": 0}
    control.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        control.hear()


@pytest.mark.parametrize(
    ("delays", "least", "most"),
    [([0.05] * PROBES, 0.05, 1), ([0.3, 0.3, 0, 0.3, 0.3], 0, 0.3)],
    ids=["all are slow", "one is fast"],
)
def test_the_round_trip_is_the_shortest_that_was_measured(
    stage: Stage, delays: list[float], least: float, most: float
) -> None:
    control = stage.pick("local", FILTER, "local", preflight=True)
    for number, delay in enumerate(delays):
        control.hear_until("probe")
        time.sleep(delay)
        control.say("echo", number=number)
    assert least < finish(control)["path"]["round_trip"] < most


@pytest.mark.parametrize(
    ("side", "message"),
    [("local", {"type": "probe", "number": 0}), ("remote", {"type": "echo", "number": 0})],
    ids=["probe", "echo"],
)
def test_only_the_local_side_asks(stage: Stage, side: str, message: dict[str, Any]) -> None:
    control = stage.pick(side, FILTER, "local", preflight=True)
    control.say(**message)
    text = f"it sent '{message['type']}' out of turn"
    assert stage.endpoint.wait_ended(timeout=15)["own"]["reason"] == {"kind": "protocol", "text": text}


@pytest.mark.parametrize(("side", "listen"), by_hand.PARTS)
def test_a_peer_that_goes_away_in_the_middle_is_lost(stage: Stage, side: str, listen: str) -> None:
    stage.pick(side, FILTER, listen, preflight=True).sock.close()
    assert stage.endpoint.wait_ended(timeout=15)["own"]["reason"]["kind"] == "lost"


def finish(control: Control) -> dict[str, Any]:
    """What the local endpoint reports, the test's own report being the last word."""
    report: dict[str, Any] = control.hear_until("finished")["report"]
    control.say_finished(strangers=7)
    assert control.hear() is None
    control.sock.close()
    return report
