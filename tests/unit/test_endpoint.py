# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One endpoint, a process, and its peer played by hand: who breaks which rule, and what follows."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Purpose
from harness.by_hand import Control, accept, connect
from harness.processes import is_running, state_of
from harness.sessions import EndpointProcess, Words, side_of
from harness.sockets import KEY, TIMEOUT, read_to_the_end
from harness.streams import sh
from harness.waiting import wait_until

FILTER: dict[str, Words] = {"input": sh("sleep 60"), "remote": sh("sleep 60"), "output": sh("cat")}
#: Nobody here needs long to notice, or to end.
PATIENCE = {"endpoint.NOTICE_GRACE": 0.05, "endpoint.NETWORK_GRACE": 0.2}


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Scene:
    """An endpoint of either side, and the sockets of the peer that the test plays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._socks = [self._server]
        self._endpoint: EndpointProcess | None = None

    def _start(self, side: str, commands: dict[str, Words], **options: Any) -> EndpointProcess:
        timeout = options.pop("timeout", 10)
        patience = {**PATIENCE, **options}
        spec = {**side_of(side, commands, {}, self.port), "timeout": timeout}
        listener = self._server if side == "local" else None
        self._endpoint = EndpointProcess(spec, KEY, self._folder, listener=listener, patience=patience)
        return self._endpoint

    # A remote endpoint, which connects to us

    def remote(self, commands: dict[str, Words], **patience: float) -> EndpointProcess:
        return self._start("remote", commands, **patience)

    def accept(self, purpose: Purpose) -> Control:
        sock, machine = accept(self._server)
        self._socks.append(sock)
        assert machine.purpose is purpose
        return Control(sock, machine)

    def is_knocked_at_again(self, timeout: float = 3.0) -> bool:
        self._server.settimeout(timeout)
        try:
            self._socks.append(self._server.accept()[0])
        except TimeoutError:
            return False
        return True

    def wait_idle(self) -> None:
        """Until the endpoint has done all that it was given to do, and waits."""
        assert self._endpoint is not None
        pid = self._endpoint.process.pid
        wait_until(lambda: state_of(pid) == "S", "the endpoint waits")

    # A local endpoint, which listens

    def local(self, commands: dict[str, Words], **patience: float) -> EndpointProcess:
        return self._start("local", commands, **patience)

    def connect(self, purpose: Purpose) -> Control:
        sock, machine = connect(self.port, purpose)
        self._socks.append(sock)
        return Control(sock, machine)

    # Both

    def meet(self, commands: dict[str, Words], side: str, **patience: float) -> Played:
        """The endpoint and its running commands; all connections are there."""
        endpoint = self._start(side, commands, **patience)
        join = self.accept if side == "remote" else self.connect
        control = join(Purpose.CONTROL)
        if side == "remote":
            control.say("go")
        else:
            control.hear_until("go")
        data = [join(Purpose(name)).sock for name in ("input", "output") if name in commands]
        if side == "remote":
            control.say("start")
        else:
            control.hear_until("start")
            control.say("started")
        control.hear_until("started")
        return Played(endpoint, control, data)

    def close(self) -> None:
        if self._endpoint is not None:
            self._endpoint.let_go()
            self._endpoint.kill()
            self._endpoint.process.wait()
        for sock in self._socks:
            sock.close()


class Played:
    """A session under way."""

    def __init__(self, endpoint: EndpointProcess, control: Control, data: list[socket.socket]) -> None:
        self.endpoint = endpoint
        self.control = control
        self.data = data

    def finish(self) -> None:
        """Say the last that is to be said."""
        self.control.say("finished", report={})
        self.control.sock.shutdown(socket.SHUT_WR)

    def view(self) -> dict[str, Any]:
        """The endpoint's own report; to be asked for when its peer has said all it has to say."""
        own: dict[str, Any] = self.endpoint.wait_ended(timeout=15)["own"]
        return own

    def reason(self) -> dict[str, Any]:
        reason: dict[str, Any] = self.view()["reason"]
        return reason


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


NOT_STOPPED = "it stops a direction whose reader has not ended early"
NOT_WRITTEN = "it reports on a direction that this side does not write"
SIDES = pytest.mark.parametrize("side", ["local", "remote"])


# Meeting


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
def test_a_connector_that_was_dropped_after_its_proof_tries_again(
    scene: Scene, end: Callable[[socket.socket], None]
) -> None:
    """docs/protocol.md: a listener under attack drops the oldest, and a dropped connector
    tries again. It may have been dropped while its proof was on the way."""
    scene.remote(FILTER)
    control = scene.accept(Purpose.CONTROL)
    scene.wait_idle()
    end(control.sock)
    assert scene.is_knocked_at_again()


def test_a_data_connection_that_was_dropped_after_its_proof_is_tried_again(scene: Scene) -> None:
    scene.remote({"input": [], "remote": ["cat"]})
    control = scene.accept(Purpose.CONTROL)
    control.say("go")
    data = scene.accept(Purpose.INPUT)
    scene.wait_idle()
    reset(data.sock)
    assert scene.is_knocked_at_again()


def test_the_local_side_takes_the_first_control_connection_and_closes_others(scene: Scene) -> None:
    scene.local(FILTER)
    first = scene.connect(Purpose.CONTROL)
    assert first.hear() == {"type": "go"}
    assert scene.connect(Purpose.CONTROL).hear() is None


def test_the_remote_side_says_nothing_before_go(scene: Scene) -> None:
    scene.remote(FILTER)
    control = scene.accept(Purpose.CONTROL)
    control.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        control.hear()


def test_a_data_connection_of_a_direction_that_is_not_in_use_is_closed(scene: Scene) -> None:
    scene.local({"input": ["true"], "remote": []})
    scene.connect(Purpose.CONTROL).hear_until("go")
    assert read_to_the_end(scene.connect(Purpose.OUTPUT).sock) == (b"", None)


def test_a_second_data_connection_of_a_direction_is_closed(scene: Scene) -> None:
    scene.local(FILTER)
    scene.connect(Purpose.CONTROL).hear_until("go")
    scene.connect(Purpose.INPUT)
    assert read_to_the_end(scene.connect(Purpose.INPUT).sock) == (b"", None)


def test_without_the_data_connections_there_is_no_path(scene: Scene) -> None:
    endpoint = scene.local(FILTER, timeout=0.2, **{"meeting.LISTENER_PATIENCE": 0.1})
    control = scene.connect(Purpose.CONTROL)
    control.hear_until("go")
    reason = control.hear_until("abort")["reason"]
    assert (reason["kind"], reason["text"]) == (
        "connect",
        "the data connections could not be made within 0.2 s",
    )
    control.sock.close()
    endpoint.wait_ended()


def test_a_connector_without_a_peer_gives_up_and_lists_what_it_tried(scene: Scene) -> None:
    endpoint = scene.remote(FILTER, timeout=0.3)
    reason = endpoint.wait_ended()["own"]["reason"]
    assert (reason["kind"], reason["text"]) == ("connect", "no path to the other side was found within 0.3 s")
    assert [(one["address"], one["port"], one["tries"]) for one in reason["attempts"]] == [
        ("127.0.0.1", scene.port, 1)
    ]


def test_an_abort_right_behind_go_is_an_abort(scene: Scene) -> None:
    """Both in one segment: whoever asked for the session went away at that moment."""
    endpoint = scene.remote(FILTER)
    control = scene.accept(Purpose.CONTROL)
    reason = {"kind": "interrupted", "text": "it was ended by SIGINT"}
    control.sock.sendall(control.frame("go") + control.frame("abort", reason=reason))
    control.say("finished", report={})
    assert endpoint.wait_ended()["own"]["reason"] == {**reason, "by": "peer"}


@pytest.mark.parametrize("early", ["start", "finished", "read", "abort", "nonsense"])
def test_a_candidate_that_says_something_before_go_is_dropped_and_tried_again(
    scene: Scene, early: str
) -> None:
    scene.remote(FILTER)
    control = scene.accept(Purpose.CONTROL)
    control.say(early)
    assert control.hear() is None
    assert scene.is_knocked_at_again()


# Rules that a proven peer may break


@pytest.mark.parametrize(
    ("side", "message", "text"),
    [
        ("local", {"type": "nonsense"}, "it sent an unknown message, 'nonsense'"),
        ("remote", {"type": "go"}, "it sent an unknown message, 'go'"),
        ("local", {"type": "start"}, "it sent 'start' out of turn"),
        ("remote", {"type": "start"}, "it sent 'start' out of turn"),
        ("local", {"type": "started"}, "it sent 'started' out of turn"),
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
        ("local", {"type": "abort", "reason": "x"}, "it aborts without a reason"),
    ],
)  # fmt: skip
def test_a_peer_that_breaks_a_rule_ends_the_session(
    scene: Scene, side: str, message: dict[str, Any], text: str
) -> None:
    played = scene.meet(FILTER, side)
    played.control.say(**message)
    assert played.reason() == {"kind": "protocol", "text": text}


@SIDES
def test_a_forged_message_ends_the_session(scene: Scene, side: str) -> None:
    played = scene.meet(FILTER, side)
    frame = bytearray(played.control.frame("read", direction="input"))
    frame[-1] ^= 1
    played.control.sock.sendall(frame)
    assert played.reason()["kind"] == "protocol"


# A peer that goes away


@SIDES
@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
def test_a_peer_that_goes_away_is_lost(scene: Scene, side: str, end: Callable[[socket.socket], None]) -> None:
    played = scene.meet(FILTER, side)
    end(played.control.sock)
    assert played.reason()["kind"] == "lost"


@SIDES
def test_a_peer_that_falls_silent_is_lost(scene: Scene, side: str) -> None:
    """Its machine lost power: nothing is ever closed."""
    played = scene.meet(FILTER, side, **{"peer.HEARTBEAT": 0.05, "peer.SILENCE": 0.2})
    assert played.control.hear() == {"type": "heartbeat"}
    reason = played.reason()
    assert reason["kind"] == "lost"
    assert reason["text"].startswith("it has been silent for")


@SIDES
def test_a_peer_that_only_has_nothing_to_say_is_not_lost(scene: Scene, side: str) -> None:
    """A tape change, for example: no data, but heartbeats."""
    played = scene.meet(FILTER, side, **{"peer.HEARTBEAT": 0.05, "peer.SILENCE": 0.3})
    for _number in range(10):
        assert played.control.hear() == {"type": "heartbeat"}
        played.control.say("heartbeat")
    assert is_running(played.endpoint.process.pid)


@SIDES
def test_when_the_peer_is_lost_a_reader_sees_an_error(scene: Scene, side: str) -> None:
    """Here the reader is the test, at the other end of the data connection."""
    played = scene.meet(FILTER, side)
    played.control.sock.close()
    written = played.data[0 if side == "local" else 1]
    error = read_to_the_end(written)[1]
    assert isinstance(error, ConnectionResetError)


# Data connections that are cut


@SIDES
@pytest.mark.parametrize("direction", [0, 1], ids=["input", "output"])
def test_a_data_connection_that_is_cut_while_the_peer_lives_is_the_networks_fault(
    scene: Scene, side: str, direction: int
) -> None:
    commands = {**FILTER, "remote": sh("exec sleep 60"), "output": sh("exec sleep 60")}
    played = scene.meet(commands, side)
    reset(played.data[direction])
    reason = played.control.hear_until("abort")["reason"]
    assert reason["kind"] == "network"
    played.finish()
    assert played.reason()["kind"] == "network"


def test_an_abort_of_the_peer_explains_a_cut(scene: Scene) -> None:
    played = scene.meet(FILTER, "local")
    reset(played.data[0])
    reason = {"kind": "command", "text": "the remote command exited 1", "role": "remote"}
    played.control.say("abort", reason=reason)
    played.finish()
    assert played.reason() == {**reason, "by": "peer"}


# The order of things


def test_a_session_by_the_book_as_the_local_side_plays_it(scene: Scene) -> None:
    commands = {"input": sh("printf payload"), "remote": [], "output": sh("cat")}
    played = scene.meet(commands, "local")
    played.data[1].sendall(b"reply")
    played.data[1].shutdown(socket.SHUT_WR)
    assert read_to_the_end(played.data[0]) == (b"payload", None)
    assert played.control.hear_until("read") == {"type": "read", "direction": "output", "whole": True}
    played.control.say("read", direction="input", whole=True)
    report = played.control.hear_until("finished")["report"]
    assert report["directions"] == {
        "input": {"state": "finished", "bytes": 7},
        "output": {"state": "finished", "bytes": 5},
    }
    assert report["commands"]["output"]["stdout"] == "reply"
    played.control.say("finished", report={"by": "hand"})
    assert played.control.hear() is None
    played.control.sock.close()
    assert played.endpoint.wait_ended() == {"own": report, "peer": {"by": "hand"}}


def test_no_report_before_the_reader_at_the_other_side_has_ended(scene: Scene) -> None:
    played = scene.meet({"input": ["true"], "remote": []}, "local")
    assert read_to_the_end(played.data[0]) == (b"", None)
    played.control.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        played.control.hear()
    played.control.sock.settimeout(TIMEOUT)
    played.control.say("read", direction="input", whole=True)
    played.control.hear_until("finished")


def test_nothing_is_started_before_start(scene: Scene, tmp_path: Path) -> None:
    started = tmp_path / "started"
    scene.remote({"input": [], "remote": sh(f": > {started}; cat")})
    control = scene.accept(Purpose.CONTROL)
    control.say("go")
    scene.accept(Purpose.INPUT)
    control.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        control.hear()
    assert not started.exists()
    control.say("start")
    wait_until(started.exists, "the command")
