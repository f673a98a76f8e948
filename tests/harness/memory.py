# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small memory for a few processes: a control group within that of the tests."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.cgroups import make_group, own_groups
from harness.waiting import wait_until

LIMIT = 16 << 20
#: By the version of control groups: where they are, the limit, and what counts the kernel's kills.
_KINDS = {
    "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
    "": ("/sys/fs/cgroup", "memory.max", "memory.events"),
}


class SmallMemory:
    """The group at *folder*, with `LIMIT` bytes for all its processes. *events* count the kernel's kills."""

    def __init__(self, folder: Path, events: str) -> None:
        self._procs = folder / "cgroup.procs"
        self._events = folder / events

    def add(self, pid: int) -> None:
        """It has a share in the memory, and is the first that the kernel takes when there is no more."""
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        self._procs.write_text(str(pid))

    def fill(self) -> None:
        """Until the kernel has killed all who have a share, and at last who writes a file in memory."""
        write = f"echo $$ > {self._procs}; exec head -c {2 * LIMIT} /dev/zero"
        with tempfile.TemporaryFile(dir="/dev/shm") as file:
            writer = subprocess.run(["sh", "-c", write], check=False, stdout=file)
        assert writer.returncode == -signal.SIGKILL, "there was memory enough"

    def kills(self) -> int:
        words = self._events.read_text().split()
        return int(words[words.index("oom_kill") + 1])

    def is_empty(self) -> bool:
        return not self._procs.read_text()


@contextmanager
def small_memory() -> Iterator[SmallMemory | None]:
    """None where no such group can be made."""
    made = next(_make_group(), None)
    if made is None:
        yield None
        return
    folder, events = made
    memory = SmallMemory(folder, events)
    try:
        yield memory
    finally:
        wait_until(memory.is_empty, "nobody is left in the group")
        folder.rmdir()


def _make_group() -> Iterator[tuple[Path, str]]:
    own = own_groups()
    for kind, (mount, limit, events) in _KINDS.items():
        folder = make_group(mount, own.get(kind), limit)
        if folder is not None:
            (folder / limit).write_text(str(LIMIT))
            yield folder, events
            return
