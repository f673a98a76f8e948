# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook `backup` as a job of AWX: run by ansible-runner, for a survey's answers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.ansible import ROOT, Ansible
from harness.backups import Vault
from harness.jobs import Job
from harness.network import Keys, Target, kill, processes_here, run
from harness.pages import blocks_of

PAGE = ROOT / "docs" / "awx.md"
SURVEY = json.loads((ROOT / "playbooks" / "files" / "awx_survey.json").read_text(encoding="utf-8"))
#: What AWX gives for the questions that nobody answers.
UNANSWERED = {question["variable"]: question["default"] for question in SURVEY["spec"]}

StartJob = Callable[..., Job]


@pytest.fixture
def vault(ansible: Ansible, target: Target, tmp_path: Path) -> Vault:
    return Vault(ansible, tmp_path / "vault", {"db1": target.inventory()})


@pytest.fixture
def start_job(ansible: Ansible, keys: Keys, vault: Vault, tmp_path: Path) -> Iterator[StartJob]:
    """Starts a job with the playbook of docs/awx.md, and a line of progress twice a second."""
    (playbook,) = (block.text for block in blocks_of(PAGE) if block.text.startswith("# backup.yml"))
    jobs: list[Job] = []

    def start(**answers: Any) -> Job:
        variables = {**UNANSWERED, "backup_dir": str(vault.folder), "socketpipe_progress": 0.5, **answers}
        folder = tmp_path / f"job {len(jobs)}"
        folder.mkdir()
        jobs.append(Job(ansible, keys, folder, playbook, vault.hosts, variables))
        return jobs[-1]

    yield start
    for job in jobs:
        job.close()


def test_the_answers_make_the_backup(start_job: StartJob, vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "noise").write_bytes(os.urandom(300_000))
    answers = {"backup_tree": str(tmp_path / "tree"), "backup_compression": "gzip", "backup_keep": 1}
    job = start_job(**answers, backup_name="things")
    assert job.status() == "successful", job.output
    stored = vault.only("db1")
    assert stored.path.name in job.output
    assert vault.files("db1") == [stored.path.name, stored.manifest_path.name]
    assert re.fullmatch(r"things-\d+T\d+Z\.tar\.gz", stored.path.name)
    assert stored.manifest["sha256"] == stored.sha256
    assert "./noise" in run("tar", "tf", stored.path).stdout.splitlines()


def test_its_events_tell_how_far_it_is(start_job: StartJob, vault: Vault, tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = f"head -c 3000000 /dev/zero; until [ -e {go} ]; do sleep 0.1; done; echo the end"
    job = start_job(backup_command=command, backup_name="zeros", backup_compression="none")
    told = job.wait_until_told(4)
    assert vault.files("db1") == [], "it has no name before it is whole"
    go.touch()
    assert job.status() == "successful", job.output
    assert told[-1] == "socketpipe: db1: output 3 MB, 0 B/s"
    assert vault.only("db1").path.read_bytes() == bytes(3_000_000) + b"the end\n"


# What is cancelled leaves nothing


def cancel(job: Job) -> None:
    """Ansible is killed, and can not clean up."""
    job.cancel()
    assert job.status() == "canceled"


def kill_the_pod(job: Job) -> None:
    """All its processes at once."""
    for pid in processes_here():
        kill(pid)
    job.wait_ended()


@pytest.mark.parametrize("end", [cancel, kill_the_pod])
def test_a_job_that_is_cancelled_in_the_middle_leaves_nothing(
    start_job: StartJob, vault: Vault, end: Callable[[Job], None]
) -> None:
    """Nor does it on the target: that is what the fixture `target` is for."""
    job = start_job(backup_command="cat /dev/zero", backup_name="zeros", socketpipe_rate_limit="1M")
    told = job.wait_until_told(3)
    assert "output " in told[-1]
    end(job)
    assert vault.files("db1") == []
