# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the links between the pages of the documentation lead, and which variables the pages name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
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


# Variables of the playbooks

SPECS: dict[str, Any] = yaml.safe_load((ROOT / "roles/backup/meta/argument_specs.yml").read_text("utf-8"))
VARIABLES = {name for spec in SPECS["argument_specs"].values() for name in spec["options"]}
TAUGHT = [ROOT / "docs/tutorial.md", ROOT / "docs/backup.md", *sorted((ROOT / "docs/guide").glob("*.md"))]
#: What is none of them, but a fact.
OTHERS = {"backup_result"}


def named(page: Path) -> set[str]:
    return set(re.findall(r"\b(?:backup|socketpipe)_\w+", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", [*TAUGHT, ROOT / "roles/backup/README.md"], ids=name_of)
def test_every_variable_that_a_page_names_is_one_of_the_role(page: Path) -> None:
    assert named(page) - VARIABLES - OTHERS == set()


def test_every_variable_of_the_role_is_on_a_page() -> None:
    taught = {name for page in TAUGHT for name in named(page)}
    assert VARIABLES - taught == set()
