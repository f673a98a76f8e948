# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc tells of processes."""

from __future__ import annotations

import os
import re
import select
import subprocess
from pathlib import Path


def state_of(pid: int) -> str:
    """S for a process that waits, Z for one that has ended, empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    return state_of(pid) not in ("", "Z")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    """Those of its main thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def takes(pid: int, signum: int) -> bool:
    """Whether it has a handler for that signal."""
    found = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (signum - 1) & 1)


def wait_ended(process: subprocess.Popen[bytes], timeout: float) -> None:
    """As `process.wait(timeout)`, which looks 20 times a second, but at once."""
    descriptor = os.pidfd_open(process.pid)
    try:
        ended = select.select([descriptor], [], [], timeout)[0]
    finally:
        os.close(descriptor)
    assert ended, f"the process did not end within {timeout:g} s"
    process.wait()


def processes_with(setting: str) -> dict[int, str]:
    """Those with *setting*, ``NAME=value``, in their environment, with their names."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            # A process that has ended, reaped or not, has no environment.
            if entry.name.isdigit() and setting.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:
            continue  # it has ended meanwhile
    return found
