# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/awx.md shows is run as it stands, but for what is listed here with the reason."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.ansible import BIN, ROOT, Ansible
from harness.awx import COLLECTIONS, Awx
from harness.pages import blocks_of

BLOCKS = list(blocks_of(ROOT / "docs" / "awx.md"))
#: The files that it shows, by the name in their first line.
FILES = {block.text.splitlines()[0].strip(" #"): block.text for block in BLOCKS if block.language == "yaml"}
SCRIPTS = [block.text for block in BLOCKS if block.language == "shell"]
BUILD, SETUP = SCRIPTS
POD = "the pod specification of the container group"
POLICY = "a network policy for the namespace of the jobs"

#: Who runs a file that is not run here, or why it is not run.
ELSEWHERE = {
    "backup.yml": "test_awx_jobs.py runs it",
    POD: "there is no Kubernetes; what it has to do with the other files is tested",
    POLICY: "there is no Kubernetes; what it has to do with the other files is tested",
}
#: Of the image's script; it needs an engine for containers. What it would build from is made.
NOT_RUN = "ansible-builder build --tag registry.example.com/socketpipe-ee"
URL = "https://awx.example.com"


def loaded(name: str) -> Any:
    return yaml.safe_load(FILES[name])


def test_every_block_is_run_or_listed() -> None:
    assert set(FILES) == {"awx.yml", "collections/requirements.yml", *ELSEWHERE}
    assert {block.language for block in BLOCKS} == {"yaml", "shell"}
    assert NOT_RUN in BUILD


def test_the_setup_is_made(ansible: Ansible, awx: Awx) -> None:
    """In the home of somebody who has a key for the targets, and a token for AWX."""
    home = ansible.folder
    (home / ".ssh").mkdir()
    (home / ".ssh" / "backup").write_text("the private key\n")
    (home / ".awx-token").write_text(awx.environment["CONTROLLER_OAUTH_TOKEN"])
    (home / "awx.yml").write_text(FILES["awx.yml"])
    ansible.environment["ANSIBLE_COLLECTIONS_PATH"] += f":{COLLECTIONS}"
    script = SETUP.replace(URL, awx.environment["CONTROLLER_HOST"])
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=home,
        env=ansible.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    told = loaded("awx.yml")
    assert {host["name"] for host in awx.all("hosts")} == set(told["awx_setup_hosts"])
    assert awx.secrets(awx.only("credentials")) == {"ssh_key_data": "the private key\n"}
    assert json.loads(awx.only("job_templates")["extra_vars"]) == told["awx_setup_extra_vars"]
    schedule = awx.only("schedules")
    assert (schedule["rrule"], schedule["extra_data"]) == (told["awx_setup_rrule"], told["awx_setup_answers"])


def test_the_requirements_are_those_collections(ansible: Ansible) -> None:
    """ansible-galaxy has nothing to do, for they are there."""
    (ansible.folder / "requirements.yml").write_text(FILES["collections/requirements.yml"])
    ansible.environment["ANSIBLE_COLLECTIONS_PATH"] += f":{COLLECTIONS}"
    done = ansible.command("ansible-galaxy", "collection", "install", "--offline", "-r", "requirements.yml")
    assert "All requested collections are already installed" in done.stdout, done.stdout + done.stderr


# The image


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The collection, as it is installed in the home *tmp_path*."""
    tree = tmp_path / ".ansible" / "collections"
    folder = tree / "ansible_collections" / "dds" / "socketpipe"
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "awx", folder / "awx")
    for name in ("bindep.txt", "galaxy.yml"):
        shutil.copy(ROOT / name, folder)
    return tree


def builder(folder: Path, *words: str) -> str:
    program = str(BIN / "ansible-builder")
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_the_image_is_built_from_is_made(installed: Path, tmp_path: Path) -> None:
    copy = BUILD.replace("~", str(tmp_path)).replace(NOT_RUN, "")
    subprocess.run(["bash", "-ec", copy], cwd=tmp_path, check=True)
    builder(tmp_path, "create")
    built = tmp_path / "context" / "_build"
    collections = yaml.safe_load((built / "requirements.yml").read_text())["collections"]
    assert [collection["name"] for collection in collections] == ["dds.socketpipe"]
    assert "openssh-clients" in (built / "bindep.txt").read_text()


def test_an_image_with_the_collection_gets_what_it_calls(installed: Path, tmp_path: Path) -> None:
    needs = yaml.safe_load(builder(tmp_path, "introspect", str(installed)))["system"]
    assert sorted(need.split()[0] for need in needs) == ["gzip", "tar", "zstd"]


# What belongs together


def test_the_volume_is_where_the_backups_go() -> None:
    (container,) = loaded(POD)["spec"]["containers"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [
        loaded("awx.yml")["awx_setup_answers"]["backup_dir"]
    ]
    assert container["image"] == NOT_RUN.rsplit(maxsplit=1)[-1]


def test_the_policy_lets_the_sessions_through() -> None:
    _login, data = loaded(POLICY)["spec"]["egress"][0]["ports"]
    assert (
        loaded("awx.yml")["awx_setup_extra_vars"]["socketpipe_ports"] == f"{data['port']}-{data['endPort']}"
    )
