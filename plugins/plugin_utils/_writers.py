# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody still writes to a file, as far as /proc tells.

A command may end before all that it has started, and those have its standard output still. A file that
got its name by then would not be whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

#: Seconds between two looks.
_INTERVAL = 0.05


class Writer(NamedTuple):
    """A process, and what it calls itself."""

    pid: int
    name: str


def wait_for_writers(descriptor: int, *, besides: Collection[int], seconds: float) -> Writer | None:
    """Wait until no process has the file of *descriptor* open for writing but this one and those *besides*.
    Gives one that still has it after so many *seconds*."""
    deadline = time.monotonic() + seconds
    while True:
        writer = find_writer(descriptor, besides=besides)
        if writer is None or time.monotonic() > deadline:
            return writer
        time.sleep(_INTERVAL)


def find_writer(descriptor: int, *, besides: Collection[int]) -> Writer | None:
    """None where there is no such /proc; processes of other users can not be seen."""
    own = f"/proc/self/fd/{descriptor}"
    if not os.path.exists(own):
        return None
    name, status = os.path.basename(os.readlink(own)), os.fstat(descriptor)
    for pid in _processes():
        if pid not in (os.getpid(), *besides) and _writes(pid, name, status):
            return Writer(pid, _read(f"/proc/{pid}/comm").strip())
    return None


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _writes(pid: int, name: str, status: os.stat_result) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(_is_writer(pid, number, name, status) for number in os.listdir(folder))
    except OSError:
        return False  # it has ended, or is another user's


def _is_writer(pid: int, number: str, name: str, status: os.stat_result) -> bool:
    """Whether its descriptor *number* is of the file that is called *name*."""
    path = f"/proc/{pid}/fd/{number}"
    try:
        # Asked first, for it asks no file system: that of another file may not answer.
        return (
            os.path.basename(os.readlink(path)) == name
            and os.path.samestat(os.stat(path), status)
            and _is_for_writing(_read(f"/proc/{pid}/fdinfo/{number}"))
        )
    except OSError:
        return False  # it has been closed


def _is_for_writing(info: str) -> bool:
    flags = [line.split()[1] for line in info.splitlines() if line.startswith("flags:")]
    return any(int(octal, 8) & os.O_ACCMODE != os.O_RDONLY for octal in flags)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read()
    except OSError:
        return ""
