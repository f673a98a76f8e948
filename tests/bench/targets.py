# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection wants to reach: ratios of medians, and a limit for each."""

from __future__ import annotations

from dataclasses import dataclass

from bench.findings import Place, Results, Value
from bench.units import amount, rounded_against


@dataclass(frozen=True)
class Target:
    """*over* divided by *under*, if there is one, is to be at least or at most *wanted*."""

    name: str
    what: str
    over: Place
    under: Place | None
    wanted: float
    at_most: bool = False

    def limit(self) -> str:
        words = "at most" if self.at_most else "at least"
        return f"{words} {self.wanted:g}" if self.under else f"{self.wanted:g}"

    def measured(self, results: Results) -> Value | None:
        over = results.value(self.over)
        if over is None or self.under is None:
            return over
        under = results.value(self.under)
        return under and over.over(under)

    def reached(self, results: Results) -> bool | None:
        """None where it was not measured, or where a bound does not tell."""
        value = self.measured(results)
        if value is None:
            return None
        is_good = value.number <= self.wanted if self.at_most else value.number >= self.wanted
        # A bound says nothing of what lies on its other side.
        proves = {"": True, ">": is_good != self.at_most, "<": is_good == self.at_most}
        return is_good if proves[value.sign] else None

    def figure(self, results: Results) -> str:
        """What was measured, as the page has it."""
        value = self.measured(results)
        if value is None or self.under is None:
            return amount(self.over.figure, value)
        return f"{value.sign} {rounded_against(value.number, self.at_most)}".strip()

    def made_of(self, results: Results) -> str:
        """The two figures that it is the ratio of."""
        places = [place for place in (self.over, self.under) if place and self.under]
        return " / ".join(amount(place.figure, results.value(place)) for place in places)


def _stream(peer: str) -> Place:
    return Place("stream", peer, "throughput")


def _file(peer: str, chapter: str = "file") -> Place:
    return Place(chapter, peer, "seconds")


def _memory(side: str, size: float) -> Place:
    return Place("size", "socketpipe", f"memory_{side}", size)


def _hosts(figure: str, count: int) -> Place:
    return Place("hosts", "socketpipe", figure, count)


def _pull(peer: str) -> Place:
    return _file(peer, "file, pull")


_STREAM = "throughput of a stream"
_PUSH = "seconds of a whole task, 1 GiB pushed"
_PULL = "seconds of a whole task, 1 GiB pulled"
_MEMORY = "peak memory"
_EMPTY = "seconds of a whole task without data"

TARGETS = (
    Target("direct mode / bare TCP", _STREAM, _stream("socketpipe"), _stream("bare TCP"), 0.99),
    Target("direct mode / bare TCP, reno", _STREAM, _stream("socketpipe"), _stream("bare TCP, reno"), 0.99),
    Target("direct mode / iperf3", _STREAM, _stream("socketpipe"), _stream("iperf3"), 0.95),
    Target("direct mode / iperf3, reno", _STREAM, _stream("socketpipe"), _stream("iperf3, reno"), 0.95),
    Target("direct mode / ssh", _STREAM, _stream("socketpipe"), _stream("ssh"), 5),
    Target("encrypt / ssh", _STREAM, _stream("socketpipe, encrypt"), _stream("ssh"), 2),
    Target("synchronize / socketpipe", _PUSH, _file("synchronize"), _file("socketpipe"), 8),
    Target("copy / socketpipe", _PUSH, _file("copy"), _file("socketpipe"), 20),
    Target("fetch / socketpipe", _PULL, _pull("fetch"), _pull("socketpipe"), 20),
    Target("fetch, become / socketpipe", _PULL, _pull("fetch, become"), _pull("socketpipe"), 20),
    Target("empty task / command", _EMPTY,
           Place("empty", "socketpipe", "seconds"), Place("empty", "command", "seconds"),
           1.15, at_most=True),
    Target("controller, 20 GB / 1 MB", _MEMORY, _memory("local", 2e10), _memory("local", 1e6),
           1.05, at_most=True),
    Target("target, 20 GB / 1 MB", _MEMORY, _memory("remote", 2e10), _memory("remote", 1e6),
           1.05, at_most=True),
    Target("64 hosts / one host", "throughput of all together",
           _hosts("throughput", 64), _hosts("throughput", 1), 0.9),
    Target("failures, 64 hosts", "tasks that failed, of all runs", _hosts("failures", 64), None,
           0, at_most=True),
)  # fmt: skip
