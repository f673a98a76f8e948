# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handshake, without I/O: two state machines that take bytes and give bytes.

General theory of operation. A machine is fed what arrived (`receive`) and asked what
to send (`take`); `wanted` is how many bytes may still be read, and reading no more than
that keeps the first byte of the payload for the command. Rules, from docs/protocol.md:

- Everything is checked as it arrives, so a stranger is refused at the first wrong byte.
- Both nonces are fresh, and each proof covers all that was said before it.
- The connector proves itself last, and only to a listener that has proved itself.
- The listener says when it has seen that, so that at the end both know it of both.
- Labels and sides differ between the ends: an echo proves nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from enum import Enum
from typing import Optional, Tuple

from .errors import HandshakeError, VersionError

MAGIC = b"socketpipe"
VERSION = 1
NONCE_SIZE = 32
PROOF_SIZE = 32
KEY_SIZE = 32
HEADER_SIZE = len(MAGIC) + 6
HELLO_SIZE = HEADER_SIZE + NONCE_SIZE
ANSWER_SIZE = HELLO_SIZE + PROOF_SIZE

# The first digest of a process takes milliseconds, in which OpenSSL gets ready: let them
# pass before somebody waits for an answer.
hmac.new(b"", b"", hashlib.sha256)


class Side(Enum):
    LOCAL = "local"
    REMOTE = "remote"

    @property
    def peer(self) -> Side:
        return Side.REMOTE if self is Side.LOCAL else Side.LOCAL

    @property
    def code(self) -> bytes:
        return self.value[:1].encode()


class Purpose(Enum):
    CONTROL = "control"
    INPUT = "input"
    OUTPUT = "output"

    @property
    def code(self) -> bytes:
        return self.value[:1].encode()


def _header(purpose: Purpose, side: Side) -> bytes:
    return MAGIC + bytes([VERSION]) + purpose.code + side.code + bytes(3)


def _mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def _check_header(got: bytes, *allowed: bytes) -> None:
    """Refuse *got*, the beginning of a header, unless one of *allowed* begins so."""
    if any(header.startswith(got) for header in allowed):
        return
    version_at = len(MAGIC)
    if got.startswith(MAGIC) and len(got) > version_at and got[version_at] != VERSION:
        raise VersionError(
            f"it speaks version {got[version_at]} of the protocol, this side version {VERSION}"
        )
    raise HandshakeError("what it sent is not a socketpipe handshake of the other side")


class Handshake:
    """What the two machines share. *key* and *nonce* are 32 bytes each.

    `purpose` is what the connection is for: the connector knows it, the listener learns it
    from HELLO.
    """

    purpose: Purpose

    def __init__(self, key: bytes, side: Side, nonce: Optional[bytes] = None) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a key has {KEY_SIZE} bytes, not {len(key)}")
        self._key = key
        self._side = side
        self._nonce = os.urandom(NONCE_SIZE) if nonce is None else nonce
        self._received = b""
        self._to_send = b""
        self._hello = b""
        self._answer = b""
        self.done = False
        self.bytes_sent = 0
        self.bytes_received = 0

    @property
    def wanted(self) -> int:
        """How many bytes may be read from the connection now."""
        return 0 if self.done else self._expected() - len(self._received)

    def take(self) -> bytes:
        """What is to be sent now; it is handed out once."""
        taken, self._to_send = self._to_send, b""
        return taken

    def receive(self, data: bytes) -> None:
        """Take in what arrived, at most `wanted` bytes.

        Raises HandshakeError when the other end can not be the peer.
        """
        if not 0 < len(data) <= self.wanted:
            raise ValueError(f"{len(data)} bytes given, {self.wanted} wanted")
        self.bytes_received += len(data)
        self._received += data
        self._check(self._received)
        if len(self._received) == self._expected():
            message, self._received = self._received, b""
            self._complete(message)

    def control_keys(self) -> Tuple[bytes, bytes]:
        """The keys for this side's control frames and for the peer's."""
        return self._control_key(self._side), self._control_key(self._side.peer)

    def _control_key(self, side: Side) -> bytes:
        label = f"socketpipe {VERSION} control {side.value}".encode()
        return _mac(self._key, label, self._hello, self._answer)

    def _listener_proof(self, unproven_answer: bytes) -> bytes:
        return _mac(self._key, b"socketpipe 1 listener", self._hello, unproven_answer)

    def _connector_proof(self) -> bytes:
        return _mac(self._key, b"socketpipe 1 connector", self._hello, self._answer)

    def _welcome(self) -> bytes:
        return _mac(self._key, b"socketpipe 1 welcome", self._hello, self._answer)

    def _verify(self, said: bytes, expected: bytes) -> None:
        if not hmac.compare_digest(said, expected):
            raise HandshakeError("it does not know this session's key")

    def _send(self, data: bytes) -> None:
        self._to_send += data
        self.bytes_sent += len(data)

    def _expected(self) -> int:
        raise NotImplementedError

    def _check(self, beginning: bytes) -> None:
        raise NotImplementedError

    def _complete(self, message: bytes) -> None:
        raise NotImplementedError


class ConnectorHandshake(Handshake):
    """The connector's machine: sends HELLO, takes ANSWER, sends PROOF, takes WELCOME."""

    def __init__(self, key: bytes, side: Side, purpose: Purpose, nonce: Optional[bytes] = None) -> None:
        super().__init__(key, side, nonce)
        self.purpose = purpose
        self._hello = _header(purpose, side) + self._nonce
        self._send(self._hello)

    def _expected(self) -> int:
        return PROOF_SIZE if self._answer else ANSWER_SIZE

    def _check(self, beginning: bytes) -> None:
        if not self._answer:
            _check_header(beginning[:HEADER_SIZE], _header(self.purpose, self._side.peer))

    def _complete(self, message: bytes) -> None:
        if self._answer:
            self._verify(message, self._welcome())
            self.done = True
        else:
            self._verify(message[HELLO_SIZE:], self._listener_proof(message[:HELLO_SIZE]))
            self._answer = message
            self._send(self._connector_proof())


class ListenerHandshake(Handshake):
    """The listener's machine: takes HELLO, sends ANSWER, takes PROOF, sends WELCOME."""

    def _expected(self) -> int:
        return PROOF_SIZE if self._hello else HELLO_SIZE

    def _check(self, beginning: bytes) -> None:
        if not self._hello:
            headers = [_header(purpose, self._side.peer) for purpose in Purpose]
            _check_header(beginning[:HEADER_SIZE], *headers)

    def _complete(self, message: bytes) -> None:
        if self._hello:
            self._verify(message, self._connector_proof())
            self._send(self._welcome())
            self.done = True
        else:
            self._reply(message)

    def _reply(self, hello: bytes) -> None:
        self._hello = hello
        code = hello[len(MAGIC) + 1 : len(MAGIC) + 2]
        self.purpose = next(purpose for purpose in Purpose if purpose.code == code)
        unproven = _header(self.purpose, self._side) + self._nonce
        self._answer = unproven + self._listener_proof(unproven)
        self._send(self._answer)
