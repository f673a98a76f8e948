# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/benchmarks.md says what was measured, and nothing else."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
import yaml
from bench import report
from bench.charts import charts
from bench.findings import Measurement, Peer, Place, Results, Value, load, parse
from bench.targets import TARGETS, Target
from bench.units import amount, binary_size, cell, decimal_size, round_trip, rounded, rounded_against

SAME = "run `make bench`, or for what it has measured before `PYTHONPATH=tests python -m bench.report`"
STREAM = Place("stream", "socketpipe", "throughput")
TASK = Place("file", "socketpipe", "seconds")
FETCH = Place("file, pull", "fetch, become", "seconds")


def results_of(*measured: tuple[Place, Measurement], peers: tuple[Peer, ...] = ()) -> Results:
    return Results({}, peers, dict(measured))


# The committed page


def test_the_page_is_what_the_report_makes_of_the_figures() -> None:
    page = report.FOLDER.with_suffix(".md").read_text(encoding="utf-8")
    assert page == report.page(report.FOLDER), SAME


def test_the_row_in_the_readme_is_what_the_report_makes_of_the_figures() -> None:
    readme = report.README.read_text(encoding="utf-8")
    assert readme == report.with_row(readme, load(report.FOLDER)), SAME


def test_the_page_shows_all_plots_that_there_are() -> None:
    page = report.FOLDER.with_suffix(".md").read_text(encoding="utf-8")
    shown = set(re.findall(r"!\[[^]]*\]\(benchmarks/([^)]+)\)", page))
    assert shown == {path.name for path in report.FOLDER.glob("*.svg")}, SAME
    assert shown


def test_every_remark_is_on_a_target() -> None:
    remarks = yaml.safe_load((report.FOLDER / "remarks.yml").read_text(encoding="utf-8"))
    assert set(remarks) - {target.name for target in TARGETS} == set()


# Numbers


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1, "1.00"),
        (0.98765, "0.988"),
        (9.999, "10.0"),
        (12.345, "12.3"),
        (123.45, "123"),
        (999.9, "1000"),
        (123456, "123000"),
        (0.00012345, "0.000123"),
    ],
)
def test_three_digits_count(number: float, text: str) -> None:
    assert rounded(number) == text


@pytest.mark.parametrize(
    ("number", "at_most", "text"),
    [(0.98999, False, "0.989"), (1.0501, True, "1.06"), (4.9999, False, "4.99"), (5, False, "5.00")],
)
def test_a_ratio_is_never_rounded_to_what_is_wanted(number: float, at_most: bool, text: str) -> None:
    assert rounded_against(number, at_most) == text


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [
        ("throughput", Value(2.345e9), "2.34 GB/s"),
        ("throughput", Value(4.5e8), "450 MB/s"),
        ("memory_local", Value(45_678_901), "45.7 MB"),
        ("cpu_remote", Value(0.5), "0.500"),
        ("seconds", Value(300, ">"), "> 300 s"),
        ("failures", Value(0), "0"),
        ("seconds", None, "-"),
    ],
)
def test_figures_have_units(figure: str, value: Value | None, text: str) -> None:
    assert amount(figure, value) == text


@pytest.mark.parametrize(
    ("place", "measurement", "text"),
    [
        (STREAM, Measurement((2e9, 2.1e9, 1.95e9)), "2.00 GB/s (1.95-2.10)"),
        (STREAM, Measurement((1.1e9, 0.9e9, 1.2e9)), "1.10 GB/s (0.900-1.20)"),
        (TASK, Measurement((1.5,)), "1.50 s"),
        (FETCH, Measurement((300, 300, 300), 300), "> 300 s"),
        (FETCH, Measurement((280, 300, 300), 300), "> 300 s (280 to > 300)"),
        (FETCH, Measurement((280, 290, 300), 300), "290 s (280 to > 300)"),
        (FETCH, Measurement((280, 300), 300), "> 290 s (280 to > 300)"),
        (Place("hosts", "socketpipe", "failures", 64), Measurement((0, 0, 1)), "1"),
    ],
)
def test_a_cell_has_the_median_and_all_between_which_it_is(
    place: Place, measurement: Measurement, text: str
) -> None:
    assert cell(results_of((place, measurement)), place) == text


def test_the_names_of_sizes_and_round_trips() -> None:
    assert [decimal_size(size) for size in (1e3, 1e6, 2e10)] == ["1 KB", "1 MB", "20 GB"]
    assert [binary_size(size) for size in (4096, 1 << 18, 1 << 22)] == ["4 KiB", "256 KiB", "4 MiB"]
    assert [round_trip(seconds) for seconds in (0, 0.001, 0.1)] == ["the cable alone", "1 ms", "100 ms"]


# Ratios


@pytest.mark.parametrize(
    ("over", "under", "ratio"),
    [
        (Value(6), Value(2), Value(3)),
        (Value(6, ">"), Value(2), Value(3, ">")),
        (Value(6), Value(2, ">"), Value(3, "<")),
        (Value(6, "<"), Value(2, ">"), Value(3, "<")),
        (Value(6, ">"), Value(2, ">"), None),
        (Value(6), Value(0), None),
    ],
)
def test_a_ratio_of_bounds_is_a_bound_or_unknown(over: Value, under: Value, ratio: Value | None) -> None:
    assert over.over(under) == ratio


AT_LEAST = Target("fetch", "", FETCH, TASK, 20)
AT_MOST = Target("fetch", "", FETCH, TASK, 20, at_most=True)


@pytest.mark.parametrize(
    ("over", "under", "at_least", "at_most", "shown"),
    [
        (Measurement((40,)), Measurement((2,)), True, True, "20.0"),
        (Measurement((39.99,)), Measurement((2,)), False, True, "19.9"),
        (Measurement((50,), 50), Measurement((2,)), True, False, "> 25.0"),
        (Measurement((30,), 30), Measurement((2,)), None, None, "> 15.0"),
        (Measurement((30,)), Measurement((2,), 2), False, True, "< 15.0"),
        (Measurement((50,)), Measurement((2,), 2), None, None, "< 25.0"),
    ],
)
def test_a_target_is_reached_or_not_or_a_bound_does_not_tell(
    over: Measurement, under: Measurement, at_least: bool | None, at_most: bool | None, shown: str
) -> None:
    results = results_of((FETCH, over), (TASK, under))
    assert AT_LEAST.reached(results) is at_least
    assert AT_MOST.reached(results) is at_most
    assert AT_LEAST.figure(results) == shown


@pytest.mark.parametrize("place", [FETCH, TASK])
def test_a_target_of_which_one_part_is_missing_is_not_known(place: Place) -> None:
    results = results_of((place, Measurement((1,))))
    assert AT_LEAST.reached(results) is None
    assert AT_LEAST.figure(results) == "-"


@pytest.mark.parametrize(("runs", "reached"), [((0, 0), True), ((0, 1), False)])
def test_one_failure_of_all_runs_is_too_many(runs: tuple[int, ...], reached: bool) -> None:
    (target,) = (target for target in TARGETS if target.under is None)
    assert target.reached(results_of((target.over, Measurement(runs)))) is reached


# The whole page, of figures that nobody has measured

RATES = {
    "bare TCP": 2.31e9, "bare TCP, reno": 2.32e9, "iperf3": 2.4e9, "iperf3, reno": 2.41e9,
    "socketpipe": 2.3e9, "socketpipe, encrypt": 9.3e8, "socketpipe, checksum": 8.7e8,
    "nc": 1.2e9, "socat": 9e8, "mbuffer": 1.1e9, "ssh": 3.1e8, "ssh aes128-gcm": 4.9e8,
    "ssh -C": 1.6e8, "ssh aes128-gcm -C": 1.7e8,
}  # fmt: skip
SECONDS = {
    "file": {"socketpipe": 1.21, "copy": 31.5, "synchronize": 9.9, "ssh": 5.4},
    "file, pull": {"socketpipe": 1.19, "fetch": 24.2, "fetch, become": 300, "synchronize": 9.8, "ssh": 5.3},
    "tree": {"socketpipe": 3.1, "copy": 600, "synchronize": 14.2, "ssh": 4.9},
    "empty": {"socketpipe": 0.81, "command": 0.74},
}
STOPPED = {("file, pull", "fetch, become"), ("tree", "copy")}
PER_BYTE = {"socketpipe": 4e-10, "ssh": 3e-9, "synchronize": 8e-9, "fetch": 2.3e-8, "copy": 3e-8}
FAR = {"bare TCP": 2.3e9, "socketpipe": 2.29e9, "socketpipe, encrypt": 9e8, "ssh": 3e8, "nc": 1.2e9}
MACHINE = {
    "processor": "Some Processor", "processors": 2, "memory": 8_000_000_000, "kernel": "6.18",
    "distribution": "Debian", "python": "3.11.7", "ansible_core": "2.19.0", "openssh": "9.2",
    "congestion_control": "bbr", "collection": "0.1.0", "date": "2026-01-01",
}  # fmt: skip


class Synthetic:
    """Makes a results.json of all chapters, as it might come out."""

    def __init__(self) -> None:
        self.measurements: list[dict[str, Any]] = []
        self._streams()
        self._tasks()
        self._sizes()
        self._hosts()
        self._streams_over_x()

    def content(self) -> dict[str, Any]:
        tasks = ["copy", "fetch", "fetch, become", "synchronize", "command"]
        peers = [
            {"name": name, "command": f"{name} a | {name} b", "version": "1.0\nmore", "missing": None}
            for name in [*RATES, *tasks]
        ]
        missing = {"name": "C socketpipe", "command": None, "version": None, "missing": "it is not here"}
        return {"machine": MACHINE, "peers": [*peers, missing], "measurements": self.measurements}

    def _add(
        self,
        chapter: str,
        peer: str,
        figure: str,
        middle: float,
        *,
        x: float | None = None,
        stopped: bool = False,
    ) -> None:
        spread = (1, 1, 1) if stopped or figure == "failures" else (0.97, 1, 1.02)
        place = {"chapter": chapter, "peer": peer, "x": x, "figure": figure}
        runs = [middle * part for part in spread]
        self.measurements.append({**place, "runs": runs, "stopped": middle if stopped else None})

    def _costs(self, chapter: str, peer: str, cost: float) -> None:
        for number, side in enumerate(("local", "remote")):
            self._add(chapter, peer, f"cpu_{side}", cost * (1 + number / 5))
            self._add(chapter, peer, f"memory_{side}", 4e7 / (1 + number))

    def _streams(self) -> None:
        for peer, rate in RATES.items():
            self._add("stream", peer, "throughput", rate)
            self._add("stream", peer, "first_byte", 0.4)
            self._costs("stream", peer, 8e8 / rate)

    def _tasks(self) -> None:
        for chapter, peers in SECONDS.items():
            for peer, seconds in peers.items():
                self._add(chapter, peer, "seconds", seconds, stopped=(chapter, peer) in STOPPED)
                if chapter.startswith("file"):
                    self._costs(chapter, peer, seconds / 3)

    def _sizes(self) -> None:
        for x in (1e3, 1e6, 1e8, 1e9, 1e10, 2e10):
            for peer, cost in PER_BYTE.items():
                seconds = 0.8 + x * cost
                if seconds < 300:
                    self._add("size", peer, "seconds", min(seconds, 100), x=x, stopped=seconds > 100)
            self._add("size", "socketpipe", "memory_local", 4.1e7, x=x)
            self._add("size", "socketpipe", "memory_remote", 2.2e7, x=x)

    def _hosts(self) -> None:
        for x in (1, 2, 4, 8, 16, 32, 64):
            self._add("hosts", "socketpipe", "throughput", 2.3e9 - 3e6 * x, x=x)
            self._add("hosts", "socketpipe", "seconds", 1 + x / 8, x=x)
            self._add("hosts", "socketpipe", "failures", 0, x=x)
            self._add("hosts", "socketpipe", "memory_local", 4e7 * x, x=x)

    def _streams_over_x(self) -> None:
        for power in range(12, 23, 2):
            for peer, most in (("bare TCP", 2.5e9), ("socketpipe", 2.45e9)):
                self._add("block size", peer, "throughput", most * (1 - 2.0 ** (10 - power)), x=1 << power)
        for x in (0, 0.001, 0.01, 0.05, 0.1):
            for peer, rate in FAR.items():
                self._add("round trip", peer, "throughput", rate / (1 + 300 * x), x=x)
            for peer in ("socketpipe", "ssh"):
                self._add("round trip", peer, "first_byte", 0.4 + 12 * x, x=x)


@pytest.fixture
def content() -> dict[str, Any]:
    return Synthetic().content()


@pytest.fixture
def page(content: dict[str, Any]) -> str:
    return report.page_of(parse(content), {"encrypt / ssh": "A cipher\nin Python."}, "benchmarks")


def section(page: str, title: str) -> str:
    found = page.partition(f"\n## {title}\n")[2]
    assert found, title
    return found.partition("\n## ")[0]


def row(text: str, *cells: str) -> list[str]:
    """The rest of the only row of the tables in *text* that begins with *cells*."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    (found,) = (row for row in rows if row[: len(cells)] == list(cells))
    return found[len(cells) :]


def test_the_page_begins_with_the_result(page: str) -> None:
    words = " ".join(page.partition("\n\n")[2].partition("\n\n")[0].split())
    assert "moved 2.30 GB/s, 99.5 % of a bare TCP connection, 99.1 % of one with Reno, 7.41 times" in words
    assert "with `encrypt` 930 MB/s." in words
    assert "1 GiB took 1.21 s; ssh 5.40 s, `synchronize` 9.90 s, `copy` 31.5 s." in words
    assert "`fetch` with become more than 300 s" in words
    assert f"Of {len(TARGETS)} [targets](#targets), {len(TARGETS)} were reached." in words


def test_the_targets_are_beside_what_they_are_made_of_and_their_remarks(page: str) -> None:
    targets = section(page, "Targets")
    assert row(targets, "fetch, become / socketpipe")[1:] == [
        "at least 20", "> 252", "> 300 s / 1.19 s", "yes",
    ]  # fmt: skip
    assert row(targets, "failures, 64 hosts")[1:3] == ["0", "0"]
    assert "- **encrypt / ssh**: A cipher in Python." in targets


def test_every_target_has_a_row_and_no_two_have_the_same_name(page: str) -> None:
    for target in TARGETS:
        row(section(page, "Targets"), target.name)


def test_a_chapter_compares_with_socketpipe_and_says_how_many_runs_there_were(page: str) -> None:
    assert row(section(page, "A file, pushed"), "synchronize", "9.90 s (9.60-10.1)") == ["8.18", "3"]
    assert row(section(page, "A stream"), "ssh", "310 MB/s (301-316)", "0.135")[-1] == "3"


def test_who_was_stopped_or_is_missing_is_named(page: str) -> None:
    assert "- copy: stopped after 600 s\n" in section(page, "A tree of 20,000 files")
    assert "- fetch, 10 GB: stopped after 100 s\n" in section(page, "Size")
    assert "- C socketpipe: not measured, it is not here\n" in section(page, "A stream")
    assert "C socketpipe" not in section(page, "A file, pushed")


def test_a_size_that_a_tool_was_not_tried_with_has_no_figure(page: str) -> None:
    sizes = section(page, "Size")
    assert row(sizes, "size", "socketpipe") == ["ssh", "copy", "fetch", "synchronize", "runs"]
    assert row(sizes, "10 GB", "4.80 s (4.66-4.90)")[1:3] == ["-", "> 100 s"]


def test_commands_are_in_one_row_each(page: str) -> None:
    assert row(section(page, "The commands"), "nc") == [r"`nc a \| nc b`", "1.0"]
    assert row(section(page, "The commands"), "C socketpipe") == ["-", "not measured: it is not here"]


def test_a_chapter_without_figures_says_so_and_has_no_plot(content: dict[str, Any]) -> None:
    content["measurements"] = [one for one in content["measurements"] if one["chapter"] != "hosts"]
    page = report.page_of(parse(content), {}, "benchmarks")
    assert section(page, "Many hosts").strip() == "Not measured in this run."
    assert row(section(page, "Targets"), "64 hosts / one host")[2:] == ["-", "- / -", "not known"]


def test_of_a_run_in_which_nothing_was_measured_there_is_a_page(content: dict[str, Any]) -> None:
    results = parse({**content, "measurements": []})
    assert charts(results) == {}
    assert f"Of {len(TARGETS)} [targets](#targets), 0 were reached." in report.page_of(results, {}, "x")


def test_every_plot_has_a_place_on_the_page(content: dict[str, Any], page: str) -> None:
    assert set(re.findall(r"\(benchmarks/(.*)\.svg\)", page)) == set(charts(parse(content)))


def test_lines_of_text_are_short_and_nothing_is_fenced(page: str) -> None:
    assert [line for line in page.splitlines() if len(line) > 100 and not line.startswith("|")] == []
    assert "```" not in page


def test_the_links_of_the_page_lead_to_its_headings(page: str) -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", page, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) - headings == set()


def test_the_row_of_the_readme(content: dict[str, Any]) -> None:
    readme = report.with_row(f"a\n{report.ROW} old |\nb\n", parse(content))
    assert (
        readme == f"a\n{report.ROW} 1.21; pulled 1.19 | 24.2; with become > 300 | 31.5 | 9.90 | 5.40 |\nb\n"
    )


def test_a_readme_without_the_row_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="0 rows of the README"):
        report.with_row("nothing", parse(content))


def test_the_page_is_made_without_matplotlib(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no requirement of the tests."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert report.page_of(parse(content), {}, "benchmarks")
