# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums: the same as everybody else's, however the bytes come."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.checksum import (
    known_checksums,
    new_checksum,
)
from harness.examples import one_in
from hypothesis import given
from hypothesis import strategies as st

#: Those that every Python has.
ALWAYS = {"crc32", "blake2b", "blake2s", "md5", "sha1", "sha224", "sha256", "sha384", "sha512"}
NAMES = pytest.mark.parametrize("name", known_checksums())


def expected(name: str, data: bytes) -> str:
    return f"{zlib.crc32(data):08x}" if name == "crc32" else hashlib.new(name, data).hexdigest()


@NAMES
@one_in(10)
@given(pieces=st.lists(st.binary(max_size=300), max_size=6))
def test_the_digest_is_that_of_the_bytes_however_they_are_cut(name: str, pieces: list[bytes]) -> None:
    checksum = new_checksum(name)
    for piece in pieces:
        checksum.update(memoryview(bytearray(piece)))
    assert checksum.hexdigest() == expected(name, b"".join(pieces))


@NAMES
def test_a_digest_may_be_asked_for_in_the_middle(name: str) -> None:
    checksum = new_checksum(name)
    checksum.update(b"pay")
    assert checksum.hexdigest() == expected(name, b"pay")
    checksum.update(b"load")
    assert checksum.hexdigest() == expected(name, b"payload")


@NAMES
def test_two_checksums_do_not_know_of_each_other(name: str) -> None:
    one, other = new_checksum(name), new_checksum(name)
    one.update(b"payload")
    assert other.hexdigest() == expected(name, b"")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("crc32", "cbf43926"),
        ("md5", "25f9e794323b453885f5181f1b624d0b"),
        ("sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ],
)
def test_digests_are_those_that_the_world_knows(name: str, digest: str) -> None:
    checksum = new_checksum(name)
    checksum.update(b"123456789")
    assert checksum.hexdigest() == digest


def test_leading_zeros_of_a_crc32_are_kept() -> None:
    assert new_checksum("crc32").hexdigest() == "00000000"


def test_what_every_python_has_is_known_and_the_list_is_sorted() -> None:
    assert set(known_checksums()) >= ALWAYS
    assert known_checksums() == sorted(set(known_checksums()))


@pytest.mark.parametrize("name", ["shake_128", "shake_256", "nonsense", "", "crc", "sha256 "])
def test_what_has_no_digest_of_its_own_size_or_is_none_is_refused(name: str) -> None:
    assert name not in known_checksums()
    with pytest.raises(ValueError, match=r"no size of its own|unsupported hash"):
        new_checksum(name)
