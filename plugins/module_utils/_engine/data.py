# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data connection: the socket that a command gets, and the ways it can end.

General theory of operation. The command holds the socket, the endpoint a duplicate. The
socket is armed at once: from then on the kernel answers the last close with RST, whoever
dies. One call, `finish`, turns that into FIN. `disconnect` breaks the connection now, on
both machines, even while others hold the descriptor. After an RST Linux gives the first
read ECONNRESET, and the *second a clean end of file*; a disconnected socket fails every read.

While the command runs, the endpoint never reads here and never asks for SO_ERROR at a reading end:
either would take the error away from the command.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Any, Optional

from .counters import has_fin, taken_bytes, tcp_info, unread_bytes, written_bytes
from .errors import ResourceError

try:
    # Loaded beforehand: when a connection breaks, a few milliseconds count.
    import ctypes

    _LIBC: Any = ctypes.CDLL(None)
except (ImportError, OSError):
    _LIBC = None

#: SO_LINGER: the last close sends RST, or FIN.
LINGER_RESET = struct.pack("ii", 1, 0)
LINGER_OFF = struct.pack("ii", 0, 0)
#: Linux's own, which the socket module does not name. It takes an unsigned long.
_SO_MAX_PACING_RATE = 47
#: Seconds until the first question, seconds between two, and how many may go without an answer.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}
#: A sockaddr of family AF_UNSPEC, which is 0 everywhere.
_UNSPECIFIED = bytes(16)


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel ask the other machine for a sign of life where there is no data: so it never waits
    for one that is gone, and no router on the way forgets the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class DataConnection:
    """One end of one direction.

    *handshake_sent* and *handshake_received* are the bytes of its handshake,
    *is_connector* tells which end opened it: both correct the kernel's counters.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        handshake_sent: int,
        handshake_received: int,
        is_connector: bool,
    ) -> None:
        self.sock = sock
        self._sent_before = handshake_sent + (1 if is_connector else 0)
        self._received_before = handshake_received
        self._finished = False
        self._disconnected = False
        self._arm()

    def _arm(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        if self.sock.family != socket.AF_UNIX:
            keep_alive(self.sock)

    def descriptor(self) -> int:
        """For the command."""
        # A timeout left on the socket is O_NONBLOCK for the command: EAGAIN instead of waiting.
        self.sock.settimeout(None)
        return self.sock.fileno()

    def read_in_blocks(self, size: int) -> None:
        """Give a reader *size* bytes, if it asks for as many, but at the end of the stream.

        Raises ResourceError where the system can not do that.
        """
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            possible = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        except OSError as error:
            raise ResourceError(f"block_size is not possible here: {error.strerror}") from None
        if possible < size:
            raise ResourceError(
                f"a block_size of {size} bytes is not possible here, but {possible} are; "
                "a larger third number in net.ipv4.tcp_rmem allows more"
            )

    def limit_rate(self, rate: int) -> None:
        """Send at most *rate* bytes per second, in the kernel's even pace.

        Raises ResourceError where the system can not do that.
        """
        if not sys.platform.startswith("linux"):
            raise ResourceError("rate_limit is not possible here: only Linux has it")
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("L", rate))
        except OSError as error:
            raise ResourceError(f"rate_limit is not possible here: {error.strerror}") from None

    @property
    def is_over(self) -> bool:
        """Whether nothing goes through it any more: after two FINs, or as `is_broken`."""
        info = tcp_info(self.sock)
        return self._disconnected or (info is not None and info.is_over)

    @property
    def is_broken(self) -> bool:
        """Whether it was reset or disconnected, by whichever end, before the other end's FIN had come."""
        return self.is_over and (self._disconnected or not has_fin(self.sock))

    def finish(self) -> None:
        """Send FIN: the stream is whole."""
        self._finished = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            # The reader has ended early and broken the pipe; whether that matters is for the judge.
            if error.errno not in (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET):
                raise

    def disconnect(self) -> None:
        """Break the connection now, with RST; for a reader every later read fails.

        Some kernels (6.1 to 6.5) refuse it while a command waits in a read or write: then
        it may be tried again, and the RST of the other end, or the last close, does it.
        """
        if not self._disconnected:
            self._disconnected = _disconnect(self.sock.fileno())

    def stop_reading(self) -> None:
        """The reading command has ended: break the pipe of its writer, with RST."""
        self.disconnect()
        if not self._disconnected:
            self.sock.close()

    def take_error(self) -> None:
        """Take the pending ECONNRESET away from a writer: EPIPE and SIGPIPE are left, as in a
        shell. A write that is just waking up may be first."""
        self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def is_read_whole(self) -> bool:
        """Whether FIN is known to have arrived, and nothing before it is left unread."""
        return has_fin(self.sock) is True and not self._disconnected and unread_bytes(self.sock) == 0

    def was_read_whole(self) -> bool:
        """The same, when the reading command has ended, so that no error can be taken away from it."""
        return self.is_read_whole() or (tcp_info(self.sock) is None and _is_at_end(self.sock))

    def digest(self) -> Optional[str]:
        """Of the payload, hexadecimal: known where the payload passes through the endpoint."""
        return None

    def count_sent(self) -> Optional[int]:
        """Payload bytes that the writing command has written."""
        fin = 1 if self._finished else 0
        return _payload(written_bytes(self.sock), self._sent_before + fin)

    def count_received(self) -> Optional[int]:
        """Payload bytes that the reading command has taken."""
        return _payload(taken_bytes(self.sock), self._received_before)

    def close(self, *, whole: bool) -> None:
        """Let go of the socket: with FIN if the session was *whole*, else with RST."""
        if whole and self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
        self.sock.close()


def _payload(count: Optional[int], other: int) -> Optional[int]:
    """A raw *count* without the *other* bytes in it. Where it is less than these, it counts nothing: some
    systems have the counters of TCP_INFO, and never move them."""
    return None if count is None or count < other else count - other


def _is_at_end(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except OSError:  # nothing is there yet, or the connection is broken
        return False


def _disconnect(fd: int) -> bool:
    """connect(2) to AF_UNSPEC, which the socket module can not express; whether it was done."""
    return _LIBC is not None and _LIBC.connect(fd, _UNSPECIFIED, len(_UNSPECIFIED)) == 0
