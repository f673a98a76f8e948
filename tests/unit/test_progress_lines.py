# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task tells of its progress: lines, or what bars are drawn of."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.plugin_utils import _progress as product
from ansible_collections.dds.socketpipe.plugins.plugin_utils._progress import (
    BEGINNING,
    Look,
    Progress,
    describe,
    use_bars,
)

Counts = dict[str, "int | None"]
STARTED = {"event": "started"}


def progress(moved: Counts, seconds: float) -> dict[str, Any]:
    return {"event": "progress", "moved": moved, "seconds": seconds}


def ended(moved: Counts) -> dict[str, Any]:
    directions = {name: {"state": "finished", "bytes": count} for name, count in moved.items()}
    return {"event": "ended", "view": {"own": {"directions": directions}, "peer": None}}


@pytest.fixture
def bars() -> Iterator[socket.socket]:
    """What whoever draws bars reads."""
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with reader, writer:
        reader.setblocking(False)
        use_bars(writer)
        yield reader
        use_bars(None)


def told(bars: socket.socket) -> Iterator[dict[str, Any]]:
    try:
        while True:
            yield json.loads(bars.recv(1 << 16))
    except BlockingIOError:
        pass


# The text


@pytest.mark.parametrize(
    ("moved", "seconds", "size", "text"),
    [
        ({"input": 0}, 30.0, None, "input 0 B, 0 B/s"),
        ({"input": 0}, 30.0, 100, "input 0 B, 0 B/s, 0 %"),
        ({"input": 3_000_000_000}, 30.0, None, "input 3 GB, 100 MB/s"),
        ({"input": 3_000_000_000}, 30.0, 12_000_000_000, "input 3 GB, 100 MB/s, 25 %, 0:01:30 left"),
        ({"input": 999}, 1.0, 1000, "input 999 B, 999 B/s, 99 %, 0:00:00 left"),
        ({"input": 1000}, 1.0, 1000, "input 1 kB, 1 kB/s, 100 %"),
        ({"input": 1500}, 1.0, 1000, "input 1.5 kB, 1.5 kB/s, 150 %"),
        ({"input": 1}, 1.0, 1 << 42, "input 1 B, 1 B/s, 0 %"),
        ({"input": None}, 30.0, 1000, "input not counted"),
        ({"output": 500}, 5.0, 1000, "output 500 B, 100 B/s, 50 %, 0:00:05 left"),
        (
            {"input": 500, "output": 10},
            5.0,
            1000,
            "input 500 B, 100 B/s, 50 %, 0:00:05 left; output 10 B, 2 B/s",
        ),
        ({"input": None, "output": 10}, 5.0, 1000, "input not counted; output 10 B, 2 B/s"),
        ({"input": 5}, 0.0, None, "input 5 B, 5 kB/s"),
    ],
)
def test_the_first_look(moved: Counts, seconds: float, size: int | None, text: str) -> None:
    assert describe(BEGINNING, Look(moved, seconds), size) == text


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (Look({"input": 100}, 10.0), Look({"input": 400}, 20.0), "input 400 B, 30 B/s, 40 %, 0:00:20 left"),
        (Look({"input": 400}, 10.0), Look({"input": 400}, 20.0), "input 400 B, 0 B/s, 40 %"),
        (Look({"input": None}, 1.0), Look({"input": 100}, 2.0), "input 100 B, 100 B/s, 10 %, 0:00:09 left"),
    ],
    ids=["some", "nothing", "only now known"],
)
def test_the_rate_is_that_since_the_look_before(before: Look, now: Look, text: str) -> None:
    assert describe(before, now, 1000) == text


# Lines


def test_each_event_is_a_line_with_the_rate_since_the_last_one() -> None:
    lines: list[str] = []
    task = Progress("tapehost", lines.append, seconds=30, size=4000)
    assert task.interval == 30
    for event in (
        {"event": "ready"},
        {"event": "connected", "path": {}},
        STARTED,
        progress({"input": 1000}, 10.0),
        progress({"input": 3000}, 20.0),
        ended({"input": 4000}),
    ):
        task.take(event)
    task.close()
    assert lines == [
        "socketpipe: tapehost: input 1 kB, 100 B/s, 25 %, 0:00:30 left",
        "socketpipe: tapehost: input 3 kB, 200 B/s, 75 %, 0:00:05 left",
    ]


def test_a_name_of_any_bytes_is_told() -> None:
    lines: list[str] = []
    task = Progress("h\udcff", lines.append, seconds=30, size=None)
    task.take(STARTED)
    task.take(progress({"input": 1}, 1.0))
    assert lines == ["socketpipe: h\\xff: input 1 B, 1 B/s"]


def test_zero_seconds_are_silence(bars: socket.socket) -> None:
    lines: list[str] = []
    task = Progress("tapehost", lines.append, seconds=0, size=None)
    assert task.interval is None
    for event in (STARTED, progress({"input": 1}, 1.0), ended({"input": 1})):
        task.take(event)
    task.close()
    assert (lines, list(told(bars))) == ([], [])


# Bars


def test_bars_are_told_all_that_they_show(bars: socket.socket) -> None:
    task = Progress("tapehost", pytest.fail, seconds=30, size=4000)
    assert task.interval == 0.5
    for event in ({"event": "connected"}, STARTED, progress({"input": 1000}, 0.5), ended({"input": 4000})):
        task.take(event)
    task.close()
    first, second, third = told(bars)
    assert len({entry.pop("id") for entry in (first, second, third)}) == 1
    same = {"host": "tapehost", "size": 4000}
    assert first == {**same, "moved": {}, "seconds": 0.0, "is_over": False}
    assert second == {**same, "moved": {"input": 1000}, "seconds": 0.5, "is_over": False}
    assert third.pop("seconds") >= 0.5
    assert third == {**same, "moved": {"input": 4000}, "is_over": True}


def test_two_sessions_on_one_host_have_two_bars(bars: socket.socket) -> None:
    for _session in range(2):
        Progress("tapehost", print, seconds=30, size=None).take(STARTED)
    assert len({entry["id"] for entry in told(bars)}) == 2


def test_a_session_that_never_started_has_no_bar(bars: socket.socket) -> None:
    task = Progress("tapehost", print, seconds=30, size=None)
    task.take(ended({}))
    task.close()
    assert list(told(bars)) == []


def test_a_bar_of_a_session_that_ended_without_a_word_is_over_too(bars: socket.socket) -> None:
    """Its endpoint was killed."""
    task = Progress("tapehost", print, seconds=30, size=None)
    task.take(STARTED)
    task.take(progress({"input": 7}, 0.5))
    task.close()
    last = list(told(bars))[-1]
    assert (last["is_over"], last["moved"]) == (True, {"input": 7})


def test_a_count_that_is_not_known_in_the_end_is_the_last_one(bars: socket.socket) -> None:
    task = Progress("tapehost", print, seconds=30, size=None)
    for event in (STARTED, progress({"input": 7}, 0.5), ended({"input": None})):
        task.take(event)
    assert list(told(bars))[-1]["moved"] == {"input": 7}


def test_bars_that_read_nothing_stop_no_task(bars: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "LAST_WORD_TIMEOUT", 0.01)
    task = Progress("tapehost", print, seconds=30, size=None)
    task.take(STARTED)
    for number in range(5000):
        task.take(progress({"input": number}, 0.5))
    task.take(ended({"input": 5000}))
    assert 0 < len(list(told(bars))) < 5000


def test_bars_that_are_gone_stop_no_task(bars: socket.socket) -> None:
    task = Progress("tapehost", print, seconds=30, size=None)
    bars.close()
    for event in (STARTED, progress({"input": 1}, 0.5), ended({"input": 1})):
        task.take(event)
