# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links between the pages of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.ansible import ROOT
from harness.pages import PAGES, anchors_of, links_of

ALL = [*PAGES, *sorted((ROOT / "roles").glob("*/README.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def target_of(page: Path, link: str) -> Path:
    path = link.partition("#")[0]
    return (page.parent / path).resolve() if path else page


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links_of(page):
        target, anchor = target_of(page, link), link.partition("#")[2]
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors_of(target), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    ahead = {ROOT / "README.md"}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        ahead |= {target_of(page, link) for link in links_of(page)} & set(ALL) - reached
    assert set(ALL) - reached == set()
