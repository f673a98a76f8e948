# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control connection: messages to and from the peer, and whether it is alive."""

from __future__ import annotations

import socket
import time
from typing import Any, Callable, Dict

from .control import ControlReader, ControlWriter, Message
from .counters import unacknowledged_bytes
from .errors import IntegrityError, PeerLostError, ProtocolError, SessionError
from .loop import READ, WRITE, Loop
from .proving import Proven

#: Seconds between two heartbeats.
HEARTBEAT = 5.0
#: Seconds of silence after which the peer is lost: some heartbeats, and TCP's
#: retransmissions after a link that was down for a few seconds.
SILENCE = 25.0
_CHUNK = 1 << 16
_CLOSED = "it closed the control connection before its last word"


class Peer:
    """The proven peer at the other end of *proven*.

    `on_message` gets each message but heartbeats, and may raise ProtocolError. `on_lost`
    gets the error that ended the connection, once. `pulse` gives the fields of our heartbeats. All
    three may be replaced at any time. `heartbeat` is the peer's last one.
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
        self.pulse: Callable[[], Dict[str, Any]] = dict
        self.heartbeat: Message = {}
        self._loop = loop
        self._stream = proven.stream
        proven.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own_key, peer_key = proven.handshake.control_keys()
        self._writer = ControlWriter(own_key)
        self._reader = ControlReader(peer_key)
        #: Whether it was neither closed nor lost.
        self.is_open = True
        self._has_ended = False
        self._heard = time.monotonic()
        self._timers = {
            "beat": loop.after(HEARTBEAT, self._beat),
            "silence": loop.after(SILENCE, self._expect),
        }
        self._watch()
        if self._stream.has_arrived:
            loop.call_soon(self._go_on)

    def send(self, type: str, **fields: Any) -> None:
        if not self.is_open:
            return
        frame = self._writer.frame(dict(fields, type=type))
        self._attempt(lambda: self._stream.send(frame))

    def end(self, on_ended: Callable[[], None]) -> None:
        """Say nothing more, and call *on_ended* when the peer says nothing more either.

        Closing with something unread would take back what the peer has not read yet.
        """
        self.on_message = lambda message: None
        self.on_lost = lambda error: on_ended()
        self._cancel_timers()
        if self.is_open:
            self._attempt(self._stream.finish)
        else:
            on_ended()

    def unsent(self) -> int:
        """How many bytes its machine has not acknowledged yet."""
        return self._stream.unsent + unacknowledged_bytes(self._stream.sock) if self.is_open else 0

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._cancel_timers()
            self._loop.unwatch(self._stream.sock.fileno())
            self._stream.close()

    def _watch(self) -> None:
        reading = 0 if self._has_ended else READ
        writing = WRITE if self._stream.has_unsent else 0
        self._loop.watch(self._stream.sock.fileno(), reading | writing, self._step)

    def _step(self, events: int) -> None:
        self._attempt(self._receive if events & ~WRITE else self._stream.flush)

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            self._lose(PeerLostError(f"the control connection broke: {error.strerror or error}"))
        except (ProtocolError, IntegrityError) as error:
            self._lose(error)
        if self.is_open:
            self._watch()

    def _receive(self) -> None:
        """One chunk: whoever sends without end keeps nobody else from having a turn."""
        data = None if self._has_ended else self._stream.receive(_CHUNK)
        if data:
            self._hear(data)
            if self._stream.has_arrived:
                self._loop.call_soon(self._go_on)
        elif data is not None:
            self._has_ended = True
            # In the next round: what it said before may have made this a good end.
            self._loop.call_soon(lambda: self._lose(PeerLostError(_CLOSED)))

    def _go_on(self) -> None:
        """Poll does not tell of what the stream has taken from its socket already."""
        if self.is_open:
            self._step(READ)

    def _hear(self, data: bytes) -> None:
        self._heard = time.monotonic()
        for message in self._reader.receive(data):
            if message["type"] == "heartbeat":
                self.heartbeat = message
            else:
                self.on_message(message)

    def _beat(self) -> None:
        self._timers["beat"] = self._loop.after(HEARTBEAT, self._beat)
        # Who does not read what is there already needs no more of it.
        if not self._stream.has_unsent:
            self.send("heartbeat", **self.pulse())

    def _expect(self) -> None:
        left = self._heard + SILENCE - time.monotonic()
        if left > 0:
            self._timers["silence"] = self._loop.after(left, self._expect)
        else:
            self._lose(PeerLostError(f"it has been silent for {SILENCE:.0f} s"))

    def _cancel_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def _lose(self, error: SessionError) -> None:
        if self.is_open:
            self.close()
            self.on_lost(error)
