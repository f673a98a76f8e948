# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How two endpoints meet, whichever side listens: one path, or an end."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import meeting
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import (
    ANSWER_SIZE,
    HELLO_SIZE,
    PROOF_SIZE,
    Purpose,
    Side,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import PEER
from harness import by_hand
from harness.by_hand import Control, Stage
from harness.middlebox import Relay
from harness.sessions import Session, Sessions, Words
from harness.sockets import (
    LOOPBACK,
    TIMEOUT,
    hold_port,
    read_to_the_end,
    refuses,
    reset,
    sockets_of,
)
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

WELCOME_SIZE = PROOF_SIZE
SLEEP: Words = sh("exec sleep 60")
FILTER: dict[str, Words] = {"input": SLEEP, "remote": SLEEP, "output": SLEEP}
PUSH: dict[str, Words] = {"input": SLEEP, "remote": SLEEP}
SIDES = pytest.mark.parametrize("side", ["local", "remote"])
PARTS = pytest.mark.parametrize(("side", "listen"), by_hand.PARTS)
CONNECTORS = pytest.mark.parametrize(("side", "listen"), PEER.items(), ids=PEER.keys())


def expect_refusal(port: int) -> None:
    """Soon: the guard is a fork of its endpoint, and may be a moment behind in closing what that has."""
    wait_until(lambda: refuses(port), f"nobody listens on {port}", timeout=3)


def expect_sockets(session: Session) -> None:
    """Of the session's processes, each holds the sockets that it needs, and no more."""
    guards, commands, endpoints = [0, 0], [1, 2, 1], [3, 3]

    def held() -> list[int]:
        return sorted(len(sockets_of(pid)) for pid in session.processes())

    # A process that is just becoming a command can not be seen.
    expected = sorted([*guards, *commands, *endpoints])
    wait_until(lambda: held() == expected, "nobody holds a socket too many", timeout=3)


def expect_silence(control: Control, seconds: float = 0.2) -> None:
    control.sock.settimeout(seconds)
    with pytest.raises(TimeoutError):
        control.hear()
    control.sock.settimeout(TIMEOUT)


# Both directions at once


@pytest.fixture
def only(dead_port: int) -> Callable[[str], Callable[[str, int], int]]:
    """The ways to the side that it is given are open, the others are closed."""
    return lambda side: lambda listener, port: port if listener == side else dead_port


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port at which connections are refused."""
    with hold_port() as sock:
        yield sock.getsockname()[1]


Only = Callable[[str], Callable[[str, int], int]]


@pytest.mark.parametrize("listen", ["local", "remote", *["auto"] * 5])
def test_there_is_one_path_and_both_sides_agree_on_it(sessions: Sessions) -> None:
    """And of all else nothing is left, neither a connection nor somebody who listens."""
    session = sessions.start(FILTER)
    for endpoint in session.endpoints.values():
        endpoint.wait_for("started")
    local, remote = (endpoint.wait_for("connected")["path"] for endpoint in session.endpoints.values())
    where = ("listener", "address", "port", "family")
    assert [local[name] for name in where] == [remote[name] for name in where]
    assert local["port"] == session.ports[local["listener"]]
    expect_sockets(session)
    for port in session.ports.values():
        expect_refusal(port)


@SIDES
def test_of_two_directions_the_one_that_works_is_used(
    sessions: Sessions, tmp_path: Path, only: Only, side: str
) -> None:
    gate = CommitGate(tmp_path)
    commands = {"input": ["echo", "payload"], "remote": ["cat"], "output": gate.argv}
    ended = sessions.run(commands, listen="auto", through=only(side))
    assert ended.verdict == Verdict(None, None, [])
    assert gate.whole.read_text() == "payload\n"
    assert [report["path"]["listener"] for report in ended.reports.values()] == [side, side]


@SIDES
def test_while_commands_run_nobody_listens(sessions: Sessions, only: Only, side: str) -> None:
    session = sessions.start(FILTER, listen="auto", through=only(side))
    session.local.wait_for("started")
    for port in session.ports.values():
        expect_refusal(port)


@SIDES
def test_who_is_found_to_be_the_connector_stops_listening(stage: Stage, side: str) -> None:
    stage.start(side, FILTER, "auto")
    control = stage.accept(Purpose.CONTROL)
    if side == "remote":
        control.say("go")
    stage.accept(Purpose.INPUT)
    expect_refusal(stage.port)


@SIDES
def test_who_is_found_to_be_the_listener_stops_connecting(stage: Stage, side: str) -> None:
    stage.start(side, FILTER, "auto")
    begun, _machine = stage.accept_unwelcomed()
    control = stage.connect(Purpose.CONTROL)
    if side == "remote":
        control.say("go")
    stage.connect(Purpose.INPUT)
    assert begun.recv(PROOF_SIZE) != b""
    assert is_closed(begun)
    assert stage.wait_for_knock(0.7) is None


@SIDES
def test_what_was_proven_too_late_is_closed(stage: Stage, side: str) -> None:
    stage.start(side, PUSH, "auto")
    begun, machine = stage.accept_unwelcomed()
    control = stage.connect(Purpose.CONTROL)
    stage.freeze()
    machine.receive(begun.recv(machine.wanted))
    begun.sendall(machine.take())
    if side == "remote":
        control.say("go")
    stage.thaw()
    stage.connect(Purpose.INPUT)
    if side == "remote":
        control.say("start")
    control.hear_until("started" if side == "remote" else "start")
    assert is_closed(begun)


def is_closed(sock: socket.socket) -> bool:
    return read_to_the_end(sock)[0] == b""


# The word of who listens, and the word of who decides


@pytest.mark.parametrize("listen", ["local", "auto"])
def test_the_local_side_takes_the_first_that_is_proven_and_closes_others(stage: Stage, listen: str) -> None:
    stage.start("local", FILTER, listen)
    assert stage.connect(Purpose.CONTROL).hear() == {"type": "go"}
    assert stage.connect(Purpose.CONTROL).hear() is None


def test_a_connector_takes_nothing_for_proven_before_its_proof_is_known_to_be_right(stage: Stage) -> None:
    """It has sent it, and can not know whether anybody has read it."""
    stage.start("local", FILTER, "remote")
    sock, machine = stage.accept_unwelcomed()
    machine.receive(sock.recv(machine.wanted))
    sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    sock.settimeout(TIMEOUT)
    sock.sendall(machine.take())
    assert Control(sock, machine, Side.REMOTE).hear() == {"type": "go"}


def test_the_first_that_is_proven_counts_not_the_first_that_was_reached(stage: Stage) -> None:
    stage.start("local", PUSH, "auto")
    reached, machine = stage.accept_unwelcomed()
    assert stage.connect(Purpose.CONTROL).hear() == {"type": "go"}
    machine.receive(reached.recv(machine.wanted))
    assert is_closed(reached)


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_the_remote_side_says_nothing_before_go(stage: Stage, listen: str) -> None:
    stage.start("remote", FILTER, listen)
    expect_silence(stage.join(Purpose.CONTROL))


def test_a_remote_listener_keeps_all_control_connections_until_go(stage: Stage) -> None:
    """Which of them is used is not its to say."""
    stage.start("remote", PUSH, "remote")
    controls = [stage.connect(Purpose.CONTROL) for _number in range(3)]
    for control in controls:
        expect_silence(control, 0.1)
    controls[1].say("go")
    stage.connect(Purpose.INPUT)
    controls[1].say("start")
    assert controls[1].hear() == {"type": "started"}
    assert (controls[0].hear(), controls[2].hear()) == (None, None)


def test_of_two_connections_on_which_go_is_said_the_first_is_used(stage: Stage) -> None:
    stage.start("remote", PUSH, "remote")
    first, second = stage.connect(Purpose.CONTROL), stage.connect(Purpose.CONTROL)
    for control in (first, second):
        control.say("go")
        stage.wait_idle()
    stage.connect(Purpose.INPUT)
    first.say("start")
    assert first.hear() == {"type": "started"}
    assert second.hear() is None


def test_an_abort_right_behind_go_is_an_abort(stage: Stage) -> None:
    """Both in one segment: whoever asked for the session went away at that moment."""
    endpoint = stage.start("remote", FILTER, "local")
    control = stage.accept(Purpose.CONTROL)
    reason = {"kind": "interrupted", "text": "it was ended by SIGINT"}
    control.sock.sendall(control.frame("go") + control.frame("abort", reason=reason))
    control.say_finished()
    control.sock.shutdown(socket.SHUT_WR)
    assert endpoint.wait_ended()["own"]["reason"] == {**reason, "by": "peer"}


# What is said before its time ends that connection, and nothing else

EARLY = ["start", "started", "finished", "read", "abort", "probe", "nonsense"]


@pytest.mark.parametrize("word", EARLY)
def test_a_candidate_that_says_something_before_go_is_dropped_and_tried_again(
    stage: Stage, word: str
) -> None:
    stage.start("remote", FILTER, "local")
    control = stage.accept(Purpose.CONTROL)
    control.say(word)
    assert control.hear() is None
    assert stage.wait_for_knock()


@pytest.mark.parametrize("word", EARLY)
def test_a_listener_drops_who_says_something_before_go_and_goes_on(stage: Stage, word: str) -> None:
    stage.start("remote", PUSH, "remote")
    hasty, control = stage.connect(Purpose.CONTROL), stage.connect(Purpose.CONTROL)
    hasty.say(word)
    assert hasty.hear() is None
    control.say("go")
    stage.connect(Purpose.INPUT)
    control.say("start")
    assert control.hear() == {"type": "started"}


# A connection that was dropped is made again


@CONNECTORS
def test_a_control_connection_that_was_dropped_before_its_proof_was_read_is_made_again(
    stage: Stage, side: str, listen: str
) -> None:
    """docs/protocol.md: a listener under attack drops the oldest, and a dropped connector tries again."""
    stage.start(side, FILTER, listen)
    for _number in range(3):
        stage.evict()
    stage.accept(Purpose.CONTROL)


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
def test_a_control_connection_that_was_dropped_before_go_is_made_again(
    stage: Stage, end: Callable[[socket.socket], None]
) -> None:
    """The local endpoint on the other side of address translation was started anew, for example."""
    stage.start("remote", FILTER, "local")
    sock = stage.accept(Purpose.CONTROL).sock
    stage.wait_idle()
    end(sock)
    stage.accept(Purpose.CONTROL).say("go")
    stage.accept(Purpose.INPUT)


@CONNECTORS
def test_a_data_connection_that_was_dropped_before_its_proof_was_read_is_made_again(
    stage: Stage, side: str, listen: str
) -> None:
    control = stage.pick(side, FILTER, listen)
    kept = stage.accept(Purpose.INPUT)
    for _number in range(2):
        stage.evict()
    stage.accept(Purpose.OUTPUT)
    if side == "remote":
        control.say("start")
    control.hear_until("started" if side == "remote" else "start")
    expect_silence(kept)


@SIDES
def test_a_data_connection_that_is_made_again_is_never_taken_for_a_whole_stream(
    stage: Stage, side: str
) -> None:
    """Its connector did not get WELCOME on the first one, which was cut on the way. Whatever becomes
    of the second, the command that will read from it must not see a clean end of file."""
    stage.pick(side, FILTER, side)
    stage.connect(Purpose.INPUT)
    stage.wait_idle()
    again = stage.connect(Purpose.INPUT)
    stage.wait_idle()
    again.sock.settimeout(0.2)
    with pytest.raises((TimeoutError, ConnectionResetError)):
        pytest.fail(f"it ended with {again.sock.recv(1)!r}")


@pytest.mark.parametrize("first", ["the word", "the end"])
@pytest.mark.parametrize("listen", ["local", "remote"])
def test_a_stream_may_end_before_the_word_that_the_remote_command_runs_was_read(
    stage: Stage, tmp_path: Path, first: str, listen: str
) -> None:
    """A short command: its end and the word ``started`` go different ways, at the same time."""
    gate = CommitGate(tmp_path)
    control = stage.pick("local", {"remote": [], "output": gate.argv}, listen)
    data = stage.join(Purpose.OUTPUT).sock
    control.hear_until("start")
    stage.wait_idle()
    if first == "the word":
        stage.freeze()
        control.say("started")
    data.sendall(b"payload")
    data.shutdown(socket.SHUT_WR)
    if first == "the word":
        stage.thaw()
    else:
        stage.wait_idle()
        control.say("started")
    control.hear_until("started")
    assert control.hear_until("read") == {"type": "read", "direction": "output", "whole": True}
    assert gate.whole.read_text() == "payload"


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_a_reader_may_end_before_the_word_that_it_runs_was_read(stage: Stage, listen: str) -> None:
    """A short command, again: both words come in one segment."""
    control = stage.pick("local", {"input": ["true"], "remote": []}, listen)
    stage.join(Purpose.INPUT)
    control.hear_until("start")
    stage.wait_idle()
    control.sock.sendall(control.frame("started") + control.frame("read", direction="input", whole=False))
    report = control.hear_until("finished")["report"]
    assert report["reason"] is None
    assert report["directions"]["input"]["state"] == "stopped"


@pytest.mark.parametrize("listen", ["local", "remote"])
@pytest.mark.parametrize("attempt", range(5))
def test_the_shortest_of_streams_is_whole(sessions: Sessions, attempt: int) -> None:
    """Nothing at all, either way."""
    commands = {"input": ["true"], "remote": ["true"], "output": ["true"]}
    assert sessions.run(commands).verdict == Verdict(None, None, [])


# Data connections


def test_data_connections_that_come_before_go_was_read_are_kept(stage: Stage) -> None:
    """They go another way than ``go``, and may be faster."""
    stage.start("remote", FILTER, "remote")
    control = stage.connect(Purpose.CONTROL)
    kept = [stage.connect(purpose) for purpose in (Purpose.INPUT, Purpose.OUTPUT)]
    stage.wait_idle()
    control.say("go")
    control.say("start")
    assert control.hear() == {"type": "started"}
    for data in kept:
        expect_silence(data, 0.1)


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_a_remote_side_starts_nothing_before_start(stage: Stage, tmp_path: Path, listen: str) -> None:
    started = tmp_path / "started"
    control = stage.pick("remote", {"input": [], "remote": sh(f": > {started}; cat")}, listen)
    stage.join(Purpose.INPUT)
    expect_silence(control)
    assert not started.exists()
    control.say("start")
    assert control.hear() == {"type": "started"}
    wait_until(started.exists, "the command")


def test_a_remote_side_starts_nothing_before_it_has_all_data_connections(
    stage: Stage, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    control = stage.pick("remote", {**FILTER, "remote": sh(f": > {started}; sleep 60")}, "remote")
    stage.connect(Purpose.INPUT)
    control.say("start")
    expect_silence(control)
    assert not started.exists()
    stage.connect(Purpose.OUTPUT)
    assert control.hear() == {"type": "started"}
    wait_until(started.exists, "the command")


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_the_local_side_says_start_when_it_has_all_data_connections(stage: Stage, listen: str) -> None:
    control = stage.pick("local", FILTER, listen)
    stage.join(Purpose.INPUT)
    expect_silence(control)
    stage.join(Purpose.OUTPUT)
    assert control.hear() == {"type": "start"}


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_the_local_side_starts_nothing_before_the_remote_command_runs(
    stage: Stage, tmp_path: Path, listen: str
) -> None:
    started = tmp_path / "started"
    control = stage.pick("local", {"input": sh(f": > {started}"), "remote": []}, listen)
    stage.join(Purpose.INPUT)
    assert control.hear() == {"type": "start"}
    expect_silence(control)
    assert not started.exists()
    control.say("started")
    assert control.hear() == {"type": "started"}
    wait_until(started.exists, "the command")


@SIDES
def test_a_data_connection_of_a_direction_that_is_not_in_use_is_reset(stage: Stage, side: str) -> None:
    """Nobody may take it for a stream that has ended."""
    stage.pick(side, PUSH, side)
    with pytest.raises(ConnectionResetError):
        stage.connect(Purpose.OUTPUT).sock.recv(1)


@PARTS
def test_without_the_data_connections_the_session_ends(stage: Stage, side: str, listen: str) -> None:
    """The remote side says so first: then there is one reason, not two."""
    assert meeting.LOCAL_PATIENCE == 5
    control = stage.pick(side, FILTER, listen, timeout=1, patience={"meeting.LOCAL_PATIENCE": 0.1})
    reason = control.hear_until("abort")["reason"]
    assert reason == {"kind": "connect", "text": "the data connections could not be made within 1 s"}
    control.sock.close()
    assert stage.endpoint.wait_ended()["own"]["reason"] == reason


# Ports that are taken


@pytest.fixture
def taken() -> Iterator[list[socket.socket]]:
    """Two ports at which somebody listens."""
    socks = [socket.create_server((LOOPBACK, 0)) for _number in range(2)]
    yield socks
    for sock in socks:
        sock.close()


def ports_of(socks: list[socket.socket]) -> list[int]:
    return [sock.getsockname()[1] for sock in socks]


@SIDES
def test_a_listener_takes_the_first_of_its_ports_that_is_free(
    stage: Stage, taken: list[socket.socket], side: str
) -> None:
    with hold_port() as other:
        ports = [*ports_of(taken), stage.port, other.getsockname()[1]]
        stage.start(side, PUSH, side, ports=ports)
        stage.connect(Purpose.CONTROL)
        assert refuses(ports[-1])


@SIDES
def test_a_listener_without_a_free_port_looks_again_until_there_is_one(
    stage: Stage, taken: list[socket.socket], side: str
) -> None:
    """Other sessions need theirs only for a moment."""
    ports = ports_of(taken)
    endpoint = stage.start(side, PUSH, "auto", ports=ports)
    stage.accept_unwelcomed()  # it has looked by now
    taken[1].close()
    control = stage.connect(Purpose.CONTROL, ports[1])
    if side == "remote":
        control.say("go")
    stage.connect(Purpose.INPUT, ports[1])
    control.sock.close()
    assert endpoint.wait_ended()["own"]["cannot_listen"] is None


def test_a_remote_side_that_could_not_listen_says_so_when_its_time_is_up(
    stage: Stage, taken: list[socket.socket]
) -> None:
    began = time.monotonic()
    endpoint = stage.start("remote", PUSH, "remote", ports=ports_of(taken), timeout=0.5)
    own = endpoint.wait_ended(timeout=15)["own"]
    assert 0.5 <= time.monotonic() - began < 10
    assert own["cannot_listen"] == os.strerror(errno.EADDRINUSE)
    assert own["reason"] == {
        "kind": "connect",
        "text": "no path to the other side was found within 0.5 s",
    }
    assert own["attempts"] == []


def test_a_local_side_that_could_not_listen_says_so_when_it_is_given_up(
    stage: Stage, taken: list[socket.socket]
) -> None:
    endpoint = stage.start("local", PUSH, "auto", ports=ports_of(taken))
    stage.accept_unwelcomed()  # it has looked by now
    endpoint.let_go()
    own = endpoint.wait_ended(timeout=15)["own"]
    assert own["cannot_listen"] == os.strerror(errno.EADDRINUSE)
    assert own["reason"]["kind"] == "abandoned"


@SIDES
def test_who_can_not_listen_still_connects_and_looks_for_a_port_no_more(
    stage: Stage, taken: list[socket.socket], side: str
) -> None:
    stage.start(side, PUSH, "auto", ports=ports_of(taken))
    control = stage.accept(Purpose.CONTROL)
    if side == "remote":
        control.say("go")
    stage.accept(Purpose.INPUT)
    if side == "local":
        control.hear_until("start")
    port = ports_of(taken)[0]
    taken[0].close()
    expect_silence(control, 2 * meeting.LISTEN_PAUSE)
    assert refuses(port)


# No peer


def test_a_remote_side_without_a_peer_gives_up_and_lists_what_it_tried(stage: Stage) -> None:
    endpoint = stage.start("remote", FILTER, "auto", timeout=0.5)
    own = endpoint.wait_ended()["own"]
    assert own["reason"] == {
        "kind": "connect",
        "text": "no path to the other side was found within 0.5 s",
    }
    (attempt,) = own["attempts"]
    address, port = stage.server.getsockname()
    assert 0 < attempt.pop("seconds") < 10
    assert attempt == {
        "side": "remote",
        "purpose": "control",
        "source": LOOPBACK,
        "address": address,
        "port": port,
        "tries": 1,
        "outcome": "connected, but nothing came back",
    }
    assert own["cannot_listen"] is None


@pytest.mark.parametrize("listen", ["remote", "auto"])
def test_the_local_side_never_gives_up_by_itself(stage: Stage, listen: str) -> None:
    """How long the other side's login takes is not its business."""
    endpoint = stage.start("local", FILTER, listen, timeout=0.1, patience={"meeting.LOCAL_PATIENCE": 0.0})
    began = time.monotonic()
    while time.monotonic() - began < 1:
        stage.evict()
    endpoint.let_go()
    own = endpoint.wait_ended()["own"]
    assert own["reason"]["kind"] == "abandoned"
    (attempt,) = own["attempts"]
    assert attempt["tries"] >= 3
    assert (attempt["side"], attempt["purpose"]) == ("local", "control")
    assert (attempt["address"], attempt["port"]) == stage.server.getsockname()


def test_a_local_listener_without_a_peer_has_tried_nothing(stage: Stage) -> None:
    endpoint = stage.start("local", FILTER, "local")
    stage.wait_idle()
    endpoint.let_go()
    own = endpoint.wait_ended()["own"]
    assert (own["reason"]["kind"], own["attempts"]) == ("abandoned", [])


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_who_connects_tells_how_even_of_a_session_that_went_well(sessions: Sessions, listen: str) -> None:
    ended = sessions.run({"input": ["true"], "remote": ["cat"], "output": ["cat"]})
    attempts = ended.reports[PEER[listen]]["attempts"]
    assert ended.reports[listen]["attempts"] == []
    assert [one["purpose"] for one in attempts] == ["control", "input", "output"]
    for one in attempts:
        assert (one["side"], one["outcome"], one["source"]) == (PEER[listen], "proven", LOOPBACK)
        assert one["seconds"] >= 0
    assert [report["cannot_listen"] for report in ended.reports.values()] == [None, None]


class Wire(Relay):
    """Passes handshakes on; what becomes of the connections, and of the last word of the handshake,
    the subclass says."""

    def relay(self, inside: socket.socket, outside: socket.socket, number: int) -> Callable[[], None]:
        return lambda: self._pass_on(inside, outside, number)

    def _pass_on(self, connector: socket.socket, listener: socket.socket, number: int) -> None:
        with connector, listener, contextlib.suppress(OSError):
            listener.sendall(connector.recv(HELLO_SIZE, socket.MSG_WAITALL))
            connector.sendall(listener.recv(ANSWER_SIZE, socket.MSG_WAITALL))
            listener.sendall(connector.recv(PROOF_SIZE, socket.MSG_WAITALL))
            self._end(connector, listener, listener.recv(WELCOME_SIZE, socket.MSG_WAITALL), number)

    def _end(self, connector: socket.socket, listener: socket.socket, welcome: bytes, number: int) -> None:
        raise NotImplementedError


class SlowWire(Wire):
    """Passes nothing on that is said after a handshake, until one side has closed its end."""

    def _end(self, connector: socket.socket, listener: socket.socket, welcome: bytes, number: int) -> None:
        connector.sendall(welcome)
        while all(sock.recv(1 << 16) for sock in select.select([connector, listener], [], [])[0]):
            pass


class BrokenWire(Wire):
    """Cuts the first data connection when its listener knows that it is proven, and its connector
    does not."""

    def _end(self, connector: socket.socket, listener: socket.socket, welcome: bytes, number: int) -> None:
        if number == 1:
            reset(connector)
            listener.recv(1)  # it is not told
            return
        connector.sendall(welcome)
        other = {connector: listener, listener: connector}
        while other:
            for source in select.select(list(other), [], [])[0]:
                data = source.recv(1 << 16)
                if data:
                    other[source].sendall(data)
                else:
                    other.pop(source).shutdown(socket.SHUT_WR)


@pytest.fixture
def wires() -> Iterator[Callable[[type[Wire]], Callable[[str, int], int]]]:
    """Puts a wire of that kind on the way to each listener."""
    made: list[Wire] = []

    def through(kind: type[Wire]) -> Callable[[str, int], int]:
        def wire(listener: str, port: int) -> int:
            made.append(kind(port))
            return made[-1].port

        return wire

    yield through
    for wire in made:
        wire.close()


Wires = Callable[[type[Wire]], Callable[[str, int], int]]


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_when_the_local_side_picks_while_the_remote_one_gives_up_both_end(
    sessions: Sessions, wires: Wires
) -> None:
    session = sessions.start(FILTER, through=wires(SlowWire), timeout=3)
    remote = session.remote.wait_ended(timeout=15)["own"]
    local = session.local.wait_ended(timeout=5)["own"]
    assert remote["reason"]["text"] == "no path to the other side was found within 3 s"
    assert local["reason"]["kind"] == "lost"
    assert local["path"] is not None
    assert [report["commands"] for report in (local, remote)] == [{}, {}]


@pytest.mark.parametrize("listen", ["local", "remote"])
@pytest.mark.parametrize(("writer", "reader"), [("input", "remote"), ("remote", "output")])
def test_a_data_connection_that_is_cut_at_the_end_of_its_handshake_commits_nothing_that_is_not_whole(
    sessions: Sessions, wires: Wires, tmp_path: Path, writer: str, reader: str
) -> None:
    """Whether the session fails or goes on over another one."""
    gate = CommitGate(tmp_path)
    commands = {writer: ["echo", "payload"], reader: gate.argv}
    ended = sessions.run(commands, through=wires(BrokenWire), timeout=3)
    committed = gate.whole.read_text() if gate.whole.exists() else None
    assert (ended.verdict.failure is None, committed) in ((True, "payload\n"), (False, None))


@PARTS
def test_a_peer_that_goes_away_before_the_data_connections_is_lost(
    stage: Stage, side: str, listen: str
) -> None:
    stage.pick(side, FILTER, listen).sock.close()
    assert stage.endpoint.wait_ended(timeout=10)["own"]["reason"]["kind"] == "lost"
