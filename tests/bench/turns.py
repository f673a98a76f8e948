# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking turns: peers run one after the other, again and again, and their figures are kept."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bench.results import Results

#: Seconds of a run after which no second one is made.
PATIENCE = 60.0
#: Seconds of a run that no warming makes shorter: it counts from the first one on, and two are enough.
LONG, LONG_RUNS = 10.0, 2


@dataclass
class Taken:
    """The figures of one run that took *seconds*; *stopped* if that was its bound."""

    figures: Mapping[str, float]
    seconds: float
    stopped: float | None = None


@dataclass
class Turn:
    """A peer's place in a chapter."""

    peer: str
    measure: Callable[[], Taken]
    x: float | None = None


class Recorder:
    """Keeps and prints the figures of a chapter. *failures* says what could not be measured, and why."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.failures: list[str] = []

    def take_turns(self, chapter: str, turns: Iterable[Turn], runs: int, warm: bool = True) -> None:
        """Each *runs* times, and once before if *warm*: a first run pays for memory that nobody has touched.

        Who takes long has fewer turns, and who fails has no other one.
        """
        waiting = list(turns)
        kept = {id(turn): 0 for turn in waiting}
        for number in range(-1 if warm else 0, runs):
            random.Random(number).shuffle(waiting)
            for turn in list(waiting):
                taken = self._measure(chapter, turn)
                if taken is not None and (number >= 0 or taken.seconds > LONG):
                    self.keep(chapter, turn.peer, taken, turn.x)
                    kept[id(turn)] += 1
                if taken is None or kept[id(turn)] >= _enough(taken.seconds, runs):
                    waiting.remove(turn)

    def _measure(self, chapter: str, turn: Turn) -> Taken | None:
        try:
            return turn.measure()
        except Exception as error:
            failure = f"{_name(chapter, turn.peer, turn.x)}: {error or type(error).__name__}"
            print(f"failed: {failure}", file=sys.stderr, flush=True)
            self.failures.append(failure)
            return None

    def keep(self, chapter: str, peer: str, taken: Taken, x: float | None = None) -> None:
        for figure, value in taken.figures.items():
            self._results.add(chapter, peer, figure, value, x=x, stopped=taken.stopped)
            end = f", stopped after {taken.stopped:g} s" if taken.stopped else ""
            print(f"{_name(chapter, peer, x)}: {figure} {value:.4g}{end}", flush=True)


def _enough(seconds: float, runs: int) -> int:
    """How many runs of that length are made, where *runs* of short ones are."""
    if seconds > PATIENCE:
        return 1
    return min(runs, LONG_RUNS) if seconds > LONG else runs


def _name(chapter: str, peer: str, x: float | None) -> str:
    return f"{chapter}, {peer}" + ("" if x is None else f", {x:g}")
