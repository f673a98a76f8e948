# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums, without I/O: what hashlib has, and crc32."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any, List, Union


class Crc32:
    """CRC-32, with the interface of hashlib's."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Union[bytes, memoryview]) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def new_checksum(name: str) -> Any:
    """An object with ``update`` and ``hexdigest``. Raises ValueError for a name that is unknown
    here, or of a hash that has no size of its own."""
    if name == "crc32":
        return Crc32()
    checksum = hashlib.new(name)
    if not checksum.digest_size:
        raise ValueError(f"{name} has no size of its own")
    return checksum


def known_checksums() -> List[str]:
    """All names that `new_checksum` takes, sorted."""
    return sorted(name for name in {"crc32", *hashlib.algorithms_available} if _is_known(name))


def _is_known(name: str) -> bool:
    try:
        new_checksum(name)
    except ValueError:
        return False
    return True
