# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench` in small: the same program, with less to measure. What its figures are is of no interest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.ansible import ROOT
from harness.waiting import HANGS_AFTER


def bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *words, "--folder", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        check=False,
    )


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text(encoding="utf-8")))


def figures_of(results: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(one["chapter"], one["peer"], one["figure"]) for one in results["measurements"]}


def test_a_chapter_is_measured_and_joins_the_others(tmp_path: Path) -> None:
    done = bench(tmp_path, "--quick", "block size")
    assert done.returncode == 0, done.stderr
    blocks = {("block size", peer, "throughput") for peer in ("bare TCP", "bare TCP, reno", "socketpipe")}
    assert figures_of(read(tmp_path)) == blocks
    done = bench(tmp_path, "--quick", "empty")
    assert done.returncode == 0, done.stderr
    results = read(tmp_path)
    assert figures_of(results) == blocks | {("empty", peer, "seconds") for peer in ("command", "socketpipe")}
    assert all(one["runs"] and min(one["runs"]) > 0 for one in results["measurements"])
    assert "empty, command: seconds" in done.stdout
    names = [peer["name"] for peer in results["peers"]]
    assert names[:3] == ["bare TCP", "bare TCP, reno", "socketpipe"]
    assert names[-1] == "command"
    page = tmp_path.with_suffix(".md").read_text(encoding="utf-8")
    assert "## An empty task" in page
    assert (tmp_path / "block-size.svg").exists()


def test_chapters_of_another_machine_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    former = {"machine": {"kernel": "another"}, "peers": [], "measurements": []}
    (tmp_path / "results.json").write_text(json.dumps(former), encoding="utf-8")
    done = bench(tmp_path, "--quick", "empty")
    assert done.returncode == 1
    assert "would not go with new ones" in done.stderr
    assert "and was 'another'" in done.stderr
    assert read(tmp_path) == former
