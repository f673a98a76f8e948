# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight playbook tells which hosts can do socketpipe, and over which path."""

from __future__ import annotations

import re
import subprocess

import pytest
from harness.ansible import Ansible
from harness.network import Target


def preflight(
    ansible: Ansible, hosts: dict[str, dict[str, object]], *options: str
) -> subprocess.CompletedProcess[str]:
    inventory = str(ansible.inventory(hosts))
    return ansible.command("ansible-playbook", "dds.socketpipe.preflight", "-i", inventory, *options)


def row_of(host: str, output: str) -> str:
    """Its line of the table."""
    (row,) = re.findall(rf'^ +"({host} .*)",?$', output, re.MULTILINE)
    return str(row)


@pytest.mark.parametrize("listen", ["local", "remote"])
def test_a_host_with_a_path_is_in_the_table(ansible: Ansible, target: Target, listen: str) -> None:
    done = preflight(ansible, {target.name: target.inventory()}, "-e", f"socketpipe_listen={listen}")
    assert done.returncode == 0, done.stdout
    address = target.controller_address if listen == "local" else target.address
    row = row_of(target.name, done.stdout).split()
    assert row[:3] == [target.name, listen, address]
    assert row[4] == "IPv4"
    meet, round_trip = map(float, row[5:])
    assert 0 < meet < 5000
    assert 0 < round_trip < 100


def test_an_empty_variable_is_none(ansible: Ansible, target: Target) -> None:
    names = ("listen", "host", "remote_host", "ports")
    emptied = [word for name in names for word in ("-e", f"socketpipe_{name}=")]
    done = preflight(ansible, {target.name: target.inventory()}, *emptied)
    assert done.returncode == 0, done.stdout
    assert re.match(rf"{target.name} +(local|remote) ", row_of(target.name, done.stdout))


def test_a_host_without_a_path_is_in_the_table_and_fails_the_play(ansible: Ansible, target: Target) -> None:
    hosts = {
        target.name: target.inventory(),
        # An address of the test network that nobody has.
        "lonely": target.inventory(
            socketpipe_listen="local", socketpipe_host="10.77.0.99", socketpipe_timeout=1
        ),
        "absent": target.inventory(ansible_port=1),
    }
    done = preflight(ansible, hosts)
    assert done.returncode != 0
    assert re.match(rf"{target.name} +(local|remote) ", row_of(target.name, done.stdout))
    assert "no: lonely could not connect to controller: no path" in row_of("lonely", done.stdout)
    # Ansible's words: it may see that ssh has ended before it sees what ssh said.
    assert re.match(r"absent +no: .*(Connection refused|could not be sent)", row_of("absent", done.stdout))
    recap = done.stdout.partition("PLAY RECAP")[2]
    assert re.search(rf"^{target.name} .*failed=0 ", recap, re.MULTILINE), recap
    assert re.search(r"^lonely .*failed=1 ", recap, re.MULTILINE), recap
