# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody does not want the task any more: its own time is over, or the job that it is part of is
cancelled."""

from __future__ import annotations

import os
import shlex
import signal
import sys

from harness.ansible import BIN, Ansible
from harness.crowd import BOUND, MIDDLE, Crowd
from harness.network import Target

#: Seconds of the task keyword `timeout`: enough to come to the middle, on a busy machine too.
TASK_TIMEOUT = 10

#: As AWX runs a job: it asks again and again whether the job is cancelled.
RUN_ASYNC = """
import os, sys
import ansible_runner
folder, inventory, playbook, options = sys.argv[1:]
thread, runner = ansible_runner.run_async(
    private_data_dir=folder, inventory=inventory, playbook=playbook, cmdline=options,
    cancel_callback=lambda: os.path.exists(folder + "/cancel"),
)
thread.join()
print("the job is", runner.status)
"""


def test_the_time_of_the_task_is_over(crowd: Crowd, shared_target: Target) -> None:
    """Of its keyword `timeout`, which Ansible minds; the option of that name is about connecting."""
    member = crowd.join("host", shared_target)
    crowd.start(MIDDLE, timeout=TASK_TIMEOUT)
    result = crowd.result(member, TASK_TIMEOUT + BOUND)
    words = f"Timed out after {TASK_TIMEOUT} second(s)"
    assert (result.kind, words in result.msg) == ("failed", True), result.msg
    crowd.run.wait(BOUND)
    member.expect_broken_at(MIDDLE)


def with_runner(ansible: Ansible, *command: str) -> None:
    """Have playbooks run by *command*, which gets folder, inventory, playbook and options."""

    def words(_program: str, _i: str, inventory: str, playbook: str, *options: str) -> list[str]:
        values = {"folder": str(ansible.folder), "inventory": inventory, "playbook": playbook}
        return [word.format(**values, options=shlex.join(options)) for word in command]

    ansible.within = words


def test_an_ansible_runner_is_told_to_end(ansible: Ansible, crowd: Crowd, shared_target: Target) -> None:
    run = ["run", "{folder}", "-p", "{playbook}", "--inventory", "{inventory}", "--cmdline", "{options}"]
    with_runner(ansible, str(BIN / "ansible-runner"), *run)
    member = crowd.join("host", shared_target)
    crowd.start(MIDDLE)
    os.kill(crowd.run.process.pid, signal.SIGTERM)
    assert crowd.run.wait(BOUND) == []
    member.expect_broken_at(MIDDLE)


def test_a_job_of_ansible_runner_is_cancelled(ansible: Ansible, crowd: Crowd, shared_target: Target) -> None:
    script = ansible.folder / "job.py"
    script.write_text(RUN_ASYNC, encoding="utf-8")
    with_runner(ansible, sys.executable, str(script), "{folder}", "{inventory}", "{playbook}", "{options}")
    member = crowd.join("host", shared_target)
    crowd.start(MIDDLE)
    (ansible.folder / "cancel").touch()
    assert crowd.run.wait(BOUND) == []
    assert "the job is canceled" in crowd.run.output
    member.expect_broken_at(MIDDLE)
