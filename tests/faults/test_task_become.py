# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module is killed where it does not run as the user who logged in, or not at once: its guard is of
the same user, and ends the command."""

from __future__ import annotations

import os
import signal
from itertools import product

from harness.crowd import BOUND, MIDDLE, Crowd, Member
from harness.network import Target

PYTHON = "/usr/bin/python3"
BECOME = {
    "free-becomes-root": {"ansible_user": "free", "ansible_become": True},
    "root-becomes-op": {"ansible_become": True, "ansible_become_user": "op"},
}
WORDS = {
    signal.SIGTERM: "remote endpoint on {} was interrupted: it was ended by SIGTERM",
    signal.SIGKILL: "the remote endpoint on {} ended without a report: SIGKILL ended it; "
    "if nobody sent that, memory ran out there: see the kernel's log",
}


def kill_in_the_middle(crowd: Crowd, victims: dict[Member, int]) -> None:
    """The module of each gets its signal, and its task fails in the words for that."""
    crowd.start(MIDDLE)
    for member, signum in victims.items():
        os.kill(member.module, signum)
    for member, signum in victims.items():
        result = crowd.result(member)
        assert (result.kind, result.msg) == ("failed", WORDS[signal.Signals(signum)].format(member.name))
        member.expect_broken_at(MIDDLE)
    crowd.run.wait(BOUND)


def test_the_module_of_another_user_is_killed(crowd: Crowd, users_target: Target) -> None:
    """With pipelining, and without it, which makes files of the module and gives it a terminal."""
    victims = {}
    for who, is_pipelined, signum in product(BECOME, (True, False), WORDS):
        options = {**BECOME[who], "ansible_pipelining": is_pipelined}
        name = f"{who}-{'pipelined' if is_pipelined else 'unpipelined'}-{signum}"
        victims[crowd.join(name, users_target, python=PYTHON, **options)] = signum
    kill_in_the_middle(crowd, victims)


def test_the_module_is_killed_without_pipelining(crowd: Crowd, shared_target: Target) -> None:
    victims = {
        crowd.join(f"host-{signum}", shared_target, ansible_pipelining=False): signum for signum in WORDS
    }
    kill_in_the_middle(crowd, victims)


def test_the_sudo_of_the_module_is_killed(crowd: Crowd, users_target: Target) -> None:
    """The module hears nothing of it, and both endpoints go on to a whole end."""
    member = crowd.join("host", users_target, python=PYTHON, **BECOME["free-becomes-root"])
    crowd.start(MIDDLE)
    os.kill(member.sudo, signal.SIGKILL)
    member.go_on()
    result = crowd.result(member)
    assert result.kind == "ok", result.msg
    crowd.run.wait(BOUND)
    member.expect_ended()
    assert member.here.whole.read_bytes() == member.there.whole.read_bytes()
