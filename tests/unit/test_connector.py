# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connector: all candidates side by side, again and again, and what is said of each."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import connector as connectors
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import proving
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.addresses import Address
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.connector import Connector
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Purpose, Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.listener import Listener
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import READ, Loop
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.proving import Proven
from harness.sockets import KEY, LOOPBACK, hold_port, run_until

OTHER_KEY = bytes(32)


class Scene:
    """A connector of the remote side, and what it finds at its candidates."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._listeners: list[Listener] = []
        self._socks: list[socket.socket] = []
        self._connectors: list[Connector] = []
        self.proven: list[Proven] = []
        self.let_in: list[Proven] = []

    def bound(self, host: str = LOOPBACK, port: int = 0) -> socket.socket:
        """A port that refuses connections until somebody listens there."""
        sock = hold_port(host, port)
        self._socks.append(sock)
        return sock

    def silent(self, *, backlog: int = 10) -> socket.socket:
        """A port where connections are taken, and nothing is ever said."""
        sock = self.bound()
        sock.listen(backlog)
        return sock

    def dead(self) -> socket.socket:
        """A port where not even the connection is taken: its backlog is full."""
        sock = self.silent(backlog=0)
        for _number in range(2):
            stranger = socket.socket()
            stranger.setblocking(False)
            stranger.connect_ex(sock.getsockname())
            self._socks.append(stranger)
        return sock

    def talking(self, words: bytes) -> socket.socket:
        """A port where each connection is told *words*, and no more."""
        sock = self.silent()
        sock.setblocking(False)

        def greet(events: int) -> None:
            stranger = sock.accept()[0]
            stranger.sendall(words)
            stranger.shutdown(socket.SHUT_WR)
            self._socks.append(stranger)  # to close it with HELLO unread would be a reset

        self._loop.watch(sock.fileno(), READ, greet)
        return sock

    def listen(self, sock: socket.socket, key: bytes = KEY, side: Side = Side.LOCAL) -> socket.socket:
        """The session's own listener, from now on, on *sock*."""
        sock.listen()
        listener = Listener(self._loop, sock.dup(), key=key, side=side, on_proven=self.let_in.append)
        self._listeners.append(listener)
        return sock

    def connect(self, *candidates: socket.socket | Address, purpose: Purpose = Purpose.CONTROL) -> Connector:
        addresses = [one.getsockname()[:2] if isinstance(one, socket.socket) else one for one in candidates]
        connector = Connector(
            self._loop,
            addresses,
            key=KEY,
            side=Side.REMOTE,
            purpose=purpose,
            on_proven=self.proven.append,
        )
        self._connectors.append(connector)
        return connector

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        run_until(self._loop, condition, what)

    def wait_for_proof(self) -> Proven:
        self.wait_for(lambda: self.proven, "a proven connection")
        return self.proven[0]

    def wait_for_tries(self, connector: Connector, count: int) -> dict[str, Any]:
        """The attempt at the only candidate, once it was tried so often and has failed."""

        def has_failed() -> bool:
            return any(
                one["tries"] >= count and one["outcome"] not in NOT_ENDED for one in connector.attempts()
            )

        self.wait_for(has_failed, f"{count} tries")
        (attempt,) = connector.attempts()
        return attempt

    def wait_for_outcome(self, connector: Connector, outcome: str) -> None:
        def is_said() -> bool:
            return outcome in [attempt["outcome"] for attempt in connector.attempts()]

        self.wait_for(is_said, outcome)

    def let_pass(self, seconds: float) -> None:
        over: list[bool] = []
        self._loop.after(seconds, lambda: over.append(True))
        self._loop.run_until(lambda: over)

    def close(self) -> None:
        for one in (*self._connectors, *self._listeners):
            one.close()
        for proven in (*self.proven, *self.let_in):
            proven.sock.close()
        for sock in self._socks:
            sock.close()


#: Outcomes of a try that has not ended.
NOT_ENDED = ("no answer", "connected, but nothing came back", "the name was not resolved in time")


@pytest.fixture
def scene(loop: Loop) -> Iterator[Scene]:
    scene = Scene(loop)
    yield scene
    scene.close()


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listener_that_knows_the_key_is_found(scene: Scene, host: str, purpose: Purpose) -> None:
    sock = scene.listen(scene.bound(host))
    connector = scene.connect(sock, purpose=purpose)
    proven = scene.wait_for_proof()
    assert (proven.handshake.purpose, proven.is_connector) == (purpose, True)
    assert (proven.peer, proven.own[0]) == (sock.getsockname()[:2], host)
    (attempt,) = connector.attempts()
    assert 0 <= attempt.pop("seconds") < 2
    assert attempt == {
        "side": "remote",
        "purpose": purpose.value,
        "source": host,
        "address": host,
        "port": sock.getsockname()[1],
        "tries": 1,
        "outcome": "proven",
    }


def test_without_a_candidate_nothing_is_tried(scene: Scene) -> None:
    connector = scene.connect()
    scene.let_pass(0.1)
    assert connector.attempts() == []


# What fails is tried again, and the list of attempts says so


def test_a_refused_candidate_is_tried_again_until_somebody_listens(scene: Scene) -> None:
    sock = scene.bound()
    connector = scene.connect(sock)
    attempt = scene.wait_for_tries(connector, 2)
    assert attempt["outcome"] == "Connection refused"
    scene.listen(sock)
    scene.wait_for_proof()
    (attempt,) = connector.attempts()
    assert attempt["tries"] > 2
    assert attempt["outcome"] == "proven"


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (b"", "connected, but it closed the connection during the handshake"),
        (b"socketpipe", "connected, but it closed the connection during the handshake"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "connected, but what it sent is not a socketpipe handshake of the other side",
        ),
        (
            b"socketpipe\x02",
            "connected, but it speaks version 2 of the protocol, this side version 1",
        ),
    ],
)
def test_a_stranger_at_a_candidate_is_told_of_and_tried_again(
    scene: Scene, words: bytes, outcome: str
) -> None:
    connector = scene.connect(scene.talking(words))
    assert scene.wait_for_tries(connector, 2)["outcome"] == outcome
    assert scene.proven == []


@pytest.mark.parametrize(
    ("key", "side", "outcome"),
    [
        (OTHER_KEY, Side.LOCAL, "connected, but it does not know this session's key"),
        (KEY, Side.REMOTE, "connected, but it closed the connection during the handshake"),
    ],
    ids=["another session", "our own side"],
)
def test_a_listener_that_is_not_the_peer_is_told_of(
    scene: Scene, key: bytes, side: Side, outcome: str
) -> None:
    connector = scene.connect(scene.listen(scene.bound(), key, side))
    assert scene.wait_for_tries(connector, 2)["outcome"] in (
        outcome,
        "connected, but Connection reset by peer",
    )
    assert (scene.proven, scene.let_in) == ([], [])


def test_a_silent_candidate_is_given_up_and_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "HANDSHAKE_TIMEOUT", 0.1)
    connector = scene.connect(scene.silent())
    assert scene.wait_for_tries(connector, 2)["outcome"].startswith(
        "connected, but it did not complete the handshake"
    )


def test_while_a_candidate_is_silent_the_list_says_so(scene: Scene) -> None:
    scene.wait_for_outcome(scene.connect(scene.silent()), "connected, but nothing came back")


def test_a_candidate_that_takes_no_connection_is_tried_afresh(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connectors.CONNECT_TIMEOUT == 10
    monkeypatch.setattr(connectors, "CONNECT_TIMEOUT", 0.1)
    connector = scene.connect(scene.dead())
    scene.wait_for(lambda: any(one["tries"] >= 2 for one in connector.attempts()), "a second try")
    assert [one["outcome"] for one in connector.attempts()] == ["no answer"]


def test_an_address_that_can_not_be_connected_to_is_told_of(scene: Scene) -> None:
    """TCP has no broadcast: the system refuses before a packet is sent."""
    attempt = scene.wait_for_tries(scene.connect(("255.255.255.255", 9)), 2)
    assert (attempt["outcome"], attempt["source"]) == ("Network is unreachable", None)


def test_the_seconds_run_until_the_end_of_the_last_try(scene: Scene) -> None:
    connector = scene.connect(scene.silent())
    scene.wait_for_outcome(connector, "connected, but nothing came back")

    def seconds() -> float:
        (attempt,) = connector.attempts()
        return float(attempt["seconds"])

    before = seconds()
    scene.let_pass(0.1)
    assert before + 0.1 <= seconds() < before + 2
    connector.close()
    at_end = seconds()
    scene.let_pass(0.1)
    assert seconds() == at_end


def test_a_connection_that_did_not_last_is_made_again(scene: Scene) -> None:
    connector = scene.connect(scene.listen(scene.bound()))
    proven = scene.wait_for_proof()
    proven.retry("the listener dropped it")
    (attempt,) = connector.attempts()
    assert (attempt["tries"], attempt["outcome"]) == (1, "the listener dropped it")
    scene.wait_for(lambda: len(scene.proven) == 2, "another one")
    (attempt,) = connector.attempts()
    assert (attempt["tries"], attempt["outcome"]) == (2, "proven")


def test_after_close_a_connection_that_did_not_last_is_not_made_again(scene: Scene) -> None:
    connector = scene.connect(scene.listen(scene.bound()))
    proven = scene.wait_for_proof()
    connector.close()
    proven.retry("the listener dropped it")
    scene.let_pass(2 * connectors.FIRST_PAUSE)
    assert [(one["tries"], one["outcome"]) for one in connector.attempts()] == [(1, "proven")]


def test_the_pauses_between_tries_grow_and_have_an_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 + 8 * 2 hundredths of a second: without growth it were 9, without an end 511."""
    monkeypatch.setattr(connectors, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(connectors, "LAST_PAUSE", 0.02)
    began = time.monotonic()
    scene.wait_for_tries(scene.connect(scene.bound()), 10)
    assert 0.17 <= time.monotonic() - began < 3


# Candidates do not wait for each other


@pytest.mark.parametrize(
    "bad", [Scene.silent, Scene.dead, Scene.bound, lambda scene: ("nonexistent.invalid", 1)],
    ids=["silent", "dead", "refusing", "a name that is not there"],
)  # fmt: skip
def test_a_bad_candidate_does_not_delay_a_good_one(scene: Scene, bad: Callable[[Scene], Any]) -> None:
    good = scene.listen(scene.bound())
    began = time.monotonic()
    scene.connect(bad(scene), good)
    assert scene.wait_for_proof().peer == good.getsockname()
    assert time.monotonic() - began < 2


def test_many_bad_candidates_do_not_delay_a_good_one(scene: Scene) -> None:
    good = scene.listen(scene.bound())
    began = time.monotonic()
    scene.connect(*[scene.silent() for _number in range(30)], good)
    assert scene.wait_for_proof().peer == good.getsockname()
    assert time.monotonic() - began < 1


def test_the_usual_case_leaves_no_trace_on_later_candidates(scene: Scene) -> None:
    """The first candidate proves itself before the second one's turn, and the session closes."""
    other = scene.silent()
    connector = scene.connect(scene.listen(scene.bound()), other)
    scene.wait_for_proof()
    connector.close()
    assert len(connector.attempts()) == 1
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        other.accept()


def test_each_good_candidate_is_handed_over_once(scene: Scene) -> None:
    """Which of them is used is not the connector's to say."""
    socks = [scene.listen(scene.bound()) for _number in range(2)]
    connector = scene.connect(*socks)
    scene.wait_for(lambda: len(scene.proven) == 2, "both")
    assert [proven.peer for proven in scene.proven] == [sock.getsockname() for sock in socks]
    assert [attempt["tries"] for attempt in connector.attempts()] == [1, 1]


def test_after_close_nothing_is_tried_any_more(scene: Scene) -> None:
    sock = scene.bound()
    connector = scene.connect(sock, scene.silent())
    scene.wait_for_outcome(connector, "connected, but nothing came back")
    connector.close()
    before = connector.attempts()
    sock.listen()
    sock.setblocking(False)
    scene.let_pass(2 * connectors.FIRST_PAUSE)
    assert connector.attempts() == before
    with pytest.raises(BlockingIOError):
        sock.accept()


def test_not_one_byte_behind_the_handshake_is_read(scene: Scene) -> None:
    scene.connect(scene.listen(scene.bound()))
    proven = scene.wait_for_proof()
    scene.wait_for(lambda: scene.let_in, "the other end")
    scene.let_in[0].sock.sendall(b"payload")
    proven.sock.settimeout(5)
    assert proven.sock.recv(100) == b"payload"


# Names


class Resolver:
    """What the system's resolver says of some names."""

    def __init__(self) -> None:
        self._ask = socket.getaddrinfo
        self.addresses: dict[str, list[str]] = {}
        #: Names of which nothing is said until this is set.
        self.slow: dict[str, threading.Event] = {}
        self.asked: list[str] = []

    def getaddrinfo(self, host: Any, port: int, **options: Any) -> list[Any]:
        if options.get("flags", 0) & socket.AI_NUMERICHOST or not host.endswith(".test"):
            return self._ask(host, port, **options)
        self.asked.append(host)
        if host in self.slow:
            assert self.slow[host].wait(30)
        if not self.addresses.get(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [self._ask(address, port, **options)[0] for address in self.addresses[host]]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    yield resolver
    for event in resolver.slow.values():
        event.set()


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def test_a_name_of_this_machine_is_resolved(scene: Scene) -> None:
    sock = scene.listen(scene.bound())
    connector = scene.connect(("localhost", port_of(sock)))
    assert scene.wait_for_proof().peer == sock.getsockname()
    assert "localhost" not in [one["address"] for one in connector.attempts()]


def test_a_name_is_a_candidate_for_each_of_its_addresses(scene: Scene, resolver: Resolver) -> None:
    resolver.addresses["t1.test"] = ["127.0.0.3", "::1", "127.0.0.2", LOOPBACK]
    sock = scene.listen(scene.bound())
    connector = scene.connect(("t1.test", port_of(sock)))
    scene.wait_for_proof()
    scene.wait_for(lambda: len(connector.attempts()) == 4, "all addresses are tried")
    attempts = {one["address"]: one for one in connector.attempts()}
    assert list(attempts) == resolver.addresses["t1.test"]
    assert {one["port"] for one in attempts.values()} == {port_of(sock)}
    assert attempts[LOOPBACK]["outcome"] == "proven"
    scene.wait_for_outcome(connector, "Connection refused")


def test_what_is_reached_by_several_names_is_tried_once(scene: Scene, resolver: Resolver) -> None:
    resolver.addresses = {"t1.test": [LOOPBACK, LOOPBACK], "t2.test": [LOOPBACK]}
    port = port_of(scene.bound())
    connector = scene.connect(("t1.test", port), (LOOPBACK, port), ("t2.test", port))
    scene.wait_for(lambda: {"t1.test", "t2.test"} <= set(resolver.asked), "both were looked up")
    scene.wait_for_tries(connector, 2)


def test_a_name_with_one_dead_address_does_not_wait_for_it(scene: Scene, resolver: Resolver) -> None:
    dead = scene.dead()
    good = scene.bound("127.0.0.2", port_of(dead))
    resolver.addresses["t1.test"] = [LOOPBACK, "127.0.0.2"]
    scene.listen(good)
    began = time.monotonic()
    scene.connect(("t1.test", port_of(dead)))
    assert scene.wait_for_proof().peer == good.getsockname()
    assert time.monotonic() - began < 1


def test_a_name_that_is_slow_to_resolve_does_not_delay_another_candidate(
    scene: Scene, resolver: Resolver
) -> None:
    resolver.slow = {f"t{number}.test": threading.Event() for number in range(10)}
    resolver.addresses["good.test"] = [LOOPBACK]
    good = scene.listen(scene.bound())
    began = time.monotonic()
    connector = scene.connect(*((name, 1) for name in resolver.slow), ("good.test", port_of(good)))
    assert scene.wait_for_proof().peer == good.getsockname()
    assert time.monotonic() - began < 1
    connector.close()
    slow = [one for one in connector.attempts() if one["address"] in resolver.slow]
    assert {one["address"] for one in slow} == set(resolver.slow)
    assert {one["outcome"] for one in slow} == {"the name was not resolved in time"}
    assert {one["source"] for one in slow} == {None}


def test_a_name_that_is_not_known_yet_is_looked_up_again(scene: Scene, resolver: Resolver) -> None:
    sock = scene.listen(scene.bound())
    connector = scene.connect(("t1.test", port_of(sock)))
    attempt = scene.wait_for_tries(connector, 2)
    assert (attempt["address"], attempt["outcome"]) == ("t1.test", "Name or service not known")
    resolver.addresses["t1.test"] = [LOOPBACK]
    assert scene.wait_for_proof().peer == sock.getsockname()
    assert [one["address"] for one in connector.attempts()] == [LOOPBACK]


@pytest.mark.parametrize("name", ["\0", "x" * 64, "a..b", "\udcff"], ids=ascii)
def test_what_can_not_be_a_name_is_told_of_and_does_no_harm(scene: Scene, name: str) -> None:
    good = scene.listen(scene.bound())
    connector = scene.connect((name, 1), good)
    assert scene.wait_for_proof().peer == good.getsockname()

    def outcomes() -> list[str]:
        attempts = connector.attempts()
        return [one["outcome"] for one in attempts if one["address"] == name and one["tries"] > 1]

    scene.wait_for(outcomes, "it was tried twice")
    assert outcomes() != [""]


def test_after_close_no_name_is_looked_up_any_more(scene: Scene, resolver: Resolver) -> None:
    connector = scene.connect(("t1.test", 1))
    scene.wait_for_tries(connector, 2)  # and the next look-up is a while away
    connector.close()
    asked = len(resolver.asked)
    scene.let_pass(1.5 * connectors.LAST_PAUSE)
    assert len(resolver.asked) == asked


def test_an_answer_that_comes_after_close_is_not_used(scene: Scene, resolver: Resolver) -> None:
    resolver.slow["t1.test"] = threading.Event()
    resolver.addresses["t1.test"] = [LOOPBACK]
    sock = scene.silent()
    connector = scene.connect(("t1.test", port_of(sock)))
    scene.wait_for(lambda: resolver.asked, "it is looked up")
    connector.close()
    resolver.slow["t1.test"].set()
    scene.let_pass(0.2)
    assert [one["address"] for one in connector.attempts()] == ["t1.test"]
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.accept()
