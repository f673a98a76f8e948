# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS 1.3 over a stream, for both ends of a connection.

General theory of operation. `ssl.SSLObject` knows no socket: it takes ciphertext from one
buffer and puts it into another. `TlsStream` moves large blocks between those and the socket, for
one system call for each record of 16 KiB is what makes TLS slow. Rules:

- Nothing but the handshake is sent before the peer's certificate was verified.
- The end of the stream is close_notify. FIN without it is a broken connection.
- Whatever TLS refuses later has been changed on the way: IntegrityError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import tempfile
from typing import Any, Iterator, Optional

from .errors import HandshakeError, IntegrityError, ResourceError
from .specification import Identity
from .stream import Data, Stream, Wrap

#: Bytes of ciphertext to be taken from the socket at once, before the peer's certificate was
#: verified and after that.
_FIRST_CHUNK = 1 << 12
_CHUNK = 1 << 20


def encrypted(identity: Identity) -> Wrap:
    """The `Wrap` of an encrypted session, for the side that has *identity*.

    Raises ResourceError where there is no TLS 1.3.
    """
    if not getattr(ssl, "HAS_TLSv1_3", False):
        raise ResourceError(f"encrypt needs TLS 1.3, which its Python's {ssl.OPENSSL_VERSION} does not have")
    try:
        client = _context(ssl.PROTOCOL_TLS_CLIENT, identity)
        server = _context(ssl.PROTOCOL_TLS_SERVER, identity)
    except (OSError, ValueError) as error:
        raise ResourceError(f"encrypt is not possible: {error}") from None
    if not _is_allowed(client):
        raise ResourceError("encrypt needs TLS 1.3, which the system's policy for OpenSSL does not allow")
    return lambda sock, is_connector: TlsStream(sock, client if is_connector else server, is_connector)


def _is_allowed(context: ssl.SSLContext) -> bool:
    """Whether what the system's configuration has made of *context* can speak TLS 1.3."""
    largest = context.maximum_version
    has_version = largest in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3)
    return has_version and any(cipher["protocol"] == "TLSv1.3" for cipher in context.get_ciphers())


def _context(protocol: int, identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # a certificate stands for a side, wherever that is
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=identity.peer_certificate)
    if protocol == ssl.PROTOCOL_TLS_SERVER and hasattr(context, "num_tickets"):
        context.num_tickets = 0  # no session is ever resumed
    with _as_file(identity.certificate) as certificate, _as_file(identity.private_key) as key:
        context.load_cert_chain(certificate, key)
    return context


@contextlib.contextmanager
def _as_file(text: str) -> Iterator[str]:
    """The name of a file to read *text* from, once: ssl takes a private key in no other form.

    It is a pipe, so that nothing is ever on a disk, where the system gives names to descriptors.
    """
    reader, writer = os.pipe()
    name = f"/dev/fd/{reader}"
    has_name = os.path.exists(name)
    try:
        with os.fdopen(writer, "w") as pipe:
            pipe.write(text)
        if has_name:
            yield name
    finally:
        os.close(reader)
    if not has_name:
        with tempfile.NamedTemporaryFile("w") as file:  # readable for its owner alone
            file.write(text)
            file.flush()
            yield file.name


class TlsStream(Stream):
    """TLS over *sock*, with the handshake of *context* first.

    Receiving and sending drive the handshake, and raise HandshakeError when it fails; what is sent
    before its end waits for it. Later they raise IntegrityError, besides OSError.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, is_connector: bool) -> None:
        super().__init__(sock)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=not is_connector)
        self._is_established = False
        self._early = b""
        self._chunk = memoryview(bytearray(_FIRST_CHUNK))  # strangers get no more

    @property
    def has_arrived(self) -> bool:
        return self._incoming.pending > 0 or self._tls.pending() > 0

    def receive_into(self, buffer: memoryview) -> Optional[int]:
        while True:
            count = self._decrypt(buffer) if self._establish() else None
            if count is not None or not self._pull():
                return count

    def send(self, data: Data) -> None:
        if self._establish():
            self._encrypt(data)
        else:
            self._early += data

    def finish(self) -> None:
        # It makes close_notify, and then asks for the peer's, which nobody waits for.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._take_outgoing()
        super().finish()

    def _establish(self) -> bool:
        """Whether the handshake is complete, after a step of it."""
        if not self._is_established:
            try:
                self._tls.do_handshake()
                self._is_established = True
                self._chunk = memoryview(bytearray(_CHUNK))
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._send_alert()
                raise HandshakeError(_handshake_failure(error)) from None
            self._take_outgoing()
            if self._is_established and self._early:
                self._encrypt(self._early)
                self._early = b""
        return self._is_established

    def _send_alert(self) -> None:
        """So that the other end can say, too, what was wrong."""
        with contextlib.suppress(OSError):
            self._take_outgoing()

    def _encrypt(self, data: Data) -> None:
        left = memoryview(data)
        while left:  # an empty write is an error before Python 3.10
            left = left[self._tls.write(left) :]
        self._take_outgoing()

    def _take_outgoing(self) -> None:
        made = self._outgoing.read()
        if made:
            super().send(made)

    def _decrypt(self, buffer: memoryview) -> Optional[int]:
        """As many records as have arrived and fit."""
        count = 0
        try:
            while count < len(buffer):
                size: Any = self._tls.read(len(buffer) - count, buffer[count:])
                if not size:
                    return count
                count += size
        except ssl.SSLWantReadError:
            return count or None
        except ssl.SSLZeroReturnError:
            return count  # the peer's close_notify, after ours
        except ssl.SSLError as error:
            raise IntegrityError(f"TLS says '{_words(error)}'") from None
        return count

    def _pull(self) -> bool:
        """Whether something has arrived."""
        count = super().receive_into(self._chunk)
        if count == 0:
            self._refuse_end()
        elif count:
            self._incoming.write(self._chunk[:count])
        return bool(count)

    def _refuse_end(self) -> None:
        """The connection has ended: all that had arrived was decrypted, and close_notify was not there.

        OpenSSL is not asked: as some Pythons set it up, it takes that for a good end.
        """
        if not self._is_established:
            raise HandshakeError("it closed the connection during the TLS handshake")
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


def _handshake_failure(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not the one made for this session: {error.verify_message}"
    return f"TLS says '{_words(error)}'"


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
