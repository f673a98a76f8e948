# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages of the documentation show in fences, and what they lead to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.ansible import ROOT

#: All of the documentation but the roles' own pages.
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block, and where it is."""

    place: str
    language: str
    text: str

    @property
    def page(self) -> str:
        return self.place.rpartition(":")[0]

    def commands(self) -> list[str]:
        """Its lines; one that ends with a backslash goes on in the next."""
        return re.sub(r" *\\\n *", " ", self.text).splitlines()


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    assert text.count("```") % 2 == 0, f"{page}: a block without an end"
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(f"{page.relative_to(ROOT)}:{line}", found[1], found[2])


def links_of(page: Path) -> list[str]:
    """Those to other files of the project, and to headings of the same page."""
    links = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in links if not re.match(r"https?://", link)]


def anchors_of(page: Path) -> set[str]:
    """The names of its headings, as links have them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def expect_shown(shown: str, printed: str) -> None:
    """*shown* is what a page says that a command prints: the same lines, but for numbers, digests, addresses,
    who listens, the width of columns, and what … stands for: lines, where it is one, else a part of one."""
    lines = [_essence(line) for line in printed.splitlines()]
    position = 0
    for part in re.split(r"^ *…\n", shown, flags=re.MULTILINE):
        wanted = [re.escape(_essence(line)).replace("…", ".*") for line in part.splitlines()]
        found = next((at for at in range(position, len(lines)) if _begin_with(lines[at:], wanted)), None)
        assert found is not None, f"{part}\nis not in what was printed:\n{printed}"
        position = found + len(wanted)


def _begin_with(lines: list[str], wanted: list[str]) -> bool:
    return len(lines) >= len(wanted) and all(map(re.fullmatch, wanted, lines))


def _essence(line: str) -> str:
    """What is the same each time."""
    line = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", line)
    line = re.sub(r"\b[0-9a-f]+:[0-9a-f:]*:[0-9a-f]+\b", "0", line)  # an address; times look like one, too
    line = re.sub(r"\b(local|remote)\b", "EITHER", line)
    line = re.sub(r"\d+(?:[.,:\dTZ-]*[\dZ])?", "0", line)
    return re.sub(r"\*+$", "*", re.sub(r"\s+", " ", line)).strip()
