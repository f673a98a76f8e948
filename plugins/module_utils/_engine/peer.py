# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control connection: messages to and from the peer, and whether it is alive."""

from __future__ import annotations

import socket
import time
from typing import Any, Callable

from .control import ControlReader, ControlWriter, Message
from .errors import PeerLostError, ProtocolError, SessionError
from .loop import READ, WRITE, Loop
from .proving import Proven

#: Seconds without a message of ours after which the peer gets a heartbeat.
HEARTBEAT = 5.0
#: Seconds of silence after which the peer is lost: some heartbeats, and TCP's
#: retransmissions after a link that was down for a few seconds.
SILENCE = 25.0
_CHUNK = 1 << 16


class Peer:
    """The proven peer at the other end of *proven*.

    `on_message` gets each message but heartbeats, and may raise ProtocolError. `on_lost`
    gets the error that ended the connection, once. Both may be replaced at any time.
    """

    def __init__(
        self,
        loop: Loop,
        proven: Proven,
        *,
        on_message: Callable[[Message], None],
        on_lost: Callable[[SessionError], None],
    ) -> None:
        self.connection = proven
        self.on_message = on_message
        self.on_lost = on_lost
        self._loop = loop
        self._sock = proven.sock
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own_key, peer_key = proven.handshake.control_keys()
        self._writer = ControlWriter(own_key)
        self._reader = ControlReader(peer_key)
        self._unsent = b""
        self._is_open = True
        self._is_ending = False
        self._heard = self._sent = time.monotonic()
        self._timer = loop.after(HEARTBEAT, self._beat)
        self._watch()

    def send(self, type: str, **fields: Any) -> None:
        if not self._is_open:
            return
        self._sent = time.monotonic()
        self._unsent += self._writer.frame(dict(fields, type=type))
        self._step(WRITE)

    def end(self, on_ended: Callable[[], None]) -> None:
        """Say nothing more, and call *on_ended* when the peer says nothing more either.

        Closing with something unread would take back what the peer has not read yet.
        """
        self.on_message = lambda message: None
        self.on_lost = lambda error: on_ended()
        self._is_ending = True
        self._timer.cancel()
        if self._is_open:
            self._step(WRITE)
        else:
            on_ended()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._timer.cancel()
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()

    def _watch(self) -> None:
        wanted = READ | WRITE if self._unsent else READ
        self._loop.watch(self._sock.fileno(), wanted, self._step)

    def _step(self, events: int) -> None:
        try:
            if events & ~WRITE:
                self._receive()
            self._flush()
        except OSError as error:
            self._lose(PeerLostError(f"the control connection broke: {error.strerror or error}"))
        except ProtocolError as error:
            self._lose(error)
        if self._is_open:
            self._watch()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._lose(PeerLostError("it closed the control connection before its report"))
            return
        self._heard = time.monotonic()
        for message in self._reader.receive(data):
            if message["type"] != "heartbeat":
                self.on_message(message)

    def _flush(self) -> None:
        try:
            while self._unsent and self._is_open:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            return
        if self._is_ending and self._is_open:
            self._sock.shutdown(socket.SHUT_WR)

    def _beat(self) -> None:
        self._timer = self._loop.after(HEARTBEAT, self._beat)
        now = time.monotonic()
        if now - self._heard > SILENCE:
            self._lose(PeerLostError(f"it has been silent for {SILENCE:.0f} s"))
        elif now - self._sent >= HEARTBEAT / 2:
            self.send("heartbeat")

    def _lose(self, error: SessionError) -> None:
        if self._is_open:
            self.close()
            self.on_lost(error)
