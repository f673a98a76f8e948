# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many tasks in a row leave nothing behind, whether they succeed or fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness.ansible import MODULE, Ansible
from harness.network import Target, run
from harness.streams import sh

#: What the worker has open, and how many threads: the parent of the local endpoint, whose child this is.
COUNT = """
worker=$(sed 's/.*) //' /proc/$PPID/stat | cut -d ' ' -f 2)
ls /proc/$worker/fd | wc -l
ls /proc/$worker/task | wc -l
"""


def listeners(target: Target) -> tuple[str, str]:
    return run("ss", "-Hltn").stdout, target.run("ss", "-Hltn").stdout


@pytest.mark.parametrize(("pipelining", "times"), [("true", 30), ("false", 5)])
def test_many_tasks_leave_nothing(
    ansible: Ansible, target: Target, tmp_path: Path, pipelining: str, times: int
) -> None:
    """A loop runs in one worker, so what one session left would be there for the next one."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    ansible.environment.update(TMPDIR=str(here), ANSIBLE_PIPELINING=pipelining)
    ansible.environment["ANSIBLE_LOCAL_TEMP"] = str(here / "ansible")
    command = {"input": sh(COUNT), "remote": sh("cat; exit {{ item % 2 }}")}
    task = {
        MODULE: command,
        "loop": list(range(times)),
        "ignore_errors": True,
        "environment": {"TMPDIR": str(there)},
    }
    listened_before = listeners(target)
    host = target.inventory(ansible_remote_tmp=str(there))
    result = ansible.play({target.name: host}, [task])[-1]
    assert [item["failed"] for item in result["results"]] == [bool(number % 2) for number in range(times)]
    counts = {item["stdout"] for item in result["results"][1:]}  # modules are imported in the first one
    assert len(counts) == 1, counts
    assert re.fullmatch(r"\d+\n\d+\n", counts.pop())
    assert list(here.rglob("*")) == [here / "ansible"]  # its own
    assert list(there.rglob("*")) == []
    assert listeners(target) == listened_before
