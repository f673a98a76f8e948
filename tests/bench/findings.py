# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has measured, as results.json has it, and questions to it.

A *place* is a chapter, a peer, a figure, and in some chapters an x: at each place there are some runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median, median_high
from typing import Any, NamedTuple

#: Figures of which a run that was stopped gives a lower bound.
TIMES = frozenset({"seconds", "first_byte"})
#: Figures of which the runs are added up.
COUNTS = frozenset({"failures"})


@dataclass(frozen=True)
class Value:
    """A number; with the sign ">" or "<" it is only known to be more or less than that."""

    number: float
    sign: str = ""

    def over(self, other: Value) -> Value | None:
        """Their ratio; none if nothing is known of it."""
        opposite = {">": "<", "<": ">", "": ""}[other.sign]
        if not other.number or (self.sign and opposite and self.sign != opposite):
            return None
        return Value(self.number / other.number, self.sign or opposite)


class Place(NamedTuple):
    chapter: str
    peer: str
    figure: str
    x: float | None = None


@dataclass(frozen=True)
class Measurement:
    """Runs at one place; *stopped* is the bound at which some of them were ended."""

    runs: tuple[float, ...]
    stopped: float | None = None

    def is_bound(self, number: float) -> bool:
        return self.stopped is not None and number >= self.stopped


@dataclass(frozen=True)
class Peer:
    """One of those that were compared; *missing* says why it was not measured."""

    name: str
    command: str | None = None
    version: str | None = None
    missing: str | None = None


@dataclass(frozen=True)
class Results:
    machine: dict[str, Any]
    peers: tuple[Peer, ...]
    measurements: dict[Place, Measurement]

    def value(self, place: Place) -> Value | None:
        """The median, or the sum of what is counted; none where nothing was measured."""
        found = self.measurements.get(place)
        if found is None:
            return None
        if place.figure in COUNTS:
            return Value(sum(found.runs))
        # Half of an even number of runs that were stopped make a bound, too.
        bound = place.figure in TIMES and found.is_bound(median_high(found.runs))
        return Value(median(found.runs), ">" if bound else "")

    def peers_of(self, *chapters: str, figure: str = "") -> list[str]:
        """Who was measured there, in the order of display."""
        measured = {
            place.peer
            for place in self.measurements
            if place.chapter in chapters and figure in ("", place.figure)
        }
        known = [peer.name for peer in self.peers]
        return [*(name for name in known if name in measured), *sorted(measured - set(known))]

    def xs_of(self, chapter: str, *figures: str) -> list[float]:
        return sorted(
            {
                place.x
                for place in self.measurements
                if place.chapter == chapter and place.figure in figures and place.x is not None
            }
        )


def parse(content: dict[str, Any]) -> Results:
    return Results(
        machine=content["machine"],
        peers=tuple(Peer(**peer) for peer in content["peers"]),
        measurements={
            Place(one["chapter"], one["peer"], one["figure"], one["x"]): Measurement(
                tuple(one["runs"]), one["stopped"]
            )
            for one in content["measurements"]
            if one["runs"]
        },
    )


def load(folder: Path) -> Results:
    return parse(json.loads((folder / "results.json").read_text(encoding="utf-8")))
