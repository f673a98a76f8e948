# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS with an attacker in it: between two streams, between two endpoints, or in place of one."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import (
    HandshakeError,
    IntegrityError,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import Identity
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.stream import Stream, Wrap
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.tls import TlsStream, encrypted
from ansible_collections.dds.socketpipe.plugins.plugin_utils._identities import make_identities

from harness.by_hand import Secure
from harness.middlebox import Relay
from harness.sockets import reset, tcp_pair
from harness.waiting import wait_until

#: Made once, for it is what takes the time.
IDENTITIES = make_identities()
#: Good certificates, of another session.
FOREIGN = make_identities()
#: What the two ends of a session do with a connected socket.
LOCAL, REMOTE = encrypted(IDENTITIES[Side.LOCAL]), encrypted(IDENTITIES[Side.REMOTE])

#: Of a TLS record; its last two bytes are the length of what follows.
HEADER_SIZE = 5
#: Two bytes of alert, one of content type and 16 of tag, after the header.
CLOSE_NOTIFY_SIZE = 24


def split_records(wire: bytes) -> list[bytes]:
    """The TLS records of *wire*; the last one may be incomplete."""
    records = []
    while wire:
        size = HEADER_SIZE + int.from_bytes(wire[3:HEADER_SIZE], "big")
        records.append(wire[:size])
        wire = wire[size:]
    return records


def flipped(data: bytes, offset: int, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[offset] ^= 1 << bit
    return bytes(changed)


# Two streams, and the test as what is between them


class End:
    """One of the two: its stream, what it was given, and how that ended."""

    def __init__(self, wrap: Wrap, *, is_connector: bool) -> None:
        own, self._far = socket.socketpair()
        self._far.setblocking(False)
        self.stream: Stream = wrap(own, is_connector)
        self.received = b""
        #: None before the end, True for a clean one.
        self.end: Exception | bool | None = None
        self.has_hung_up = False

    def step(self) -> None:
        """All that its owner does when something has arrived."""
        while self.end is None:
            try:
                self.stream.flush()
                data = self.stream.receive(1 << 16)
            except (OSError, HandshakeError, IntegrityError) as error:
                self.end = error
                return
            if data is None:
                return
            self.received += data
            if not data:
                self.end = True

    def sent(self) -> bytes:
        """What it has put on the wire since this was asked for last."""
        sent = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._far.recv(1 << 20)
                self.has_hung_up = self.has_hung_up or not data
                if not data:
                    break
                sent += data
                self.flush()
        return sent

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.flush()

    def give(self, wire: bytes) -> None:
        """*wire* arrives."""
        while wire:
            try:
                wire = wire[self._far.send(wire) :]
            except BlockingIOError:
                self.step()
        self.step()

    def give_fin(self) -> None:
        self._far.shutdown(socket.SHUT_WR)
        self.step()

    def close(self) -> None:
        self.stream.close()
        self._far.close()


Change = Callable[[End, bytes], bytes]


class Line:
    """A connector, a listener, and a wire that passes on what the test lets it."""

    def __init__(self, connector: Wrap = LOCAL, listener: Wrap = REMOTE) -> None:
        self.connector = End(connector, is_connector=True)
        self.listener = End(listener, is_connector=False)

    @property
    def ends(self) -> tuple[End, End]:
        return self.connector, self.listener

    def in_order(self, from_connector: bool) -> tuple[End, End]:
        """The sender first."""
        return self.ends if from_connector else (self.listener, self.connector)

    def peer_of(self, end: End) -> End:
        return self.listener if end is self.connector else self.connector

    def run(self, change: Change = lambda sender, wire: wire) -> Line:
        """Pass all on, changed by *change*, until nobody says anything more."""
        for end in self.ends:
            end.step()
        is_moving = True
        while is_moving:
            is_moving = any(self._pass(*self.in_order(way), change) for way in (True, False))
        return self

    @staticmethod
    def _pass(sender: End, receiver: End, change: Change) -> bool:
        had_hung_up = sender.has_hung_up
        wire = sender.sent()
        if wire:
            receiver.give(change(sender, wire))
        if sender.has_hung_up and not had_hung_up:
            receiver.give_fin()
        return bool(wire)

    def close(self) -> None:
        for end in self.ends:
            end.close()


def context_of(
    identity: Identity | None,
    *,
    is_connector: bool,
    trusts: bool = False,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    """TLS by the standard library alone. Without *identity* it shows no certificate, and if it
    *trusts* nobody in particular it takes anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if is_connector else ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = maximum
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(identity.certificate + identity.private_key)
            file.flush()
            context.load_cert_chain(file.name)
    if identity is not None and trusts:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=identity.peer_certificate)
    return context


def attacker(identity: Identity | None, **options: Any) -> Wrap:
    """Takes any certificate, and shows that of *identity*; *options* are those of `context_of`."""

    def wrap(sock: socket.socket, is_connector: bool) -> Stream:
        context = context_of(identity, is_connector=is_connector, **options)
        return TlsStream(sock, context, is_connector)

    return wrap


def stream_pair(connector: Wrap, listener: Wrap) -> tuple[Stream, Stream]:
    """The two ends of a TCP connection, the connector's first; a handshake of TLS is over."""
    one, other = tcp_pair()
    pair = connector(one, True), listener(other, False)
    heard = dict.fromkeys(pair, b"")
    for stream in pair:
        stream.send(b"?")

    def have_heard() -> bool:
        for stream in pair:
            heard[stream] += stream.receive(1) or b""
        return all(heard.values())

    wait_until(have_heard, "both ends hear each other")
    return pair


# Two endpoints, and a relay between them that changes what it passes on


class Tamper:
    """What a relay does to one way of one connection. This one does nothing."""

    #: Whether FIN is to be sent now, and all the rest to be swallowed.
    is_over = False

    def change(self, data: bytes) -> bytes:
        """What is passed on for *data*, the next piece."""
        return data


class Flip(Tamper):
    """Flips a bit of the byte at *offset*."""

    def __init__(self, offset: int, bit: int = 0) -> None:
        self._left = offset
        self._bit = bit

    def change(self, data: bytes) -> bytes:
        left, self._left = self._left, self._left - len(data)
        return flipped(data, left, self._bit) if 0 <= left < len(data) else data


class FlipWhenTold(Tamper):
    """Flips a bit of what comes next after `now` was set."""

    def __init__(self) -> None:
        self.now = threading.Event()

    def change(self, data: bytes) -> bytes:
        if not self.now.is_set():
            return data
        self.now.clear()
        return flipped(data, len(data) // 2)


class Truncate(Tamper):
    """Ends it after *size* bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def change(self, data: bytes) -> bytes:
        passed = data[: self._left]
        self._left -= len(passed)
        self.is_over = not self._left
        return passed


class TruncateRecord(Tamper):
    """Ends it *inside* bytes after the beginning of the first TLS record that *is_chosen*, which is
    asked with the record's number, from 0, and its size."""

    def __init__(self, is_chosen: Callable[[int, int], bool], inside: int = 0) -> None:
        self._is_chosen = is_chosen
        self._inside = inside
        self._held = bytearray()
        self._number = 0

    def change(self, data: bytes) -> bytes:
        self._held += data
        passed = bytearray()
        while not self.is_over and self._size() <= len(self._held):
            size = self._size()
            self.is_over = self._is_chosen(self._number, size)
            passed += self._held[: self._inside if self.is_over else size]
            del self._held[:size]
            self._number += 1
        return bytes(passed)

    def _size(self) -> int:
        """Of the first record; a header at least."""
        return HEADER_SIZE + int.from_bytes(self._held[3:HEADER_SIZE], "big")


#: The number of a connection, 0 for the control connection, and whether the connector speaks.
Way = tuple[int, bool]


class TamperingRelay(Relay):
    """Passes connections on, each way through what *tampers* has for it."""

    def __init__(self, port: int, tampers: dict[Way, Tamper]) -> None:
        self._tampers = tampers
        super().__init__(port)

    def relay(self, inside: socket.socket, outside: socket.socket, number: int) -> Callable[[], None]:
        ways = {
            inside: (outside, self._tampers.get((number, True), Tamper())),
            outside: (inside, self._tampers.get((number, False), Tamper())),
        }
        return lambda: _pass_on(ways)


def _pass_on(ways: dict[socket.socket, tuple[socket.socket, Tamper]]) -> None:
    with selectors.DefaultSelector() as selector:
        for source in ways:
            selector.register(source, selectors.EVENT_READ)
        try:
            while selector.get_map():
                for key, _events in selector.select():
                    source: Any = key.fileobj
                    if not _pass_piece(source, *ways[source]):
                        selector.unregister(source)
        except OSError:
            # What was reset by one of the machines is reset towards both.
            for sock in ways:
                reset(sock)
    for sock in ways:
        sock.close()


def _pass_piece(source: socket.socket, other: socket.socket, tamper: Tamper) -> bool:
    """Whether *source* may have more."""
    data = source.recv(1 << 16)
    if tamper.is_over:
        return bool(data)
    if data:
        other.sendall(tamper.change(data))
    if tamper.is_over or not data:
        other.shutdown(socket.SHUT_WR)
    return bool(data)


# One endpoint, and its peer played by hand


def showing(identity: Identity) -> Secure:
    """TLS on a connection of the test's, which shows the certificate of *identity* and takes any."""

    def secure(sock: socket.socket, is_connector: bool) -> socket.socket:
        context = context_of(identity, is_connector=is_connector)
        return context.wrap_socket(sock, server_side=not is_connector, suppress_ragged_eofs=False)

    return secure


def close_notify(sock: socket.socket) -> None:
    """End it as TLS wants it, without waiting for the other end to do so."""
    assert isinstance(sock, ssl.SSLSocket)
    sock.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        sock.unwrap()
    sock.shutdown(socket.SHUT_WR)


# Another Python


def python_without_ssl(folder: Path) -> str:
    """A Python that has no ssl module, for `EndpointProcess`, which gives it a program with -c."""
    path = folder / "python-without-ssl"
    hide = "import sys; sys.modules['ssl'] = None"
    start = f'exec {sys.executable} -I -S -c "{hide}\n$program" "$@"'
    path.write_text(f"#!/bin/sh\nprogram=$4; shift 4\n{start}\n")
    path.chmod(0o755)
    return str(path)
