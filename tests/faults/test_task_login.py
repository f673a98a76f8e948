# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The login that runs the module is lost, at any moment: the task has lost its module and fails, for it
never hears the module's report; and what the session had started ends on both machines."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from harness.ansible import MODULE, Ansible
from harness.crowd import BOUND, LOGIN, MOMENTS, Crowd
from harness.network import Target

#: A connection that no other login shares.
ALONE = {"ansible_ssh_extra_args": "-o ControlMaster=no -o ControlPath=none"}
#: Nobody tells a module that lost its login of it before the two endpoints have met.
PATIENCE = 12
#: What the task waits for the module when its local endpoint has ended.
ANSWER_TIMEOUT = 20


@pytest.mark.parametrize("moment", [LOGIN, *MOMENTS])
def test_a_login_is_lost(crowd: Crowd, shared_target: Target, moment: str) -> None:
    at_server = crowd.join("at-server", shared_target, patience=PATIENCE, **ALONE)
    with_terminal = crowd.join(
        "with-terminal", shared_target, patience=PATIENCE, ansible_pipelining=False, **ALONE
    )
    at_client = crowd.join("at-client", shared_target, patience=PATIENCE, **ALONE)
    crowd.start(moment)
    for victim in (at_server.sshd, with_terminal.sshd, at_client.login):
        os.kill(victim, signal.SIGKILL)
    for member in (at_server, with_terminal):
        result = crowd.result(member)
        assert result.kind == "unreachable"
        assert "closed by remote host" in result.msg
    result = crowd.result(at_client)
    assert result.kind == "failed"
    words = "ended without a report: its login was ended by SIGKILL"
    assert result.msg == f"the remote endpoint on at-client {words}"
    for member in (at_server, with_terminal, at_client):
        member.start_python()  # nobody will come
        member.expect_broken_at(moment)
    crowd.run.wait(BOUND)


def test_a_login_that_hangs_is_not_waited_for(crowd: Crowd, shared_target: Target) -> None:
    """When the local endpoint has ended, so that there is nothing more to wait for."""
    member = crowd.join("host", shared_target, patience=PATIENCE)
    crowd.start(LOGIN)
    os.kill(member.local_endpoint, signal.SIGTERM)
    result = crowd.result(member, ANSWER_TIMEOUT + BOUND)
    assert result.kind == "failed"
    assert result.msg == "local endpoint on controller was interrupted: it was ended by SIGTERM"
    crowd.run.wait(BOUND)
    with pytest.raises(LookupError):
        assert member.login
    member.start_python()
    member.expect_broken_at(LOGIN)


def test_there_is_no_sshd(ansible: Ansible, make_target: Callable[..., Target]) -> None:
    target = make_target()
    target.stop_sshd()
    results = ansible.play({target.name: target.inventory()}, [{MODULE: {"input": "true", "remote": "true"}}])
    assert results[-1].kind == "unreachable"
    assert "Connection refused" in results[-1].msg
