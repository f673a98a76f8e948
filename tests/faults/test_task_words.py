# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever commands say, and however much, the task keeps the end of it and can be read."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from harness.ansible import TaskResult
from harness.streams import sh

#: More than an endpoint keeps of one command's words, and than fits into any pipe; all bytes are in it.
CHATTER = "i=0; while [ $i -lt 40 ]; do head -c 20000 /dev/urandom >&2; i=$((i + 1)); done"
KEPT = 64 << 10


@pytest.mark.parametrize("status", [0, 3])
def test_every_command_floods_its_standard_error(session: Callable[..., TaskResult], status: int) -> None:
    """All at once, with bytes that are no text: nobody is kept waiting, and the last line is there."""
    said = {role: sh(f"cat; {CHATTER}; echo >&2; echo the end of {role} >&2") for role in ("input", "output")}
    said["remote"] = sh(f"cat; {CHATTER}; echo >&2; echo the end of remote >&2; exit {status}")
    result = session(**said)
    assert result.kind == ("failed" if status else "ok"), result.msg
    for role in said:
        words = result[role]["stderr"]
        assert re.match(r"\[\d+ bytes cut\]\n", words), words[:100]
        assert words.endswith(f"\nthe end of {role}\n")
        assert len(words) <= KEPT * len(r"\xff") + 100
    if status:
        assert " exited 3: " in result.msg
        assert len(result.msg) < 2000
