# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is killed in the middle: within 15 seconds nothing is left, and no reader saw an end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.ansible import MODULE, Ansible, Run
from harness.middle import BOUND, Middle
from harness.network import Target, run
from harness.streams import ENDLESS, CommitGate
from harness.waiting import wait_until

Start = Callable[..., Run]


@pytest.fixture
def middle(start_session: Start, target: Target, tmp_path: Path) -> Middle:
    return Middle(start_session, target, tmp_path)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_ansible_playbook_is_signalled(middle: Middle, signum: signal.Signals) -> None:
    os.kill(middle.playbook, signum)
    middle.run.process.wait(BOUND)
    middle.expect_a_clean_end()


def test_ctrl_c(middle: Middle) -> None:
    """The terminal sends SIGINT to the whole foreground group."""
    os.killpg(middle.playbook, signal.SIGINT)
    middle.run.process.wait(BOUND)
    middle.expect_a_clean_end()


def test_the_network_goes_away_for_ever(
    ansible: Ansible, make_target: Callable[..., Target], tmp_path: Path
) -> None:
    """The login never notices: the heartbeats do, on both sides, and nobody waits for the login."""
    target = make_target()
    gate = CommitGate(tmp_path)
    task = {MODULE: {"remote": ENDLESS, "output": gate.script, "shell": True}}
    run_ = ansible.start({target.name: target.inventory()}, [task])
    wait_until(gate.has_bytes, "the stream flows", timeout=60)
    run("ip", "link", "set", target.link, "down")
    result = run_.wait(90)[-1]
    assert result.kind == "failed"
    assert f"remote endpoint on {target.name} was lost: it has been silent for 25 s" in result.msg
    assert not gate.whole.exists()
    wait_until(
        lambda: not [words for words in target.processes().values() if "while" in words],
        "the target's side has ended the command",
        timeout=30,
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_worker_is_signalled(middle: Middle, signum: signal.Signals) -> None:
    os.kill(middle.worker, signum)
    # Ansible itself waits for a worker that was killed, so it is ended too.
    middle.expect_the_target_to_end()
    os.kill(middle.playbook, signal.SIGTERM)
    middle.expect_a_clean_end()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_module_on_the_target_is_signalled(middle: Middle, signum: signal.Signals) -> None:
    os.kill(middle.remote_endpoint, signum)
    result = middle.run.wait(BOUND)[-1]
    assert result.kind == "failed"
    assert f"remote endpoint on {middle.target.name}" in result.msg
    middle.expect_a_clean_end()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_local_endpoint_is_signalled(middle: Middle, signum: signal.Signals) -> None:
    os.kill(middle.local_endpoint, signum)
    result = middle.run.wait(BOUND)[-1]
    assert result.kind == "failed"
    assert "local endpoint on controller" in result.msg
    middle.expect_a_clean_end()
