# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What arrives is what was sent, in every shape of session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from harness.ansible import TaskResult

Session = Callable[..., TaskResult]


@pytest.mark.parametrize("size", [0, 1, 65536, 30_000_000])
def test_push(session: Session, tmp_path: Path, size: int) -> None:
    data = Path("/dev/urandom").open("rb").read(size)
    (tmp_path / "a").write_bytes(data)
    result = session(input=["cat", str(tmp_path / "a")], remote=["tee", str(tmp_path / "b")], shell=False)
    assert result.kind == "ok", result.msg
    assert (tmp_path / "b").read_bytes() == data
    assert (result["bytes_sent"], result["bytes_received"]) == (size, 0)
