# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handshake on one connected socket."""

from __future__ import annotations

import socket
from typing import Callable, NamedTuple

from .addresses import Address, plain_address
from .errors import HandshakeError, IntegrityError, VersionError
from .handshake import Handshake
from .loop import READ, WRITE, Loop
from .stream import Stream

#: Seconds for a whole handshake: many round trips on any network, few for a stranger.
HANDSHAKE_TIMEOUT = 5.0


class Proven(NamedTuple):
    """A connection whose other end knows the key.

    *peer* and *own* are numeric addresses with their ports. *retry* has the connector try
    again, with the reason, when the connection did not last; a listener's does nothing.
    """

    stream: Stream
    handshake: Handshake
    peer: Address
    own: Address
    is_connector: bool
    retry: Callable[[str], None]

    @property
    def sock(self) -> socket.socket:
        return self.stream.sock


class Proving:
    """Runs *handshake* on *stream*, and calls *on_proven* or *on_failed*, once.

    *on_verified* is called when the other end's proof was right, before it is told so. *on_failed* gets
    a sentence about the other end; the socket is closed by then. It may be that it `has_other_version`.
    """

    def __init__(
        self,
        loop: Loop,
        stream: Stream,
        handshake: Handshake,
        *,
        on_proven: Callable[[Proving], None],
        on_failed: Callable[[Proving, str], None],
        on_verified: Callable[[socket.socket], None] = lambda sock: None,
    ) -> None:
        self._on_verified = on_verified
        self.handshake = handshake
        self.has_other_version = False
        self._stream = stream
        self._loop = loop
        self._on_proven = on_proven
        self._on_failed = on_failed

    def start(self) -> None:
        self._timer = self._loop.after(HANDSHAKE_TIMEOUT, self._run_out)
        try:
            # Asked for now: once the connection was reset there is no peer to be named.
            self._peer = plain_address(self._stream.sock.getpeername())
        except OSError as error:
            self._fail(error.strerror or str(error))
        else:
            self._step()

    def close(self) -> None:
        self._let_go()
        self._stream.close()

    def proven(self, *, is_connector: bool, retry: Callable[[str], None]) -> Proven:
        own = plain_address(self._stream.sock.getsockname())
        return Proven(self._stream, self.handshake, self._peer, own, is_connector, retry)

    def _step(self, events: int = 0) -> None:
        try:
            self._stream.flush()
            self._stream.send(self.handshake.take())
            self._read()
        except (HandshakeError, IntegrityError) as error:
            self.has_other_version = isinstance(error, VersionError)
            self._fail(str(error))
        except OSError as error:
            self._fail(error.strerror or str(error))
        else:
            self._watch_or_end()

    def _read(self) -> None:
        while self.handshake.wanted:
            data = self._stream.receive(self.handshake.wanted)
            if data is None:
                return
            if not data:
                raise HandshakeError("it closed the connection during the handshake")
            self.handshake.receive(data)
            if self.handshake.done:
                self._on_verified(self._stream.sock)
            self._stream.send(self.handshake.take())

    def _watch_or_end(self) -> None:
        waits = self._stream.has_unsent
        if self.handshake.done and not waits:
            self._let_go()
            self._on_proven(self)
        else:
            self._loop.watch(self._stream.sock.fileno(), READ | WRITE if waits else READ, self._step)

    def _run_out(self) -> None:
        self._fail(f"it did not complete the handshake within {HANDSHAKE_TIMEOUT:.0f} s")

    def _fail(self, text: str) -> None:
        self.close()
        self._on_failed(self, text)

    def _let_go(self) -> None:
        self._timer.cancel()
        self._loop.unwatch(self._stream.sock.fileno())
