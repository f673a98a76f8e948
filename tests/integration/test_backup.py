# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks backup, restore, offload and verify."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.ansible import Ansible
from harness.network import Target


class Vault:
    """Where backups are kept, and what the playbooks do there; `variables` are those of every playbook."""

    def __init__(self, ansible: Ansible, target: Target, folder: Path) -> None:
        self._ansible = ansible
        self._target = target
        self.folder = folder
        folder.mkdir()
        self.variables: dict[str, Any] = {"backup_dir": str(folder)}

    def play(self, playbook: str, *options: str, **variables: Any) -> str:
        """All that the playbook printed; it succeeded."""
        done = self._run(playbook, *options, **variables)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fail(self, playbook: str, *options: str, **variables: Any) -> str:
        done = self._run(playbook, *options, **variables)
        assert done.returncode != 0, done.stdout
        return done.stdout

    def _run(self, playbook: str, *options: str, **variables: Any) -> Any:
        inventory = str(self._ansible.inventory({self._target.name: self._target.inventory()}))
        given = json.dumps({**self.variables, **variables})
        return self._ansible.command(
            "ansible-playbook", f"dds.socketpipe.{playbook}", "-i", inventory, "-e", given, *options
        )


@pytest.fixture
def vault(ansible: Ansible, target: Target, tmp_path: Path) -> Vault:
    return Vault(ansible, target, tmp_path / "vault")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "a folder").mkdir(parents=True)
    (folder / "a folder" / "a file").write_bytes(os.urandom(300_000))
    (folder / "text").write_text("text\n" * 1000)
    return folder


def test_x(vault: Vault, tree: Path, tmp_path: Path) -> None:
    print(vault.play("backup", backup_tree=str(tree), backup_compress_on="target"))
    print(os.popen(f"find {vault.folder} -ls; cat {vault.folder}/*/*.json").read())
    print(vault.play("verify"))
    print(vault.play("restore", backup_tree=str(tree), backup_restore_to=str(tmp_path / "back")))
    print(os.popen(f"diff -r {tree} {tmp_path}/back && echo same").read())
