# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of a session: its units, and one line of a terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TextIO

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import progress as product
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.progress import (
    Progress,
    in_hours,
    in_units,
)
from harness.sockets import run_until

Counts = dict[str, "int | None"]


class Terminal:
    """A pseudo-terminal; the session writes to `stream`."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self._seen = b""

    def lines(self) -> list[str]:
        """What was drawn, one text for each time."""
        try:
            while True:
                self._seen += os.read(self._master, 1 << 16)
        except BlockingIOError:
            pass
        return [text.removesuffix("\x1b[K") for text in self._seen.decode().split("\r") if text]

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "INTERVAL", 0.02)


def rates_of(line: str) -> list[str]:
    return re.findall(r", (\S+ \S*B)/s", line)


# Units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1001, "1 kB"),
        (1234, "1.23 kB"),
        (9_999, "10 kB"),
        (12_345, "12.3 kB"),
        (99_400, "99.4 kB"),
        (99_600, "100 kB"),
        (123_456, "123 kB"),
        (999_400, "999 kB"),
        (999_600, "1 MB"),
        (1_500_000, "1.5 MB"),
        (2_340_000_000, "2.34 GB"),
        (10**12, "1 TB"),
        (10**15, "1 PB"),
        (10**18, "1000 PB"),
        (0.4, "0 B"),
        (1500.5, "1.5 kB"),
    ],
)
def test_bytes_are_told_in_powers_of_1000_with_three_figures(count: float, text: str) -> None:
    assert in_units(count) == text


@pytest.mark.parametrize("count", [10**power + more for power in range(19) for more in (-1, 0, 1)])
def test_no_count_needs_more_than_eight_characters_below_an_exabyte(count: int) -> None:
    assert re.fullmatch(r"\d(\d|\.|\d\.|\.\d|\d\d|\d\.\d|\.\d\d|\d\d\d)? [kMGTP]?B", in_units(count))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (0.99, "0:00:00"),
        (59.9, "0:00:59"),
        (60, "0:01:00"),
        (3599, "0:59:59"),
        (3600, "1:00:00"),
        (90061, "25:01:01"),
    ],
)
def test_time_is_told_in_hours(seconds: float, text: str) -> None:
    assert in_hours(seconds) == text


# The line


@pytest.mark.usefixtures("quick")
def test_a_terminal_shows_again_and_again_what_was_moved(loop: Loop, terminal: Terminal) -> None:
    counts: Counts = {"input": 0}

    def count() -> Counts:
        counts["input"] = (counts["input"] or 0) + 1000
        return counts

    progress = Progress(loop, terminal.stream, count)
    progress.begin()
    run_until(loop, lambda: len(terminal.lines()) >= 3, "three looks")
    lines = terminal.lines()
    assert all(re.fullmatch(r"input \S+ kB, \S+ [kM]?B/s   0:00:0\d", line) for line in lines), lines
    assert len({line.split(",")[0] for line in lines}) == len(lines)


@pytest.mark.usefixtures("quick")
def test_each_line_takes_the_place_of_the_one_before(loop: Loop, terminal: Terminal) -> None:
    progress = Progress(loop, terminal.stream, lambda: {"input": 5})
    progress.begin()
    run_until(loop, lambda: len(terminal.lines()) >= 2, "two looks")
    assert not any("\n" in line for line in terminal.lines())


def test_both_directions_stand_on_one_line(loop: Loop, terminal: Terminal) -> None:
    progress = Progress(loop, terminal.stream, lambda: {"input": 5_000_000, "output": 7})
    progress.begin()
    progress.end()
    assert re.match(r"input 5 MB, .*B/s   output 7 B, .*B/s   0:00:00", terminal.lines()[0])


def test_a_direction_that_nobody_counts_is_left_out(loop: Loop, terminal: Terminal) -> None:
    progress = Progress(loop, terminal.stream, lambda: {"input": None, "output": 7})
    progress.begin()
    progress.end()
    assert terminal.lines()[0].startswith("output 7 B, ")


@pytest.mark.usefixtures("quick")
def test_the_rate_is_that_since_the_last_look(loop: Loop, terminal: Terminal) -> None:
    progress = Progress(loop, terminal.stream, lambda: {"input": 1_000_000})
    progress.begin()
    run_until(loop, lambda: len(terminal.lines()) >= 3, "three looks")
    rates = [rates_of(line)[0] for line in terminal.lines()]
    assert rates[0] != "0 B"
    assert set(rates[1:]) == {"0 B"}


@pytest.mark.usefixtures("quick")
def test_the_last_line_has_the_rate_of_it_all_and_is_left(loop: Loop, terminal: Terminal) -> None:
    progress = Progress(loop, terminal.stream, lambda: {"input": 10**15})
    progress.begin()
    run_until(loop, lambda: len(terminal.lines()) >= 3, "three looks")
    progress.end()
    *others, last, newline = terminal.lines()
    assert rates_of(others[-1]) == ["0 B"]
    assert rates_of(last)[0].endswith(" PB")
    assert newline == "\n"


def test_a_short_session_has_its_last_line_too(loop: Loop, terminal: Terminal) -> None:
    progress = Progress(loop, terminal.stream, lambda: {"output": 3})
    progress.begin()
    progress.end()
    assert len(terminal.lines()) == 2
    assert terminal.lines()[0].startswith("output 3 B, ")


@pytest.mark.usefixtures("quick")
def test_nothing_is_drawn_after_the_end_and_nothing_before_the_beginning(
    loop: Loop, terminal: Terminal
) -> None:
    progress = Progress(loop, terminal.stream, lambda: {"output": 3})
    progress.end()
    assert terminal.lines() == []
    progress.begin()
    progress.end()
    drawn = terminal.lines()
    progress.end()
    looked: list[bool] = []
    loop.after(5 * product.INTERVAL, lambda: looked.append(True))
    run_until(loop, lambda: looked, "the time of several looks")
    assert terminal.lines() == drawn


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["file", "pipe", "text"])
def test_nothing_is_drawn_on_what_is_no_terminal(loop: Loop, tmp_path: Path, kind: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    streams: dict[str, TextIO] = {
        "file": (tmp_path / "file").open("w"),
        "pipe": os.fdopen(writer, "w"),
        "text": StringIO(),
    }
    progress = Progress(loop, streams[kind], lambda: pytest.fail("it was looked at"))
    progress.begin()
    looked: list[bool] = []
    loop.after(5 * product.INTERVAL, lambda: looked.append(True))
    run_until(loop, lambda: looked, "the time of several looks")
    progress.end()
    assert streams["text"].tell() == streams["file"].tell() == 0
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    for stream in streams.values():
        stream.close()
    os.close(reader)
