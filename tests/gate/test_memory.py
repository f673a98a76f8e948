# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""However much is moved, an endpoint takes no more memory for it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.identities import make_identities
from harness.network import Target
from harness.timed import begin_session

MEGABYTE = 1_000_000
SIZES = (MEGABYTE, 4000 * MEGABYTE)
MODES: dict[str, dict[str, Any]] = {
    "direct": {},
    "encrypt": {"encrypt": True},
    "sha256": {"checksum": "sha256"},
}


def peaks(target: Target, size: int, *, encrypt: bool = False, **options: Any) -> list[int]:
    """Of the local and the remote endpoint of a session that moves *size* bytes."""
    writer = ["dd", "if=/dev/zero", "bs=1M", f"count={size}", "iflag=count_bytes"]
    reader = ["dd", "of=/dev/null", "bs=1M"]
    identities = make_identities() if encrypt else None
    ends = begin_session(target, {"role": "input", "argv": writer}, reader, identities, **options)
    return [end.memory() for end in ends]


@pytest.mark.parametrize("mode", MODES)
def test_the_size_does_not_matter(target: Target, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = (peaks(target, size, **MODES[mode]) for size in SIZES)
    with capsys.disabled():
        for side, few, many in zip(("local", "remote"), small, large, strict=True):
            print(
                f"\n{mode}, {side} endpoint: {few / 1e6:.1f} MB of memory for 1 MB, "
                f"{many / 1e6:.1f} MB for 4 GB, ratio {many / few:.2f}"
            )
    assert all(many <= 1.25 * few for few, many in zip(small, large, strict=True))
