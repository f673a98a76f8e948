# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release notes can be made of the fragments, in a copy of the checkout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.ansible import BIN, ROOT
from harness.demo import run_well
from harness.shipped import tracked_files

VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
FRAGMENTS = ROOT / "changelogs" / "fragments"


def changelog(copy: Path, command: str) -> str:
    """As CONTRIBUTING.md has it."""
    path = f"{BIN}:{os.environ['PATH']}"
    return run_well(BIN / "antsibull-changelog", command, cwd=copy, PATH=path)


def releases(copy: Path) -> Any:
    return yaml.safe_load((copy / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, in which the release was made, if it was not before."""
    copy = tmp_path_factory.mktemp("copy")
    for name in tracked_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
    if VERSION not in releases(copy):
        changelog(copy, "release")
    return copy


def test_the_release_notes_name_the_version_and_what_is_in_the_fragments(released: Path) -> None:
    text = (released / "CHANGELOG.rst").read_text(encoding="utf-8")
    title = f"v{VERSION}"
    assert f"\n{title}\n{'=' * len(title)}\n" in text
    words = " ".join(text.split())
    for fragment in FRAGMENTS.glob("*.yml"):
        for section, entries in yaml.safe_load(fragment.read_text(encoding="utf-8")).items():
            for entry in [entries] if section == "release_summary" else entries:
                assert entry.strip() in words, fragment.name


def test_the_fragments_are_used_up(released: Path) -> None:
    assert VERSION in releases(released)
    assert list((released / "changelogs" / "fragments").glob("*.yml")) == []


def test_there_is_nothing_against_what_was_made(released: Path) -> None:
    assert changelog(released, "lint") == ""
