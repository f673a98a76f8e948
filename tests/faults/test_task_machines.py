# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target's machine, or the way to it, goes away under a task, or its memory does."""

from __future__ import annotations

from collections.abc import Callable

from harness.crowd import BOUND, MIDDLE, Crowd
from harness.memory import SmallMemory
from harness.network import Target, kill, processes_in, run

#: After 25 seconds of silence an endpoint takes its peer for lost, and ends within 12; the task then waits
#: 20 seconds for a login that may still live. That is less than a minute; the rest is for a busy machine.
BOUND_OF_SILENCE = 75.0


def test_the_machine_or_the_network_goes_away(crowd: Crowd, make_target: Callable[..., Target]) -> None:
    """Of those that go without a word the login never hears: the heartbeats tell, on both sides, and
    the task then gives the login some seconds to answer. A kernel that goes down in order ends all
    connections."""
    cut_off, powered_off, shut_down = (
        crowd.join(name, make_target()) for name in ("cut-off", "powered-off", "shut-down")
    )
    crowd.start(MIDDLE)
    run("ip", "link", "set", cut_off.target.link, "down")
    powered_off.target.power_off()
    for pid in processes_in(shut_down.target.network):
        kill(pid)
    assert crowd.result(shut_down).kind == "unreachable"
    for member in (cut_off, powered_off):
        result = crowd.result(member, BOUND_OF_SILENCE)
        assert result.kind == "failed"
        assert result.msg == f"remote endpoint on {member.name} was lost: it has been silent for 25 s"
    crowd.run.wait(BOUND)
    for member in (cut_off, powered_off, shut_down):
        member.expect_broken_at(MIDDLE)


def test_the_kernel_kills_the_module_for_its_memory(
    crowd: Crowd, shared_target: Target, memory: SmallMemory
) -> None:
    member = crowd.join("host", shared_target)
    crowd.start(MIDDLE)
    memory.add(member.module)
    memory.fill()
    result = crowd.result(member)
    assert memory.kills() > 0
    assert result.kind == "failed"
    assert result.msg == (
        "the remote endpoint on host ended without a report: SIGKILL ended it; "
        "if nobody sent that, memory ran out there: see the kernel's log"
    )
    crowd.run.wait(BOUND)
    member.expect_broken_at(MIDDLE)
