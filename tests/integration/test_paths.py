# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The target finds the controller, or says where it looked; and check mode tells beforehand."""

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
    task = {MODULE: {"input": "echo x", "remote": "cat", "listen": "local"}}
    result = ansible.play({target.name: host}, [task])[-1]
    assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg
    assert result["path"]["address"] == target.controller_address6
    assert result["path"]["family"] == "IPv6"


@pytest.mark.parametrize("family", ["address", "address6"])
def test_host_is_the_only_address_used(session: Session, target: Target, family: str) -> None:
    address = getattr(target, f"controller_{family}")
    result = session(input="echo x", remote="cat", host=address, listen="local")
    assert result.kind == "ok", result.msg
    assert result["path"]["address"] == address


def test_a_host_that_is_not_the_controller_fails_within_the_timeout(session: Session, target: Target) -> None:
    began = time.monotonic()
    result = session(input="echo x", remote="cat", host=target.address, listen="local", timeout=2)
    assert time.monotonic() - began < 15
    assert result.kind == "failed"
    assert result.msg.startswith(f"{target.name} could not connect to controller: no path ")
    assert f"from {target.address} to {target.address} port " in result.msg
    assert "Connection refused after " in result.msg
    assert f"open TCP from {target.name} to controller" in result.msg
    assert [attempt["address"] for attempt in result["paths_tried"]] == [target.address]
    assert result["paths_tried"][0]["tries"] > 1


def test_a_host_name_that_does_not_exist_says_so(session: Session) -> None:
    result = session(input="echo x", remote="cat", host="no-such-host.invalid", listen="local", timeout=2)
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
    result = session(input="echo x", remote="cat", listen="local", timeout=3)
    assert time.monotonic() - began < 3 + 12
    assert result.kind == "failed"
    addresses = [attempt["address"] for attempt in result["paths_tried"]]
    assert addresses[0] == firewalled.controller_address
    assert firewalled.controller_address6 in addresses
    for attempt in result["paths_tried"]:
        assert f"{attempt['address']} port {attempt['port']}" in result.msg
        assert attempt["outcome"]


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_one_line_of_the_result_says_which_path_was_used(
    session: Session, target: Target, listen: str
) -> None:
    result = session(input="echo x", remote="cat", listen=listen)
    here, there = f"controller at {target.controller_address}", f"{target.name} at {target.address}"
    expected = (
        f"{target.name} connected to {here}" if listen == "local" else f"controller connected to {there}"
    )
    assert result["path"]["summary"].startswith(f"{expected} port {result['path']['port']} (IPv4) in 0.")


def test_each_attempt_is_shown_with_v(ansible: Ansible, target: Target) -> None:
    task = {MODULE: {"input": "echo x", "remote": "cat", "host": "no-such-host.invalid"}}
    run_ = ansible.start({target.name: target.inventory()}, [task], "-v")
    port = run_.wait()[-1]["path"]["port"]
    lines = [line for line in run_.output.splitlines() if line.startswith(f"<{target.name}> socketpipe: ")]
    by_name = [line for line in lines if f"{target.name} tried" in line]
    assert any("to no-such-host.invalid port" in line for line in by_name), run_.output
    words = f" to {target.address} port {port} (proven after "
    assert any("controller tried" in line and words in line for line in lines), run_.output


@pytest.mark.parametrize("listen", ["local", "remote", "auto"])
def test_check_mode_meets_and_measures_without_running_anything(
    ansible: Ansible, target: Target, tmp_path: Path, listen: str
) -> None:
    touch = f"touch {tmp_path}/ran"
    task = {MODULE: {"input": touch, "remote": touch, "output": touch, "listen": listen}}
    run_ = ansible.start({target.name: target.inventory()}, [task], "--check")
    result = run_.wait()[-1]
    assert (result.kind, result["changed"]) == ("ok", True), result.msg
    assert 0 < result["path"]["round_trip"] < 0.1
    assert result["path"]["listener"] == listen or listen == "auto"
    # Without -v too: it is what was asked for.
    assert (
        f"connected to {'controller' if result['path']['listener'] == 'local' else target.name}"
        in run_.output
    )
    assert list(tmp_path.glob("ran")) == []


def test_check_mode_fails_where_a_session_would(
    session: Session, ansible: Ansible, firewalled: Target
) -> None:
    task = {MODULE: {"input": "true", "remote": "true", "listen": "local", "timeout": 2}}
    result = ansible.play({firewalled.name: firewalled.inventory()}, [task], "--check")[-1]
    assert result.kind == "failed"
    assert result.msg.startswith(f"{firewalled.name} could not connect to controller")
    assert result["paths_tried"]


@pytest.mark.parametrize("ports", ["0", "50000-", "a", "5-3", "1-70000"])
def test_ports_that_are_none_are_refused(session: Session, ports: str) -> None:
    result = session(input="true", remote="true", ports=ports)
    assert result.kind == "failed"
    assert result.msg.startswith(f"ports: '{ports}' is neither a port nor a range of ports")


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
