# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a session has stalled: data is to move, and none does.

What a command's end may take after it has read everything is no stall, so only directions that are
not yet read to their end count.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping

from .loop import Loop

#: Seconds between two looks, at most; ten in each timeout.
LOOK = 5.0

Counts = Mapping[str, Any]


class StallWatch:
    """Calls *on_stall*, once, when *count* has told the same for *timeout* seconds.

    *count* gives every count there is of the directions that are not at their end; what they are is
    of no interest here, only that they change. An empty one is no stall.
    """

    def __init__(
        self, loop: Loop, timeout: float, count: Callable[[], Counts], on_stall: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._timeout = timeout
        self._count = count
        self._on_stall = on_stall
        self._last: Counts = {}
        self._moved = time.monotonic()
        self._look()

    def _look(self) -> None:
        counts, now = self._count(), time.monotonic()
        if counts != self._last or not counts:
            self._last, self._moved = counts, now
        if now - self._moved < self._timeout:
            self._loop.after(min(LOOK, self._timeout / 10), self._look)
        else:
            self._on_stall()
