# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of an encrypted session: one for each side, made for it alone.

Only whoever asks for a session makes them: the one file of the engine that wants a library,
cryptography, and can be imported without."""

from __future__ import annotations

from datetime import datetime
from typing import Mapping, Optional, Tuple

from .handshake import Side
from .specification import Identity

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
except ImportError as error:
    _MISSING: Optional[ImportError] = error
else:
    _MISSING = None

#: A certificate ends with its session, not by a clock, which on either machine may be wrong.
_FIRST_DAY = datetime(1970, 1, 1)
_LAST_DAY = datetime(9999, 12, 31)


def make_identities() -> Mapping[Side, Identity]:
    """What each side shows and accepts. Raises ImportError without the library cryptography."""
    if _MISSING is not None:
        raise _MISSING
    local_certificate, local_key = _make_certificate()
    remote_certificate, remote_key = _make_certificate()
    return {
        Side.LOCAL: Identity(local_certificate, local_key, remote_certificate),
        Side.REMOTE: Identity(remote_certificate, remote_key, local_certificate),
    }


def _make_certificate() -> Tuple[str, str]:
    """A self-signed certificate that says nothing of its owner, and its private key, as PEM texts."""
    key = ec.generate_private_key(ec.SECP256R1())
    nobody = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FIRST_DAY)
        .not_valid_after(_LAST_DAY)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()
