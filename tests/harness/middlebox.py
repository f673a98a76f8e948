# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Something between the two machines that passes connections on, and can cut them."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import Any

from harness.sockets import reset


class Middlebox:
    """Passes each connection on to *port* of 127.0.0.1, from a port of its own, and resets it
    while nobody listens there."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._connections: list[_Connection] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, number: int) -> None:
        """Reset a connection towards both machines; number 0 is the control connection."""
        self._connections[number].cut()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                inside = self._server.accept()[0]
            except OSError:
                return  # it was closed
            try:
                outside = socket.create_connection(self._target)
            except ConnectionRefusedError:
                reset(inside)
                continue
            connection = _Connection(inside, outside)
            self._connections.append(connection)
            threading.Thread(target=connection.pass_on, daemon=True).start()


class _Connection:
    def __init__(self, inside: socket.socket, outside: socket.socket) -> None:
        self._other = {inside: outside, outside: inside}
        self._is_cut = False

    def cut(self) -> None:
        self._is_cut = True
        next(iter(self._other)).shutdown(socket.SHUT_RD)  # wakes the thread

    def pass_on(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock, other in self._other.items():
                selector.register(sock, selectors.EVENT_READ, other)
            try:
                while selector.get_map():
                    for key, _events in selector.select():
                        self._pass(selector, key.fileobj, key.data)
            except OSError:
                # What was cut, or reset by one of the machines, is reset towards both.
                for sock in self._other:
                    reset(sock)
        for sock in self._other:
            sock.close()

    def _pass(self, selector: selectors.BaseSelector, source: Any, other: socket.socket) -> None:
        data = source.recv(1 << 16)
        if self._is_cut:
            raise ConnectionAbortedError
        if data:
            other.sendall(data)
        else:
            selector.unregister(source)
            other.shutdown(socket.SHUT_WR)
