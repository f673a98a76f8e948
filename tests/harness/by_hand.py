# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peer of an endpoint, played by the test itself, with blocking sockets."""

from __future__ import annotations

import socket
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

from harness.sockets import KEY, TIMEOUT


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


def connect(port: int, purpose: Purpose, side: Side = Side.REMOTE) -> tuple[socket.socket, Handshake]:
    """A proven connection to a listening endpoint."""
    machine = ConnectorHandshake(KEY, side, purpose)
    return shake(socket.create_connection(("127.0.0.1", port), TIMEOUT), machine), machine


def accept(server: socket.socket, side: Side = Side.LOCAL) -> tuple[socket.socket, Handshake]:
    """A proven connection of a connecting endpoint."""
    machine = ListenerHandshake(KEY, side)
    server.settimeout(TIMEOUT)
    return shake(server.accept()[0], machine), machine


class Control:
    """A proven control connection."""

    def __init__(self, sock: socket.socket, machine: Handshake) -> None:
        own_key, peer_key = machine.control_keys()
        self.sock = sock
        self._writer, self._reader = ControlWriter(own_key), ControlReader(peer_key)
        self._read: list[Message] = []

    def frame(self, type: str, **fields: Any) -> bytes:
        return self._writer.frame({**fields, "type": type})

    def say(self, type: str, **fields: Any) -> None:
        self.sock.sendall(self.frame(type, **fields))

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
