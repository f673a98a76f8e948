# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands for tests: readers that tell whether they saw the end of a stream, and writers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Writes a little, again and again, until it is stopped.
ENDLESS = "while :; do head -c 100000 /dev/zero; sleep 0.02; done"


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
