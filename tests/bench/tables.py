# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the page, in markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bench.findings import Place, Results
from bench.targets import TARGETS
from bench.units import cell, rounded

TITLES = {
    "throughput": "throughput",
    "first_byte": "first byte after",
    "seconds": "whole task",
    "cpu_local": "CPU seconds per GB, controller",
    "cpu_remote": "CPU seconds per GB, target",
    "memory_local": "memory, controller",
    "memory_remote": "memory, target",
    "failures": "failures, of all runs",
}
VERDICTS = {True: "yes", False: "**no**", None: "not known"}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(text: str) -> str:
    """As code in a cell: in one line, and no bar ends the cell."""
    line = " ".join(text.split()).replace("|", r"\|")
    return f"`` {line} ``" if "`" in line else f"`{line}`"


def _runs(results: Results, places: Iterable[Place]) -> str:
    counts = {len(results.measurements[place].runs) for place in places if place in results.measurements}
    return "-".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else "-"


def peer_table(results: Results, chapter: str, *figures: str) -> str:
    """A row for each peer; where time or throughput comes first, also how it compares with socketpipe."""
    first = figures[0]
    compares = first in ("throughput", "seconds")
    heads = ["", TITLES[first], *(["times socketpipe's"] if compares else [])]
    rows = []
    for peer in results.peers_of(chapter):
        places = [Place(chapter, peer, figure) for figure in figures]
        if results.measurements.keys().isdisjoint(places):
            continue
        cells = [cell(results, place) for place in places]
        if compares:
            cells.insert(1, _times_ours(results, places[0]))
        rows.append([peer, *cells, _runs(results, places)])
    return table([*heads, *(TITLES[figure] for figure in figures[1:]), "runs"], rows) if rows else ""


def _times_ours(results: Results, place: Place) -> str:
    value, ours = results.value(place), results.value(place._replace(peer="socketpipe"))
    ratio = value.over(ours) if value and ours else None
    return f"{ratio.sign} {rounded(ratio.number)}".strip() if ratio else "-"


def x_table(results: Results, chapter: str, figure: str, head: str, named: Callable[[float], str]) -> str:
    """A row for each x, a column for each peer."""
    peers = results.peers_of(chapter, figure=figure)
    rows = []
    for x in results.xs_of(chapter, figure):
        places = [Place(chapter, peer, figure, x) for peer in peers]
        rows.append([named(x), *(cell(results, place) for place in places), _runs(results, places)])
    return table([head, *peers, "runs"], rows) if rows else ""


def figure_table(
    results: Results, chapter: str, peer: str, head: str, named: Callable[[float], str], *figures: str
) -> str:
    """A row for each x, a column for each figure of one peer."""
    rows = []
    for x in results.xs_of(chapter, *figures):
        places = [Place(chapter, peer, figure, x) for figure in figures]
        rows.append([named(x), *(cell(results, place) for place in places), _runs(results, places)])
    return table([head, *(TITLES[figure] for figure in figures), "runs"], rows) if rows else ""


def target_table(results: Results) -> str:
    rows = [
        [
            target.name,
            target.what,
            target.limit(),
            target.figure(results),
            target.made_of(results),
            VERDICTS[target.reached(results)],
        ]
        for target in TARGETS
    ]
    return table(["target", "of", "wanted", "measured", "that is", "reached"], rows)


def machine_table(results: Results) -> str:
    machine = results.machine
    names = {
        "processor": f"{machine['processor']}, {machine['processors']} of them",
        "memory": f"{rounded(machine['memory'] / 1e9)} GB",
        "kernel": machine["kernel"],
        "distribution": machine["distribution"],
        "congestion control": machine["congestion_control"],
        "OpenSSH": machine["openssh"],
        "Python": machine["python"],
        "ansible-core": machine["ansible_core"],
        "dds.socketpipe": machine["collection"],
        "date": machine["date"],
    }
    return table(["", ""], names.items())


def command_table(results: Results) -> str:
    rows = [
        [peer.name, code(peer.command) if peer.command else "-", _version(peer.version, peer.missing)]
        for peer in results.peers
    ]
    return table(["", "command", "version"], rows)


def _version(version: str | None, missing: str | None) -> str:
    if missing:
        return f"not measured: {missing}".replace("|", r"\|")
    return (version or "-").strip().partition("\n")[0].replace("|", r"\|")
