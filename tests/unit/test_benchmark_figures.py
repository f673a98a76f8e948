# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the benchmark that only compute: what they keep, and what they read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bench.accounts import Sample, Usage, usage_of
from bench.crowds import sent_by
from bench.results import Measurement, OtherMachineError, Results, load
from bench.streams import PEERS, Iperf
from bench.turns import LONG, PATIENCE, Recorder, Taken, Turn
from harness.stamps import parse_stamps

MACHINE = {
    "processor": "p",
    "processors": 2,
    "memory": 1,
    "kernel": "6",
    "collection": "0.1.0",
    "date": "now",
}


def some_results(**machine: object) -> Results:
    return Results({**MACHINE, **machine}, [])


def keep(results: Results, chapter: str, *values: float) -> None:
    for value in values:
        results.add(chapter, "socketpipe", "seconds", value, x=1)


def values_of(results: Results) -> dict[str, list[float]]:
    return {one.chapter: one.runs for one in results.measurements}


def test_the_runs_of_a_figure_are_kept_together(tmp_path: Path) -> None:
    results = some_results()
    keep(results, "size", 1.5, 2.5)
    results.add("size", "socketpipe", "seconds", 3, x=2)
    results.save(tmp_path / "new" / "results.json")
    read = load(tmp_path / "new" / "results.json")
    assert read == results
    assert read.measurements == [
        Measurement("size", "socketpipe", 1, "seconds", [1.5, 2.5]),
        Measurement("size", "socketpipe", 2, "seconds", [3]),
    ]


def test_new_chapters_take_the_place_of_earlier_ones() -> None:
    former, new = some_results(date="then"), some_results()
    keep(former, "size", 1)
    keep(former, "empty", 2)
    new.keep_others(former, ["empty", "tree"])
    keep(new, "empty", 3)
    assert values_of(new) == {"size": [1], "empty": [3]}


@pytest.mark.parametrize("what", ["processor", "processors", "memory", "kernel", "collection"])
def test_figures_of_another_machine_or_version_do_not_stand_beside_new_ones(what: str) -> None:
    former, new = some_results(**{what: "another"}), some_results()
    keep(former, "size", 1)
    with pytest.raises(OtherMachineError, match=f"^{what}: it is .* now, and was 'another'$"):
        new.keep_others(former, ["empty"])
    assert new.measurements == []


class Peers:
    """They take the seconds that a test gives them."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def turn(self, name: str, *, seconds: float = 1, error: str = "") -> Turn:
        return Turn(name, self._measure(name, seconds, error))

    def _measure(self, name: str, seconds: float, error: str) -> Callable[[], Taken]:
        def measure() -> Taken:
            self.taken.append(name)
            if error:
                raise RuntimeError(error)
            return Taken({"seconds": seconds}, seconds)

        return measure


def runs_of(results: Results) -> dict[str, int]:
    return {one.peer: len(one.runs) for one in results.measurements}


def test_peers_take_turns_and_the_first_one_does_not_count() -> None:
    results, peers = some_results(), Peers()
    Recorder(results).take_turns("file", [peers.turn(name) for name in "abc"], runs=4)
    rounds = [peers.taken[start : start + 3] for start in range(0, 15, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert runs_of(results) == {"a": 4, "b": 4, "c": 4}


def test_who_takes_long_has_few_turns_and_all_count() -> None:
    results, peers = some_results(), Peers()
    seconds = {"quick": 1.0, "long": LONG + 1, "slow": PATIENCE + 1}
    turns = [peers.turn(name, seconds=taken) for name, taken in seconds.items()]
    Recorder(results).take_turns("file", turns, runs=4)
    assert runs_of(results) == {"quick": 4, "long": 2, "slow": 1}
    assert {name: peers.taken.count(name) for name in seconds} == {"quick": 5, "long": 2, "slow": 1}


def test_who_fails_has_no_figure_and_is_named() -> None:
    results, peers = some_results(), Peers()
    recorder = Recorder(results)
    recorder.take_turns("file", [peers.turn("good"), peers.turn("bad", error="no route")], runs=2)
    assert runs_of(results) == {"good": 2}
    assert recorder.failures == ["file, bad: no route"]


def test_memory_is_the_peak_of_a_task_above_what_is_there_all_along() -> None:
    samples = [
        *(Sample(0, 10.0, 50), Sample(1, 11.0, 90), Sample(2, 12.0, 60)),
        *(Sample(3, 14.0, 80), Sample(4, 15.0, 70), Sample(5, 19.0, 200)),
    ]
    assert usage_of(samples, since=2.1, began=2.1, ended=3.9) == Usage(3.0, 20)
    assert usage_of(samples, since=0.0, began=2.1, ended=3.9) == Usage(3.0, 30)
    assert usage_of(samples, since=0.0, began=0.0, ended=99.0) == Usage(9.0, 150)


def test_the_kernels_table_of_interfaces_is_read() -> None:
    table = (
        "Inter-|   Receive                            |  Transmit\n"
        " face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs\n"
        "    lo:       1 2 0 0 0 0 0 0        3 4 0 0 0 0 0 0\n"
        "   sp1:12345678 2 0 0 0 0 0 0 87654321 4 0 0 0 0 0 0\n"
        "  sp10:       5 2 0 0 0 0 0 0        7 4 0 0 0 0 0 0\n"
    )
    assert sent_by(table, ["sp10", "sp1"]) == [7, 87654321]


def test_tasks_are_stamped_by_host() -> None:
    stamps = parse_stamps(
        "began 1.5 copy a\nbegan 1.6 copy b\nended 2.5 copy b\nended 3.5 copy a\nbegan 4.5 fetch a\n"
    )
    assert [(stamp.action, stamp.host, stamp.began, stamp.ended) for stamp in stamps] == [
        *(("copy", "a", 1.5, 3.5), ("copy", "b", 1.6, 2.5), ("fetch", "a", 4.5, None)),
    ]
    assert stamps[0].seconds == 2


@pytest.mark.parametrize("name", PEERS)
def test_what_is_shown_of_a_peer_has_no_gaps(name: str) -> None:
    shown = PEERS[name].shown()
    assert "WRITER" in shown or isinstance(PEERS[name], Iperf)
    assert not any(gap in shown for gap in ("{ssh}", "{target}", "{port}", "{writer}", "None"))
