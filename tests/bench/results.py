# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a run, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: What has to be the same where figures stand beside each other.
SAME = ("processor", "processors", "memory", "kernel", "collection")


class OtherMachineError(Exception):
    """Results of another machine, kernel or version are in the file."""


@dataclass
class Measurement:
    """The *runs* of one figure. *stopped* are the seconds after which a task was ended."""

    chapter: str
    peer: str
    x: float | None
    figure: str
    runs: list[float] = field(default_factory=list)
    stopped: float | None = None


@dataclass
class Results:
    machine: dict[str, Any]
    peers: list[dict[str, Any]]
    measurements: list[Measurement] = field(default_factory=list)

    def add(
        self, chapter: str, peer: str, figure: str, value: float,
        *, x: float | None = None, stopped: float | None = None,
    ) -> None:  # fmt: skip
        """One run's value."""
        for measurement in self.measurements:
            if (measurement.chapter, measurement.peer, measurement.x, measurement.figure) == (
                *(chapter, peer, x, figure),
            ):
                break
        else:
            measurement = Measurement(chapter, peer, x, figure)
            self.measurements.append(measurement)
        measurement.runs.append(value)
        measurement.stopped = stopped

    def keep_others(self, former: Results, chapters: Collection[str]) -> None:
        """Take over what *former* has of other chapters; OtherMachineError if it does not match."""
        different = differences(self.machine, former.machine)
        if different:
            raise OtherMachineError("; ".join(different))
        kept = [one for one in former.measurements if one.chapter not in chapters]
        self.measurements = kept + self.measurements

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Results:
    content = json.loads(path.read_text(encoding="utf-8"))
    measurements = [Measurement(**one) for one in content["measurements"]]
    return Results(content["machine"], content["peers"], measurements)


def differences(machine: Mapping[str, Any], former: Mapping[str, Any]) -> list[str]:
    """Why figures of the two do not go together."""
    return [
        f"{name}: it is {machine.get(name)!r} now, and was {former.get(name)!r}"
        for name in SAME
        if machine.get(name) != former.get(name)
    ]
