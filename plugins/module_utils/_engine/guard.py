# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: a process that ends the commands when their endpoint was killed.

An endpoint that gets SIGKILL runs no code of its own any more, so somebody else has to know
its process groups. The guard holds nothing but one end of a pipe: end-of-file without a
dismissal means that the endpoint is gone.
"""

from __future__ import annotations

import os
import signal
import time
from typing import NoReturn, Set

#: Seconds between SIGTERM and SIGKILL.
TERM_GRACE = 5.0


class Guard:
    """Forks at once: make it before the first thread, and before opening what must not leak."""

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        # os._exit in the child skips all cleanup: the two processes share open files.
        if os.fork() == 0:
            _guard(reader)
        os.close(reader)

    def announce(self) -> None:
        """Tell the guard of this process, which leads a group: for a command's process, before
        it becomes the command, so that no command can run that the guard does not know."""
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._tell(f"{os.getpid()}\n")
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def dismiss(self) -> None:
        """The session ended well: whatever its commands left running is meant to stay."""
        self._tell("dismissed\n")
        os.close(self._writer)

    def end_groups(self) -> None:
        """Have the guard end what is left of the groups, as if the endpoint had died."""
        os.close(self._writer)

    def _tell(self, line: str) -> None:
        try:
            os.write(self._writer, line.encode())
        except BrokenPipeError:
            pass  # the guard was killed; the endpoint goes on without


def _guard(reader: int) -> NoReturn:
    try:
        _detach(reader)
        _end_groups(_read_groups(reader))
    finally:
        os._exit(0)


def _detach(reader: int) -> None:
    """Keep only *reader*: not the login's pipes, no socket, no terminal, no signals of others."""
    os.setsid()
    os.chdir("/")
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    _close_all_but(reader)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _close_all_but(kept: int) -> None:
    """All descriptors from 3 on; where they are not listed, as many as there may be."""
    try:
        last = max(int(name) for name in os.listdir("/proc/self/fd"))
    except OSError:
        last = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, kept)
    os.closerange(max(3, kept + 1), last + 1)


def _read_groups(reader: int) -> Set[int]:
    """The groups to end: those that were added, none after a dismissal."""
    groups: Set[int] = set()
    with os.fdopen(reader) as lines:
        for line in lines:
            if line == "dismissed\n":
                return set()
            groups.add(int(line))
    return groups


def _end_groups(groups: Set[int]) -> None:
    alive = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + TERM_GRACE
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = {group for group in alive if _signal(group, 0)}
    for group in alive:
        _signal(group, signal.SIGKILL)


def _signal(group: int, signum: int) -> bool:
    try:
        os.killpg(group, signum)
    except OSError:
        return False
    return True
