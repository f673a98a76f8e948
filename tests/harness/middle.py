# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session in the middle of its stream, and what is left of it when somebody is killed there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.ansible import Run
from harness.network import Target, is_master, processes_here
from harness.processes import parent_of
from harness.streams import ENDLESS, CommitGate
from harness.waiting import wait_until

#: Seconds in which a session ends of which somebody was killed.
BOUND = 15.0


class Middle:
    """A filter session, with *options*, in the middle of its stream: a command on the target reads
    and passes on what one here writes, without end, and another one here reads that."""

    def __init__(self, start: Callable[..., Run], target: Target, folder: Path, **options: Any) -> None:
        self.target = target
        self._before = set(processes_here())
        self._gates = there, here = CommitGate(folder, "there"), CommitGate(folder, "here")
        copy = f"tee {there.part} && mv {there.part} {there.whole}"
        self.run = start(input=ENDLESS, remote=copy, output=here.script, shell=True, **options)
        wait_until(lambda: here.has_bytes(300_000), "the stream flows", timeout=60)
        self.local_endpoint = starter_of(processes_here(), here.script)
        self.remote_endpoint = starter_of(target.processes(), copy)
        self.worker = parent_of(self.local_endpoint)
        self.playbook = self.run.process.pid

    def expect_the_target_to_end(self) -> None:
        wait_until(lambda: not self.target.processes(), "the target's side has ended", BOUND)

    def expect_a_clean_end(self) -> None:
        """No process is left on either machine, and no reader saw an end."""
        try:
            wait_until(lambda: not self._left(), "nothing of the session is left", BOUND)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._left()}") from None
        for gate in self._gates:
            assert not gate.whole.exists()

    def _left(self) -> dict[int, str]:
        here = {pid: words for pid, words in processes_here().items() if pid not in self._before}
        # The login's master connection outlives a playbook on purpose.
        return {
            pid: words for pid, words in {**here, **self.target.processes()}.items() if not is_master(words)
        }


def starter_of(processes: dict[int, str], script: str) -> int:
    """The endpoint that started the command which runs *script* in a shell."""
    return next(parent_of(pid) for pid, words in processes.items() if words == f"/bin/sh -c {script}")
