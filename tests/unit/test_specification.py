# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint is to do survives the way through JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    CommandSpec,
    FileSpec,
    Identity,
    Specification,
)

KEY = bytes(range(32))
IDENTITY = Identity("a certificate\n", "a private key\n", "the peer's certificate\n")
COMMANDS = [
    CommandSpec("input", ["cat", "a b", "", "f\u00fcr", "\udcff", "\n"], [0, 141]),
    CommandSpec("output", ["cat"], [], "/srv/\udcff"),
    CommandSpec("input", ["cat"], [0], file="/dev/\udcff"),
    CommandSpec("output", ["cat"], [0], file=7, temporary="/srv/.\udcff"),
]

FILES = [FileSpec("output", 7, [0], "/srv/.\udcff"), FileSpec("input", 3, [0, 141])]


@pytest.mark.parametrize(
    "spec",
    [
        Specification(Side.LOCAL, KEY, COMMANDS, ["input", "output"], 30.0, listener=5),
        Specification(Side.REMOTE, KEY, [], [], 0.5, candidates=(("192.0.2.1", 1), ("fe80::1%eth0", 65535))),
        Specification(Side.REMOTE, KEY, [], [], 0.5, listen_address="t1", ports=(61000, 65535)),
        Specification(Side.LOCAL, KEY, COMMANDS, [], 0.5, candidates=(("t1", 61000),), preflight=True),
        Specification(Side.REMOTE, KEY, [], [], 0.5, block_size=512, rate_limit=1 << 40, checksum="crc32"),
        Specification(Side.LOCAL, KEY, [*FILES], ["input", "output"], 30.0, listener=5),
    ],
    ids=["listens", "connects", "is to listen", "runs nothing", "has options", "has files"],
)
def test_it_survives_json(spec: Specification) -> None:
    assert Specification.load(json.loads(json.dumps(spec.dump())), KEY) == spec


def test_the_key_is_never_part_of_what_is_dumped() -> None:
    """It travels by itself, where nothing is logged."""
    dumped = json.dumps(Specification(Side.LOCAL, KEY, COMMANDS, ["input"], 30.0).dump())
    assert "key" not in dumped
    assert KEY.hex() not in dumped


def test_the_identity_is_never_part_of_what_is_dumped_and_comes_back_by_itself() -> None:
    """As the key does."""
    spec = Specification(Side.LOCAL, KEY, COMMANDS, ["input"], 30.0, identity=IDENTITY)
    dumped = json.dumps(spec.dump())
    for word in ("identity", "private", "certificate", *(text.strip() for text in IDENTITY)):
        assert word not in dumped
    travelled = json.loads(json.dumps(IDENTITY._asdict()))
    assert Specification.load(json.loads(dumped), KEY, travelled) == spec


@pytest.mark.parametrize(
    ("options", "is_pumped"),
    [
        ({}, False),
        ({"block_size": 512, "rate_limit": 1}, False),
        ({"checksum": "md5"}, True),
        ({"identity": IDENTITY}, True),
        ({"identity": IDENTITY, "checksum": "md5"}, True),
    ],
    ids=["nothing asked for", "the kernel's work", "a checksum", "encryption", "both"],
)
def test_payload_passes_through_the_endpoint_only_for_encryption_or_a_checksum(
    options: dict[str, Any], is_pumped: bool
) -> None:
    spec = Specification(Side.LOCAL, KEY, COMMANDS, ["input"], 30.0, **options)
    assert spec.is_pumped is is_pumped
