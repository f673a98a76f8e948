# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs as AWX runs them: ansible-runner, with a private data folder for each."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import yaml

from harness.ansible import BIN, Ansible, Run
from harness.network import Keys
from harness.waiting import HANGS_AFTER, wait_until


class Job:
    """A job of a project with one *playbook*. *variables* are the job's extra variables, in which the
    answers of a survey are. The key of the login is in an agent, as that of a credential."""

    def __init__(
        self,
        ansible: Ansible,
        keys: Keys,
        folder: Path,
        playbook: str,
        hosts: dict[str, dict[str, object]],
        variables: dict[str, Any],
    ) -> None:
        self._folder = folder
        inventory = {
            name: {key: value for key, value in host.items() if key != "ansible_ssh_private_key_file"}
            for name, host in hosts.items()
        }
        for name, content in {
            "project/backup.yml": playbook,
            "inventory/hosts.yml": yaml.safe_dump({"all": {"hosts": inventory}}),
            "env/extravars": json.dumps(variables),
            "env/ssh_key": keys.login.read_text(encoding="ascii"),
        }.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        words = [str(BIN / "ansible-runner"), "run", str(folder), "-p", "backup.yml", "-i", "job"]
        self._run = Run(words, folder, ansible.environment)

    @property
    def pid(self) -> int:
        return self._run.process.pid

    @property
    def _artifacts(self) -> Path:
        return self._folder / "artifacts" / "job"

    def events(self) -> list[dict[str, Any]]:
        """Those that have come so far."""
        paths = (self._artifacts / "job_events").glob("*-*[!l].json")
        events = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        return sorted(events, key=lambda event: int(event["counter"]))

    def told(self) -> list[str]:
        """The lines of progress among them."""
        return [event["stdout"] for event in self.events() if event["stdout"].startswith("socketpipe: ")]

    def cancel(self) -> None:
        """As whoever runs ansible-runner does it."""
        os.kill(self.pid, signal.SIGTERM)

    def status(self) -> str:
        """What ansible-runner says of it, once it has ended."""
        self.wait_ended()
        return (self._artifacts / "status").read_text(encoding="ascii")

    def wait_ended(self) -> None:
        self._run.process.wait(HANGS_AFTER)

    @property
    def output(self) -> str:
        return self._run.output

    def wait_until_told(self, lines: int) -> list[str]:
        """Until that many lines of progress have come."""

        def told() -> list[str]:
            assert self._run.process.poll() is None, self.output
            return self.told()

        wait_until(lambda: len(told()) >= lines, "it tells how far it is", timeout=HANGS_AFTER)
        return self.told()

    def close(self) -> None:
        if self._run.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self._run.process.wait()
