# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever of a task is killed, and whenever: the task fails in words that name whom, nothing is left on
either machine, and no reader saw an end that its writer had not made."""

from __future__ import annotations

import os
import signal
from itertools import product

import pytest
from harness.ansible import MODULE
from harness.crowd import BOUND, MIDDLE, MOMENTS, Crowd
from harness.network import Target

SIGNALS = [signal.SIGTERM, signal.SIGKILL]
#: Nobody tells the module of a local endpoint that ended before they met: it looks for it this long.
PATIENCE = 12

MODULE_ENDED = {
    signal.SIGTERM: "remote endpoint on {} was interrupted: it was ended by SIGTERM",
    signal.SIGKILL: "the remote endpoint on {} ended without a report: SIGKILL ended it; "
    "if nobody sent that, memory ran out there: see the kernel's log",
}
LOCAL_ENDPOINT_ENDED = {
    signal.SIGTERM: "local endpoint on controller was interrupted: it was ended by SIGTERM",
    signal.SIGKILL: "the local endpoint on controller ended unexpectedly: SIGKILL ended it; "
    "if nobody sent that, memory ran out there: see the kernel's log",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_endpoint_is_killed(crowd: Crowd, shared_target: Target, moment: str) -> None:
    """At the end one stream has been read to its end, and its reader knows: the task fails all the
    same, for the two sides do not have each other's reports."""
    modules = {signum: crowd.join(f"module-{signum}", shared_target) for signum in SIGNALS}
    local_endpoints = {
        signum: crowd.join(f"local-{signum}", shared_target, patience=PATIENCE) for signum in SIGNALS
    }
    spared = crowd.join("spared", shared_target)
    crowd.start(moment)
    for signum in SIGNALS:
        os.kill(modules[signum].module, signum)
        os.kill(local_endpoints[signum].local_endpoint, signum)
    for victims, words in ((modules, MODULE_ENDED), (local_endpoints, LOCAL_ENDPOINT_ENDED)):
        for signum, member in victims.items():
            result = crowd.result(member)
            assert (result.kind, result.msg) == ("failed", words[signum].format(member.name))
            member.expect_broken_at(moment)
    crowd.open()
    spared.go_on()
    assert crowd.result(spared).kind == "ok"
    crowd.run.wait(BOUND)


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_is_killed(crowd: Crowd, shared_target: Target, moment: str, signum: signal.Signals) -> None:
    """It can tell nobody, so there is no result. Ansible ends the others when it finds out, or waits for
    ever, and is then ended too."""
    member = crowd.join("host", shared_target, patience=PATIENCE)
    crowd.start(moment)
    os.kill(member.worker, signum)
    member.expect_broken_at(moment)
    crowd.run.process.terminate()
    assert crowd.run.wait(BOUND) == []


@pytest.mark.parametrize(("moment", "signum"), [*product(MOMENTS, SIGNALS), (MIDDLE, signal.SIGHUP)])
def test_the_playbook_is_killed(
    crowd: Crowd, shared_target: Target, moment: str, signum: signal.Signals
) -> None:
    member = crowd.join("host", shared_target, patience=PATIENCE)
    crowd.start(moment)
    os.kill(crowd.run.process.pid, signum)
    assert crowd.run.wait(BOUND) == []
    member.expect_broken_at(moment)


@pytest.mark.parametrize("signum", SIGNALS)
def test_the_playbook_is_killed_while_it_is_told_of_progress(
    crowd: Crowd, shared_target: Target, signum: signal.Signals
) -> None:
    """However often that is."""
    member = crowd.join("host", shared_target)
    crowd.start(MIDDLE, module_defaults={MODULE: {"progress": 0.2}})
    os.kill(crowd.run.process.pid, signum)
    assert crowd.run.wait(BOUND) == []
    member.expect_broken_at(MIDDLE)


def test_ctrl_c(crowd: Crowd, shared_target: Target) -> None:
    """The terminal sends SIGINT to the whole foreground group."""
    member = crowd.join("host", shared_target)
    crowd.start(MIDDLE)
    os.killpg(crowd.run.process.pid, signal.SIGINT)
    assert crowd.run.wait(BOUND) == []
    member.expect_broken_at(MIDDLE)
