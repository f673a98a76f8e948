# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the two endpoints meet: the control connection, then the data connections.

The local side decides. It takes the first control connection that is proven and says
``go`` on it; the remote side lets go of all others when it hears that word.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, TypeVar

from .connector import Connector
from .control import Message
from .errors import NoPathError, ProtocolError
from .handshake import Purpose, Side
from .loop import HANGUP, Loop
from .peer import Peer
from .proving import Address, Proven
from .specification import Specification

if TYPE_CHECKING:
    from .listener import Listener

#: Seconds that the listening side waits longer for data connections than the connecting one.
LISTENER_PATIENCE = 5.0

T = TypeVar("T")


class Meeting:
    """One side's meeting: `find_peer`, then `open_data`; at the end, or whenever it is to
    stop, `close`. *on_message* gets what the peer says once it is the session's."""

    def __init__(self, loop: Loop, spec: Specification, on_message: Callable[[Message], None]) -> None:
        self._loop = loop
        self._on_message = on_message
        self._spec = spec
        self._began = time.monotonic()
        self._listener: Optional[Listener] = None
        self._connectors: List[Connector] = []
        self._hopefuls: List[Peer] = []
        self._peer: Optional[Peer] = None
        self._data: Dict[str, Proven] = {}

    def find_peer(self) -> Peer:
        """Raises NoPathError after the timeout. Who listens waits as long as it may live:
        how long the other side's login takes is not its business."""
        if self._spec.listener is not None:
            self._listen(self._spec.listener)
            return self._loop.run_until(lambda: self._peer)
        self._connect(self._spec.candidates, Purpose.CONTROL)
        return self._wait_for(lambda: self._peer, "no path to the other side was found")

    def open_data(self, peer: Peer, is_confirmed: Callable[[], bool]) -> Dict[str, Proven]:
        """The proven data connection of each direction, once *is_confirmed* by the peer as far
        as this side needs that. Raises NoPathError after the timeout."""
        if peer.connection.is_connector:
            for direction in self._spec.directions:
                self._connect([peer.connection.peer], Purpose(direction))
        self._wait_for(
            lambda: len(self._data) == len(self._spec.directions) and is_confirmed(),
            "the data connections could not be made",
        )
        return self._data

    def path(self, peer: Peer) -> Dict[str, Any]:
        """Who listened and where, and the seconds it took to meet."""
        connection = peer.connection
        side = self._spec.side.peer if connection.is_connector else self._spec.side
        address, port = connection.peer if connection.is_connector else connection.own
        return {
            "listener": side.value,
            "address": address,
            "port": port,
            "family": "IPv6" if ":" in address else "IPv4",
            "seconds": round(time.monotonic() - self._began, 4),
        }

    @property
    def strangers(self) -> int:
        """How many connections to this side's listener did not prove themselves."""
        return 0 if self._listener is None else self._listener.strangers

    def close(self) -> None:
        """Let go of everything but the peer and the data connections."""
        self._stop_connecting()
        if self._listener is not None:
            self._listener.close()
        for peer in self._hopefuls:
            if peer is not self._peer:
                peer.close()

    def _listen(self, descriptor: int) -> None:
        from .listener import Listener  # the side that connects need not wait for it

        self._listener = Listener(
            self._loop,
            socket.socket(fileno=descriptor),
            key=self._spec.key,
            side=self._spec.side,
            on_proven=self._proven,
        )

    def _connect(self, candidates: Sequence[Address], purpose: Purpose) -> None:
        connector = Connector(
            self._loop,
            candidates,
            key=self._spec.key,
            side=self._spec.side,
            purpose=purpose,
            on_proven=self._proven,
        )
        self._connectors.append(connector)

    def _wait_for(self, condition: Callable[[], Optional[T]], complaint: str) -> T:
        # Who connects gives up first: it knows what it has tried.
        patience = 0 if self._spec.listener is None else LISTENER_PATIENCE
        timer = self._loop.after(self._spec.timeout + patience, lambda: self._give_up(complaint))
        value = self._loop.run_until(condition)
        timer.cancel()
        self._stop_connecting()
        return value

    def _give_up(self, complaint: str) -> None:
        attempts = [attempt for one in self._connectors for attempt in one.attempts()]
        text = f"{complaint} within {self._spec.timeout:g} s"
        side = self._spec.side if self._spec.listener is None else self._spec.side.peer
        self._loop.fail(NoPathError(text, side.value, attempts))

    def _stop_connecting(self) -> None:
        for connector in self._connectors:
            connector.close()
        self._connectors.clear()

    def _proven(self, proven: Proven) -> None:
        if proven.handshake.purpose is Purpose.CONTROL:
            self._proven_control(proven)
        else:
            self._proven_data(proven)

    def _proven_control(self, proven: Proven) -> None:
        if self._peer is not None:
            proven.sock.close()
            return
        peer = Peer(
            self._loop,
            proven,
            on_message=lambda message: self._heard(peer, message),
            on_lost=lambda error: proven.retry(str(error)),
        )
        self._hopefuls.append(peer)
        if self._spec.side is Side.LOCAL:
            self._pick(peer)
            peer.send("go")

    def _heard(self, peer: Peer, message: Message) -> None:
        if message["type"] != "go" or self._peer is not None:
            raise ProtocolError(f"it sent '{message['type']}' before its time")
        self._pick(peer)

    def _pick(self, peer: Peer) -> None:
        self._peer = peer
        peer.on_message = self._on_message
        peer.on_lost = self._loop.fail

    def _proven_data(self, proven: Proven) -> None:
        direction = proven.handshake.purpose.value
        is_wanted = direction in self._spec.directions and direction not in self._data
        if self._peer is not None and is_wanted:
            self._data[direction] = proven
            self._loop.watch(proven.sock.fileno(), HANGUP, lambda events: self._dropped(direction, proven))
        else:
            proven.sock.close()

    def _dropped(self, direction: str, proven: Proven) -> None:
        """The listener did not keep it, having too many others, before it could see our proof."""
        self._loop.unwatch(proven.sock.fileno())
        proven.sock.close()
        del self._data[direction]
        proven.retry("dropped by the listener")
