# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands for tests: readers that tell whether they saw the end of a stream, and writers."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

#: Writes a little, again and again, until it is stopped.
ENDLESS = "while :; do head -c 100000 /dev/zero; sleep 0.02; done"

SHORT_WRITES_SIZE = 2_000_003
#: Writes `SHORT_WRITES_SIZE` bytes, in pieces of any size from 1 to 60000, each one at once.
SHORT_WRITES = [
    sys.executable,
    "-c",
    "import os, random\n"
    "random.seed(7)\n"
    f"left = {SHORT_WRITES_SIZE}\n"
    "while left:\n"
    "    left -= os.write(1, bytes(min(left, random.randint(1, 60000))))\n",
]


@dataclass
class CommitGate:
    """A reader that makes *whole* only after a clean end of file."""

    folder: Path
    name: str = "f"

    @property
    def part(self) -> Path:
        return self.folder / f"{self.name}.part"

    @property
    def whole(self) -> Path:
        return self.folder / self.name

    @property
    def script(self) -> str:
        return f"cat > {self.part} && mv {self.part} {self.whole}"

    @property
    def argv(self) -> list[str]:
        return ["sh", "-c", self.script]

    def has_bytes(self, count: int = 1) -> bool:
        return self.part.exists() and self.part.stat().st_size >= count


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def copied_by_dd(stderr: str) -> tuple[int, float]:
    """The bytes that a dd has copied, and the seconds it took, by its own words."""
    found = re.search(r"^(\d+) bytes .* copied, ([\d.]+) s", stderr, re.MULTILINE)
    assert found is not None, stderr
    return int(found[1]), float(found[2])
