# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The login command as a process of the local side: what it is told, what it prints, how it ends."""

from __future__ import annotations

import os
import signal
import stat
from typing import Callable, List, Optional

from .command import Command, Surroundings, find_executable
from .crew import Crew
from .guard import TERM_GRACE
from .loop import READ, WRITE, Loop
from .specification import CommandSpec

#: Bytes of a line; what is longer is none of ours, and comes in pieces.
LONGEST_LINE = 1 << 24
#: Seconds for a login whose standard input has ended.
HANG_UP_GRACE = 5.0
_BLOCK = 1 << 16


class Login:
    """*argv* is the whole command line. *on_line* gets each line that it prints, as bytes; *on_end* is
    called once, when it has ended and all was read. *order* is written to its standard
    input, which then stays open until `hang_up`; None: it has none."""

    def __init__(
        self,
        loop: Loop,
        argv: List[str],
        *,
        order: Optional[bytes],
        surroundings: Surroundings,
        on_line: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._spec = CommandSpec("login", argv, accept_rc=[0])
        self._surroundings = surroundings
        self._on_line = on_line
        self._on_end = on_end
        self._unsent = order
        self._line = b""
        self._stdin: Optional[int] = None
        self._stdout: Optional[int] = None
        self._process: Optional[Command] = None
        #: Its status, as a shell gives it, once `on_end` was called; and whether a signal of ours came first.
        self.rc: Optional[int] = None
        self.was_told = False

    def find_executable(self) -> None:
        """Raises CommandError."""
        find_executable(self._spec)

    def start(self, crew: Crew) -> None:
        """Begins to watch it, with a thread; the guard of *crew* is to end it too. Raises CommandError."""
        self._stdout, stdout = os.pipe()
        crew.guard_descriptors([stdout])
        stdin, stderr = None, _reopened(self._surroundings.stderr)
        if self._unsent is not None:
            stdin, self._stdin = os.pipe()
            os.set_blocking(self._stdin, False)
            self._loop.watch(self._stdin, WRITE, lambda events: self._write())
        try:
            self._process = Command(
                self._spec,
                self._loop,
                stdin=stdin,
                stdout=stdout,
                on_exit=self._note_end,
                surroundings=self._surroundings._replace(stderr=stderr),
            )
        finally:
            for end in (stdin, stdout, stderr):
                if end is not None:
                    os.close(end)
        self._loop.watch(self._stdout, READ, lambda events: self._read())
        crew.guard_group(self._process.pid)
        self._process.watch()

    @property
    def has_ended(self) -> bool:
        return self._process is None or self.rc is not None

    def hang_up(self) -> None:
        """End its standard input: that of the remote side, too."""
        if self._stdin is not None:
            self._loop.unwatch(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    def end_soon(self, patience: float = 0.0) -> None:
        """Have it end: by itself within *patience* seconds, when its standard input has ended, or by
        signals."""
        self._loop.after(patience, self.hang_up)
        grace = patience + (0.0 if self._stdin is None else HANG_UP_GRACE)
        self._loop.after(grace, lambda: self._signal(signal.SIGTERM))
        self._loop.after(grace + TERM_GRACE, lambda: self._signal(signal.SIGKILL))

    def wait_ended(self) -> None:
        """Run the loop until it has ended."""
        self._loop.run_through(lambda: self.has_ended)

    def _signal(self, signum: int) -> None:
        if self._process is not None and not self.has_ended:
            self.was_told = True
            self._process.signal_group(signum)

    def _write(self) -> None:
        if self._stdin is None or self._unsent is None:
            return
        try:
            self._unsent = self._unsent[os.write(self._stdin, self._unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._unsent = b""  # it has ended, and its status says why
        if not self._unsent:
            self._loop.unwatch(self._stdin)

    def _read(self) -> None:
        if self._stdout is None:
            return
        data = os.read(self._stdout, _BLOCK)
        *lines, self._line = (self._line + data).split(b"\n")
        if not data or len(self._line) > LONGEST_LINE:
            lines.append(self._line)
            self._line = b""
        for line in lines:
            if line:
                self._on_line(line)
        if not data:
            self._close_stdout()

    def _note_end(self) -> None:
        """What it has printed before comes first; what it left behind may keep its output open."""
        if self._stdout is not None:
            os.set_blocking(self._stdout, False)
        try:
            while self._stdout is not None:
                self._read()
        except BlockingIOError:
            self._close_stdout()
        if self._process is not None:
            rc = self._process.rc
            self._process.let_go()
            self.rc = 0 if rc is None else rc
            self._on_end()

    def _close_stdout(self) -> None:
        if self._stdout is not None:
            self._loop.unwatch(self._stdout)
            os.close(self._stdout)
            self._stdout = None


def _reopened(pipe: Optional[int]) -> Optional[int]:
    """A descriptor for a pipe that shares nothing with *pipe* but that: ssh makes what it gets not block,
    for everybody who has it. For whatever is no pipe, or can not be had again, a duplicate."""
    if pipe is None:
        return None
    try:
        if stat.S_ISFIFO(os.fstat(pipe).st_mode):
            return os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY)
    except OSError:
        pass  # another's pipe, or no /proc
    return os.dup(pipe)
