# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines, and a task on them: how long it took, what came of it, and what it used up."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harness.ansible import ROOT, Ansible, Run, TaskResult
from harness.network import (
    Host,
    Keys,
    Target,
    enter_own_network,
    is_master,
    kill,
    processes_here,
    processes_in,
)
from harness.processes import wait_ended
from harness.stamps import Stamp, Stamps
from harness.users import etc_with_users
from harness.waiting import wait_until

from bench.accounts import SIDES, Account, Meter, Usage, make_account

#: Seconds after which a task is ended.
BOUND = 120.0
#: Seconds that a playbook may take besides.
_AROUND = 15.0
#: The host of tasks that run a command line on the controller.
HERE = {"here": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
#: Seconds in which the receiver of a whole stream ends.
_LAST_WORDS = 20
_FIRST_PORT = 20000
#: This one, and ansible.posix, which has `synchronize`.
_COLLECTIONS = f"{ROOT / '.tree'}:{ROOT / '.cache' / 'posix'}"


class Outcome(NamedTuple):
    """Of a task: it *began* at that time, and took *seconds*; *stopped* are those after which it was ended,
    which leaves no result. *usage* is empty where there are no control groups."""

    began: float
    seconds: float
    stopped: float | None
    result: TaskResult
    usage: Mapping[str, Usage]


class Receiver(NamedTuple):
    """A script of bash that listens on *port* of the target, or of another *host*."""

    script: str
    port: int
    host: Host | None = None


class TaskFailedError(Exception):
    """With what the task, or the playbook, said."""


@contextmanager
def make_rig() -> Iterator[Rig]:
    """This process leaves the machine's own network for it, and is the controller."""
    enter_own_network()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, ExitStack() as stack:
        yield Rig(Path(folder), stack)


class Rig:
    """The controller and one target; *folder* is in memory."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.chmod(0o755)
        self.folder = folder
        self._stack = stack
        self._ports = itertools.count(_FIRST_PORT)
        self.accounts = self._make_accounts()
        self.keys = Keys(self.make_folder("keys"))
        self._hosts: list[Host] = []
        self.target = Target(self.make_folder("target"), self.keys, etc_with_users())
        stack.callback(self.target.close)
        stack.enter_context(self.adopted(self.target))
        self.ansible = Ansible(self.make_folder("ansible"), ANSIBLE_COLLECTIONS_PATH=_COLLECTIONS)
        if self.accounts:
            self.ansible.within = self.accounts["local"].words
        self.stamps = Stamps(self.ansible)

    def _make_accounts(self) -> dict[str, Account]:
        accounts = {}
        for side in SIDES:
            account = make_account()
            if account is None:
                return {}
            self._stack.callback(account.close)
            accounts[side] = account
        return accounts

    def make_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def remove_folder(self, name: str) -> None:
        shutil.rmtree(self.folder / name)

    @contextmanager
    def adopted(self, *hosts: Host) -> Iterator[None]:
        """What the sshd of these starts is accounted as the remote side, and ends with its task."""
        for pid in processes_in(*(host.network for host in hosts)) if self.accounts else ():
            self.accounts["remote"].add(pid)
        self._hosts += hosts
        try:
            yield
        finally:
            self._hosts = [host for host in self._hosts if host not in hosts]

    def inventory(self, host: Host, user: str = "root", **variables: object) -> dict[str, dict[str, object]]:
        """*host*, for a playbook; what Ansible copies there stays in memory."""
        remote_tmp = self.folder / f"remote-{user}"
        if not remote_tmp.exists():
            remote_tmp.mkdir()
            remote_tmp.chmod(0o1777)
        own = {"ansible_user": user, "ansible_remote_tmp": str(remote_tmp / "tmp")}
        if user != "root":
            own["ansible_python_interpreter"] = "/usr/bin/python3"  # others may not enter root's home
        return {host.name: host.inventory(**own, **variables)}

    def free_port(self) -> int:
        """One that nothing has used, so none waits there for the end of an old connection."""
        return next(self._ports)

    def run(
        self,
        task: dict[str, Any],
        hosts: dict[str, dict[str, object]] | None = None,
        bound: float = BOUND,
        receiver: Receiver | None = None,
    ) -> Outcome:
        """Run *task* on the target, or on other *hosts*, after an empty one: Ansible has logged in before.
        The *receiver* listens before, and has its time to end. TaskFailedError if the task fails.
        """
        _log_out()
        meter = Meter(self.accounts)
        with meter.running(), self._receiving(receiver):
            stamp, result = self._play(task, hosts or self.inventory(self.target), bound)
        usage = meter.usage(stamp.began, stamp.ended or time.time())
        if result is None:
            return Outcome(stamp.began, bound, bound, TaskResult("stopped", "", {}, bound), usage)
        return Outcome(stamp.began, stamp.seconds, None, result, usage)

    @contextmanager
    def _receiving(self, receiver: Receiver | None) -> Iterator[None]:
        if receiver is None:
            yield
            return
        host = receiver.host or self.target
        words = host.words("bash", "-c", receiver.script)
        if self.accounts:
            words = self.accounts["remote"].words(*words)
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        listening = ["ss", "-Hltn", f"sport = :{receiver.port}"]
        try:
            wait_until(lambda: host.run(*listening).stdout, f"somebody listens: {receiver.script}")
            yield
            process.wait(_LAST_WORDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _play(
        self, task: dict[str, Any], hosts: dict[str, dict[str, object]], bound: float
    ) -> tuple[Stamp, TaskResult | None]:
        """None for a task that took longer."""
        before = set(self._processes())
        self.stamps.clear()
        run = self.ansible.start(hosts, [{"ansible.builtin.command": "/bin/true"}, task])
        try:
            in_time = _ends_within(run, bound + _AROUND)
        finally:
            self._end(run, before)
        result = _whole(run) if in_time else None
        return self.stamps.read()[-1], result

    def _processes(self) -> list[int]:
        """On the controller, and on the hosts but for their sshd."""
        there = [pid for host in self._hosts for pid in host.processes()]
        return [*processes_here(), *there]

    def _end(self, run: Run, before: set[int]) -> None:
        """If it still runs: with all that it has started on both sides, logins included."""
        if run.process.poll() is not None:
            return
        os.killpg(run.process.pid, signal.SIGKILL)

        def left() -> list[int]:
            pids = [pid for pid in self._processes() if pid not in before]
            for pid in pids:
                kill(pid)
            return pids

        run.process.wait()
        wait_until(lambda: not left(), "nothing of the task is left", 60)
        # Nor what it had copied so far: that would be memory which others miss.
        for folder in (*self.folder.glob("remote-*/tmp"), self.ansible.folder / "tmp"):
            shutil.rmtree(folder, ignore_errors=True)


def _ends_within(run: Run, seconds: float) -> bool:
    try:
        wait_ended(run.process, seconds)
    except AssertionError:
        return False
    return True


def _whole(run: Run) -> TaskResult:
    results = run.results()
    if len(results) < 2 or results[-1].kind != "ok":
        raise TaskFailedError(results[-1].get("msg") if results else run.output)
    return results[-1]


def _log_out() -> None:
    """A login that another run has left open would be counted in some runs, and not in others."""
    for pid, words in processes_here().items():
        if is_master(words):
            kill(pid)
