# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One endpoint, a process, and its peer played by hand: who breaks which rule, and what follows."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Purpose, Side
from harness import by_hand
from harness.by_hand import Played, Stage, report_by_hand
from harness.processes import is_running
from harness.sessions import EndpointProcess, Words
from harness.sockets import TIMEOUT, read_to_the_end, reset
from harness.streams import sh

FILTER: dict[str, Words] = {"input": sh("sleep 60"), "remote": sh("sleep 60"), "output": sh("cat")}
NOT_STOPPED = "it stops a direction whose reader has not ended early"
NOT_WRITTEN = "it reports on a direction that this side does not write"
SIDES = pytest.mark.parametrize("side", ["local", "remote"])
PARTS = pytest.mark.parametrize(("side", "listen"), by_hand.PARTS)


# Rules that a proven peer may break


@pytest.mark.parametrize(
    ("side", "message", "text"),
    [
        ("local", {"type": "nonsense"}, "it sent an unknown message, 'nonsense'"),
        ("remote", {"type": "go"}, "it sent an unknown message, 'go'"),
        ("local", {"type": "go"}, "it sent an unknown message, 'go'"),
        ("local", {"type": "start"}, "it sent 'start' out of turn"),
        ("remote", {"type": "start"}, "it sent 'start' out of turn"),
        ("local", {"type": "started"}, "it sent 'started' out of turn"),
        ("local", {"type": "probe", "number": 0}, "it sent 'probe' out of turn"),
        ("remote", {"type": "probe", "number": 0}, "it sent 'probe' out of turn"),
        ("local", {"type": "echo", "number": 0}, "it sent 'echo' out of turn"),
        ("remote", {"type": "echo", "number": 0}, "it sent 'echo' out of turn"),
        ("local", {"type": "outcome", "outcome": {}}, "it sent 'outcome' out of turn"),
        ("remote", {"type": "outcome", "outcome": {}}, "it sent 'outcome' out of turn"),
        ("local", {"type": "read"}, NOT_WRITTEN),
        ("local", {"type": "read", "direction": "output"}, NOT_WRITTEN),
        ("remote", {"type": "read", "direction": "input"}, NOT_WRITTEN),
        ("local", {"type": "read", "direction": ["x"]}, NOT_WRITTEN),
        ("local", {"type": "stop", "direction": "output"}, NOT_STOPPED),
        ("local", {"type": "stop", "direction": "input"}, NOT_STOPPED),
        ("remote", {"type": "stop"}, NOT_STOPPED),
        ("local", {"type": "finished"}, "its report is not a report"),
        ("local", {"type": "finished", "report": "x"}, "its report is not a report"),
        ("local", {"type": "abort"}, "it aborts without a reason"),
        ("local", {"type": "finished", "report": {}}, "its report is not a report"),
        ("remote", {"type": "finished", "report": report_by_hand(Side.REMOTE)}, "its report is not a report"),
        ("local", {"type": "abort", "reason": "x"}, "it aborts without a reason"),
        ("local", {"type": "abort", "reason": {"text": "x"}}, "it aborts without a reason"),
        ("remote", {"type": "abort", "reason": {"kind": "whim", "text": "x"}}, "it aborts without a reason"),
    ],
)  # fmt: skip
def test_a_peer_that_breaks_a_rule_ends_the_session(
    stage: Stage, side: str, message: dict[str, Any], text: str
) -> None:
    played = stage.meet(side, FILTER, "local")
    played.control.say(**message)
    assert played.reason() == {"kind": "protocol", "text": text}


@SIDES
def test_a_forged_message_ends_the_session(stage: Stage, side: str) -> None:
    played = stage.meet(side, FILTER, "local")
    frame = bytearray(played.control.frame("read", direction="input"))
    frame[-1] ^= 1
    played.control.sock.sendall(frame)
    assert played.reason()["kind"] == "protocol"


@pytest.mark.parametrize(
    "end",
    [lambda process: process.process.send_signal(signal.SIGTERM), EndpointProcess.let_go],
    ids=["a signal", "its caller's end"],
)
@SIDES
def test_a_peer_that_never_stops_sending_does_not_make_an_endpoint_deaf(
    stage: Stage, side: str, end: Callable[[EndpointProcess], None]
) -> None:
    """Heartbeats may come as often as they like, and be long."""
    played = stage.meet(side, FILTER, "local", patience={"endpoint.ABORT_TIMEOUT": 1.0})
    is_over = threading.Event()

    def flood() -> None:
        with contextlib.suppress(OSError):  # the endpoint has gone
            while not is_over.is_set():
                played.control.say("heartbeat", padding=[0] * 300_000)

    played.control.sock.settimeout(None)
    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        end(played.endpoint)
        assert played.reason()["kind"] in ("interrupted", "abandoned")
    finally:
        is_over.set()
        flooding.join()


# A peer that goes away


@PARTS
@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
def test_a_peer_that_goes_away_is_lost(
    stage: Stage, side: str, listen: str, end: Callable[[socket.socket], None]
) -> None:
    played = stage.meet(side, FILTER, listen)
    end(played.control.sock)
    assert played.reason()["kind"] == "lost"


@SIDES
def test_a_peer_that_falls_silent_is_lost(stage: Stage, side: str) -> None:
    """Its machine lost power: nothing is ever closed."""
    played = stage.meet(side, FILTER, "local", patience={"peer.HEARTBEAT": 0.05, "peer.SILENCE": 0.2})
    assert played.control.hear_until("heartbeat")
    reason = played.reason()
    assert reason["kind"] == "lost"
    assert reason["text"].startswith("it has been silent for")


@SIDES
def test_a_peer_that_only_has_nothing_to_say_is_not_lost(stage: Stage, side: str) -> None:
    """A tape change, for example: no data, but heartbeats."""
    played = stage.meet(side, FILTER, "local", patience={"peer.HEARTBEAT": 0.05, "peer.SILENCE": 0.3})
    played.exchange_heartbeats(10)
    assert is_running(played.endpoint.process.pid)


@SIDES
def test_when_the_peer_is_lost_it_is_known_what_was_moved_until_then(stage: Stage, side: str) -> None:
    writer = sh("printf payload; sleep 60")
    played = stage.meet(side, {"input": writer, "remote": writer, "output": sh("cat")}, "local")
    written = "input" if side == "local" else "output"
    data = played.data[0 if side == "local" else 1]
    assert data.recv(7, socket.MSG_WAITALL) == b"payload"
    played.control.sock.close()
    assert played.view()["directions"][written]["bytes"] == 7


@PARTS
def test_when_the_peer_is_lost_a_reader_sees_an_error(stage: Stage, side: str, listen: str) -> None:
    """Here the reader is the test, at the other end of the data connection."""
    played = stage.meet(side, FILTER, listen)
    played.control.sock.close()
    written = played.data[0 if side == "local" else 1]
    error = read_to_the_end(written)[1]
    assert isinstance(error, ConnectionResetError)


# A session without a byte


MOVING = {"peer.HEARTBEAT": 0.05, "stall.LOOK": 0.05}


def test_no_byte_for_the_stall_timeout_ends_the_session(stage: Stage) -> None:
    played = stage.meet("local", FILTER, "local", stall_timeout=0.4, patience=MOVING)
    assert played.control.hear_until("abort")["reason"]["kind"] == "stalled"
    played.finish()
    assert played.reason() == {"kind": "stalled", "text": "no byte has moved for 0.4 s"}


def test_without_a_stall_timeout_a_session_may_be_silent(stage: Stage) -> None:
    played = stage.meet("local", FILTER, "local", patience=MOVING)
    played.exchange_heartbeats(20)


def test_what_the_other_machines_command_reads_is_no_stall(stage: Stage) -> None:
    """It may read slowly what the kernels hold, long after the input command has ended."""
    played = stage.meet("local", FILTER, "local", stall_timeout=0.4, patience=MOVING)
    for count in range(20):
        played.exchange_heartbeats(1, moved={"input": count, "output": 0})
    played.exchange_heartbeats(1, moved={"input": 20, "output": 0})
    assert played.control.hear_until("abort")["reason"]["kind"] == "stalled"


def test_what_the_next_heartbeat_tells_may_have_moved_in_time(stage: Stage) -> None:
    """Between two words of a change there may be a heartbeat more than between the changes."""
    patience = {"peer.HEARTBEAT": 0.5, "stall.LOOK": 0.05}
    played = stage.meet("local", FILTER, "local", stall_timeout=0.9, patience=patience)
    for count in range(3):
        played.exchange_heartbeats(2, moved={"input": count, "output": 0})


def test_what_a_command_here_reads_is_no_stall(stage: Stage) -> None:
    played = stage.meet("local", FILTER, "local", stall_timeout=0.4, patience=MOVING)
    for _count in range(20):
        played.data[1].sendall(b"x")
        played.exchange_heartbeats(1, moved={"input": 0, "output": 0})


@pytest.mark.parametrize("read", ["by the command here", "by the command there"])
def test_a_command_that_has_read_everything_may_work_on_in_silence(stage: Stage, read: str) -> None:
    """A database that builds its indexes, for example."""
    if read == "by the command here":
        commands: dict[str, Words] = {"remote": [], "output": sh("cat; exec sleep 60")}
    else:
        commands = {"input": sh("true"), "remote": []}
    played = stage.meet("local", commands, "local", stall_timeout=0.4, patience=MOVING)
    if read == "by the command here":
        played.data[0].shutdown(socket.SHUT_WR)
    played.exchange_heartbeats(20, moved={})


def test_a_reader_that_ends_at_once_does_not_keep_anybody_from_counting(stage: Stage) -> None:
    """Its word comes together with that of its start."""
    commands: dict[str, Words] = {"input": sh("sleep 60"), "remote": []}
    control = stage.pick("local", commands, "local", stall_timeout=60, patience=MOVING)
    stage.join(Purpose.INPUT)
    control.hear_until("start")
    control.sock.sendall(control.frame("started") + control.frame("read", direction="input", whole=False))
    control.hear_until("heartbeat")
    Played(stage.endpoint, control, []).exchange_heartbeats(2)


# The outcome of a detached session


@pytest.mark.parametrize("outcome", [None, [], "lost", {"failure": 3}, {"backup_file": "\ud800"}])
def test_what_is_no_outcome_ends_the_session(stage: Stage, outcome: Any) -> None:
    played = stage.meet("remote", FILTER, "local", detached=True)
    played.control.say("outcome", outcome=outcome)
    assert played.reason() == {"kind": "protocol", "text": "its outcome is not an outcome"}


def test_the_outcome_is_asked_for_when_both_reports_are_there_however_long_it_takes(stage: Stage) -> None:
    patience = {"peer.HEARTBEAT": 0.05, "peer.SILENCE": 0.3}
    played = stage.meet(
        "local", {"input": sh("true"), "remote": []}, "local", detached=True, patience=patience
    )
    played.control.say("read", direction="input", whole=True)
    report = played.control.hear_until("finished")["report"]
    peers = played.control.say_finished()
    asked = played.endpoint.wait_for("reported")
    assert asked["view"] == {"own": report, "peer": peers}
    played.exchange_heartbeats(20)
    played.endpoint.conclude(failure="no room")
    assert played.control.hear_until("outcome")["outcome"] == {"failure": "no room"}


# Data connections that are cut


@PARTS
@pytest.mark.parametrize("direction", [0, 1], ids=["input", "output"])
def test_a_data_connection_that_is_cut_while_the_peer_lives_is_the_networks_fault(
    stage: Stage, side: str, listen: str, direction: int
) -> None:
    commands = {**FILTER, "remote": sh("exec sleep 60"), "output": sh("exec sleep 60")}
    played = stage.meet(side, commands, listen)
    reset(played.data[direction])
    reason = played.control.hear_until("abort")["reason"]
    assert reason["kind"] == "network"
    played.finish()
    assert played.reason()["kind"] == "network"


def test_an_abort_of_the_peer_explains_a_cut(stage: Stage) -> None:
    played = stage.meet("local", FILTER, "local")
    reset(played.data[0])
    reason = {"kind": "command", "text": "the remote command exited 1", "role": "remote"}
    played.control.say("abort", reason=reason)
    played.finish()
    assert played.reason() == {**reason, "by": "peer"}


# The order of things


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_a_session_by_the_book_as_the_local_side_plays_it(stage: Stage, listen: str) -> None:
    commands = {"input": sh("printf payload"), "remote": [], "output": sh("cat")}
    played = stage.meet("local", commands, listen)
    played.data[1].sendall(b"reply")
    played.data[1].shutdown(socket.SHUT_WR)
    assert read_to_the_end(played.data[0]) == (b"payload", None)
    assert played.control.hear_until("read") == {"type": "read", "direction": "output", "whole": True}
    played.control.say("read", direction="input", whole=True)
    report = played.control.hear_until("finished")["report"]
    assert report["directions"] == {
        "input": {"state": "finished", "bytes": 7, "digest": None},
        "output": {"state": "finished", "bytes": 5, "digest": None},
    }
    assert report["commands"]["output"]["stdout"] == "reply"
    peers = played.control.say_finished(strangers=7)
    assert played.control.hear() is None
    played.control.sock.close()
    assert played.endpoint.wait_ended() == {"own": report, "peer": peers}


def test_no_report_before_the_reader_at_the_other_side_has_ended(stage: Stage) -> None:
    played = stage.meet("local", {"input": ["true"], "remote": []}, "local")
    assert read_to_the_end(played.data[0]) == (b"", None)
    played.control.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        played.control.hear()
    played.control.sock.settimeout(TIMEOUT)
    played.control.say("read", direction="input", whole=True)
    played.control.hear_until("finished")
