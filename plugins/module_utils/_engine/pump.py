# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pumped connections: data connections whose bytes have to pass through the endpoint.

General theory of operation. The command gets one end of a connection inside this machine, and that
is what the rest of the engine takes for the data connection: its counters, its end and its being
broken mean what they mean in direct mode. A pump moves bytes between the other end and the network,
in the endpoint's loop. docs/protocol.md, "A pumped direction", has the rules that keep the two
connections alike.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Callable, Optional, Tuple

from .counters import unread_bytes
from .data import DataConnection
from .errors import IntegrityError, ResourceError
from .loop import READ, WRITE, Loop, has_error, was_reset
from .meeting import Opened
from .stream import Stream

#: Bytes moved at once: many, for a connection that paces takes one large write far more cheaply
#: than several small ones.
BLOCK = 1 << 20
#: Blocks moved before anything else in the endpoint has its turn.
BLOCKS_IN_TURN = 4
#: Seconds for a connection inside this machine: it takes microseconds, or is never made.
CONNECT_TIMEOUT = 5.0


class Pump:
    """Moves bytes from *source* to *sink*, one block after the other, and through *checksum*.

    *on_end* is called at the end of *source*, once all of it was given to *sink*; the sink is
    ended by `finish` alone. *on_break* gets what broke either of them, once.
    """

    def __init__(
        self,
        loop: Loop,
        source: Stream,
        sink: Stream,
        *,
        checksum: Any,
        on_end: Callable[[], None],
        on_break: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._source = source
        self._sink = sink
        self._checksum = checksum
        self._on_end = on_end
        self._on_break = on_break
        self._buffer = memoryview(bytearray(BLOCK))
        self._is_stopped = False
        self._is_due = False  # another turn, without a word of poll
        self._is_finished = False
        self._waits: Optional[bool] = None  # what is watched fits this: for the sink, or the source
        self.has_ended = False
        self.moved = 0  # bytes taken from the source
        loop.call_soon(self._step)

    def finish(self) -> None:
        """End the sink."""
        if not self._is_stopped:
            self._is_finished = True
            self._try(self._sink.finish)

    @property
    def is_over(self) -> bool:
        """Whether all was moved, and the sink ended."""
        return self._is_finished and not self._sink.has_unsent

    def stop(self) -> None:
        """Move nothing any more."""
        if not self._is_stopped:
            self._is_stopped = True
            self._loop.unwatch(self._source.sock.fileno())
            self._loop.unwatch(self._sink.sock.fileno())

    def digest(self) -> Optional[str]:
        """Of all that was moved so far, hexadecimal."""
        return None if self._checksum is None else str(self._checksum.hexdigest())

    def _step(self, events: int = 0) -> None:
        if was_reset(events) and self.is_over and not has_error(events):
            self._loop.unwatch(self._sink.sock.fileno())  # its reader has ended the other direction, too
        elif was_reset(events):
            self._break(ConnectionResetError())
        elif not self._is_stopped:
            self._try(self._move)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, IntegrityError) as error:
            self._break(error)
        else:
            self._watch()

    def _break(self, error: Exception) -> None:
        if not self._is_stopped:
            self.stop()
            self._on_break(error)

    def _move(self) -> None:
        self._sink.flush()
        for _turn in range(BLOCKS_IN_TURN):
            if self._sink.has_unsent or self.has_ended or not self._move_block():
                return
        # Poll may not tell of the rest: a stream can have taken it from its socket already.
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_due = False
        self._step()

    def _move_block(self) -> bool:
        """Whether there was something to be moved."""
        count = self._source.receive_into(self._buffer)
        if count:
            self.moved += count
            data = self._buffer[:count]
            if self._checksum is not None:
                self._checksum.update(data)
            self._sink.send(data)
        elif count == 0:
            self.has_ended = True
            self._loop.unwatch(self._source.sock.fileno())
            self._on_end()
        return bool(count)

    def _watch(self) -> None:
        """The one that is waited for; that either breaks is told whatever is asked for."""
        waits = self._sink.has_unsent
        if self._is_stopped or waits == self._waits:
            return
        self._waits = waits
        self._loop.watch(self._sink.sock.fileno(), WRITE if waits else 0, self._step)
        if not self.has_ended:
            self._loop.watch(self._source.sock.fileno(), 0 if waits else READ, self._step)


class PumpedConnection(DataConnection):
    """What both ends share. *opened* is the data connection proper, *command* the command's end of
    the connection inside.

    *checksum* is an object of `new_checksum`, or None. *on_damage* gets the error when what arrived
    is not what was sent.
    """

    def __init__(
        self,
        loop: Loop,
        opened: Opened,
        command: socket.socket,
        *,
        source: Stream,
        sink: Stream,
        checksum: Any,
        on_damage: Callable[[IntegrityError], None],
    ) -> None:
        super().__init__(command, handshake_sent=0, handshake_received=0, is_connector=False)
        self._network = opened.connection
        self._is_broken_off = False
        self._on_damage = on_damage
        self._pump = Pump(loop, source, sink, checksum=checksum, on_end=self._ended, on_break=self._broke)

    def _ended(self) -> None:
        """The source has ended."""
        raise NotImplementedError

    def _break_inside(self) -> None:
        """Break the command's connection."""
        raise NotImplementedError

    def _close_inside(self, *, whole: bool) -> None:
        """Let go of this side of the command's connection."""
        raise NotImplementedError

    def _broke(self, error: Exception) -> None:
        if isinstance(error, IntegrityError):
            self._on_damage(error)
        self.disconnect()

    @property
    def is_over(self) -> bool:
        return self._is_broken_off or self._network.is_over

    @property
    def is_broken(self) -> bool:
        return self._is_broken_off or self._network.is_broken

    def limit_rate(self, rate: int) -> None:
        self._network.limit_rate(rate)

    def digest(self) -> Optional[str]:
        return self._pump.digest()

    def disconnect(self) -> None:
        """As that of direct mode it may be asked for again, for a system may refuse it for now."""
        self._is_broken_off = True
        self._pump.stop()
        self._break_inside()
        self._network.disconnect()

    def close(self, *, whole: bool) -> None:
        """A stream that was not pumped to its end has no good one, however the session ended."""
        if whole and not self._pump.is_over:
            self.disconnect()
            whole = False
        self._pump.stop()
        self._close_inside(whole=whole)
        self._network.close(whole=whole)
        super().close(whole=whole)


class PumpedWriter(PumpedConnection):
    """The end whose command writes: it gets one of a pair of sockets, which breaks as a pipe does.
    *on_sent* gets the digest when all was sent, if there is a checksum."""

    def __init__(self, loop: Loop, opened: Opened, *, on_sent: Callable[[str], None], **options: Any) -> None:
        self._inside, command = socket.socketpair()
        self._on_sent = on_sent
        super().__init__(loop, opened, command, source=Stream(self._inside), sink=opened.stream, **options)

    def finish(self) -> None:
        super().finish()
        self._ended()

    def count_sent(self) -> int:
        return self._pump.moved + unread_bytes(self._inside)

    def _ended(self) -> None:
        """A command may end its output itself, before it is known how it ends."""
        if self._finished and self._pump.has_ended:
            digest = self.digest()
            if digest is not None:
                self._on_sent(digest)
            self._pump.finish()

    def _break_inside(self) -> None:
        # Closing it would do for the command, but `count_sent` may be asked for later.
        self._inside.shutdown(socket.SHUT_RDWR)

    def _close_inside(self, *, whole: bool) -> None:
        self._inside.close()


class PumpedReader(PumpedConnection):
    """The end whose command reads: it gets a TCP connection, for only that can show it that its
    stream is broken. Raises ResourceError when this machine can not connect to itself."""

    def __init__(self, loop: Loop, opened: Opened, **options: Any) -> None:
        inside, command = _open_pair()
        self._inside = DataConnection(inside, handshake_sent=0, handshake_received=0, is_connector=True)
        self._expected: Optional[str] = None
        self._taken: Optional[int] = None
        super().__init__(loop, opened, command, source=opened.stream, sink=Stream(inside), **options)

    def count_received(self) -> Optional[int]:
        return self._taken if self._is_broken_off else super().count_received()

    def expect(self, digest: str) -> None:
        """The peer's word about all that it sent."""
        self._expected = digest
        if self._pump.has_ended:
            self._ended()

    def _ended(self) -> None:
        """Not passed on before it is known to be the end of what was sent."""
        digest = self.digest()
        if digest is None or digest == self._expected:
            self._pump.finish()
        elif self._expected is not None:
            text = f"its checksum was {self._expected} when it was sent, and is {digest}"
            self._broke(IntegrityError(text))

    def _break_inside(self) -> None:
        if self._taken is None:
            self._taken = super().count_received()  # what is disconnected counts no more
        DataConnection.disconnect(self)
        self._inside.disconnect()

    def _close_inside(self, *, whole: bool) -> None:
        self._inside.close(whole=whole)


def _open_pair() -> Tuple[socket.socket, socket.socket]:
    """The two ends of a TCP connection inside this machine: ours, and the command's."""
    failures = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            return _connect_inside(family, address)
        except OSError as error:
            failures.append(f"{address}: {error.strerror or error}")
    raise ResourceError(
        f"it could not connect to itself, as encrypt and checksum need it: {', '.join(failures)}; "
        "is the loopback interface up?"
    )


def _connect_inside(family: int, address: str) -> Tuple[socket.socket, socket.socket]:
    ours = socket.socket(family, socket.SOCK_STREAM)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind((address, 0))
            listener.listen(1)
            for sock in (ours, listener):
                sock.settimeout(CONNECT_TIMEOUT)
            ours.connect(listener.getsockname())
            theirs = _accept(listener, ours.getsockname())
    except OSError:
        ours.close()
        raise
    _make_fast(ours)
    return ours, theirs


def _accept(listener: socket.socket, wanted: Any) -> socket.socket:
    while True:
        sock, address = listener.accept()
        if address == wanted:
            return sock
        sock.close()  # somebody else on this machine


def _make_fast(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(AttributeError, OSError):  # where there is nothing to choose
        # The system's choice may be one that paces, which makes this connection several times slower.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
