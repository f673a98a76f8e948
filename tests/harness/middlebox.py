# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Something between the two machines that passes connections on, and can cut or change them."""

from __future__ import annotations

import abc
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from harness.sockets import LOOPBACK, reset

#: Of a TLS record; its last two bytes are the length of what follows.
HEADER_SIZE = 5


def record_size(wire: bytes | bytearray) -> int:
    """Of the TLS record that *wire* begins with; that of a header, while that is incomplete."""
    return HEADER_SIZE + int.from_bytes(wire[3:HEADER_SIZE], "big")


def flipped(data: bytes, offset: int, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[offset] ^= 1 << bit
    return bytes(changed)


# Relays


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


class Way(NamedTuple):
    """One of the two directions of a connection."""

    #: From 0, which is the control connection.
    number: int
    #: Whether it is who connected that speaks, else who listens.
    from_connector: bool


class Tamperer(Relay):
    """Passes connections on, but for *changes* of what goes these ways."""

    def __init__(self, port: int, changes: Mapping[Way, Change]) -> None:
        self._changes = changes
        super().__init__(port)

    def relay(self, inside: socket.socket, outside: socket.socket, number: int) -> Callable[[], None]:
        both = (self._changes.get(Way(number, from_connector)) for from_connector in (True, False))
        return _Connection(inside, outside, *both).pass_on


class _Connection:
    def __init__(
        self,
        inside: socket.socket,
        outside: socket.socket,
        from_inside: Change | None = None,
        from_outside: Change | None = None,
    ) -> None:
        self._ways = {
            inside: (outside, from_inside or Change()),
            outside: (inside, from_outside or Change()),
        }
        self._is_cut = False

    def cut(self) -> None:
        self._is_cut = True
        next(iter(self._ways)).shutdown(socket.SHUT_RD)  # wakes the thread

    def pass_on(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in self._ways:
                selector.register(sock, selectors.EVENT_READ)
            try:
                while selector.get_map():
                    for key, _events in selector.select():
                        if not self._pass(key.fileobj):
                            selector.unregister(key.fileobj)
            except OSError:
                # What was cut, or reset by one of the machines, is reset towards both.
                for sock in self._ways:
                    reset(sock)
        for sock in self._ways:
            sock.close()

    def _pass(self, source: Any) -> bool:
        """Whether *source* may have more."""
        other, change = self._ways[source]
        data = source.recv(1 << 16)
        if self._is_cut:
            raise ConnectionAbortedError
        if not change.is_over:
            other.sendall(change.apply(data))
            if change.is_over or not data:
                other.shutdown(socket.SHUT_WR)
        return bool(data)


# What a `Tamperer` makes of what goes one way of one connection


class Change:
    """One for each way. This one changes nothing."""

    #: Whether FIN is to be sent now, and all the rest to be swallowed.
    is_over = False

    def apply(self, data: bytes) -> bytes:
        """What goes out for *data*, the next piece that came in; at the end that is empty."""
        return data


class Flip(Change):
    """Flips a bit of the byte at *offset*."""

    def __init__(self, offset: int, bit: int = 0) -> None:
        self._left = offset
        self._bit = bit

    def apply(self, data: bytes) -> bytes:
        left, self._left = self._left, self._left - len(data)
        return flipped(data, left, self._bit) if 0 <= left < len(data) else data


class FlipLast(Change):
    """Flips a bit of the very last byte. There are more than *after*; so many pass at once, and from
    then on one is always held back."""

    def __init__(self, *, after: int) -> None:
        self._left = after
        self._held = b""

    def apply(self, data: bytes) -> bytes:
        if not data:
            return flipped(self._held, 0) if self._held else b""
        self._left -= len(data)
        if self._left >= 0:
            return data
        passed, self._held = self._held + data[:-1], data[-1:]
        return passed


class FlipWhenTold(Change):
    """Flips a bit of what comes next after `now` was set."""

    def __init__(self) -> None:
        self.now = threading.Event()

    def apply(self, data: bytes) -> bytes:
        if not data or not self.now.is_set():
            return data
        self.now.clear()
        return flipped(data, len(data) // 2)


class LoseRest(Change):
    """Only the first *size* bytes go out, and an end, when it comes, as if they had been all."""

    def __init__(self, size: int) -> None:
        self._left = size

    def apply(self, data: bytes) -> bytes:
        passed = data[: self._left]
        self._left -= len(passed)
        return passed


class CutOff(LoseRest):
    """FIN follows the first *size* bytes at once."""

    def apply(self, data: bytes) -> bytes:
        passed = super().apply(data)
        self.is_over = not self._left
        return passed


class CutOffAtRecord(Change):
    """FIN comes *inside* bytes after the beginning of a TLS record: of that with this *number*, from
    0, or else of the first one of this *size*, which counts its header."""

    def __init__(self, number: int | None = None, *, size: int | None = None, inside: int = 0) -> None:
        assert (number is None) != (size is None)
        self._number = number
        self._size = size
        self._inside = inside
        self._held = bytearray()
        self._passed = 0

    def apply(self, data: bytes) -> bytes:
        self._held += data
        passed = bytearray()
        while not self.is_over and (size := record_size(self._held)) <= len(self._held):
            self.is_over = self._passed == self._number or size == self._size
            passed += self._held[: self._inside if self.is_over else size]
            del self._held[:size]
            self._passed += 1
        return bytes(passed)
