# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second target, which is reached through `bench.delay` and in no other way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from harness.network import Host, Node, run
from harness.topology import Controller

from bench import delay
from bench.rig import Rig

CONTROLLER_ADDRESS = "10.78.0.1"
ADDRESS = "10.78.0.2"
#: Packets that wait for the program that takes them over.
_QUEUE = "10000"


@contextmanager
def far_target(rig: Rig, round_trip: float) -> Iterator[dict[str, Any]]:
    """What a `Stream` needs to go there."""
    with ExitStack() as stack:
        host = Host(rig.make_folder("far"), rig.keys)
        stack.callback(rig.remove_folder, "far")
        stack.callback(host.close)
        stack.enter_context(rig.adopted(host))
        stack.enter_context(far_link(host, round_trip))
        yield {"host": host, "address": ADDRESS, "here": CONTROLLER_ADDRESS}


@contextmanager
def far_link(host: Node, round_trip: float) -> Iterator[None]:
    """*host* is at `ADDRESS`, *round_trip* seconds from the controller and back."""
    with ExitStack() as stack:
        devices = []
        for node, name, address in (
            (Controller(), "far", f"{CONTROLLER_ADDRESS}/24"),
            (host, "eth0", f"{ADDRESS}/24"),
        ):
            devices.append(_device(node, name, address))
            stack.callback(os.close, devices[-1])
        stack.enter_context(_carrying(round_trip / 2, devices))
        yield


def _device(node: Node, name: str, address: str) -> int:
    with node.entered():
        descriptor = delay.open_device(name)
        run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6")
        run("ip", "address", "add", address, "dev", name)
        run("ip", "link", "set", name, "txqueuelen", _QUEUE, "up")
    return descriptor


@contextmanager
def _carrying(seconds: float, devices: list[int]) -> Iterator[None]:
    words = [sys.executable, delay.__file__, str(seconds), *map(str, devices)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=devices) as carrier:
        try:
            yield
        finally:
            assert carrier.stdin is not None
            carrier.stdin.close()
