# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook demo, run by anybody, and what it has to show."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.waiting import HANGS_AFTER

_NOBODY = 65534
_SESSIONS = ("push: tar to tar x", "pull: tar to tar x", "filter: tar to gzip to dd")
_NUMBER = r"([\d,.]+)"
_ROW = re.compile(rf"{_NUMBER} +{_NUMBER} +{_NUMBER} +{_NUMBER} +(?:local|remote) +127\.0\.0\.1 +\d+ IPv4")

#: The words that make a command of root's one of nobody's. The one thing this nobody may do here, and
#: not elsewhere, is to read a checkout and a Python that lie in another user's home.
AS_NOBODY = (
    *("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


def make_home(folder: Path) -> Path:
    """Makes of *folder* a home, with a folder for temporary files in it, for every user."""
    (folder / "tmp").mkdir()
    for path in (folder, folder / "tmp"):
        path.chmod(0o777)
    return folder


def run_demo(words: Sequence[str], home: Path, cwd: Path, **environment: str) -> str:
    """What *words*, the demo's command, says."""
    surroundings = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "ANSIBLE_NOCOLOR": "true"}
    return run_well(*words, cwd=cwd, **{**surroundings, **environment})


def run_well(*words: str | Path, cwd: Path, **environment: str) -> str:
    """What a command says, on either stream, that ends well."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=HANGS_AFTER,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def expect_all_moved(output: str, home: Path) -> None:
    """Everything arrived, the table shows it, and nothing is left behind."""
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
