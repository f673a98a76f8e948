# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One playbook, many victims: sessions side by side, each on a host of its own, so that one run
shows what becomes of each of them when somebody of it is killed, and that the others go on.

    input ==> there ==> here     a command here writes, without end; one on the target keeps what it
                                 reads, and passes it on; another one here keeps that

A session has four moments, each of which lasts until the test goes on:

    LOGIN    the local endpoint runs, and the login, but the target's Python does not start yet
    START    both endpoints run, no command does: nothing lets them find each other
    MIDDLE   the stream flows, in both directions
    END      the input has come to its end, and was read to it; the remote command still runs
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from harness.ansible import MODULE, Ansible, Run, TaskResult
from harness.network import Target, command_line, is_master, processes_here
from harness.processes import parent_of, takes
from harness.streams import CommitGate
from harness.waiting import wait_until

#: Seconds in which a session ends of which somebody was killed.
BOUND = 15.0
LOGIN = "login"
START, MIDDLE, END = MOMENTS = ("start", "middle", "end")

_INPUT = "while ! test -e {0}/last; do head -c 50000 /dev/zero; sleep 0.05; done"
_REMOTE = "tee {0}/there.part && mv {0}/there.part {0}/there && while ! test -e {0}/go; do sleep 0.05; done"
_OUTPUT = "cat > {0}/here.part && mv {0}/here.part {0}/here"
#: Nobody but ssh gets in.
_CLOSED = "table inet closed { chain input { type filter hook input priority 0; tcp dport != 22 drop; }; }"


class Member:
    """A host of the crowd, and its session. *variables* are its own in the inventory, among them *patience*,
    the seconds that its endpoints look for each other."""

    def __init__(
        self, folder: Path, target: Target, *, python: str = sys.executable, **variables: object
    ) -> None:
        self.name = folder.name
        self.target = target
        self.there, self.here = (CommitGate(folder, place) for place in ("there", "here"))
        self._folder = folder
        folder.mkdir()
        folder.chmod(0o777)  # whoever runs the remote command writes here
        # By this option the module's process is told from all others.
        self._option = f"-X member={folder}"
        self._python = folder / "python"
        self._python.write_text(
            f"#!/bin/sh\nwhile ! test -e {folder}/door; do sleep 0.05; done\n"
            f'exec {python} {self._option} "$@"\n',
            encoding="utf-8",
        )
        self._python.chmod(0o755)
        self.inventory = target.inventory(
            **{
                "ansible_python_interpreter": str(self._python),
                "ansible_remote_tmp": f"{folder}/tmp",
                "folder": str(folder),
                "patience": 60,
                **variables,
            }
        )

    # Its processes

    @property
    def module(self) -> int:
        """Its guard looks like it."""
        return _first_of(pid for pid, words in self.target.processes().items() if self._option in words)

    @property
    def sudo(self) -> int:
        """That became the module's user."""
        pid = self.module
        while not command_line(pid).startswith("sudo "):
            pid = parent_of(pid)
        return pid

    @property
    def sshd(self) -> int:
        """Of its login."""
        pid = _first_of(pid for pid, words in self.target.processes().items() if str(self._python) in words)
        while not command_line(pid).startswith("sshd"):
            pid = parent_of(pid)
        return pid

    @property
    def login(self) -> int:
        """The ssh of the worker."""
        here = processes_here()
        return _first_of(pid for pid, words in here.items() if str(self._python) in words)

    @property
    def worker(self) -> int:
        return parent_of(self.login)

    @property
    def local_endpoint(self) -> int:
        """Its guard looks like it, but has another parent."""
        worker = self.worker
        here = processes_here()
        return _first_of(
            pid for pid, words in here.items() if "_engine" in words and _parent_of(pid) == worker
        )

    # Its moments

    def is_at(self, moment: str) -> bool:
        if moment == LOGIN:
            return self._waits_for_python()
        if moment == START:
            return self._is_up()
        return self.there.whole.exists() if moment == END else self.here.has_bytes(300_000)

    def _waits_for_python(self) -> bool:
        words = f"/bin/sh {self._python}"
        return any(shown.startswith(words) for shown in self.target.processes().values())

    def _is_up(self) -> bool:
        """Whether both endpoints are so far that a signal finds them as endpoints."""
        try:
            return takes(self.module, signal.SIGTERM) and takes(self.local_endpoint, signal.SIGTERM)
        except (LookupError, OSError):
            return False

    def start_python(self) -> None:
        (self._folder / "door").touch()

    def end_input(self) -> None:
        (self._folder / "last").touch()

    def go_on(self) -> None:
        """To its own end."""
        self.start_python()
        self.end_input()
        (self._folder / "go").touch()

    # Its end

    def expect_ended(self) -> None:
        """Nothing of it runs, but the worker if that waits for Ansible."""

        def left() -> list[str]:
            everything = {**processes_here(), **self.target.processes()}
            return [words for words in everything.values() if str(self._folder) in words]

        wait_until(lambda: not left(), f"nothing of {self.name} is left", BOUND)

    def expect_broken_at(self, moment: str) -> None:
        """It has ended. A reader has seen an end only if all that its writer wrote was there: nobody
        has before the end, and then only who reads what the input wrote."""
        self.expect_ended()
        assert self.there.whole.exists() == (moment == END)
        assert not self.here.whole.exists()
        if moment in (LOGIN, START):
            assert not self.there.part.exists()
            assert not self.here.part.exists()


class Crowd:
    """The members of one playbook, in *folder*. `run` is the playbook, once it was started."""

    def __init__(self, ansible: Ansible, folder: Path) -> None:
        self._ansible = ansible
        self._folder = folder
        self._before = set(processes_here())
        self._members: list[Member] = []
        self._closed: list[Target] = []
        self._run: Run | None = None

    def join(self, name: str, target: Target, **options: Any) -> Member:
        self._members.append(Member(self._folder / name, target, **options))
        return self._members[-1]

    def start(self, moment: str, **keywords: object) -> None:
        """Have all sessions come to that moment. *keywords* are the task's."""
        if moment != LOGIN:
            for member in self._members:
                member.start_python()
        if moment == START:
            for target in self._targets:
                target.run("nft", "-f", "-", input=_CLOSED)
                self._closed.append(target)
        commands = {"input": _INPUT, "remote": _REMOTE, "output": _OUTPUT}
        options = {role: text.format("{{ folder }}") for role, text in commands.items()}
        self._run = self._ansible.start(
            {member.name: member.inventory for member in self._members},
            [{MODULE: {**options, "shell": True, "timeout": "{{ patience }}"}, **keywords}],
            "--forks",
            str(len(self._members)),
        )
        self._reach(MIDDLE if moment == END else moment)
        if moment == END:
            for member in self._members:
                member.end_input()
            self._reach(END)

    def _reach(self, moment: str) -> None:
        for member in self._members:
            wait_until(partial(member.is_at, moment), f"{member.name} is at its {moment}", 60)

    @property
    def run(self) -> Run:
        assert self._run is not None
        return self._run

    @property
    def _targets(self) -> set[Target]:
        return {member.target for member in self._members}

    def open(self) -> None:
        """The sessions find each other."""
        while self._closed:
            self._closed.pop().run("nft", "delete", "table", "inet", "closed")

    def result(self, member: Member, bound: float = BOUND) -> TaskResult:
        def result() -> TaskResult | None:
            return next((one for one in self.run.results() if one.host == member.name), None)

        return wait_until(result, f"{member.name} has a result", bound)

    def expect_nothing_left(self) -> None:
        """Neither here nor on any target: no process, and none that listens."""

        def left() -> dict[int, str]:
            everything = {pid: words for pid, words in processes_here().items() if pid not in self._before}
            for target in self._targets:
                everything.update(target.processes())
            # The login's master connection outlives a playbook on purpose.
            return {pid: words[:100] for pid, words in everything.items() if not is_master(words)}

        try:
            wait_until(lambda: not left(), "nothing of the playbook is left", BOUND)
        except AssertionError as error:
            raise AssertionError(f"{error}: {left()}") from None

    def close(self) -> None:
        self.open()
        if self._run is not None and self._run.process.poll() is None:
            os.killpg(self._run.process.pid, signal.SIGKILL)
            self._run.process.wait()


def _first_of(pids: Iterable[int]) -> int:
    """The one that is no child of another; LookupError if there is none."""
    found = set(pids)
    for pid in found:
        if _parent_of(pid) not in found:
            return pid
    raise LookupError("no such process")


def _parent_of(pid: int) -> int | None:
    try:
        return parent_of(pid)
    except OSError:
        return None  # it has ended meanwhile
