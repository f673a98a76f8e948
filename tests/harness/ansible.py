# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the real ansible and ansible-playbook, and reading what tasks returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from harness.terminal import Terminal
from harness.waiting import HANGS_AFTER

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MODULE = "dds.socketpipe.socketpipe"
#: Of ansible-core, such as (2, 19).
CORE_VERSION = tuple(map(int, version("ansible-core").split(".")[:2]))
#: Every start of Ansible loads paramiko if it is there, and an eighth of its time goes into that.
_WITHOUT_PARAMIKO = Path(__file__).parent / "without_paramiko"


class TaskResult(dict[str, Any]):
    """What a task returned; *kind* is ok, failed, skipped or unreachable. It took *seconds*."""

    def __init__(self, kind: str, host: str, result: dict[str, Any], seconds: float) -> None:
        super().__init__(result)
        self.kind = kind
        self.host = host
        self.seconds = seconds

    @property
    def msg(self) -> str:
        return str(self["msg"])


class Run:
    """A running playbook, or another program that runs one. Its results can be read when it has ended."""

    def __init__(
        self,
        words: list[str],
        folder: Path,
        environment: dict[str, str],
        terminal: Terminal | None = None,
    ) -> None:
        self._results = folder / "results"
        self._results.unlink(missing_ok=True)
        self._log = folder / "log"
        stdout = self._log.open("wb") if terminal is None else terminal.descriptor
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL if terminal is None else terminal.descriptor,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self, timeout: float = HANGS_AFTER) -> list[TaskResult]:
        """The results of all tasks, in the order in which they came."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            raise AssertionError(f"it did not end within {timeout:g} s:\n{self.output}") from None
        return self.results()

    def results(self) -> list[TaskResult]:
        """Those that have come so far."""
        return list(self._read())

    def _read(self) -> Iterator[TaskResult]:
        if self._results.exists():
            whole_lines = self._results.read_text(encoding="utf-8").rpartition("\n")[0]
            for line in whole_lines.splitlines():
                entry = json.loads(line)
                yield TaskResult(entry["kind"], entry["host"], entry["result"], entry["seconds"])

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


class Ansible:
    """Ansible with the collection of this checkout, and files of its own in *folder*.

    *within* makes of a command another one, which runs it in surroundings of its own.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.within: Callable[..., list[str]] = lambda *words: list(words)
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".tree"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder.parent / "cp"),
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "results",
            "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "connection_plugins"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_HOST_KEY_CHECKING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "PYTHONPATH": str(_WITHOUT_PARAMIKO),
            "SOCKETPIPE_RESULTS": str(folder / "results"),
            **settings,
        }

    def allow_paramiko(self) -> None:
        """For its connection plugin."""
        del self.environment["PYTHONPATH"]

    def inventory(self, hosts: dict[str, dict[str, object]]) -> Path:
        path = self.folder / "inventory.yml"
        path.write_text(yaml.safe_dump({"all": {"hosts": hosts}}), encoding="utf-8")
        return path

    def start(
        self,
        hosts: dict[str, dict[str, object]],
        plays: Any,
        *options: str,
        terminal: Terminal | None = None,
    ) -> Run:
        """Start a playbook; *plays* are the play's tasks, or whole plays. What it says goes to *terminal*
        if there is one."""
        if "hosts" not in plays[0]:
            plays = [{"hosts": "all", "gather_facts": False, "tasks": plays}]
        playbook = self.folder / "playbook.yml"
        playbook.write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
        words = [str(BIN / "ansible-playbook"), "-i", str(self.inventory(hosts)), str(playbook), *options]
        return Run(self.within(*words), self.folder, self.environment, terminal)

    def play(self, hosts: dict[str, dict[str, object]], plays: Any, *options: str) -> list[TaskResult]:
        run = self.start(hosts, plays, *options)
        results = run.wait()
        assert results, run.output
        return results

    def adhoc(
        self, hosts: dict[str, dict[str, object]], *words: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The command `ansible`, with *words* after the inventory."""
        return self.command("ansible", "-i", str(self.inventory(hosts)), *words, cwd=cwd)

    def command(self, program: str, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A program of Ansible's, run to its end."""
        return subprocess.run(
            [str(BIN / program), *words],
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANGS_AFTER,
            check=False,
        )
