# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On a short way the data is not paced, whichever side listens and whichever way the data goes; on a long one
the system's choice stands."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from bench.far import ADDRESS, CONTROLLER_ADDRESS, far_link
from harness.ansible import MODULE, Ansible, Run
from harness.network import Host
from harness.topology import Network
from harness.waiting import wait_until

PACED = "bbr"
PORT = 50000
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


def show(descriptor: int) -> list[str]:
    """A command that prints to stderr which algorithm its connection has."""
    script = f"""
import socket, sys
name = socket.socket(fileno={descriptor}).getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
print(name.rstrip(b"\\0").decode(), file=sys.stderr)
"""
    return [sys.executable, "-c", script]


@pytest.fixture
def host(network: Network) -> Host:
    """A host that paces, as the controller does."""
    if PACED not in ALLOWED.read_text(encoding="ascii").split():
        pytest.skip(f"this system does not let its network namespaces choose {PACED}")
    host = network.host()
    for node in (network.controller, host):
        node.run("sh", "-c", f"echo {PACED} > /proc/sys/net/ipv4/tcp_congestion_control")
    return host


def algorithms(ansible: Ansible, host: Host, address: str, listen: str) -> list[str]:
    """Of the connections that input and remote write to."""
    return shown(start(ansible, host, address, listen=listen))


def start(ansible: Ansible, host: Host, address: str, **options: object) -> Run:
    task = {"input": show(1), "remote": show(1), "output": "cat", **options}
    return ansible.start({host.name: host.inventory(ansible_host=address)}, [{MODULE: task}])


def shown(run: Run) -> list[str]:
    result = run.wait()[-1]
    assert result.kind == "ok", result
    return [result[role]["stderr"].strip() for role in ("input", "remote")]


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_on_a_short_way_nobody_paces(ansible: Ansible, network: Network, host: Host, listen: str) -> None:
    link = network.link(network.controller, host)
    assert algorithms(ansible, host, link[host].address, listen) == ["reno", "reno"]


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_on_a_long_way_the_choice_of_the_system_stands(ansible: Ansible, host: Host, listen: str) -> None:
    with far_link(host, round_trip=0.01):
        assert algorithms(ansible, host, ADDRESS, listen) == [PACED, PACED]


def test_a_stranger_from_near_changes_nothing_for_a_peer_from_afar(
    ansible: Ansible, host: Host, strangers: list[socket.socket]
) -> None:
    def connect() -> bool:
        strangers.append(socket.socket())
        return strangers[-1].connect_ex((CONTROLLER_ADDRESS, PORT)) == 0

    with far_link(host, round_trip=0.01):
        run = start(ansible, host, ADDRESS, listen="local", ports=str(PORT))
        wait_until(connect, "the controller listens")
        assert shown(run) == [PACED, PACED]
