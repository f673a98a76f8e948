# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place for backups, and the playbooks that store them there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.ansible import Ansible

Hosts = dict[str, dict[str, object]]


class Stored:
    """A backup: its file, and what its manifest says."""

    def __init__(self, manifest: Path) -> None:
        self.manifest_path = manifest
        self.manifest: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        self.path = manifest.with_suffix("")

    @property
    def sha256(self) -> str:
        """Of the file as it is now."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def flip(self) -> None:
        """One bit in the middle of the file."""
        content = bytearray(self.path.read_bytes())
        content[len(content) // 2] ^= 1
        self.path.write_bytes(content)


class Played:
    """What a playbook printed."""

    def __init__(self, output: str) -> None:
        self.output = output

    def rows(self, host: str) -> list[str]:
        """Its lines of the table."""
        return [row.strip() for row in re.findall(rf'^ +"{host} +(.*)",?$', self.output, re.MULTILINE)]

    def row(self, host: str) -> str:
        (row,) = self.rows(host)
        return row

    def changed(self, host: str) -> int:
        (count,) = re.findall(rf"^{host} +: .* changed=(\d+) ", self.output, re.MULTILINE)
        return int(count)


class Vault:
    """A folder for the backups of *hosts*. *options* are of `ansible-playbook`, variables of its -e."""

    def __init__(self, ansible: Ansible, folder: Path, hosts: Hosts) -> None:
        self._ansible = ansible
        self.folder = folder
        self.hosts = hosts
        folder.mkdir()

    def play(self, playbook: str, *options: str, **variables: Any) -> Played:
        """A run that succeeds."""
        done = self._run(playbook, options, variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return Played(done.stdout)

    def fail(self, playbook: str, *options: str, **variables: Any) -> Played:
        """A run that fails."""
        done = self._run(playbook, options, variables)
        assert done.returncode != 0, done.stdout
        return Played(done.stdout)

    def _run(self, playbook: str, options: tuple[str, ...], variables: Mapping[str, Any]) -> Any:
        given = json.dumps(variables)
        hosts = {host: {"backup_dir": str(self.folder), **own} for host, own in self.hosts.items()}
        inventory = str(self._ansible.inventory(hosts))
        words = ["-i", inventory, "-e", given, *options]
        return self._ansible.command("ansible-playbook", f"dds.socketpipe.{playbook}", *words)

    def all(self, host: str) -> list[Stored]:
        """The oldest first."""
        return [Stored(path) for path in sorted((self.folder / host).glob("*.json"))]

    def only(self, host: str) -> Stored:
        (stored,) = self.all(host)
        return stored

    def files(self, host: str) -> list[str]:
        """The names of all that is stored of a host, hidden files included, but for times that are taken."""
        folder = self.folder / host
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
        return sorted(name for name in names if not re.fullmatch(r"\..+-\d{8}T\d{6}Z", name))
