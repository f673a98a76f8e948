# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/reliability.md names tests: they exist, and none of tests/faults is missing there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")


def functions_of(path: Path) -> set[str]:
    """Names of the tests of a file; none if there is no such file."""
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def named() -> set[str]:
    return set(re.findall(r"`([a-z]+/test_\w+\.py::test_\w+)`", PAGE))


def test_every_test_that_is_named_exists() -> None:
    assert len(named()) > 50
    missing = {
        name for name in named() if name.split("::")[1] not in functions_of(TESTS / name.split("::")[0])
    }
    assert missing == set()


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "shown by" not in line]
    assert [row for row in rows if "::" not in row] == []


def test_every_fault_that_is_tested_is_named() -> None:
    faults = {
        f"faults/{path.name}::{name}"
        for path in (TESTS / "faults").glob("test_*.py")
        for name in functions_of(path)
    }
    assert faults - named() == set()
