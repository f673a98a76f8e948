# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The listener: takes connections from anybody, and gives only proven ones to the session.

Strangers are expected. A bounded number of connections may be unproven at once, and the
oldest goes when one more arrives: the peer needs one round trip to prove itself, so
whoever only holds connections open does not keep it out.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Callable, Dict, Optional, Sequence

from .addresses import socket_address
from .congestion import do_not_pace, is_short
from .handshake import ListenerHandshake, Side
from .loop import READ, Loop
from .proving import Proven, Proving
from .stream import Wrap, plain

#: Unproven connections kept: well under the usual limit of 1024 descriptors.
MAX_UNPROVEN = 128
#: Connections that the kernel keeps before they are accepted: more than a burst of strangers.
BACKLOG = 1024
#: Seconds to wait when the system has no descriptor left for a new connection.
EXHAUSTED_PAUSE = 0.1

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: What one port says, and another may not: somebody has it, or it is root's.
_OF_PORT = (errno.EADDRINUSE, errno.EACCES)
_ANY_PORT = (0,)


def open_listener(address: Optional[str], ports: Sequence[int] = _ANY_PORT) -> socket.socket:
    """A listening socket on the first of *ports* that is free; 0 is one that the system chooses.

    With *address*, on that one if it is a numeric address of this machine; otherwise
    (also for a name, or an address that is translated on the way) on all, both families.
    Raises OSError.
    """
    found = _listening_address(address)
    problem = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for port in ports:
        try:
            return _listen(found, port)
        except OSError as error:
            if error.errno not in _OF_PORT:
                raise
            problem = error
    raise problem


def _listening_address(address: Optional[str]) -> str:
    for candidate in (address, "::"):
        if candidate is not None and _can_be_bound(candidate):
            return candidate
    return "0.0.0.0"


def _can_be_bound(address: str) -> bool:
    try:
        _listen(address, 0).close()
    except (OSError, ValueError):
        return False
    return True


def _listen(address: str, port: int) -> socket.socket:
    family, sockaddr = socket_address(address, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # A port is taken by whoever listens on it, not by a connection that came through it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class Listener:
    """Accepts on *sock*, which it owns, and hands each proven connection to *on_proven*.

    `strangers` counts the connections that were refused or dropped; `other_version` is what was said
    of the last one that spoke another version of the protocol.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        *,
        key: bytes,
        side: Side,
        on_proven: Callable[[Proven], None],
        wrap: Wrap = plain,
    ) -> None:
        self._loop = loop
        self._wrap = wrap
        self._sock = sock
        sock.setblocking(False)
        self._key = key
        self._side = side
        self._on_proven = on_proven
        self._unproven: Dict[Proving, None] = {}  # the oldest first
        self.strangers = 0
        self.other_version: Optional[str] = None
        self._resume()

    def close(self) -> None:
        if self._is_open:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
        for proving in self._unproven:
            proving.close()
        self._unproven.clear()

    @property
    def _is_open(self) -> bool:
        return self._sock.fileno() >= 0

    def _resume(self) -> None:
        if self._is_open:
            self._loop.watch(self._sock.fileno(), READ, lambda events: self._accept())

    def _accept(self) -> None:
        try:
            sock = self._sock.accept()[0]
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._make_room()
            return
        if len(self._unproven) >= MAX_UNPROVEN:
            self._drop_oldest()
        self._prove(sock)

    def _make_room(self) -> None:
        if self._unproven:
            self._drop_oldest()
        else:
            self._loop.unwatch(self._sock.fileno())
            self._loop.after(EXHAUSTED_PAUSE, self._resume)

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._unproven))
        oldest.close()
        self._refused(oldest, "dropped for a newer connection")

    def _prove(self, sock: socket.socket) -> None:
        proving = Proving(
            self._loop,
            self._wrap(sock, False),
            ListenerHandshake(self._key, self._side),
            on_proven=self._proven,
            on_failed=self._refused,
            on_verified=self._verified,
        )
        self._unproven[proving] = None
        proving.start()

    def _proven(self, proving: Proving) -> None:
        del self._unproven[proving]
        self._on_proven(proving.proven(is_connector=False, retry=lambda text: None))

    def _verified(self, sock: socket.socket) -> None:
        """Data connections come the same way, as soon as the peer knows that it is proven, and have their
        algorithm from the listening socket."""
        if self._is_open and is_short(sock):
            do_not_pace(self._sock)

    def _refused(self, proving: Proving, text: str) -> None:
        del self._unproven[proving]
        self.strangers += 1
        if proving.has_other_version:
            self.other_version = text
