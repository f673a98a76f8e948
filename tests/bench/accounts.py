# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each side uses up: processor time and anonymous memory of all its processes.

A side is a control group, of version 1 or 2. Two things to know of the figures: what the kernel does for
an incoming packet is paid by whoever ran when it came, on one machine often the sender; and the pages
that processes share since a fork count once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.cgroups import make_group, own_groups
from harness.network import kill
from harness.waiting import wait_until

#: Seconds between two looks at the counters.
INTERVAL = 0.005
SIDES = ("local", "remote")


class Counters(NamedTuple):
    """Of a group: where they are, and by which name and unit they go there."""

    cpu: Path
    cpu_name: str
    cpu_unit: float
    memory: Path
    memory_name: str


class Account:
    """A control group; *folders* are where it is, one for each hierarchy that it needs."""

    def __init__(self, folders: list[Path], counters: Counters) -> None:
        self._folders = folders
        self._counters = counters

    def words(self, *words: str) -> list[str]:
        """A command that runs *words* in the group."""
        join = "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in self._folders)
        return ["sh", "-c", f'{join}exec "$@"', "sh", *words]

    def add(self, pid: int) -> None:
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        counters = self._counters
        return _value(counters.cpu.read_text(), counters.cpu_name) * counters.cpu_unit

    def memory(self) -> int:
        """Bytes of anonymous memory now."""
        return _value(self._counters.memory.read_text(), self._counters.memory_name)

    def close(self) -> None:
        for folder in self._folders:
            wait_until(lambda folder=folder: not _end_all_of(folder), "nobody is left in the group")
            folder.rmdir()


def _value(text: str, name: str) -> int:
    """Of the line that begins with *name*; without one, of the only line."""
    words = text.split()
    return int(words[words.index(name) + 1] if name else words[0])


def _end_all_of(folder: Path) -> list[str]:
    pids = (folder / "cgroup.procs").read_text().split()
    for pid in pids:
        kill(int(pid))
    return pids


def make_account() -> Account | None:
    """None where control groups cannot be made."""
    own = own_groups()
    return _make_v1(own) or _make_v2(own)


def _make_v1(own: dict[str, str]) -> Account | None:
    cpu = make_group("/sys/fs/cgroup/cpuacct", own.get("cpuacct"), "cpuacct.usage")
    memory = make_group("/sys/fs/cgroup/memory", own.get("memory"), "memory.stat")
    if cpu is None or memory is None:
        for folder in filter(None, (cpu, memory)):
            folder.rmdir()
        return None
    return Account(
        [cpu, memory], Counters(cpu / "cpuacct.usage", "", 1e-9, memory / "memory.stat", "total_rss")
    )


def _make_v2(own: dict[str, str]) -> Account | None:
    folder = make_group("/sys/fs/cgroup", own.get(""), "memory.stat")
    if folder is None:
        return None
    return Account(
        [folder], Counters(folder / "cpu.stat", "usage_usec", 1e-6, folder / "memory.stat", "anon")
    )


class Usage(NamedTuple):
    """Of one side, in some time: seconds of processor time, and the most bytes of anonymous memory."""

    cpu: float
    memory: int


class Sample(NamedTuple):
    time: float
    cpu: float
    memory: int


class Meter:
    """Looks at the accounts all the time, from a thread."""

    def __init__(self, accounts: dict[str, Account]) -> None:
        self._accounts = accounts
        self._samples: dict[str, list[Sample]] = {side: [] for side in accounts}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again)

    def _look_again_and_again(self) -> None:
        self._look()
        while not self._ended.wait(INTERVAL):
            self._look()
        self._look()

    def _look(self) -> None:
        for side, account in self._accounts.items():
            self._samples[side].append(Sample(time.time(), account.cpu(), account.memory()))

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def usage(self, began: float, ended: float) -> dict[str, Usage]:
        """By side, of a task that began and ended then. Its memory is what is in use besides ansible-playbook
        itself, sshd, and the logins that wait for the next task."""
        since = {"local": began, "remote": 0.0}
        return {side: usage_of(samples, since[side], began, ended) for side, samples in self._samples.items()}


def usage_of(samples: Sequence[Sample], since: float, began: float, ended: float) -> Usage:
    """From the last sample before *began* to the first one after *ended*, where there are such. Memory is
    above the least that was in use after the time *since*: that is there all along."""
    base, first, last = (
        _last_before(samples, since),
        _last_before(samples, began),
        _first_after(samples, ended),
    )
    peak = max(sample.memory for sample in samples[first : last + 1])
    least = min(sample.memory for sample in samples[base : last + 1])
    return Usage(samples[last].cpu - samples[first].cpu, peak - least)


def _last_before(samples: Sequence[Sample], time: float) -> int:
    return max((number for number, sample in enumerate(samples) if sample.time <= time), default=0)


def _first_after(samples: Sequence[Sample], time: float) -> int:
    later = (number for number, sample in enumerate(samples) if sample.time >= time)
    return min(later, default=len(samples) - 1)
