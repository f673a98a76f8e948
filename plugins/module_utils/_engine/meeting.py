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
from .errors import NoPathError, ProtocolError, SessionError
from .handshake import Purpose, Side
from .loop import Loop
from .peer import Peer
from .proving import Address, Proven
from .specification import Specification

if TYPE_CHECKING:
    from .listener import Listener

T = TypeVar("T")


class Meeting:
    """One side's meeting: `find_peer`, then `open_data`; at the end, or whenever it is to
    stop, `close`."""

    def __init__(self, loop: Loop, spec: Specification) -> None:
        self._loop = loop
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

    def open_data(self, peer: Peer) -> Dict[str, Proven]:
        """The proven data connection of each direction. Raises NoPathError after the timeout."""
        if peer.connection.is_connector:
            for direction in self._spec.directions:
                self._connect([peer.connection.peer], Purpose(direction))
        self._wait_for(
            lambda: len(self._data) == len(self._spec.directions),
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
        timer = self._loop.after(self._spec.timeout, lambda: self._give_up(complaint))
        value = self._loop.run_until(condition)
        timer.cancel()
        self._stop_connecting()
        return value

    def _give_up(self, complaint: str) -> None:
        attempts = [attempt for one in self._connectors for attempt in one.attempts()]
        text = f"{complaint} within {self._spec.timeout:g} s"
        self._loop.fail(NoPathError(text, attempts))

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
        peer = Peer(self._loop, proven, on_message=_unexpected, on_lost=_ignore)
        self._hopefuls.append(peer)
        if self._spec.side is Side.LOCAL:
            self._peer = peer
            peer.send("go")
        else:
            peer.on_message = lambda message: self._heard(peer, message)

    def _heard(self, peer: Peer, message: Message) -> None:
        if message["type"] != "go" or self._peer is not None:
            _unexpected(message)
        self._peer = peer
        peer.on_message = _unexpected
        peer.on_lost = self._loop.fail

    def _proven_data(self, proven: Proven) -> None:
        direction = proven.handshake.purpose.value
        is_wanted = direction in self._spec.directions and direction not in self._data
        if self._peer is not None and is_wanted:
            self._data[direction] = proven
        else:
            proven.sock.close()


def _unexpected(message: Message) -> None:
    raise ProtocolError(f"it sent '{message['type']}' before its time")


def _ignore(error: SessionError) -> None:
    """A control connection that is not the session's may go."""
