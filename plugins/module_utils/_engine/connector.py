# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connector: tries all candidates side by side, again and again, until it is closed.

The first candidate has a moment to itself, so that the usual case leaves no trace on the
others; from then on none waits for another. A name is as many candidates as it has addresses.
What fails is tried again: being refused, reset or dropped says nothing about the next second.
That goes in rounds through all that have failed, so that of several that become good at the same
moment, when the listener begins to listen, the likelier one comes first.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from .addresses import Address, plain_address, socket_address
from .congestion import do_not_pace
from .errors import ResourceError
from .handshake import ConnectorHandshake, Purpose, Side
from .loop import WRITE, Loop, Timer, in_thread
from .proving import Proven, Proving
from .stream import Wrap, plain

#: Seconds for a TCP connect before it is tried afresh.
CONNECT_TIMEOUT = 10.0
#: Seconds that the first candidate has to itself ...
HEAD_START = 0.1
#: ... and between the beginnings of two others, so that many of them are no flood.
STAGGER = 0.01
#: Seconds before the first round through what has failed; doubled for each further one ...
FIRST_PAUSE = 0.1
#: ... up to this many: the listener may be there the next moment.
LAST_PAUSE = 0.5


class Call(NamedTuple):
    """What a connector says to whomever it reaches, and who gets the connections that are proven."""

    key: bytes
    side: Side
    purpose: Purpose
    on_proven: Callable[[Proven], None]
    wrap: Wrap
    is_short: bool

    def handshake(self) -> ConnectorHandshake:
        return ConnectorHandshake(self.key, self.side, self.purpose)


class Connector:
    """Connects to *candidates*, (address or name, port), for *purpose*, and hands each proven
    connection to *on_proven*. *is_short* tells that the way is known to be, as `congestion` has it."""

    def __init__(
        self,
        loop: Loop,
        candidates: Sequence[Address],
        *,
        key: bytes,
        side: Side,
        purpose: Purpose,
        on_proven: Callable[[Proven], None],
        wrap: Wrap = plain,
        is_short: bool = False,
    ) -> None:
        self._loop = loop
        self._call = Call(key, side, purpose, on_proven, wrap, is_short)
        self._names: List[_Name] = []
        self._candidates: List[_Candidate] = []
        for place, (host, port) in enumerate(candidates):
            delay = HEAD_START + place * STAGGER if place else 0.0
            if _is_numeric(host):
                self._add((host, port), delay)
            else:
                self._names.append(_Name(loop, (host, port), self._add, delay))
        self._pause = FIRST_PAUSE
        self._timer = loop.after(self._pause, self._try_again)

    def attempts(self) -> List[Dict[str, Any]]:
        """What was tried so far, and how the last try of each ended; see `_Attempt.shown`."""
        unresolved = [name.attempt for name in self._names if not name.is_resolved]
        attempts = [*(candidate.attempt for candidate in self._candidates), *unresolved]
        return [attempt.shown(self._call) for attempt in attempts if attempt.tries]

    def close(self) -> None:
        self._timer.cancel()
        for name in self._names:
            name.close()
        for candidate in self._candidates:
            candidate.close()

    def _add(self, address: Address, delay: float) -> None:
        known = [candidate.attempt.address for candidate in self._candidates]
        if address not in known:
            self._candidates.append(_Candidate(self._loop, address, self._call, delay))

    def _try_again(self) -> None:
        for candidate in self._candidates:
            candidate.try_again()
        self._pause = min(2 * self._pause, LAST_PAUSE)
        self._timer = self._loop.after(self._pause, self._try_again)


class _Attempt:
    """What is known of the tries at one address or name."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.tries = 0
        self._source: Optional[str] = None
        self._outcome = ""
        self._began = self._ended = 0.0

    def begin(self, outcome: str) -> None:
        """One more try; *outcome* is what is to be said of it until it has ended."""
        if not self.tries:
            self._began = time.monotonic()
        self.tries += 1
        self._ended = 0.0
        self._outcome = outcome

    def note(self, outcome: str, source: Optional[str] = None) -> None:
        self._outcome = outcome
        self._source = source or self._source

    def end(self, outcome: Optional[str] = None) -> None:
        self._outcome = outcome or self._outcome
        self._ended = self._ended or time.monotonic()

    def shown(self, call: Call) -> Dict[str, Any]:
        """Who tried what for which purpose, from its own address *source*; how often, how the
        last try ended, and the seconds from the first one's beginning to that end."""
        return {
            "side": call.side.value,
            "purpose": call.purpose.value,
            "source": self._source,
            "address": self.address[0],
            "port": self.address[1],
            "tries": self.tries,
            "outcome": self._outcome,
            "seconds": round((self._ended or time.monotonic()) - self._began, 4),
        }


class _Name:
    """A host name: looked up in a thread, for the resolver has timeouts of its own and nobody
    shall wait for them. *add* gets each address that it has."""

    def __init__(
        self, loop: Loop, address: Address, add: Callable[[Address, float], None], delay: float
    ) -> None:
        self._loop = loop
        self._add = add
        self._is_closed = False
        self.is_resolved = False
        self.attempt = _Attempt(address)
        self._timer = loop.after(delay, self._look_up)

    def close(self) -> None:
        self._is_closed = True
        self._timer.cancel()
        self.attempt.end()

    def _look_up(self) -> None:
        self.attempt.begin("the name was not resolved in time")
        try:
            in_thread(self._ask)
        except ResourceError as error:
            self._answered([], str(error))

    def _ask(self) -> None:
        """In the thread."""
        found: List[Address] = []
        try:
            entries = socket.getaddrinfo(*self.attempt.address, type=socket.SOCK_STREAM)
            found = [plain_address(entry[4]) for entry in entries]
            outcome = ""
        except (OSError, ValueError) as error:  # ValueError: it can not be a name at all
            outcome = getattr(error, "strerror", None) or str(error)
        self._loop.call_soon(lambda: self._answered(found, outcome))

    def _answered(self, found: List[Address], outcome: str) -> None:
        if self._is_closed:
            return
        self.is_resolved = bool(found)
        for place, address in enumerate(found):
            self._add(address, place * STAGGER)
        if not found:
            self.attempt.end(outcome)
            self._timer = self._loop.after(LAST_PAUSE, self._look_up)


class _Candidate:
    """One numeric address and port: connect, handshake, and again in the round after it failed."""

    def __init__(self, loop: Loop, address: Address, call: Call, delay: float) -> None:
        self._loop = loop
        self._call = call
        self.attempt = _Attempt(address)
        self._sock: Optional[socket.socket] = None
        self._proving: Optional[Proving] = None
        self._is_closed = False
        self._has_failed = False
        self._timer: Optional[Timer] = None
        if delay:
            self._timer = loop.after(delay, self._connect)
        else:
            self._connect()

    def try_again(self) -> None:
        if self._has_failed:
            self._connect()

    def close(self) -> None:
        self._is_closed = True
        self.attempt.end()
        self._clear()

    def _clear(self) -> None:
        self._cancel_timer()
        if self._proving is not None:
            self._proving.close()
        elif self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
        self._proving = self._sock = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _connect(self) -> None:
        self._has_failed = False
        self.attempt.begin("no answer")
        try:
            self._start_connecting()
        except OSError as error:
            self._fail(error.strerror or str(error))

    def _start_connecting(self) -> None:
        family, sockaddr = socket_address(*self.attempt.address)
        sock = self._sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if self._call.is_short:
            do_not_pace(sock)
        error = sock.connect_ex(sockaddr)
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        self.attempt.note("no answer", plain_address(sock.getsockname())[0])
        self._timer = self._loop.after(CONNECT_TIMEOUT, lambda: self._fail("no answer"))
        self._loop.watch(sock.fileno(), WRITE, lambda events: self._connected(sock))

    def _connected(self, sock: socket.socket) -> None:
        self._loop.unwatch(sock.fileno())
        self._cancel_timer()
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(os.strerror(error))
            return
        self.attempt.note("connected, but nothing came back")
        self._proving = Proving(
            self._loop,
            self._call.wrap(sock, True),
            self._call.handshake(),
            on_proven=self._proven,
            on_failed=lambda proving, text: self._refused(text),
        )
        self._proving.start()

    def _proven(self, proving: Proving) -> None:
        self.attempt.end("proven")
        self._proving = self._sock = None
        self._call.on_proven(proving.proven(is_connector=True, retry=self._fail))

    def _refused(self, text: str) -> None:
        self._proving = self._sock = None
        self._fail(f"connected, but {text}")

    def _fail(self, outcome: str) -> None:
        if not self._is_closed:
            self.attempt.end(outcome)
            self._clear()
            self._has_failed = True


def _is_numeric(host: str) -> bool:
    try:
        socket_address(host, 0)
    except (OSError, ValueError):
        return False
    return True
