# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peer of an endpoint, played by the test itself, with blocking sockets."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.control import (
    ControlReader,
    ControlWriter,
    Message,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import (
    ConnectorHandshake,
    Handshake,
    ListenerHandshake,
    Purpose,
    Side,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import empty_report
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import Identity

from harness.processes import state_of
from harness.sessions import EndpointProcess, View, Words, side_of
from harness.sockets import KEY, LOOPBACK, TIMEOUT, hold_port
from harness.waiting import wait_until

#: The parts that an endpoint can have in a meeting: its side, and the side that listens.
PARTS = [("local", "local"), ("local", "remote"), ("remote", "local"), ("remote", "remote")]
#: Nobody who meets a test needs long to notice, or to end.
PATIENCE = {"crew.NOTICE_GRACE": 0.05, "endpoint.NETWORK_GRACE": 0.2}

#: What the test does with a connection before the handshake; the second argument is whether it
#: connected.
Secure = Callable[[socket.socket, bool], socket.socket]


def leave_plain(sock: socket.socket, is_connector: bool) -> socket.socket:
    return sock


def shake(sock: socket.socket, machine: Handshake) -> socket.socket:
    """This end's part of a handshake, to its end."""
    sock.settimeout(TIMEOUT)
    sock.sendall(machine.take())
    while not machine.done:
        data = sock.recv(machine.wanted)
        assert data, "the endpoint closed the connection during the handshake"
        machine.receive(data)
        sock.sendall(machine.take())
    return sock


def connect(
    port: int, purpose: Purpose, side: Side = Side.REMOTE, secure: Secure = leave_plain
) -> tuple[socket.socket, Handshake]:
    """A proven connection to an endpoint that listens, or is about to."""
    machine = ConnectorHandshake(KEY, side, purpose)
    sock = wait_until(lambda: _dial(port), f"somebody listens on {port}")
    return shake(secure(sock, True), machine), machine


def _dial(port: int) -> socket.socket | None:
    try:
        return socket.create_connection((LOOPBACK, port), TIMEOUT)
    except ConnectionRefusedError:
        return None


def accept(
    server: socket.socket, side: Side = Side.LOCAL, secure: Secure = leave_plain
) -> tuple[socket.socket, Handshake]:
    """A proven connection of a connecting endpoint."""
    machine = ListenerHandshake(KEY, side)
    server.settimeout(TIMEOUT)
    sock = server.accept()[0]
    sock.settimeout(TIMEOUT)
    return shake(secure(sock, False), machine), machine


def accept_unwelcomed(server: socket.socket, side: Side = Side.LOCAL) -> tuple[socket.socket, Handshake]:
    """A connection of a connecting endpoint, whose proof has come, and is not read yet."""
    machine = ListenerHandshake(KEY, side)
    server.settimeout(TIMEOUT)
    sock = server.accept()[0]
    sock.settimeout(TIMEOUT)
    while not machine.bytes_sent:
        machine.receive(sock.recv(machine.wanted))
    sock.sendall(machine.take())
    assert select.select([sock], [], [], TIMEOUT)[0], "the endpoint did not prove itself"
    return sock, machine


def report_by_hand(side: Side, **fields: Any) -> dict[str, Any]:
    """What the endpoint of *side* might report of a session in which nothing happened, but for *fields*."""
    return {**empty_report(), "side": side.value, **fields}


class Control:
    """A proven control connection; *side* is the one that the test plays."""

    def __init__(self, sock: socket.socket, machine: Handshake, side: Side) -> None:
        own_key, peer_key = machine.control_keys()
        self.side = side
        self.sock = sock
        self._writer, self._reader = ControlWriter(own_key), ControlReader(peer_key)
        self._read: list[Message] = []

    def frame(self, type: str, **fields: Any) -> bytes:
        return self._writer.frame({**fields, "type": type})

    def say(self, type: str, **fields: Any) -> None:
        self.sock.sendall(self.frame(type, **fields))

    def say_finished(self, **fields: Any) -> dict[str, Any]:
        """The last word; gives the report."""
        report = report_by_hand(self.side, **fields)
        self.say("finished", report=report)
        return report

    def hear(self) -> Message | None:
        """The next message, heartbeats included; None when the endpoint says nothing more."""
        while not self._read:
            data = self.sock.recv(1 << 16)
            if not data:
                return None
            self._read += self._reader.receive(data)
        return self._read.pop(0)

    def hear_until(self, type: str) -> Message:
        while True:
            message = self.hear()
            assert message is not None, f"the endpoint never said {type}"
            if message["type"] == type:
                return message


class Stage:
    """An endpoint of either side, and its peer, which the test plays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = hold_port()
        #: Where the endpoint listens, if it does, and where it connects to.
        self.port: int = self._held.getsockname()[1]
        self.secure: Secure = leave_plain
        self.server = socket.create_server((LOOPBACK, 0))
        self._socks = [self._held, self.server]
        self._endpoint: EndpointProcess | None = None
        self._played = Side.REMOTE  # by the test
        self._is_listener = False  # the endpoint

    # The endpoint

    def start(
        self,
        side: str,
        commands: dict[str, Words],
        listen: str,
        *,
        timeout: float = 10,
        preflight: bool = False,
        ports: Sequence[int] = (),
        patience: dict[str, float] | None = None,
        checksum: str | None = None,
        identity: Identity | None = None,
        stall_timeout: float | None = None,
        detached: bool = False,
    ) -> EndpointProcess:
        """The endpoint of *side*. *listen* is the side that listens, or `auto` for both. It opens
        one of *ports*; without them the remote one opens the stage's, and the local one is given it."""
        self._played = Side(side).peer
        self._is_listener, is_connector = listen in (side, "auto"), listen != side
        listener = self._held if self._is_listener and side == "local" and not ports else None
        spec = side_of(
            side,
            commands,
            candidates=[self.server.getsockname()] if is_connector else [],
            ports=(ports or [self.port]) if self._is_listener and listener is None else [],
            preflight=preflight,
            timeout=timeout,
            checksum=checksum,
            stall_timeout=stall_timeout,
            detached=detached,
        )
        if listener is not None:
            listener.listen()
        self._endpoint = EndpointProcess(
            spec,
            KEY,
            self._folder,
            listener=listener,
            patience={**PATIENCE, **(patience or {})},
            identity=identity and identity._asdict(),
        )
        if listener is not None:
            listener.close()  # from now on it is the endpoint's alone
        return self._endpoint

    @property
    def endpoint(self) -> EndpointProcess:
        assert self._endpoint is not None
        return self._endpoint

    def wait_idle(self) -> None:
        """Until the endpoint has done all that it was given to do, and waits."""
        pid = self.endpoint.process.pid
        wait_until(lambda: state_of(pid) == "S", "the endpoint waits")

    def freeze(self) -> None:
        """The endpoint does nothing until `thaw`; what is sent to it arrives."""
        pid = self.endpoint.process.pid
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: state_of(pid) == "T", "the endpoint is frozen")

    def thaw(self) -> None:
        os.kill(self.endpoint.process.pid, signal.SIGCONT)

    # Its peer

    def join(self, purpose: Purpose) -> Control:
        """A proven connection of the endpoint, which listens or connects, but not both."""
        return self.connect(purpose) if self._is_listener else self.accept(purpose)

    def connect(self, purpose: Purpose, port: int | None = None) -> Control:
        return self._keep(*connect(port or self.port, purpose, self._played, self.secure))

    def accept(self, purpose: Purpose) -> Control:
        sock, machine = accept(self.server, self._played, self.secure)
        assert machine.purpose is purpose
        return self._keep(sock, machine)

    def accept_unwelcomed(self) -> tuple[socket.socket, Handshake]:
        sock, machine = accept_unwelcomed(self.server, self._played)
        self._socks.append(sock)
        return sock, machine

    def evict(self) -> None:
        """Take a connection, and drop it with its proof unread: as a listener with too many does."""
        self.accept_unwelcomed()[0].close()

    def wait_for_knock(self, timeout: float = 3.0) -> socket.socket | None:
        """The next connection that the endpoint begins; None if it does not."""
        self.server.settimeout(timeout)
        try:
            self._socks.append(self.server.accept()[0])
        except TimeoutError:
            return None
        return self._socks[-1]

    def _keep(self, sock: socket.socket, machine: Handshake) -> Control:
        self._socks.append(sock)
        return Control(sock, machine, self._played)

    # Both

    def pick(self, side: str, commands: dict[str, Words], listen: str, **options: Any) -> Control:
        """The control connection of the endpoint of *side*, after ``go``."""
        self.start(side, commands, listen, **options)
        control = self.join(Purpose.CONTROL)
        if side == "local":
            control.hear_until("go")
        else:
            control.say("go")
        return control

    def meet(self, side: str, commands: dict[str, Words], listen: str, **options: Any) -> Played:
        """The endpoint of *side* and its running commands; all connections are there."""
        control = self.pick(side, commands, listen, **options)
        data = [self.join(Purpose(name)).sock for name in ("input", "output") if name in commands]
        if side == "local":
            control.hear_until("start")
            control.say("started")
        else:
            control.say("start")
        control.hear_until("started")
        return Played(self.endpoint, control, data)

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

    def exchange_heartbeats(self, count: int, **fields: Any) -> None:
        """So many of each, one after the other; the endpoint may say nothing else meanwhile."""
        for _number in range(count):
            heard = self.control.hear()
            assert heard is not None
            assert heard["type"] == "heartbeat", heard
            self.control.say("heartbeat", **fields)

    def finish(self) -> None:
        """Say the last that is to be said."""
        self.control.say_finished()
        self.control.sock.shutdown(socket.SHUT_WR)

    def view(self) -> View:
        """The endpoint's own report; to be asked for when its peer has said all it has to say."""
        own: View = self.endpoint.wait_ended(timeout=15)["own"]
        return own

    def reason(self) -> dict[str, Any]:
        reason: dict[str, Any] = self.view()["reason"]
        return reason
