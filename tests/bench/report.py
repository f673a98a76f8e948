# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From results.json to the page, its plots, and the row of figures in the README.

`python -m bench.report [FOLDER]` writes all of it, where tests is in PYTHONPATH. Only the plots need more
than Ansible brings along.
"""

from __future__ import annotations

import re
import sys
import textwrap
from functools import partial
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench import tables, units
from bench.charts import charts
from bench.findings import Place, Results, Value, load
from bench.targets import TARGETS
from bench.units import amount, rounded, rounded_against

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "benchmarks"
README = ROOT / "README.md"
#: How the row in the README begins that is written here.
ROW = "| [seconds for 1 GiB](docs/benchmarks.md) |"
WIDTH = 100

_STREAMERS = (
    *["bare TCP", "bare TCP, reno", "socketpipe", "socketpipe, encrypt", "socketpipe, checksum"],
    *[
        "C socketpipe",
        "iperf3",
        "iperf3, reno",
        "nc",
        "socat",
        "mbuffer",
        "ssh",
        "ssh aes128-gcm",
        "ssh -C",
        "ssh aes128-gcm -C",
    ],
)
#: Who belongs in a chapter, where it may be missing.
EXPECTED = {
    "stream": _STREAMERS,
    "round trip": ("bare TCP", "bare TCP, reno", "socketpipe", "socketpipe, encrypt", "ssh", "nc"),
    "block size": ("bare TCP", "bare TCP, reno", "socketpipe"),
    "hosts": ("socketpipe",),
    "file": ("no network", "socketpipe", "copy", "synchronize", "ssh"),
    "file, pull": ("no network", "socketpipe", "fetch", "fetch, become", "synchronize", "ssh"),
    "tree": ("no network", "socketpipe", "copy", "synchronize", "ssh"),
    "size": ("socketpipe", "copy", "fetch", "synchronize", "ssh"),
    "empty": ("socketpipe", "command"),
}
#: The x of a chapter as text.
NAMED = {
    "size": units.decimal_size,
    "hosts": "{:g} hosts".format,
    "block size": units.binary_size,
    "round trip": units.round_trip,
}


def write(folder: Path) -> None:
    """The page beside *folder*, and the plots in it; for the project's own folder the README's row, too."""
    from bench import plots  # noqa: PLC0415  # the page alone is made without matplotlib

    results = load(folder)
    drawn = charts(results)
    for old in folder.glob("*.svg"):
        old.unlink()
    for chart in drawn.values():
        plots.save(chart, folder)
    folder.with_suffix(".md").write_text(page(folder), encoding="utf-8")
    if folder.resolve() == FOLDER:
        README.write_text(with_row(README.read_text(encoding="utf-8"), results), encoding="utf-8")


def page(folder: Path) -> str:
    """What is written beside *folder*."""
    file = folder / "remarks.yml"
    remarks = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
    return page_of(load(folder), remarks or {}, folder.name)


def page_of(results: Results, remarks: dict[str, str], images: str) -> str:
    """*remarks* has a text for the names of some targets, *images* is the folder of the plots."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["wrapped"] = wrapped
    drawn = charts(results)
    made = {
        name: partial(getattr(tables, name), results)
        for name in (
            *["peer_table", "x_table", "figure_table"],
            *["target_table", "machine_table", "command_table"],
        )
    }
    text = environment.get_template("benchmarks.md.j2").render(
        **made,
        summary=partial(summary, results),
        target_remarks=partial(target_remarks, remarks),
        section=partial(section, results),
        plot=lambda name: f"![{drawn[name].title}]({images}/{name}.svg)" if name in drawn else "",
        binary_size=units.binary_size,
        decimal_size=units.decimal_size,
        round_trip=units.round_trip,
        plain=units.plain,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


# Words


def summary(results: Results) -> str:
    """The result, as far as it was measured."""
    sentences = [
        _stream_sentence(results),
        _file_sentence(results, "file", "pushes"),
        _file_sentence(results, "file, pull", "pulls"),
        _empty_sentence(results),
        _reached_sentence(results),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _stream_sentence(results: Results) -> str:
    ours, bare, reno, ssh, encrypted = (
        results.value(Place("stream", peer, "throughput"))
        for peer in ("socketpipe", "bare TCP", "bare TCP, reno", "ssh", "socketpipe, encrypt")
    )
    if ours is None:
        return ""
    words = (
        f"From a command on the controller to one on the target, a task moved {amount('throughput', ours)}"
    )
    if bare is not None:
        words += f", {_times(100 * ours.number, bare)} % of a bare TCP connection"
    if reno is not None:
        words += f", {_times(100 * ours.number, reno)} % of one with Reno"
    if ssh is not None:
        words += f", {_times(ours.number, ssh)} times as much as ssh"
    if encrypted is not None:
        words += f"; with `encrypt` {amount('throughput', encrypted)}"
    return f"{words}."


def _times(number: float, other: Value) -> str:
    return rounded_against(number / other.number, at_most=False)


def _file_sentence(results: Results, chapter: str, verb: str) -> str:
    """Ours first, then what one would take instead, from the fastest on."""
    values = {
        peer: value
        for peer in ("socketpipe", *_INSTEAD)
        if (value := results.value(Place(chapter, peer, "seconds"))) is not None
    }
    ours = values.pop("socketpipe", None)
    if ours is None:
        return ""
    others = [
        f"{_called(peer)} {_took(value)}"
        for peer, value in sorted(values.items(), key=lambda one: one[1].number)
    ]
    return f"A task that {verb} a file of 1 GiB took {amount('seconds', ours)}" + (
        f"; {', '.join(others)}." if others else "."
    )


_INSTEAD = ("ssh", "copy", "fetch", "fetch, become", "synchronize")


def _called(peer: str) -> str:
    if peer in ("copy", "synchronize", "fetch"):
        return f"`{peer}`"
    return {"fetch, become": "`fetch` with become"}.get(peer, peer)


def _took(value: Value) -> str:
    return ("more than " if value.sign else "") + f"{rounded(value.number)} s"


def _empty_sentence(results: Results) -> str:
    ours, other = (results.value(Place("empty", peer, "seconds")) for peer in ("socketpipe", "command"))
    if ours is None or other is None:
        return ""
    return f"A task without data took {amount('seconds', ours)}, and `command` {amount('seconds', other)}."


def _reached_sentence(results: Results) -> str:
    reached = [target.reached(results) for target in TARGETS].count(True)
    return f"Of {len(TARGETS)} [targets](#targets), {reached} were reached."


def target_remarks(remarks: dict[str, str]) -> str:
    """One paragraph for each target that has one."""
    lines = [
        wrapped(f"- **{target.name}**: {' '.join(remarks[target.name].split())}", "  ")
        for target in TARGETS
        if target.name in remarks
    ]
    return "\n".join(lines)


# Chapters


def section(results: Results, chapter: str, title: str, caller: object) -> str:
    """A heading, and what the template has below it if there are figures; then who is missing, and why."""
    assert callable(caller)
    content = caller() if results.peers_of(chapter) else "Not measured in this run.\n"
    return f"## {title}\n\n{content}\n{left_out(results, chapter)}"


def left_out(results: Results, chapter: str) -> str:
    """Who was stopped, at which bound, and who was not measured at all."""
    stopped = {
        (place.peer, place.x): measurement.stopped
        for place, measurement in results.measurements.items()
        if place.chapter == chapter and measurement.stopped is not None
    }
    lines = [
        f"- {peer}{'' if x is None else ', ' + NAMED[chapter](x)}: stopped after {rounded(bound)} s"
        for (peer, x), bound in stopped.items()
    ]
    lines += [
        f"- {peer.name}: not measured, {peer.missing}"
        for peer in results.peers
        if peer.missing and peer.name in EXPECTED[chapter]
    ]
    return "\n".join(wrapped(line, "  ") for line in lines) + "\n" if lines else ""


# The README


def with_row(readme: str, results: Results) -> str:
    """The README with these figures in its row."""

    def seconds(peer: str, chapter: str = "file") -> str:
        return amount("seconds", results.value(Place(chapter, peer, "seconds")), unit=False)

    both = f"{seconds('socketpipe')}; pulled {seconds('socketpipe', 'file, pull')}"
    fetch = f"{seconds('fetch', 'file, pull')}; with become {seconds('fetch, become', 'file, pull')}"
    cells = [both, fetch, seconds("copy"), seconds("synchronize"), seconds("ssh")]
    row = f"{ROW} " + " | ".join(cells) + " |"
    changed, count = re.subn(rf"^{re.escape(ROW)}.*$", lambda _found: row, readme, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{count} rows of the README begin with {ROW}")
    return changed


if __name__ == "__main__":
    write(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
