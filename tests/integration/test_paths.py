# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target finds the controller, or says where it looked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible.module_utils.basic import _PY_MIN
from harness.ansible import MODULE, Ansible, TaskResult
from harness.network import Target, run

Session = Callable[..., TaskResult]


def test_ipv6(ansible: Ansible, target: Target) -> None:
    host = target.inventory(ansible_host=target.address6)
    result = ansible.play({target.name: host}, [{MODULE: {"input": "echo x", "remote": "cat"}}])[-1]
    assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg
    assert result["path"]["address"] == target.controller_address6
    assert result["path"]["family"] == "IPv6"


@pytest.mark.parametrize("family", ["address", "address6"])
def test_host_is_the_only_address_used(session: Session, target: Target, family: str) -> None:
    address = getattr(target, f"controller_{family}")
    result = session(input="echo x", remote="cat", host=address)
    assert result.kind == "ok", result.msg
    assert result["path"]["address"] == address


def test_a_host_that_is_not_the_controller_fails_within_the_timeout(session: Session, target: Target) -> None:
    began = time.monotonic()
    result = session(input="echo x", remote="cat", host=target.address, timeout=2)
    assert time.monotonic() - began < 15
    assert result.kind == "failed"
    assert result.msg.startswith(f"{target.name} could not connect to controller: no path ")
    assert f"{target.address} port " in result.msg
    assert "Connection refused" in result.msg
    assert "firewall" in result.msg
    assert [attempt["address"] for attempt in result["attempts"]] == [target.address]
    assert result["attempts"][0]["tries"] > 1


def test_a_host_name_that_does_not_exist_says_so(session: Session) -> None:
    result = session(input="echo x", remote="cat", host="no-such-host.invalid", timeout=2)
    assert result.kind == "failed"
    assert "no-such-host.invalid port " in result.msg


@pytest.fixture
def firewalled(target: Target) -> Iterator[Target]:
    """The target can be logged in to, but nothing that it opens gets through."""
    rules = """
    table inet block {
        chain out {
            type filter hook output priority 0
            tcp sport 22 accept
            oifname eth0 drop
        }
    }
    """
    run(*target.words("nft", "-f", "-"), input=rules)
    yield target
    run(*target.words("nft", "delete", "table", "inet", "block"))


def test_when_the_target_can_not_connect_back_every_attempt_is_listed(
    firewalled: Target, session: Session
) -> None:
    began = time.monotonic()
    result = session(input="echo x", remote="cat", timeout=3)
    assert time.monotonic() - began < 3 + 12
    assert result.kind == "failed"
    addresses = [attempt["address"] for attempt in result["attempts"]]
    assert addresses[0] == firewalled.controller_address
    assert firewalled.controller_address6 in addresses
    for attempt in result["attempts"]:
        assert f"{attempt['address']} port {attempt['port']}" in result.msg
        assert attempt["outcome"]


@pytest.mark.parametrize("python", sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")), ids=str)
def test_every_python_of_this_machine_on_the_target(ansible: Ansible, target: Target, python: Path) -> None:
    """With the versions that this ansible-core has modules for; others get its own message, or ours."""
    host = target.inventory(ansible_python_interpreter=str(python))
    result = ansible.play(
        {target.name: host}, [{MODULE: {"input": "echo x", "remote": "cat", "output": "cat"}}]
    )[-1]
    version = tuple(map(int, python.parts[-3].split(".")[:2]))
    # ansible-core 2.16 has no such number: it goes further back than the engine does.
    oldest = max(_PY_MIN, (3, 7)) if isinstance(_PY_MIN, tuple) else (3, 7)
    if version >= oldest:
        assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg
    else:
        assert result.kind == "failed"
        assert "ansible_python_interpreter" in result.msg, result
