# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel knows of a TCP connection: bytes and state, from TCP_INFO.

Source: struct tcp_info of linux/tcp.h, whose layout only ever grows. tcpi_bytes_acked counts
the SYN (at the connector) and the FIN as one byte each, tcpi_bytes_received the FIN
(measured on Linux 6.18). tcpi_bytes_sent is no use: it counts retransmissions.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import sys
import termios
from typing import NamedTuple, Optional

_ACKED_OFFSET = 120  # tcpi_bytes_acked, then tcpi_bytes_received: Linux 4.1 and later
_ROUND_TRIP_OFFSET = 148  # tcpi_min_rtt, in microseconds: Linux 4.9 and later
_LAST_OFFSET = 52  # tcpi_last_data_recv, then tcpi_last_ack_recv, in milliseconds
_PROBES_OFFSET = 3  # tcpi_probes, a byte
_UNACKED_OFFSET = 24  # tcpi_unacked, in packets
_SENT_OFFSET = 44  # tcpi_last_data_sent, in milliseconds
_NUMBER = struct.Struct("=I")
_LAST = struct.Struct("=II")
_MICROSECONDS = struct.Struct("=I")
_COUNTERS = struct.Struct("=QQ")
_INFO_SIZE = 256

_UNMEASURED = 0xFFFFFFFF

#: The option and the kind of what it brings: Linux 4.18 and later. The socket module does not name it.
_TCP_INQ = 36
_INQ = struct.Struct("i")

_FIN_ARRIVED = frozenset((8, 9, 11, 6))  # CLOSE_WAIT, LAST_ACK, CLOSING, TIME_WAIT
_CLOSING = frozenset((4, 9, 11))  # FIN_WAIT1, LAST_ACK, CLOSING
_CLOSED = 7


class TcpInfo(NamedTuple):
    """*acked* and *received* are raw counters in bytes, None where unknown."""

    state: int
    acked: Optional[int]
    received: Optional[int]

    @property
    def fin_arrived(self) -> bool:
        return self.state in _FIN_ARRIVED

    @property
    def is_closing(self) -> bool:
        """Whether a FIN of ours may not be acknowledged yet."""
        return self.state in _CLOSING

    @property
    def is_over(self) -> bool:
        """By two FINs, or by a reset: `has_fin` tells."""
        return self.state == _CLOSED


def tcp_info(sock: socket.socket) -> Optional[TcpInfo]:
    """None where the system has no TCP_INFO of Linux's layout."""
    raw = _raw_info(sock)
    if raw is None:
        return None
    if len(raw) < _ACKED_OFFSET + _COUNTERS.size:
        return TcpInfo(raw[0], None, None)
    acked, received = _COUNTERS.unpack_from(raw, _ACKED_OFFSET)
    return TcpInfo(raw[0], acked, received)


def seconds_of_silence(sock: socket.socket) -> Optional[float]:
    """Since the peer's last data or acknowledgement, which keepalive asks for where there is no data."""
    raw = _raw_info(sock)
    if raw is None:
        return None
    data, acknowledgement = _LAST.unpack_from(raw, _LAST_OFFSET)
    return float(min(data, acknowledgement)) / 1000


def owes_an_answer(sock: socket.socket) -> bool:
    """Whether the peer has said nothing to data since that was last sent, or to more than one of the
    kernel's questions: one, or its answer, may be lost.

    A peer that says nothing owes nothing while it was not asked. Where its window is closed the kernel asks
    ever more rarely, every two minutes in the end.
    """
    raw = _raw_info(sock)
    return raw is not None and shows_debt(raw)


def shows_debt(raw: bytes) -> bool:
    """`owes_an_answer`, of a struct tcp_info."""
    (unacked,), (sent,) = (_NUMBER.unpack_from(raw, at) for at in (_UNACKED_OFFSET, _SENT_OFFSET))
    is_unheard = sent < min(_LAST.unpack_from(raw, _LAST_OFFSET))
    return raw[_PROBES_OFFSET] > 1 or (unacked > 0 and is_unheard)


def round_trip(sock: socket.socket) -> Optional[float]:
    """The shortest so far, in seconds; None where it is not known."""
    raw = _raw_info(sock)
    if raw is None or len(raw) < _ROUND_TRIP_OFFSET + _MICROSECONDS.size:
        return None
    (microseconds,) = _MICROSECONDS.unpack_from(raw, _ROUND_TRIP_OFFSET)
    return None if microseconds == _UNMEASURED else microseconds / 1e6


def unread_bytes(sock: socket.socket) -> int:
    """How many bytes have arrived that nobody has read."""
    return _queue_size(sock, termios.FIONREAD)


def unacknowledged_bytes(sock: socket.socket) -> int:
    """How many bytes were written that the other machine has not acknowledged."""
    return _queue_size(sock, termios.TIOCOUTQ)


def written_bytes(sock: socket.socket) -> Optional[int]:
    """The raw count of bytes ever written to *sock*: acknowledged, or on their way.

    The two halves are asked for one after the other, so they are asked for again
    until no acknowledgement came in between.
    """
    while True:
        before = tcp_info(sock)
        if before is None or before.acked is None:
            return None
        unacknowledged = unacknowledged_bytes(sock)
        if tcp_info(sock) == before:
            return before.acked + unacknowledged


def taken_bytes(sock: socket.socket) -> Optional[int]:
    """The raw count of bytes ever read from *sock*: arrived, and not unread. Without FIN."""
    while True:
        before = tcp_info(sock)
        if before is None or before.received is None:
            return None
        unread = unread_bytes(sock)
        # Of one that is over, nothing changes any more.
        fin = before.fin_arrived or (before.is_over and has_fin(sock))
        if tcp_info(sock) == before:
            return before.received - unread - (1 if fin else 0)


def has_fin(sock: socket.socket) -> Optional[bool]:
    """Whether the peer's FIN has arrived; False, too, while the error of a reset is pending. None where the
    system does not tell.

    A connection that is over may have ended by two FINs, or by a reset whose error a command has taken:
    the state, the end of file that is read then and the events are the same. What the kernel says is left
    to read (TCP_INQ) is not: after FIN, that is one more than there are bytes.

    Nothing is taken from a command that still reads. To peek takes no data. It would take the error of a
    reset, so it is only done where the connection is over and no error is pending: then none comes any more.
    """
    info = tcp_info(sock)
    if info is None:
        return None
    if not info.is_over:
        return info.fin_arrived
    if _has_pending_error(sock):
        return False
    while True:
        unread = unread_bytes(sock)
        left = _left_to_read(sock)
        if left is None or unread_bytes(sock) == unread:  # nobody has read in between
            return None if left is None else left > unread


def _has_pending_error(sock: socket.socket) -> bool:
    """Without taking it."""
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(events & select.POLLERR for _fd, events in poll.poll(0))


def _left_to_read(sock: socket.socket) -> Optional[int]:
    """TCP_INQ, for `has_fin`; None where the system has none."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_INQ, 1)
    except OSError:
        return None
    try:
        flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
        _data, notes, _flags, _address = sock.recvmsg(1, socket.CMSG_SPACE(_INQ.size), flags)
    except OSError:
        return 0  # this end has disconnected it
    finally:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_INQ, 0)
    found = [value for level, kind, value in notes if (level, kind) == (socket.IPPROTO_TCP, _TCP_INQ)]
    return int(_INQ.unpack(found[0])[0]) if found else None


def _raw_info(sock: socket.socket) -> Optional[bytes]:
    """None where the system has no TCP_INFO of Linux's layout."""
    if not sys.platform.startswith("linux"):
        return None
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)


def _queue_size(sock: socket.socket, request: int) -> int:
    answer = fcntl.ioctl(sock.fileno(), request, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
