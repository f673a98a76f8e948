# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connector: tries all candidates side by side, again and again, until it is closed.

A later candidate starts a moment after the one before it, so that the usual case leaves no
trace on other addresses; from then on none waits for another. What fails is tried again:
being refused, reset or dropped says nothing about the next second.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .handshake import ConnectorHandshake, Purpose, Side
from .loop import WRITE, Loop, Timer
from .proving import Address, Proven, Proving

#: Seconds for a TCP connect before it is tried afresh.
CONNECT_TIMEOUT = 10.0
#: Seconds between the first attempts at two neighbouring candidates.
STAGGER = 0.1
#: Seconds before the second attempt at a candidate; doubled for each further one ...
FIRST_PAUSE = 0.1
#: ... up to this many.
LAST_PAUSE = 2.0

_Found = List[Tuple[int, Tuple[Any, ...]]]  # (family, socket address)


class Connector:
    """Connects to *candidates* for *purpose*, and hands each proven connection to *on_proven*."""

    def __init__(
        self,
        loop: Loop,
        candidates: Sequence[Address],
        *,
        key: bytes,
        side: Side,
        purpose: Purpose,
        on_proven: Callable[[Proven], None],
    ) -> None:
        self._key = key
        self._side = side
        self._purpose = purpose
        self._on_proven = on_proven
        self._candidates = [_Candidate(loop, candidate, self) for candidate in candidates]
        for place, candidate in enumerate(self._candidates):
            candidate.start(place * STAGGER)

    def handshake(self) -> ConnectorHandshake:
        return ConnectorHandshake(self._key, self._side, self._purpose)

    def proven(self, proving: Proving, retry: Callable[[str], None]) -> None:
        self._on_proven(proving.proven(is_connector=True, retry=retry))

    def attempts(self) -> List[Dict[str, Any]]:
        """For each candidate: address, port, tries, and how the last try ended."""
        return [candidate.attempt() for candidate in self._candidates]

    def close(self) -> None:
        for candidate in self._candidates:
            candidate.close()


class _Candidate:
    """One address and port: resolve, connect, handshake, and again after a pause."""

    def __init__(self, loop: Loop, address: Address, connector: Connector) -> None:
        self._loop = loop
        self._address = address
        self._connector = connector
        self._found: _Found = []
        self._timer: Optional[Timer] = None
        self._sock: Optional[socket.socket] = None
        self._proving: Optional[Proving] = None
        self._is_closed = False
        self._tries = 0
        self._pause = FIRST_PAUSE
        self._outcome = "not tried yet"

    def start(self, delay: float) -> None:
        self._timer = self._loop.after(delay, self._resolve)

    def attempt(self) -> Dict[str, Any]:
        return {
            "address": self._address[0],
            "port": self._address[1],
            "tries": self._tries,
            "outcome": self._outcome,
        }

    def close(self) -> None:
        self._is_closed = True
        self._clear()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _clear(self) -> None:
        self._cancel_timer()
        if self._proving is not None:
            self._proving.close()
        elif self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
        self._proving = self._sock = self._timer = None

    def _resolve(self) -> None:
        try:
            self._found = _look_up(self._address, socket.AI_NUMERICHOST)
        except OSError:
            # A name: the resolver has timeouts of its own, and nobody shall wait for them.
            self._outcome = "the name was not resolved in time"
            threading.Thread(target=self._resolve_name, daemon=True).start()
        else:
            self._connect()

    def _resolve_name(self) -> None:
        try:
            found, outcome = _look_up(self._address, 0), ""
        except OSError as error:
            found, outcome = [], error.strerror or str(error)
        self._loop.call_soon(lambda: self._resolved(found, outcome))

    def _resolved(self, found: _Found, outcome: str) -> None:
        self._found = found
        if found and not self._is_closed:
            self._connect()
        else:
            self._tries += 1
            self._retry(outcome)

    def _connect(self) -> None:
        family, sockaddr = self._found[self._tries % len(self._found)]
        self._tries += 1
        self._outcome = "no answer"
        try:
            sock = self._sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            error = sock.connect_ex(sockaddr)
        except OSError as problem:
            self._retry(problem.strerror or str(problem))
            return
        if error in (0, errno.EINPROGRESS):
            self._timer = self._loop.after(CONNECT_TIMEOUT, lambda: self._retry("no answer"))
            self._loop.watch(sock.fileno(), WRITE, lambda events: self._connected(sock))
        else:
            self._retry(os.strerror(error))

    def _connected(self, sock: socket.socket) -> None:
        self._loop.unwatch(sock.fileno())
        self._cancel_timer()
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._retry(os.strerror(error))
            return
        self._outcome = "connected, but nothing came back"
        self._proving = Proving(
            self._loop,
            sock,
            self._connector.handshake(),
            on_proven=self._proven,
            on_failed=lambda proving, text: self._refused(text),
        )
        self._proving.start()

    def _proven(self, proving: Proving) -> None:
        self._outcome = "proven"
        self._proving = self._sock = None
        self._connector.proven(proving, self._retry)

    def _refused(self, text: str) -> None:
        self._proving = self._sock = None
        self._retry(f"connected, but {text}")

    def _retry(self, outcome: str) -> None:
        if self._is_closed:
            return
        self._outcome = outcome
        self._clear()
        self._timer = self._loop.after(self._pause, self._resolve)
        self._pause = min(2 * self._pause, LAST_PAUSE)


def _look_up(address: Address, flags: int) -> _Found:
    host, port = address
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(entry[0], entry[4]) for entry in found]
