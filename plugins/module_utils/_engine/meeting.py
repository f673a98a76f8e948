# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the two endpoints meet: the control connection, then the data connections.

Either side may listen, connect, or do both at once. The local side decides: it takes the first
control connection that is proven, and says ``go`` on it; everything else is let go of.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, TypeVar

from .addresses import Address
from .congestion import is_short
from .connector import Connector
from .control import Message
from .data import DataConnection
from .errors import NoPathError, ProtocolError, ResourceError
from .handshake import Purpose, Side
from .listener import Listener, open_listener
from .loop import Loop, Timer
from .peer import Peer
from .proving import Proven
from .specification import Identity, Specification
from .stream import Stream, Wrap, plain

#: Seconds that the local side waits longer for data connections than the remote one, which
#: tells it why it gave up.
LOCAL_PATIENCE = 5.0
#: Seconds until ports that were taken are looked at again: other sessions need them for a moment.
LISTEN_PAUSE = 0.2

T = TypeVar("T")


class Opened(NamedTuple):
    """A proven data connection, and the stream to read or write it with if the endpoint has to."""

    connection: DataConnection
    stream: Stream


class Meeting:
    """One side's meeting: `find_peer`, then `open_data`; at the end, or whenever it is to
    stop, `close`. *on_peer* gets the peer as soon as it is the session's, and *on_message* what
    it says from then on."""

    def __init__(
        self,
        loop: Loop,
        spec: Specification,
        *,
        on_peer: Callable[[Peer], None],
        on_message: Callable[[Message], None],
    ) -> None:
        self._loop = loop
        self._on_peer = on_peer
        self._on_message = on_message
        self._spec = spec
        self._wrap: Wrap = plain
        self._began = time.monotonic()
        self._listener: Optional[Listener] = None
        self._listen_timer: Optional[Timer] = None
        self._connectors: List[Connector] = []
        self._hopefuls: List[Peer] = []
        self._peer: Optional[Peer] = None
        self._data: Dict[str, Opened] = {}
        self.cannot_listen: Optional[str] = None

    def find_peer(self) -> Peer:
        """Raises NoPathError after the timeout on the remote side. The local side waits as
        long as it may live: how long the other side's login takes is not its business. Raises
        ResourceError where the session can not be encrypted as it should."""
        if self._spec.identity is not None:
            self._wrap = _encrypted(self._spec.identity)
        self._listen()
        self._connect(self._spec.candidates, Purpose.CONTROL)
        if self._spec.side is Side.LOCAL:
            peer = self._loop.run_until(lambda: self._peer)
        else:
            complaint = "no path to the other side was found"
            peer = self._wait_for(lambda: self._peer, self._spec.timeout, complaint)
        self._stop_connecting()
        if peer.connection.is_connector:
            self._stop_listening()
        return peer

    def open_data(self, peer: Peer, may_start: Callable[[], bool]) -> Dict[str, Opened]:
        """The proven data connection of each direction, once this side *may_start*; from then on
        they are the caller's. Raises NoPathError after the timeout."""
        if peer.connection.is_connector:
            is_short_way = is_short(peer.connection.sock)
            for direction in self._spec.directions:
                self._connect([peer.connection.peer], Purpose(direction), is_short_way)
        patience = LOCAL_PATIENCE if self._spec.side is Side.LOCAL else 0.0
        self._wait_for(
            lambda: len(self._data) == len(self._spec.directions) and may_start(),
            self._spec.timeout + patience,
            "the data connections could not be made",
        )
        data, self._data = self._data, {}
        return data

    def path(self, peer: Peer) -> Dict[str, Any]:
        """Who listened and where, as this side sees it, and the seconds it took to meet."""
        connection = peer.connection
        side = self._spec.side.peer if connection.is_connector else self._spec.side
        return path_report(side, connection.peer if connection.is_connector else connection.own, self._began)

    def attempts(self) -> List[Dict[str, Any]]:
        """All that this side tried to connect to; see `Connector.attempts`."""
        return [attempt for connector in self._connectors for attempt in connector.attempts()]

    @property
    def strangers(self) -> int:
        """How many connections to this side's listener did not prove themselves."""
        return 0 if self._listener is None else self._listener.strangers

    @property
    def other_version(self) -> Optional[str]:
        """What this side's listener says of one that spoke another version of the protocol."""
        return None if self._listener is None else self._listener.other_version

    def close(self) -> None:
        """Let go of everything but the peer."""
        self._stop_connecting()
        self._stop_listening()
        for opened in self._data.values():
            opened.connection.close(whole=False)
        self._data.clear()
        for peer in self._hopefuls:
            if peer is not self._peer:
                peer.close()

    # Listening and connecting

    def _listen(self) -> None:
        try:
            sock = self._listening_socket()
        except OSError as error:
            self.cannot_listen = error.strerror or str(error)
            self._listen_timer = self._loop.after(LISTEN_PAUSE, self._listen)
            return
        self.cannot_listen = None
        if sock is not None:
            self._listener = Listener(
                self._loop,
                sock,
                key=self._spec.key,
                side=self._spec.side,
                on_proven=self._proven,
                wrap=self._wrap,
            )

    def _listening_socket(self) -> Optional[socket.socket]:
        if self._spec.listener is not None:
            return socket.socket(fileno=self._spec.listener)
        if self._spec.ports:
            return open_listener(self._spec.listen_address, self._spec.ports)
        return None

    def _stop_listening(self) -> None:
        if self._listen_timer is not None:
            self._listen_timer.cancel()
        if self._listener is not None:
            self._listener.close()

    def _connect(self, candidates: Sequence[Address], purpose: Purpose, is_short_way: bool = False) -> None:
        connector = Connector(
            self._loop,
            candidates,
            key=self._spec.key,
            side=self._spec.side,
            purpose=purpose,
            on_proven=self._proven,
            wrap=self._wrap,
            is_short=is_short_way,
        )
        self._connectors.append(connector)

    def _stop_connecting(self) -> None:
        for connector in self._connectors:
            connector.close()

    def _wait_for(self, condition: Callable[[], Optional[T]], timeout: float, complaint: str) -> T:
        text = f"{complaint} within {self._spec.timeout:g} s"
        timer = self._loop.after(timeout, lambda: self._loop.fail(NoPathError(text)))
        value = self._loop.run_until(condition)
        timer.cancel()
        return value

    # Proven connections

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
        if message["type"] != "go" or self._spec.side is Side.LOCAL or self._peer is not None:
            raise ProtocolError(f"it sent '{message['type']}' before its time")
        self._pick(peer)

    def _pick(self, peer: Peer) -> None:
        self._peer = peer
        peer.on_message = self._on_message
        peer.on_lost = self._loop.fail
        self._on_peer(peer)

    def _proven_data(self, proven: Proven) -> None:
        """It may come before the peer's ``go`` was read, which goes another way. The connector
        makes a second one when it has lost the first. Of what is not used nobody may see a clean end."""
        direction = proven.handshake.purpose.value
        connection = DataConnection(
            proven.sock,
            handshake_sent=proven.handshake.bytes_sent,
            handshake_received=proven.handshake.bytes_received,
            is_connector=proven.is_connector,
        )
        opened = Opened(connection, proven.stream)
        unused: Optional[Opened] = opened
        if direction in self._spec.directions:
            unused, self._data[direction] = self._data.get(direction), opened
        if unused is not None:
            unused.connection.close(whole=False)


def path_report(listener: Side, at: Address, began: float) -> Dict[str, Any]:
    """A path that was found just now: which side listened, and where. *began* is by the monotonic clock."""
    address, port = at
    return {
        "listener": listener.value,
        "address": address,
        "port": port,
        "family": "IPv6" if ":" in address else "IPv4",
        "seconds": round(time.monotonic() - began, 4),
    }


def _encrypted(identity: Identity) -> Wrap:
    try:
        # Not before it is asked for: it takes a while, and some Pythons come without.
        from .tls import encrypted
    except ImportError as error:
        raise ResourceError(f"encrypt needs Python's ssl module: {error}") from None
    return encrypted(identity)
