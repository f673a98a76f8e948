# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each plot shows, in the units of its axes. `plots` draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.findings import Place, Results, Value
from bench.units import binary_size, decimal_size, plain, round_trip

SIDES = {"local": "on the controller", "remote": "on the target"}


@dataclass(frozen=True)
class Bars:
    """A bar for each peer."""

    name: str
    title: str
    axis: str
    content: tuple[tuple[str, Value], ...]
    is_log: bool = False


@dataclass(frozen=True)
class Stacked:
    """A bar of two parts for each peer, one for each of `SIDES`."""

    name: str
    title: str
    axis: str
    content: tuple[tuple[str, tuple[float, float]], ...]


@dataclass(frozen=True)
class Point:
    x: float
    value: Value
    least: float
    most: float


@dataclass(frozen=True)
class Axes:
    """*named* gives an x as text. Without *is_log_x* all x are equally far from each other."""

    x: str
    y: str
    named: Callable[[float], str]
    is_log_x: bool = True
    is_log_y: bool = False


@dataclass(frozen=True)
class Lines:
    """A line over x for each label."""

    name: str
    title: str
    axes: Axes
    content: tuple[tuple[str, tuple[Point, ...]], ...]

    def xs(self) -> list[float]:
        return sorted({point.x for _label, points in self.content for point in points})


Chart = Bars | Stacked | Lines


def _scaled(figure: str, number: float) -> float:
    """In the unit that axes have."""
    if figure == "throughput":
        return number / 1e9
    return number / 1e6 if figure.startswith("memory") else number


def _rates(results: Results, name: str, title: str, chapter: str) -> Bars:
    """The fastest first."""
    bars = _bars(results, chapter, "throughput")
    return Bars(name, title, "GB/s", tuple(reversed(bars)))


def _times(results: Results, name: str, title: str, chapter: str) -> Bars:
    """The fastest first."""
    return Bars(name, title, "seconds", _bars(results, chapter, "seconds"), is_log=True)


def _bars(results: Results, chapter: str, figure: str) -> tuple[tuple[str, Value], ...]:
    values = {
        peer: results.value(Place(chapter, peer, figure)) for peer in results.peers_of(chapter, figure=figure)
    }
    bars = [
        (peer, Value(_scaled(figure, value.number), value.sign))
        for peer, value in values.items()
        if value is not None
    ]
    return tuple(sorted(bars, key=lambda bar: bar[1].number))


def _processors(results: Results, name: str, title: str, chapter: str) -> Stacked:
    bars = []
    for peer in results.peers_of(chapter):
        local, remote = (results.value(Place(chapter, peer, f"cpu_{side}")) for side in SIDES)
        if local is not None and remote is not None:
            bars.append((peer, (local.number, remote.number)))
    axis = "CPU seconds per GB, of both machines"
    return Stacked(name, title, axis, tuple(sorted(bars, key=lambda bar: sum(bar[1]))))


def _line(results: Results, chapter: str, peer: str, figure: str) -> tuple[Point, ...]:
    points = []
    for x in results.xs_of(chapter, figure):
        place = Place(chapter, peer, figure, x)
        value = results.value(place)
        if value is not None:
            runs = [_scaled(figure, run) for run in results.measurements[place].runs]
            middle = Value(_scaled(figure, value.number), value.sign)
            points.append(Point(x, middle, min(runs), max(runs)))
    return tuple(points)


def _peers(results: Results, name: str, title: str, axes: Axes, chapter: str, figure: str) -> Lines:
    peers = results.peers_of(chapter, figure=figure)
    return Lines(name, title, axes, tuple((peer, _line(results, chapter, peer, figure)) for peer in peers))


def _memory(results: Results) -> Lines:
    lines = {label: _line(results, "size", "socketpipe", f"memory_{side}") for side, label in SIDES.items()}
    drawn = tuple((label, points) for label, points in lines.items() if points)
    axes = Axes("bytes that were moved", "MB", decimal_size)
    return Lines("memory", "Peak memory of socketpipe, by size", axes, drawn)


def charts(results: Results) -> dict[str, Chart]:
    """All that there are figures for, by name."""
    sizes = Axes("size of the file", "seconds", decimal_size, is_log_y=True)
    hosts = Axes("hosts at once", "GB/s", plain)
    blocks = Axes("block size of both commands", "GB/s", binary_size)
    trips = Axes("round trip", "GB/s", round_trip, is_log_x=False, is_log_y=True)
    everything: list[Chart] = [
        _rates(results, "throughput", "A stream from command to command", "stream"),
        _processors(results, "cpu", "Processor time of a stream", "stream"),
        _times(results, "file", "1 GiB pushed, the whole task", "file"),
        _times(results, "file-pull", "1 GiB pulled, the whole task", "file, pull"),
        _peers(results, "size", "The whole task, by size", sizes, "size", "seconds"),
        _memory(results),
        _peers(results, "hosts", "Throughput of all hosts together", hosts, "hosts", "throughput"),
        _peers(results, "block-size", "Throughput by block size", blocks, "block size", "throughput"),
        _peers(results, "round-trip", "Throughput by round trip", trips, "round trip", "throughput"),
    ]
    return {chart.name: chart for chart in everything if chart.content}
