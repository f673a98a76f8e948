# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of a task, for people: a line now and then, or bars.

The bars are drawn by the process that runs the playbook, for all hosts at once; see `_bars.py`. A
task tells it what has moved over a socket that its worker inherits, one datagram of JSON at a time.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.progress import (
    in_hours,
    in_units,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import printable

#: Seconds between two looks at what a bar shows.
BAR_INTERVAL = 0.5
#: Seconds left, of which more are not worth telling: 1000 hours.
LONGEST_FORECAST = 3_600_000
#: Seconds that the bars may take to have room for the last word of a session.
LAST_WORD_TIMEOUT = 1.0

Event = dict[str, Any]
Counts = Mapping[str, "int | None"]


class Look(NamedTuple):
    """Bytes by direction, None where the system does not tell, and seconds since the commands run."""

    moved: Counts
    seconds: float


BEGINNING = Look({}, 0.0)


def sized_direction(moved: Counts) -> str:
    """The direction that a task's size is about: the input, if it has one."""
    return "input" if "input" in moved else "output"


def describe(before: Look, now: Look, size: int | None, *, is_over: bool = False) -> str:
    """What has moved, and how fast since *before*; with *size*, expected bytes, how much of it that
    is, and how long the rest takes at that rate. Nothing more comes if it *is_over*."""
    return "; ".join(_describe(name, before, now, size, is_over) for name in now.moved)


def _describe(direction: str, before: Look, now: Look, size: int | None, is_over: bool) -> str:
    count = now.moved[direction]
    if count is None:
        return f"{direction} not counted"
    rate = (count - (before.moved.get(direction) or 0)) / max(now.seconds - before.seconds, 0.001)
    parts = [f"{direction} {in_units(count)}", f"{in_units(rate)}/s"]
    if size is not None and direction == sized_direction(now.moved):
        parts.append(f"{100 * count // size} %")
        if 0 < size - count < rate * LONGEST_FORECAST and not is_over:
            parts.append(f"{in_hours((size - count) / rate)} left")
    return ", ".join(parts)


class _Bars:
    """Where this process and its workers tell of progress if there are bars."""

    channel: socket.socket | None = None


def use_bars(channel: socket.socket | None) -> None:
    """Have tasks that start from now on tell *channel* of their progress; None: write lines."""
    _Bars.channel = channel


class Progress:
    """Tells of one session on *host*, of which *size* bytes are expected, every *seconds*, or never if
    they are 0. *say* gets the lines, if there are no bars.

    `interval` is what the order of its endpoint has to have for its progress.
    """

    def __init__(self, host: str, say: Callable[[str], None], *, seconds: float, size: int | None) -> None:
        self._lock = threading.Lock()  # events come from a thread
        self._teller: _Lines | _Bar | None = None
        self.interval: float | None = None
        if seconds > 0 and _Bars.channel is not None:
            self.interval = BAR_INTERVAL
            self._teller = _Bar(_Bars.channel, printable(host), size)
        elif seconds > 0:
            self.interval = seconds
            self._teller = _Lines(say, printable(host), size)

    def take(self, event: Event) -> None:
        """An event of the endpoint, whatever it is about."""
        with self._lock:
            if self._teller is None:
                return
            if event["event"] == "started":
                self._teller.begin()
            elif event["event"] == "progress":
                self._teller.go_on(Look(event["moved"], event["seconds"]))
            elif event["event"] == "ended":
                ends = event["view"]["own"]["directions"]
                self._end({name: end["bytes"] for name, end in ends.items()})

    def close(self) -> None:
        """The session is over, even if no event said so."""
        with self._lock:
            self._end({})

    def _end(self, moved: Counts) -> None:
        if self._teller is not None:
            self._teller.end(moved)
            self._teller = None


class _Lines:
    def __init__(self, say: Callable[[str], None], host: str, size: int | None) -> None:
        self._say = say
        self._host = host
        self._size = size
        self._last = BEGINNING

    def begin(self) -> None:
        pass

    def go_on(self, look: Look) -> None:
        self._say(f"socketpipe: {self._host}: {describe(self._last, look, self._size)}")
        self._last = look

    def end(self, moved: Counts) -> None:
        """What a task has moved in all is in its result."""


class _Bar:
    def __init__(self, channel: socket.socket, host: str, size: int | None) -> None:
        self._channel = channel
        self._bar = {"id": str(uuid.uuid4()), "host": host, "size": size}
        self._last = BEGINNING
        self._began: float | None = None

    def begin(self) -> None:
        self._began = time.monotonic()
        self._tell(self._last, is_over=False)

    def go_on(self, look: Look) -> None:
        self._last = look
        self._tell(look, is_over=False)

    def end(self, moved: Counts) -> None:
        if self._began is not None:
            known = {name: count for name, count in moved.items() if count is not None}
            seconds = max(time.monotonic() - self._began, self._last.seconds)
            self._wait_for_room()
            self._tell(Look({**self._last.moved, **known}, seconds), is_over=True)

    def _wait_for_room(self) -> None:
        writable = select.poll()
        writable.register(self._channel.fileno(), select.POLLOUT)
        writable.poll(LAST_WORD_TIMEOUT * 1000)

    def _tell(self, look: Look, *, is_over: bool) -> None:
        told = {**self._bar, "moved": look.moved, "seconds": look.seconds, "is_over": is_over}
        try:
            self._channel.send(json.dumps(told).encode(), socket.MSG_DONTWAIT)
        except OSError:
            pass  # the bars have more to draw than they can, or have ended: no task waits for them
