# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars on a terminal, one for each session that runs, drawn with the library rich.

Rules. The bars are the last lines of the terminal; whatever else is written goes above them, byte for
byte, so all that this process writes to the terminal goes through here. A session that is over leaves
one line above the bars. Nothing of the terminal's state is changed, so that nothing has to be put
right should this process be killed.

The process that has the bars forks a worker for each host and task, while a thread of it draws.
No worker may inherit a half-written drawing, or a lock that the thread held; so `_LOCK` is held over all
that is done with the terminal, and over each fork. It is always the last one taken: whoever writes may
hold Ansible's.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.progress import in_hours
from ansible_collections.dds.socketpipe.plugins.plugin_utils._progress import (
    BEGINNING,
    Look,
    describe,
    sized_direction,
    use_bars,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.live import Live
    from rich.progress import Progress, Task
    from rich.segment import Segment

#: Seconds between two drawings, at the least.
DRAW_INTERVAL = 0.25
#: Looks that a rate is taken over: some seconds, for it to be readable.
_LOOKS = 8
_BAR_WIDTH = 20
_LARGEST_DATAGRAM = 1 << 16

_LOCK = threading.RLock()
os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)

Told = dict[str, Any]


class Bars:
    """Draws what tasks tell of their progress, from now to `close`, on the terminal that is the standard
    output. Raises ImportError without the library rich."""

    def __init__(self, *, has_colour: bool) -> None:
        self._owner = os.getpid()
        self._terminal = _Terminal(sys.stdout, has_colour=has_colour)
        self._streams = [_Stream(stream, self._terminal) for stream in (sys.stdout, sys.stderr)]
        if os.isatty(2) and os.fstat(2).st_rdev == os.fstat(1).st_rdev:
            sys.stderr = self._streams[1]
        sys.stdout = self._streams[0]
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        use_bars(self._sender)

    def close(self) -> None:
        """Leave the terminal as if there had never been a bar. Nothing happens in a forked process."""
        if os.getpid() != self._owner:
            return
        use_bars(None)
        # The thread reads what has come before, and then an end.
        self._receiver.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sender.close()
        self._receiver.close()
        with _LOCK:
            with suppress(OSError):
                self._terminal.close()
            for name, stream in zip(("stdout", "stderr"), self._streams, strict=True):
                stream.is_over = True
                if getattr(sys, name) is stream:
                    setattr(sys, name, stream.stream)

    def _follow(self) -> None:
        """Sleeps while there is nothing to draw, and draws many bars as often as one."""
        readable = select.poll()
        readable.register(self._receiver.fileno(), select.POLLIN)
        due: float | None = None
        while True:
            wait = None if due is None else due - time.monotonic()
            if wait is not None and wait <= 0:
                due = None
                with _drawing():
                    self._terminal.draw()
            elif readable.poll(wait and wait * 1000):
                told = self._receiver.recv(_LARGEST_DATAGRAM)
                if not told:
                    return
                due = due or time.monotonic() + DRAW_INTERVAL
                with _drawing():
                    self._terminal.take(json.loads(told))


@contextmanager
def _drawing() -> Iterator[None]:
    """A terminal that is gone has nobody who misses the bars."""
    with _LOCK, suppress(OSError):
        yield


class _Stream:
    """Takes the place of *stream*, in this process, until it *is_over*."""

    def __init__(self, stream: TextIO, terminal: _Terminal) -> None:
        stream.flush()
        self.stream = stream
        self.is_over = False
        self._terminal = terminal
        self._owner = os.getpid()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with _LOCK:
            if not self._is_out_of_place:
                self._terminal.write(text)
                return len(text)
        return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        """What was written here is on the terminal already."""
        if self._is_out_of_place:
            self.stream.flush()

    @property
    def _is_out_of_place(self) -> bool:
        return self.is_over or os.getpid() != self._owner


class _Terminal:
    """What is written, and the bars below it. One thread at a time."""

    def __init__(self, stream: TextIO, *, has_colour: bool) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        # A file of its own: Ansible's has locks that a worker must not inherit either.
        self._file = os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="replace")
        self._console = Console(
            file=self._file, force_terminal=True, force_interactive=True, no_color=not has_colour
        )
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # a host may be called [red]
            BarColumn(bar_width=_BAR_WIDTH),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
            auto_refresh=False,
        )
        self._sessions: dict[str, _Session] = {}
        self._live: Live | None = None
        self._unended = ""  # what was written after the last newline
        self._last_lines: list[RenderableType] = []  # of sessions that are over

    def write(self, text: str) -> None:
        lines, newline, self._unended = (self._unended + text).rpartition("\n")
        if self._live is None:
            self._file.write(text)
            self._file.flush()
        elif newline:
            self._console.print(_Raw(lines + newline), crop=False)

    def take(self, told: Told) -> None:
        """What a task tells of one session."""
        session = self._sessions.get(told["id"])
        look = Look(told["moved"], told["seconds"])
        if not told["is_over"]:
            (session or self._add(told)).show(look)
        elif session is not None:
            session.show(look, is_over=True)
            self._remove(told["id"])
            self._last_lines.append(self._progress.make_tasks_table([session.task]))
            self.draw()

    def draw(self) -> None:
        """Not into a line that somebody has begun: it may be a question."""
        if self._live is None and self._unended:
            return
        while self._last_lines:
            self._console.print(self._last_lines.pop(0))
        if self._sessions:
            self._live = self._live or self._begin()
            self._live.refresh()
        elif self._live is not None:
            self._live.stop()
            self._live = None
            self._file.write(self._unended)
            self._file.flush()

    def close(self) -> None:
        for id in list(self._sessions):
            self._remove(id)
        self.draw()
        self._file.close()

    def _add(self, told: Told) -> _Session:
        number = self._progress.add_task(_shown(told["host"]), total=told["size"], text="")
        task = next(task for task in self._progress.tasks if task.id == number)
        session = self._sessions[told["id"]] = _Session(self._progress, task, told["size"])
        return session

    def _remove(self, id: str) -> None:
        self._progress.remove_task(self._sessions.pop(id).task.id)

    def _begin(self) -> Live:
        from rich.live import Live  # noqa: PLC0415

        live = Live(
            _Now(self._rows),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start()
        # It was hidden, and would stay so if this process were killed.
        self._console.show_cursor(True)
        return live

    def _rows(self) -> RenderableType:
        from rich.console import Group  # noqa: PLC0415

        # The cursor has a line of its own: so has the shell's prompt if this process is killed.
        return Group(self._progress.make_tasks_table(self._progress.tasks), "")


class _Session:
    """The bar of one session, which is *task* to rich."""

    def __init__(self, progress: Progress, task: Task, size: int | None) -> None:
        self.task = task
        self._progress = progress
        self._size = size
        self._looks = deque([BEGINNING], maxlen=_LOOKS)

    def show(self, look: Look, *, is_over: bool = False) -> None:
        before = BEGINNING if is_over else self._looks[0]
        text = describe(before, look, self._size, is_over=is_over)
        if is_over:
            text = f"{text}, {in_hours(look.seconds)}" if text else in_hours(look.seconds)
        self._looks.append(look)
        count = look.moved.get(sized_direction(look.moved)) or 0
        # Nobody knew how far it would go, so its end is all of it.
        total = count if is_over and self._size is None else self._size
        self._progress.update(self.task.id, completed=count, total=total, text=text)


class _Now:
    """Is what *render* gives each time that it is drawn; rich also draws by itself, below what is printed."""

    def __init__(self, render: Callable[[], RenderableType]) -> None:
        self._render = render

    def __rich__(self) -> RenderableType:
        return self._render()


class _Raw:
    """Text that goes to the terminal byte for byte."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment  # noqa: PLC0415

        yield Segment(self._text)


def _shown(name: str) -> str:
    """On one line, and without what a terminal would take for a command."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)
