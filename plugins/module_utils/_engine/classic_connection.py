# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one connection of the classic protocol, and the listener that it comes to.

Nobody proves anything here, and both directions end on their own. What is known of the other end is
what the kernel knows; it wakes nobody for most of that, so it is looked at.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import Callable, Dict, List, Optional, Sequence

from .addresses import Address, plain_address
from .counters import has_fin, owes_an_answer, seconds_of_silence, tcp_info, unread_bytes
from .data import LINGER_RESET, DataConnection
from .loop import READ, Loop, has_error

#: Seconds between two looks at what the kernel does not wake anybody for.
LOOK = 0.05
#: Seconds that an answer of the other machine may take.
ANSWER_TIME = 10.0
#: How many of the refused addresses are remembered, for the message.
_REMEMBERED = 5


class ClassicListener:
    """Takes the first connection that comes from where it may, gives it to *on_connection*, and closes.

    *sock* is listening, and is owned from now on. Nobody is accepted before `accept_from`.
    """

    def __init__(
        self, loop: Loop, sock: socket.socket, on_connection: Callable[[socket.socket], None]
    ) -> None:
        self._loop = loop
        self._sock = sock
        # Whoever is accepted inherits it: nobody who is refused sees a good end of data.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self._on_connection = on_connection
        self._sources: Optional[List[str]] = None
        self._is_accepting = False
        #: Connections that were refused.
        self.strangers = 0
        #: Some of the addresses that they came from.
        self.refused: Dict[str, None] = {}

    def accept_from(self, addresses: Optional[Sequence[str]]) -> None:
        """Begin to accept, from these addresses only; None: from anybody."""
        self._sources = None if addresses is None else [_canonical(address) for address in addresses]
        if not self._is_accepting and self._sock.fileno() >= 0:
            self._is_accepting = True
            self._sock.setblocking(False)
            self._loop.watch(self._sock.fileno(), READ, lambda events: self.accept())

    def accept(self) -> None:
        """Whoever has come already."""
        while self._is_accepting:
            try:
                sock, address = self._sock.accept()
            except OSError:
                return  # nobody is there, or has gone again
            host = plain_address(address)[0]
            if self._sources is None or _canonical(host) in self._sources:
                self.close()
                self._on_connection(sock)
            else:
                self._refuse(sock, host)

    def _refuse(self, sock: socket.socket, host: str) -> None:
        sock.close()
        self.strangers += 1
        if len(self.refused) < _REMEMBERED:
            self.refused[host] = None

    def close(self) -> None:
        self._is_accepting = False
        if self._sock.fileno() >= 0:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()


class ClassicConnection:
    """*on_reset* is called once, when it was reset, by the other end or on the way."""

    def __init__(self, loop: Loop, sock: socket.socket, on_reset: Callable[[], None]) -> None:
        self.sock = sock
        #: The address and port at which it has arrived.
        self.own: Address = plain_address(sock.getsockname())
        self._loop = loop
        self._on_reset = on_reset
        self._data = DataConnection(sock, handshake_sent=0, handshake_received=0, is_connector=False)
        self._has_sent_fin = False
        self.was_reset = False
        self._owed_since: Optional[float] = None
        # Nothing but an error, or the end of both directions.
        loop.watch(sock.fileno(), 0, self._hung_up)

    def descriptor(self) -> int:
        """For the commands."""
        return self._data.descriptor()

    def finish(self) -> None:
        """Send FIN: the input is whole."""
        self._has_sent_fin = True
        self._data.finish()

    def look_for_end(self, on_end: Callable[[bool], None]) -> None:
        """Its reader has ended. Was that all? What comes next tells: *on_end* gets whether it was."""
        if self.is_closed or self.was_reset:
            return
        try:
            left = self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._loop.after(LOOK, lambda: self.look_for_end(on_end))
        except OSError:
            self._reset()
        else:
            if left or has_fin(self.sock) is not False:
                on_end(not left)
            else:
                self._reset()  # its reader has taken the error

    def notice_reset(self) -> None:
        """The loop may not have said so yet."""
        if self._data.is_over and not self._may_be_whole:
            self._reset()

    def _hung_up(self, events: int) -> None:
        self._loop.unwatch(self.sock.fileno())
        if has_error(events) or not self._may_be_whole:
            self._reset()

    @property
    def _may_be_whole(self) -> bool:
        """Whether a connection that is over may have been ended by two FINs. A reset is all that takes a
        direction with it that was not ended; a command that reads may have taken its error."""
        return self._has_sent_fin and has_fin(self.sock) is not False

    def _reset(self) -> None:
        if not self.was_reset:
            self.was_reset = True
            self._on_reset()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.sock.fileno() < 0

    @property
    def fin_arrived(self) -> bool:
        if self.was_reset:
            return False
        answer = has_fin(self.sock)
        if answer is None:
            info = tcp_info(self.sock)
            return info is not None and self._has_sent_fin  # of one that is over, as far as that tells
        return answer

    @property
    def is_acknowledged(self) -> bool:
        """Whether the other machine has our FIN, and all before it. A reset that comes so late says that
        not all of it was wanted."""
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._reset()
        info = tcp_info(self.sock)
        return not error and not (info is not None and info.is_closing)

    @property
    def unread(self) -> int:
        """Bytes that have arrived, and that nobody has read."""
        return unread_bytes(self.sock)

    def look_for_silence(self) -> float:
        """Seconds since the other machine was last heard of, if it owes an answer; else 0. To be asked again
        and again: what it was asked a moment ago it may still be answering."""
        now, info = time.monotonic(), tcp_info(self.sock)
        is_over = info is not None and info.is_over
        if is_over or not owes_an_answer(self.sock):
            self._owed_since = None
            return 0.0
        self._owed_since = self._owed_since or now
        return (seconds_of_silence(self.sock) or 0.0) if now - self._owed_since >= ANSWER_TIME else 0.0

    def count_sent(self) -> Optional[int]:
        return self._data.count_sent()

    def count_received(self) -> Optional[int]:
        return self._data.count_received()

    def disconnect(self) -> None:
        """Break it, with RST; every later read fails."""
        self._data.disconnect()

    def close(self, *, whole: bool) -> None:
        self._loop.unwatch(self.sock.fileno())
        self._data.close(whole=whole)


def _canonical(address: str) -> str:
    """One text for each address, and none for what is no address. The link of a link-local one has another
    name on each machine."""
    try:
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return ""
