# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A loop over poll(2): descriptors, timers, and a wake-up from threads and signals.

poll is used directly because an endpoint must learn of FIN and RST on a socket *without*
being woken by the data on it, which belongs to a command: POLLRDHUP alone does that, and
the selectors module can not ask for it.
"""

from __future__ import annotations

import collections
import heapq
import itertools
import os
import select
import threading
import time
from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple, TypeVar

from .errors import ResourceError, SessionError

READ = select.POLLIN
WRITE = select.POLLOUT
#: The peer's FIN or RST, and nothing else. Where there is no POLLRDHUP, RST alone.
HANGUP = getattr(select, "POLLRDHUP", 0)
_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL

#: Milliseconds: poll takes a C int, which is 24 days; a timer may be further away.
_LONGEST_WAIT = 24 * 3600 * 1000

Handler = Callable[[int], None]
T = TypeVar("T")


def has_error(events: int) -> bool:
    """Whether *events* show an error, and not only the end of both directions."""
    return bool(events & select.POLLERR)


def was_reset(events: int) -> bool:
    """Whether *events*, as given to a handler, show more than an orderly end."""
    return bool(events & _BROKEN)


def in_thread(action: Callable[[], None]) -> None:
    """Run *action* beside the loop. Raises ResourceError where the system gives no thread."""
    try:
        threading.Thread(target=action, daemon=True).start()
    except RuntimeError:
        raise ResourceError(
            "it could not start a thread; is there a limit of processes (pids, nproc)?"
        ) from None


class Timer:
    def __init__(self, handler: Callable[[], None]) -> None:
        self.handler = handler
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Calls handlers, one at a time, in the thread that calls `run_until`.

    A handler does not raise: it says what went wrong with `fail`, so that whatever else
    has arrived in the same moment is still handled, and `run_until` raises it.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: Dict[int, Handler] = {}
        self._fresh: Set[int] = set()  # watched since the last poll
        self._timers: List[Tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self.watch(self._wake_read, READ, lambda events: self._drain())
        # Taken from one by one: other threads add to it at any moment.
        self._soon: Deque[Callable[[], None]] = collections.deque()
        self._failure: Optional[Exception] = None

    @property
    def wakeup(self) -> int:
        """A descriptor that does not block: a byte written to it wakes the loop."""
        return self._wake_write

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call *handler* with the poll events of *fd*; replaces an earlier watch."""
        self._handlers[fd] = handler
        self._fresh.add(fd)
        self._poll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, handler: Callable[[], None]) -> Timer:
        timer = Timer(handler)
        entry = (time.monotonic() + seconds, next(self._order), timer)
        heapq.heappush(self._timers, entry)
        return timer

    def call_soon(self, handler: Callable[[], None]) -> None:
        """Call *handler* from the loop; for other threads and for signal handlers."""
        self._soon.append(handler)
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # the pipe is full of wake-ups already

    def fail(self, error: Exception) -> None:
        """Have `run_until` raise *error*; only the first one counts until it was raised."""
        self._failure = self._failure or error

    def run_until(self, condition: Callable[[], Optional[T]]) -> T:
        """Run until *condition* is true, asked after each round of handlers; give its value."""
        while True:
            self._raise_failure()
            value = condition()
            if value:
                return value
            self._round()

    def run_through(self, condition: Callable[[], Any]) -> None:
        """As `run_until`, after a failure: a further one changes nothing."""
        while True:
            try:
                self.run_until(condition)
                return
            except SessionError:
                pass

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _round(self) -> None:
        self._fresh.clear()
        for fd, events in self._poll.poll(self._patience()):
            handler = self._handlers.get(fd)
            # A number that was closed in this round may be another's by now, and the event not its own.
            if handler is not None and fd not in self._fresh:
                handler(events)
        self._fire_timers()

    def close(self) -> None:
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _patience(self) -> Any:
        """Milliseconds until the next timer; None without one."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        left = self._timers[0][0] - time.monotonic()
        return min(max(0, int(left * 1000) + 1), _LONGEST_WAIT)

    def _fire_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                timer.handler()

    def _drain(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        # What these ask for comes in the next round, after the condition was asked for.
        for _waiting in range(len(self._soon)):
            self._soon.popleft()()
