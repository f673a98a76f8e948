# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Something between the two machines that passes connections on, and can cut them."""

from __future__ import annotations

import abc
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any

from harness.sockets import LOOPBACK, reset


class Relay(abc.ABC):
    """Connects whoever comes to its own port with *port* of 127.0.0.1, and resets who comes while
    nobody listens there. What becomes of two such connections, the subclass says in a thread."""

    def __init__(self, port: int) -> None:
        self._target = (LOOPBACK, port)
        self._server = socket.create_server((LOOPBACK, 0))
        self.port: int = self._server.getsockname()[1]
        self.passed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @abc.abstractmethod
    def relay(self, inside: socket.socket, outside: socket.socket, number: int) -> Callable[[], None]:
        """What the thread of the two connections runs; *number* counts from 0."""

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
            run = self.relay(inside, outside, self.passed)
            threading.Thread(target=run, daemon=True).start()
            self.passed += 1


class Middlebox(Relay):
    """Passes each connection on."""

    def __init__(self, port: int) -> None:
        self._connections: list[_Connection] = []
        super().__init__(port)

    def relay(self, inside: socket.socket, outside: socket.socket, number: int) -> Callable[[], None]:
        self._connections.append(_Connection(inside, outside))
        return self._connections[-1].pass_on

    def cut(self, number: int) -> None:
        """Reset a connection towards both machines; number 0 is the control connection."""
        self._connections[number].cut()


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
