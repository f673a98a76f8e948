# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine runs out of something: disk, memory, threads, descriptors."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from harness.memory import SmallMemory
from harness.moments import BOUND, MIDDLE, Held
from harness.sessions import Session, Sessions
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

Hold = Callable[..., Held]

# Disk


@pytest.mark.parametrize(("writer", "reader"), [("input", "remote"), ("remote", "output")])
def test_a_disk_is_full(sessions: Sessions, small_disk: Path, writer: str, reader: str) -> None:
    """On either machine: who can not write is the culprit, in the words of the system."""
    gate = CommitGate(small_disk)
    commands = {writer: ["head", "-c", "9000000", "/dev/zero"], reader: gate.argv}
    session = sessions.start(dict(commands))
    verdict = session.wait_over(BOUND).verdict
    assert verdict.culprit == reader
    assert "No space left on device" in str(verdict.failure)
    assert not gate.whole.exists()
    wait_until(lambda: not session.processes(), "nothing of the session is left")


# Memory


@pytest.mark.parametrize("side", ["local", "remote"])
def test_an_endpoint_is_killed_for_its_memory(hold: Hold, memory: SmallMemory, side: str) -> None:
    held = hold(MIDDLE)
    held.wait()
    began = time.monotonic()
    memory.add(held.session.endpoints[side].process.pid)
    memory.fill()
    failure = held.expect_broken(began).verdict.failure
    assert memory.kills() >= 1
    where = {"local": "here", "remote": "there"}[side]
    assert str(failure).startswith(f"{side} endpoint on {where} was lost: ")


def test_a_command_is_killed_for_its_memory(hold: Hold, memory: SmallMemory) -> None:
    held = hold(MIDDLE)
    held.wait()
    began = time.monotonic()
    memory.add(held.pid("remote"))
    memory.fill()
    verdict = held.expect_broken(began).verdict
    assert memory.kills() >= 1
    assert verdict.culprit == "remote"
    assert "remote command 'remote' on there was ended by SIGKILL" in str(verdict.failure)


# Threads

#: From the moment of its first thread on an endpoint is a user who may have no more of anything.
NO_THREAD = """
import os, resource, threading
start = threading.Thread.start
def limited(thread):
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    os.setuid(64999)
    start(thread)
threading.Thread.start = limited
"""


@pytest.mark.parametrize("side", ["local", "remote"])
def test_no_thread_is_to_be_had(sessions: Sessions, tmp_path: Path, side: str) -> None:
    """As where a container may have only so many processes."""
    gate = CommitGate(tmp_path)
    commands = {"input": sh("head -c 3000000 /dev/zero"), "remote": ["cat"], "output": gate.argv}
    session = sessions.start(dict(commands), before={side: NO_THREAD}, patience={"endpoint.ABORT_TIMEOUT": 2})
    failure = str(session.wait_over(BOUND).verdict.failure)
    assert failure.startswith(f"{side} endpoint on ")
    assert "could not go on: it could not start a thread; is there a limit" in failure
    assert not gate.whole.exists()
    wait_until(lambda: not session.processes(), "nothing of the session is left")


# Descriptors


def limited(count: int) -> str:
    return f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({count}, {count}))"


@pytest.mark.parametrize("options", [{}, {"encrypt": True, "checksum": "sha256"}], ids=["direct", "pumped"])
@pytest.mark.parametrize("listen", ["local", "remote"])
def test_20_descriptors_are_enough(
    sessions: Sessions, tmp_path: Path, listen: str, options: dict[str, Any]
) -> None:
    gate = CommitGate(tmp_path)
    commands = {"input": sh("head -c 3000000 /dev/zero"), "remote": ["cat"], "output": gate.argv}
    before = dict.fromkeys(("local", "remote"), limited(20))
    verdict = sessions.run(dict(commands), listen=listen, before=before, **options).verdict
    assert verdict == Verdict(None, None, [])
    assert gate.whole.stat().st_size == 3_000_000


class Narrow(NamedTuple):
    """A session, one side of which may have no more than a few descriptors."""

    folder: Path
    side: str
    checksum: str | None

    def run(self, count: int) -> str:
        """Its failure; empty if it was whole."""
        folder = self.folder / str(count)
        folder.mkdir()
        gate = CommitGate(folder)
        commands = {"input": sh("head -c 300000 /dev/zero"), "remote": ["cat"], "output": gate.argv}
        before = {self.side: limited(count)}
        session = Session(folder, dict(commands), checksum=self.checksum, timeout=1.0, before=before)
        try:
            failure = session.wait_over(BOUND).verdict.failure
            wait_until(lambda: not session.processes(), "nothing of the session is left", BOUND)
        finally:
            session.close()
        assert gate.whole.exists() == (failure is None)
        assert failure is not None or gate.whole.stat().st_size == 300_000
        return failure or ""


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("checksum", [None, "sha256"], ids=["direct", "pumped"])
def test_too_few_descriptors_are_told(tmp_path: Path, side: str, checksum: str | None) -> None:
    """Whichever it is that can not be had, from the first to the last."""
    with ThreadPoolExecutor(2) as pool:
        failures = list(pool.map(Narrow(tmp_path, side, checksum).run, range(7, 17)))
    told = [failure for failure in failures if "Too many open files" in failure]
    # The last may not be missed; without the first, connections of the other side can not be taken.
    untold = [failure for failure in failures if failure and "could not connect" not in failure]
    assert len(told) > 3
    assert set(untold) <= set(told)
