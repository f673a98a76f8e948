# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: a process that ends the commands when their endpoint was killed.

An endpoint that gets SIGKILL runs no code of its own any more, so somebody else has to know
its process groups. The guard holds nothing but one end of a pipe: end-of-file without a
last word means that the endpoint is gone.

The endpoint tells of a command when it has started it. It may be killed between the two, so the
guard also knows what is there for the commands alone, the session's sockets for example. Who holds one
of these need not be a command: a descriptor can be lent to another process, as `systemd-run --pipe` lends
it to process 1. Commands and what they start are younger than the guard, and so are the leaders of
their groups.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from typing import Iterator, List, NamedTuple, NoReturn, Optional, Set

#: Seconds between SIGTERM and SIGKILL.
TERM_GRACE = 5.0
#: The place of the time since boot at which a process began, in /proc/PID/stat behind the name.
_BEGAN = 19


class Guard:
    """Forks at once: make it before the first thread, and before opening what must not leak."""

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        # os._exit in the child skips all cleanup: the two processes share open files.
        if os.fork() == 0:
            _guard(reader)
        os.close(reader)

    def add_descriptor(self, descriptor: int) -> None:
        """A socket or a pipe; to be told of before a command is started with it."""
        status = os.fstat(descriptor)
        kind = "socket" if stat.S_ISSOCK(status.st_mode) else "pipe"
        self._tell(f"{kind} {status.st_ino}\n")

    def add_group(self, pid: int) -> None:
        """The group of a command that was started."""
        self._tell(f"group {pid}\n")

    def dismiss(self) -> None:
        """The session ended well: whatever its commands left running is meant to stay."""
        self._tell("dismissed\n")
        os.close(self._writer)

    def end_groups(self) -> None:
        """Have the guard end what is left of the groups."""
        self._tell("end\n")
        os.close(self._writer)

    def _tell(self, line: str) -> None:
        try:
            os.write(self._writer, line.encode())
        except BrokenPipeError:
            pass  # the guard was killed; the endpoint goes on without


class _Told(NamedTuple):
    """Leaders of groups, sockets and pipes as /proc names them, and the endpoint's last word if there
    was one."""

    groups: Set[int]
    held: Set[str]
    last_word: Optional[str]


def _guard(reader: int) -> NoReturn:
    try:
        _detach(reader)
        told = _read(reader)
        if told.last_word is None:
            # A process that is about to become a command holds the pipe too: by now each is one.
            _end_groups(told.groups | set(_groups_with(told.held)))
        elif told.last_word == "end":
            _end_groups(told.groups)
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


def _read(reader: int) -> _Told:
    """All that the endpoint told, once it has ended or said its last word."""
    told = _Told(set(), set(), None)
    with os.fdopen(reader) as lines:
        for line in lines:
            word, _space, number = line.strip().partition(" ")
            if not number:
                return told._replace(last_word=word)
            if word == "group":
                told.groups.add(int(number))
            else:
                told.held.add(f"{word}:[{number}]")
    return told


def _groups_with(wanted: Set[str]) -> Iterator[int]:
    """The groups of all commands that hold one of *wanted*, where /proc tells."""
    if not os.path.isdir("/proc"):
        return
    own = _began("self")
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and _began(name) >= own and not wanted.isdisjoint(_descriptors(name)):
                group = os.getpgid(int(name))
                if not os.path.exists(f"/proc/{group}") or _began(str(group)) >= own:
                    yield group
        except OSError:
            continue  # it has ended, or is another user's


def _began(pid: str) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[_BEGAN])


def _descriptors(pid: str) -> List[str]:
    folder = f"/proc/{pid}/fd"
    return [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]


def _end_groups(groups: Set[int]) -> None:
    alive = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + TERM_GRACE
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = {group for group in alive if _signal(group, 0)}
    for group in alive:
        _signal(group, signal.SIGKILL)


def _signal(group: int, signum: int) -> bool:
    # Group 0 is the guard's own, as which one outside of a container is shown; for 1 the system takes all.
    if group <= 1:
        return False
    try:
        os.killpg(group, signum)
    except OSError:
        return False
    return True
