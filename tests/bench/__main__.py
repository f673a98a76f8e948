# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m bench [--quick] [--folder FOLDER] [CHAPTER...]

Measures all chapters, or those named, whose figures then take the place of earlier ones.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from harness.ansible import ROOT

from bench import report, results
from bench.chapters import CHAPTERS, describe_peers
from bench.machine import describe_machine
from bench.rig import make_rig
from bench.scale import FULL, QUICK, Bench
from bench.turns import Recorder

FOLDER = ROOT / "docs" / "benchmarks"


def main() -> int:
    # What it has started does not outlive it, whether it is ended by hand or not.
    signal.signal(signal.SIGTERM, lambda signum, _frame: sys.exit(128 + signum))
    arguments = parse(sys.argv[1:])
    chapters = arguments.chapters or list(CHAPTERS)
    path = arguments.folder / "results.json"
    machine = describe_machine()
    found = results.Results(machine, describe_peers(machine["collection"], machine["ansible_core"]))
    if arguments.chapters and path.exists():
        try:
            found.keep_others(results.load(path), chapters)
        except results.OtherMachineError as error:
            print(f"The figures in {path} would not go with new ones: {error}. Measure all.", file=sys.stderr)
            return 1
    recorder = Recorder(found)
    with make_rig() as rig:
        if not rig.accounts:
            print("No control groups: neither memory nor processor time is measured.", file=sys.stderr)
        bench = Bench(rig, recorder, QUICK if arguments.quick else FULL)
        for chapter in chapters:
            began = time.monotonic()
            CHAPTERS[chapter](bench)
            found.save(path)
            print(f"{chapter}: measured in {time.monotonic() - began:.0f} s", flush=True)
    report.write(arguments.folder)
    for failure in recorder.failures:
        print(f"not measured: {failure}", file=sys.stderr)
    return 1 if recorder.failures else 0


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=", ".join(CHAPTERS))
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the program itself")
    parser.add_argument("--folder", type=Path, help="where the results go, docs/benchmarks by default")
    arguments = parser.parse_args(words)
    unknown = [chapter for chapter in arguments.chapters if chapter not in CHAPTERS]
    if unknown:
        parser.error(f"there is no chapter {unknown[0]!r}; there are: {'; '.join(CHAPTERS)}")
    if arguments.quick and arguments.folder is None:
        parser.error("--quick needs a --folder: its figures say nothing")
    arguments.folder = arguments.folder or FOLDER
    return arguments


if __name__ == "__main__":
    sys.exit(main())
