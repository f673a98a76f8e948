# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted and checked sessions, over ssh."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.ansible import TaskResult

Session = Callable[..., TaskResult]
DATA = os.urandom(5_000_001)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("listen", ["local", "remote", "auto"])
@pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("checksum", [None, "sha256", "crc32"])
def test_what_arrives_is_what_was_sent(
    session: Session, tmp_path: Path, source: Path, listen: str, encrypt: bool, checksum: str | None
) -> None:
    options = {} if checksum is None else {"checksum": checksum}
    result = session(
        input=["cat", str(source)],
        remote=["cat"],
        output=["dd", f"of={tmp_path}/copy"],
        listen=listen,
        encrypt=encrypt,
        **options,
    )
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == DATA
    assert (result["bytes_sent"], result["bytes_received"]) == (len(DATA), len(DATA))
    digests = {
        None: None,
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "crc32": f"{zlib.crc32(DATA):08x}",
    }
    for name in ("checksum_sent", "checksum_received"):
        assert result.get(name) == digests[checksum]
