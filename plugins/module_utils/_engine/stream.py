# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream: a connected socket that does not block, as the endpoint itself reads and writes it."""

from __future__ import annotations

import socket
from typing import Callable, Optional, Union

Data = Union[bytes, memoryview]


class Stream:
    """Plain bytes over *sock*, which it owns. What can not be sent at once waits until `flush`.

    All methods raise OSError when the connection is broken.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._unsent = memoryview(b"")
        self._is_finished = False

    @property
    def unsent(self) -> int:
        """How many bytes wait until `flush`."""
        return len(self._unsent)

    @property
    def has_unsent(self) -> bool:
        return self.unsent > 0

    @property
    def has_arrived(self) -> bool:
        """Whether something may be received that is no longer in the socket."""
        return False

    def receive_into(self, buffer: memoryview) -> Optional[int]:
        """How many bytes were put into *buffer*: 0 at the end, None when there are none yet."""
        try:
            return self.sock.recv_into(buffer)
        except BlockingIOError:
            return None

    def receive(self, size: int) -> Optional[bytes]:
        """At most *size* bytes: none at the end, None when there are none yet."""
        buffer = bytearray(size)
        count = self.receive_into(memoryview(buffer))
        return None if count is None else bytes(buffer[:count])

    def send(self, data: Data) -> None:
        """Send *data*, which stays in use for as long as `has_unsent`."""
        if self._unsent:
            data = bytes(self._unsent) + bytes(data)
        self._unsent = memoryview(data)
        self.flush()

    def finish(self) -> None:
        """End the stream after all that was sent."""
        self._is_finished = True
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            return
        if self._is_finished:
            self._is_finished = False
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()


#: Makes a stream of a connected socket; the second argument is whether this end connected.
Wrap = Callable[[socket.socket, bool], Stream]


def plain(sock: socket.socket, is_connector: bool) -> Stream:
    """The `Wrap` of a session without encryption."""
    return Stream(sock)
