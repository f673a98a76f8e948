# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts as SVG files, the same bytes for the same figures. Only this file needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import floor, inf, log, log10
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes as Plot
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.charts import SIDES, Bars, Chart, Lines, Point, Stacked
from bench.units import plain, rounded

SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "socketpipe",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
WIDTH = 7.2
OURS = "#d1242f"
OURS_PALE = "#eb9a9f"
OTHERS = "#8c959f"
OTHERS_PALE = "#ced4da"
SHADES = (OTHERS, OTHERS_PALE)
#: A label this near to the next one is left out, as a part of the axis.
CROWDED = 0.07
#: No powers of ten.
PLAIN = FuncFormatter(lambda number, _position: plain(number))
#: Of lines. The sides of a session are both ours.
COLOURS = {
    "socketpipe": OURS,
    "socketpipe, encrypt": "#e87d3e",
    "socketpipe, checksum": "#c77dba",
    "bare TCP": "#24292f",
    "ssh": "#0969da",
    "ssh aes128-gcm": "#54aeff",
    "nc": "#1a7f37",
    "copy": "#9a6700",
    "synchronize": "#8250df",
    "fetch": "#1b7c83",
    "fetch, become": "#57606a",
    "on the controller": OURS,
    "on the target": "#24292f",
}


def draw(chart: Chart) -> Figure:
    with mpl.rc_context(SETTINGS):
        if isinstance(chart, Bars):
            return _bars(chart)
        return _stacked(chart) if isinstance(chart, Stacked) else _lines(chart)


def save(chart: Chart, folder: Path) -> None:
    """Without a date, and with names in the file that are the same each time."""
    figure = draw(chart)
    with mpl.rc_context(SETTINGS):
        figure.savefig(folder / f"{chart.name}.svg", metadata={"Date": None, "Creator": None})


# Bars


def _is_ours(peer: str) -> bool:
    return peer.startswith("socketpipe")


def _bars(chart: Bars) -> Figure:
    figure, plot = _barred(len(chart.content), chart.title, chart.axis)
    for row, (peer, value) in enumerate(chart.content):
        colour = OURS if peer == "socketpipe" else OURS_PALE if _is_ours(peer) else OTHERS
        hatch = "////" if value.sign else None
        plot.barh(row, value.number, 0.7, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        _label_bar(plot, row, value.number, f"{value.sign} {rounded(value.number)}".strip())
    if chart.is_log:
        _begin_with_a_decade(plot, min(value.number for _peer, value in chart.content))
    _name_bars(plot, [peer for peer, _value in chart.content])
    return figure


def _stacked(chart: Stacked) -> Figure:
    figure, plot = _barred(len(chart.content), chart.title, chart.axis)
    for row, (peer, (local, remote)) in enumerate(chart.content):
        dark, pale = (OURS, OURS_PALE) if _is_ours(peer) else (OTHERS, OTHERS_PALE)
        plot.barh(row, local, 0.7, color=dark)
        plot.barh(row, remote, 0.7, left=local, color=pale)
        _label_bar(plot, row, local + remote, rounded(local + remote))
    _name_bars(plot, [peer for peer, _parts in chart.content])
    shades = [Patch(color=colour, label=side) for colour, side in zip(SHADES, SIDES.values(), strict=True)]
    plot.legend(handles=shades, frameon=False, loc="upper right")
    return figure


def _barred(count: int, title: str, axis: str) -> tuple[Figure, Plot]:
    """A plot for *count* lying bars."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.32 * count), layout="constrained")
    plot = figure.add_subplot(title=title, xlabel=axis)
    plot.grid(visible=False, axis="y")
    plot.tick_params(axis="y", length=0)
    plot.spines["left"].set_visible(False)
    plot.margins(x=0.12, y=0.02)
    return figure, plot


def _label_bar(plot: Plot, row: int, end: float, text: str) -> None:
    plot.annotate(text, (end, row), (4, 0), textcoords="offset points", va="center")


def _begin_with_a_decade(plot: Plot, least: float) -> None:
    plot.set_xscale("log")
    plot.set_xlim(left=10.0 ** floor(log10(least / 2)))
    plot.xaxis.set_major_formatter(PLAIN)
    plot.xaxis.set_minor_formatter(NullFormatter())


def _name_bars(plot: Plot, names: Sequence[str]) -> None:
    """The first one on top, and what is ours in bold."""
    plot.set_yticks(range(len(names)), names)
    plot.invert_yaxis()
    for label in plot.get_yticklabels():
        if _is_ours(label.get_text()):
            label.set_fontweight("bold")


# Lines


def _lines(chart: Lines) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = chart.axes
    plot = figure.add_subplot(title=chart.title, xlabel=axes.x, ylabel=axes.y)
    xs = chart.xs()
    places = {x: x if axes.is_log_x else float(number) for number, x in enumerate(xs)}
    for label, points in _by_their_ends(chart):
        _line(plot, label, points, places)
    _stopped(plot, chart, places)
    if axes.is_log_y:
        plot.set_yscale("log")
        plot.yaxis.set_major_formatter(PLAIN)
    else:
        plot.set_ylim(bottom=0)
    if axes.is_log_x:
        plot.set_xscale("log")
        xs = [x for x, after in pairwise([*xs, inf]) if log(after / x) > CROWDED * log(xs[-1] / xs[0])]
    plot.set_xticks([places[x] for x in xs], [axes.named(x) for x in xs])
    plot.minorticks_off()
    if len(chart.content) > 1:
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def _by_their_ends(chart: Lines) -> list[tuple[str, tuple[Point, ...]]]:
    """The legend has them from top to bottom, as they end."""
    return sorted(chart.content, key=lambda line: line[1][-1].value.number, reverse=True)


def _line(plot: Plot, label: str, points: Sequence[Point], places: dict[float, float]) -> None:
    """With a bar from the least to the most of each point's runs."""
    middles = [point.value.number for point in points]
    below = [point.value.number - point.least for point in points]
    above = [point.most - point.value.number for point in points]
    strong = COLOURS.get(label) == OURS
    plot.errorbar(
        [places[point.x] for point in points],
        middles,
        [below, above],
        label=label,
        color=COLOURS.get(label, OTHERS),
        # A line that is the same as ours lies on top of it, and both can be seen.
        linewidth=4 if strong else 1.4,
        zorder=2 if strong else 3,
        marker="o",
        markersize=4,
        elinewidth=1,
        capsize=2,
    )


def _stopped(plot: Plot, chart: Lines, places: dict[float, float]) -> None:
    """Triangles that point to where the figure is."""
    bounds = [(label, point) for label, points in chart.content for point in points if point.value.sign]
    for label, point in bounds:
        middle = (places[point.x], point.value.number)
        plot.plot(*middle, "^", color=COLOURS.get(label, OTHERS), markersize=10, zorder=4, clip_on=False)
    if bounds:
        plot.plot([], [], "^", color=OTHERS, markersize=9, label="was stopped")
