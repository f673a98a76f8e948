# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS with an attacker in it: between two streams, or in place of an endpoint."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import (
    HandshakeError,
    IntegrityError,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.identities import make_identities
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import Identity
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.stream import Stream, Wrap
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.tls import TlsStream, encrypted

from harness.by_hand import Secure
from harness.middlebox import record_size
from harness.sockets import tcp_pair
from harness.waiting import wait_until

#: Made once, for it is what takes the time.
IDENTITIES = make_identities()
#: Good certificates, of another session.
FOREIGN = make_identities()
#: What the two ends of a session do with a connected socket.
LOCAL, REMOTE = encrypted(IDENTITIES[Side.LOCAL]), encrypted(IDENTITIES[Side.REMOTE])

#: Two bytes of alert, one of content type and 16 of tag, after the header.
CLOSE_NOTIFY_SIZE = 24


def split_records(wire: bytes) -> list[bytes]:
    """The TLS records of *wire*; the last one may be incomplete."""
    records = []
    while wire:
        size = record_size(wire)
        records.append(wire[:size])
        wire = wire[size:]
    return records


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


#: Makes of what an end said what arrives at the other one.
Carry = Callable[[End, bytes], bytes]


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

    def run(self, carry: Carry = lambda sender, wire: wire) -> Line:
        """Pass all on, as *carry* has it, until nobody says anything more."""
        for end in self.ends:
            end.step()
        is_moving = True
        while is_moving:
            is_moving = any(self._pass(*self.in_order(way), carry) for way in (True, False))
        return self

    @staticmethod
    def _pass(sender: End, receiver: End, carry: Carry) -> bool:
        had_hung_up = sender.has_hung_up
        wire = sender.sent()
        if wire:
            receiver.give(carry(sender, wire))
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
