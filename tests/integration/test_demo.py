# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` runs works for any user, shows its table and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness.ansible import BIN, ROOT

_NOBODY = 65534
_SESSIONS = ("push: tar to tar x", "pull: tar to tar x", "filter: tar to gzip to dd")
_NUMBER = r"([\d,.]+)"
_ROW = re.compile(rf"{_NUMBER} +{_NUMBER} +{_NUMBER} +{_NUMBER} +(?:local|remote) +127\.0\.0\.1 +\d+ IPv4")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home and a folder for temporary files in it, for every user."""
    with TemporaryDirectory() as name:
        home = Path(name)
        (home / "tmp").mkdir()
        for folder in (home, home / "tmp"):
            folder.chmod(0o777)
        yield home


def demo_words() -> list[str]:
    """The recipe of the make target, with the programs of this environment."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^demo:.*\n\t(.+)$", makefile, re.MULTILINE)
    assert recipe is not None
    return recipe[1].replace("$(BIN)", str(BIN)).split()


def run_demo(home: Path, *become: str) -> str:
    done = subprocess.run(
        [*become, *demo_words()],
        cwd=ROOT,
        env={**os.environ, "HOME": str(home), "TMPDIR": str(home / "tmp"), "ANSIBLE_NOCOLOR": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def check_demo(output: str, home: Path) -> None:
    assert "source, pushed, pulled, filtered: all the same" in output
    counts = {}
    for session in _SESSIONS:
        line = next(line for line in output.splitlines() if f'"{session} ' in line)
        row = _ROW.search(line)
        assert row is not None, line
        counts[session] = [int(row[field].replace(",", "")) for field in (1, 2)]
    push, pull, compress = (counts[session] for session in _SESSIONS)
    assert push[0] == pull[1] == compress[0] > 90_000_000
    assert push[1] == pull[0] == 0
    assert 0 < compress[1] < compress[0]
    assert list((home / "tmp").iterdir()) == []


def test_as_whoever_runs_the_tests(home: Path) -> None:
    check_demo(run_demo(home), home)


def test_as_nobody(home: Path) -> None:
    """Nobody may not write to the checkout. The one thing it may do here, and not elsewhere, is to
    read a checkout and a Python that lie in another user's home."""
    if os.getuid() != 0:
        pytest.skip("only root can become nobody")
    capability = "+dac_read_search"
    nobody = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
    reading = (f"--inh-caps={capability}", f"--ambient-caps={capability}")
    check_demo(run_demo(home, *nobody, *reading), home)
