# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of a session: as one line of a terminal, and as events."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, TextIO

from .loop import Loop

#: Seconds between two looks, at the least.
INTERVAL = 0.5
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_TO_BEGIN = "\r"
_TO_END = "\x1b[K"

Counts = Mapping[str, Optional[int]]


def in_units(count: float) -> str:
    """A number of bytes for people, in powers of 1000."""
    if count < 999.5:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1000
        if count < 999.5 or unit == _UNITS[-1]:
            break
    return f"{count:.3g} {unit}" if count < 99.5 else f"{count:.0f} {unit}"


def in_hours(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class Progress:
    """Draws what *count* tells, bytes by direction, again and again while the loop runs; nothing at
    all where *stream* is no terminal. Begins with `begin`."""

    def __init__(self, loop: Loop, stream: TextIO, count: Callable[[], Counts]) -> None:
        self._loop = loop
        self._stream = stream
        self._count = count
        self._began: Optional[float] = None
        self._last: Dict[str, int] = {}
        self._last_time = 0.0

    def begin(self) -> None:
        if self._stream.isatty():
            self._began = self._last_time = time.monotonic()
            self._loop.after(INTERVAL, self._draw)

    def end(self) -> None:
        """Draw the last time, with the rate of it all, and leave the line."""
        if self._began is not None:
            self._last, self._last_time = {}, self._began
            self._write("\n")
            self._began = None

    def _draw(self) -> None:
        if self._began is not None:
            self._write("")
            self._loop.after(INTERVAL, self._draw)

    def _write(self, end: str) -> None:
        now = time.monotonic()
        parts = [self._part(direction, count, now) for direction, count in self._counts().items()]
        self._last, self._last_time = self._counts(), now
        text = "   ".join([*parts, in_hours(now - (self._began or now))])
        try:
            self._stream.write(f"{_TO_BEGIN}{text}{_TO_END}{end}")
            self._stream.flush()
        except OSError:
            self._began = None  # the terminal is gone

    def _counts(self) -> Dict[str, int]:
        return {direction: count for direction, count in self._count().items() if count}

    def _part(self, direction: str, count: int, now: float) -> str:
        seconds = max(now - self._last_time, 0.001)
        rate = (count - self._last.get(direction, 0)) / seconds
        return f"{direction} {in_units(count)}, {in_units(rate)}/s"


class ProgressEvents:
    """Has *say* tell every *interval* seconds what *count* tells, while the loop runs; but not more
    often than a terminal is drawn."""

    def __init__(
        self,
        loop: Loop,
        count: Callable[[], Counts],
        say: Callable[[Dict[str, Any]], None],
        interval: float,
    ) -> None:
        self._loop = loop
        self._count = count
        self._say = say
        self._interval = max(interval, INTERVAL)
        self._directions: Sequence[str] = ()
        self._began = 0.0

    def begin(self, directions: Sequence[str]) -> None:
        """Of these directions; the time counts from now."""
        self._directions = directions
        self._began = time.monotonic()
        self._loop.after(self._interval, self._tell)

    def _tell(self) -> None:
        moved = {name: count for name, count in self._count().items() if name in self._directions}
        seconds = round(time.monotonic() - self._began, 3)
        self._say({"event": "progress", "moved": moved, "seconds": seconds})
        self._loop.after(self._interval, self._tell)
