# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The listener: strangers get nothing, and do not keep the peer out."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import proving
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.connector import Connector
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import (
    ConnectorHandshake,
    Purpose,
    Side,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.listener import (
    MAX_UNPROVEN,
    Listener,
    open_listener,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.proving import Proven
from harness.sockets import KEY, LOOPBACK, hold_port, reset, run_until

OTHER_KEY = bytes(32)
GARBAGE = [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", bytes(1000), b"socketpipe\x02cr\0\0\0" + bytes(32)]


class Scene:
    """A local side's listener on loopback, strangers, and peers that know the key."""

    def __init__(self, loop: Loop, address: str = "127.0.0.1") -> None:
        self._loop = loop
        sock = open_listener(address)
        self.address = sock.getsockname()[:2]
        self.proven: list[Proven] = []
        self.listener = Listener(loop, sock, key=KEY, side=Side.LOCAL, on_proven=self.proven.append)
        self._connectors: list[Connector] = []
        self._strangers: list[socket.socket] = []

    def stranger(self, says: bytes = b"") -> socket.socket:
        sock = socket.create_connection(self.address, 5)
        self._strangers.append(sock)
        sock.sendall(says)
        sock.setblocking(False)
        return sock

    def peer_knocks(self, key: bytes = KEY, purpose: Purpose = Purpose.CONTROL) -> None:
        connector = Connector(
            self._loop, [self.address], key=key, side=Side.REMOTE, purpose=purpose, on_proven=self._let_go
        )
        self._connectors.append(connector)

    @staticmethod
    def _let_go(proven: Proven) -> None:
        proven.sock.close()

    @property
    def purposes(self) -> list[Purpose | None]:
        """Of the proven connections."""
        return [one.handshake.purpose for one in self.proven]

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        run_until(self._loop, condition, what)

    def wait_for_peer(self, count: int = 1) -> None:
        self.wait_for(lambda: len(self.proven) == count, f"{count} proven connections")

    def wait_for_refusals(self, count: int) -> None:
        self.wait_for(lambda: self.listener.strangers == count, f"{count} refusals")

    def close(self) -> None:
        self.listener.close()
        for connector in self._connectors:
            connector.close()
        for sock in self._strangers:
            sock.close()
        for one in self.proven:
            one.sock.close()


@pytest.fixture
def scene(loop: Loop) -> Iterator[Scene]:
    scene = Scene(loop)
    yield scene
    scene.close()


def is_dropped(sock: socket.socket) -> bool:
    """Whether the listener has closed its end, without a byte of its own."""
    try:
        data = sock.recv(1000)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    assert data == b"", "a stranger was told something"
    return True


# The peer


@pytest.mark.parametrize("purpose", Purpose)
def test_a_peer_is_let_in_with_its_purpose(scene: Scene, purpose: Purpose) -> None:
    scene.peer_knocks(purpose=purpose)
    scene.wait_for_peer()
    assert scene.purposes == [purpose]
    (proven,) = scene.proven
    assert not proven.is_connector
    assert (proven.own, proven.peer[0]) == (scene.address, "127.0.0.1")
    assert scene.listener.strangers == 0


def test_several_connections_of_a_peer_are_let_in(scene: Scene) -> None:
    for purpose in Purpose:
        scene.peer_knocks(purpose=purpose)
    scene.wait_for_peer(3)
    assert set(scene.purposes) == set(Purpose)


def test_a_peer_that_comes_before_the_listener_looks_is_let_in(scene: Scene) -> None:
    """HELLO is in the backlog before the first accept, and the connector waits."""
    sock = scene.stranger(ConnectorHandshake(KEY, Side.REMOTE, Purpose.CONTROL).take())
    scene.wait_for(lambda: can_read(sock), "the answer")


def test_not_one_byte_behind_the_handshake_is_read(scene: Scene) -> None:
    knock(scene, scene.stranger(), payload=b"payload")
    scene.wait_for_peer()
    (proven,) = scene.proven
    assert proven.sock.recv(100) == b"payload"


# Strangers


def silent(scene: Scene) -> None:
    for _number in range(20):
        scene.stranger()


def talking(scene: Scene) -> None:
    for words in GARBAGE:
        scene.stranger(words)


def halting(scene: Scene) -> None:
    """A HELLO that never ends."""
    hello = ConnectorHandshake(KEY, Side.REMOTE, Purpose.CONTROL).take()
    for size in (1, 16, 47):
        scene.stranger(hello[:size])


def guessing(scene: Scene) -> None:
    scene.peer_knocks(key=OTHER_KEY)


def vanishing(scene: Scene) -> None:
    for _number in range(20):
        scene.stranger().close()


def resetting(scene: Scene) -> None:
    for words in (b"", b"socket"):
        reset(scene.stranger(words))


def many(scene: Scene) -> None:
    for _number in range(500):
        scene.stranger()


FEW = [silent, talking, halting, guessing, vanishing, resetting]


@pytest.mark.parametrize("strangers", [*FEW, many], ids=lambda strangers: strangers.__name__)
def test_strangers_do_not_keep_the_peer_out(scene: Scene, strangers: Callable[[Scene], None]) -> None:
    strangers(scene)
    scene.peer_knocks()
    scene.wait_for_peer()


@pytest.mark.parametrize("strangers", FEW, ids=lambda strangers: strangers.__name__)
def test_strangers_that_come_again_and_again_do_not_keep_the_peer_out(
    scene: Scene, loop: Loop, strangers: Callable[[Scene], None]
) -> None:
    """Some before the peer, more at every turn of the loop until it has proved itself."""
    strangers(scene)
    scene.peer_knocks()

    def again() -> None:
        if not scene.proven:
            strangers(scene)
            loop.after(0, again)

    again()
    scene.wait_for_peer()


@pytest.mark.parametrize("words", GARBAGE)
def test_a_stranger_is_dropped_at_once_and_told_nothing(scene: Scene, words: bytes) -> None:
    sock = scene.stranger(words)
    scene.wait_for(lambda: is_dropped(sock), "the stranger is dropped")
    assert scene.listener.strangers == 1
    assert scene.proven == []


def test_a_stranger_with_another_key_is_dropped_after_its_proof(scene: Scene) -> None:
    sock = scene.stranger()
    hello = ConnectorHandshake(OTHER_KEY, Side.REMOTE, Purpose.CONTROL).take()
    sock.sendall(hello + bytes(32))
    scene.wait_for_refusals(1)
    assert scene.proven == []


def test_a_silent_stranger_is_dropped_after_a_while(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert proving.HANDSHAKE_TIMEOUT == 5
    monkeypatch.setattr(proving, "HANDSHAKE_TIMEOUT", 0.2)
    sock = scene.stranger(b"socket")
    scene.wait_for(lambda: is_dropped(sock), "the stranger is dropped")


def test_a_stranger_that_dribbles_gets_no_more_time(
    scene: Scene, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for the whole handshake, not for each byte of it."""
    monkeypatch.setattr(proving, "HANDSHAKE_TIMEOUT", 0.3)
    sock = scene.stranger()
    hello = iter(ConnectorHandshake(KEY, Side.REMOTE, Purpose.CONTROL).take())

    def dribble() -> None:
        if scene.listener.strangers == 0:
            sock.send(bytes([next(hello)]))
            loop.after(0.02, dribble)

    dribble()
    scene.wait_for_refusals(1)
    assert next(hello, None) is not None


def test_the_number_of_unproven_connections_is_bounded_and_the_oldest_go(scene: Scene) -> None:
    strangers = [scene.stranger() for _number in range(500)]
    scene.wait_for_refusals(500 - MAX_UNPROVEN)
    assert MAX_UNPROVEN == 128
    assert [is_dropped(sock) for sock in strangers] == [True] * (500 - MAX_UNPROVEN) + [False] * MAX_UNPROVEN


def test_with_no_descriptor_left_the_oldest_strangers_make_room_for_the_peer(scene: Scene) -> None:
    strangers = [scene.stranger() for _number in range(50)]
    peer = scene.stranger()
    with descriptors_left(10):
        knock(scene, peer)
        scene.wait_for_peer()
    assert 40 <= sum(map(is_dropped, strangers)) < 50


def test_a_peer_that_resets_right_after_its_proof_does_not_bring_the_listener_down(scene: Scene) -> None:
    """As an endpoint does that is killed at that moment: its data connection is armed."""
    knock(scene, scene.stranger(), and_then=reset)
    scene.peer_knocks(purpose=Purpose.CONTROL)
    scene.wait_for(lambda: Purpose.CONTROL in scene.purposes, "the peer that came after it")


def test_a_closed_listener_lets_go_of_everything(scene: Scene) -> None:
    strangers = [scene.stranger() for _number in range(5)]
    scene.peer_knocks()
    scene.wait_for_peer()
    strangers.append(scene.stranger())
    scene.listener.close()
    assert all(map(is_dropped, strangers))
    with pytest.raises(ConnectionRefusedError):
        scene.stranger()


# Where it listens


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_it_listens_on_an_address_of_this_machine_alone(address: str) -> None:
    with open_listener(address) as sock:
        assert sock.getsockname()[0] == address


@pytest.mark.parametrize("address", [None, "localhost", "192.0.2.1", "2001:db8::1", "no such name", ""])
def test_otherwise_it_listens_on_all_addresses_of_both_families(address: str | None) -> None:
    with open_listener(address) as sock:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, sock.getsockname()[1]), 5).close()


@pytest.mark.parametrize(("address", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
def test_addresses_are_shown_as_they_were_dialled(loop: Loop, address: str, shown: str) -> None:
    """IPv4 as IPv4, though one socket listens for both."""
    scene = Scene(loop, "::")
    try:
        scene.address = (address, scene.address[1])
        scene.peer_knocks()
        scene.wait_for_peer()
        assert scene.proven[0].own == (shown, scene.address[1])
        assert scene.proven[0].peer[0] == shown
    finally:
        scene.close()


ODD_HOSTS = [
    *["", ".", "%", "%lo", "::%", "::1%nonexistent", "[::1]", "127.0.0.1:80", "127.0.0.1/8", "1.2.3"],
    *["-", "a b", " ", "\n", "\0", "x" * 64, "x" * 255, "x." * 5000, "\u00fc", "\u2024", "\udcff"],
]


@pytest.mark.parametrize("host", ODD_HOSTS, ids=ascii)
def test_odd_names_are_no_addresses_of_this_machine(host: str) -> None:
    """Nor do they raise anything."""
    with open_listener(host) as sock:
        assert sock.getsockname()[0] == "::"


# On which port


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


@pytest.fixture
def ports() -> Iterator[list[socket.socket]]:
    """Three ports that nobody gets by chance. They are free until somebody listens there."""
    socks = [hold_port() for _number in range(3)]
    yield socks
    for sock in socks:
        sock.close()


def test_it_takes_the_first_port_that_is_free(ports: list[socket.socket]) -> None:
    wanted = [port_of(sock) for sock in ports]
    taken = []
    for port in wanted:
        taken.append(open_listener(LOOPBACK, wanted))
        assert port_of(taken[-1]) == port
    with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)) as caught:
        open_listener(LOOPBACK, wanted)
    assert caught.value.errno == errno.EADDRINUSE
    for sock in taken:
        sock.close()


def test_the_order_of_the_ports_is_kept(ports: list[socket.socket]) -> None:
    wanted = [port_of(sock) for sock in reversed(ports)]
    with open_listener(LOOPBACK, wanted) as sock:
        assert port_of(sock) == wanted[0]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_a_port_is_taken_if_it_is_so_at_any_address_that_it_would_listen_on(address: str) -> None:
    with hold_port(address) as sock:
        sock.listen()
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            open_listener(None, [port_of(sock)])


def test_a_port_that_is_taken_at_another_address_is_free_at_this_one() -> None:
    with hold_port("127.0.0.2") as sock:
        sock.listen()
        with open_listener(LOOPBACK, [port_of(sock)]) as found:
            assert found.getsockname() == (LOOPBACK, port_of(sock))


@pytest.mark.parametrize("address", [None, LOOPBACK])
def test_a_port_on_which_connections_live_but_nobody_listens_is_free(address: str | None) -> None:
    """The session before this one has closed its listener, and its data flows."""
    with open_listener(address) as first:
        port = port_of(first)
        connector = socket.create_connection((LOOPBACK, port), 5)
        accepted = first.accept()[0]
    with connector, accepted:
        with open_listener(address, [port]) as second:
            assert port_of(second) == port
            socket.create_connection((LOOPBACK, port), 5).close()
        connector.sendall(b"x")
        assert accepted.recv(1) == b"x"


def test_a_port_on_which_a_connection_has_just_ended_is_free() -> None:
    """Its end that closed first waits a minute for stray packets."""
    with open_listener(LOOPBACK) as first:
        port = port_of(first)
        connector = socket.create_connection((LOOPBACK, port), 5)
        first.accept()[0].close()
        assert connector.recv(1) == b""
        connector.close()
    with open_listener(LOOPBACK, [port]) as second:
        assert port_of(second) == port


def test_a_port_that_is_roots_is_passed_over(
    ports: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said by a socket of the test: it may run as root, who may have any port."""
    closed, free = (port_of(sock) for sock in ports[:2])

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            if address[1] == closed:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Socket)
    with open_listener(LOOPBACK, [closed, free]) as sock:
        assert port_of(sock) == free
    with pytest.raises(PermissionError):
        open_listener(LOOPBACK, [closed])


def test_without_a_port_there_is_no_listener() -> None:
    with pytest.raises(OSError, match="assign"):
        open_listener(LOOPBACK, [])


# Parts


def knock(
    scene: Scene,
    sock: socket.socket,
    *,
    payload: bytes = b"",
    and_then: Callable[[socket.socket], None] = lambda sock: None,
) -> None:
    """The connector's part of a handshake; its proof goes out together with *payload*."""
    machine = ConnectorHandshake(KEY, Side.REMOTE, Purpose.INPUT)
    sock.sendall(machine.take())
    scene.wait_for(lambda: can_read(sock, machine.wanted), "the answer")
    machine.receive(sock.recv(machine.wanted))
    sock.sendall(machine.take() + payload)
    and_then(sock)


def can_read(sock: socket.socket, size: int = 80) -> bool:
    try:
        return len(sock.recv(size, socket.MSG_PEEK)) == size
    except BlockingIOError:
        return False


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process may open only so many descriptors more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    free = [number for number in range(len(used) + count + 1) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
