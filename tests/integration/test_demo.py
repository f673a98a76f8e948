# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` runs works for any user, shows its table and leaves nothing behind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness.ansible import BIN, ROOT
from harness.demo import AS_NOBODY, expect_all_moved, make_home, run_demo


@pytest.fixture
def home() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield make_home(Path(name))


def demo_words() -> list[str]:
    """The recipe of the make target, with the programs of this environment."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^demo:.*\n\t(.+)$", makefile, re.MULTILINE)
    assert recipe is not None
    return recipe[1].replace("$(BIN)", str(BIN)).split()


def test_as_whoever_runs_the_tests(home: Path) -> None:
    expect_all_moved(run_demo(demo_words(), home, ROOT), home)


def test_as_nobody(home: Path) -> None:
    """Nobody may not write to the checkout."""
    if os.getuid() != 0:
        pytest.skip("only root can become nobody")
    expect_all_moved(run_demo([*AS_NOBODY, *demo_words()], home, ROOT), home)
