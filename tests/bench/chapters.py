# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chapters, and who takes part in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

from harness.ansible import MODULE

from bench.crowds import crowd, take_crowd
from bench.file_chapters import measure_file, measure_size, measure_tree
from bench.machine import version_of
from bench.scale import PEERS, Bench
from bench.stream_chapters import measure_block_size, measure_round_trip, measure_stream
from bench.streams import CProgram, Peer, Session
from bench.transfers import Module
from bench.turns import Taken, Turn


def measure_hosts(bench: Bench) -> None:
    scale = bench.scale
    with crowd(bench.rig, max(scale.crowds)) as targets:
        for count in scale.crowds:
            take = partial(take_crowd, bench.rig, targets[:count], scale.window)
            bench.recorder.take_turns("hosts", [Turn("socketpipe", take, count)], 1, warm=False)


def measure_empty(bench: Bench) -> None:
    """Both in turn, in one playbook: the first of each also packs its module, for all that follow."""
    tasks: dict[str, dict[str, Any]] = {
        "command": {"ansible.builtin.command": "/bin/true"},
        "socketpipe": {MODULE: {"input": "/bin/true", "remote": "/bin/true"}},
    }
    pairs = list(tasks.values()) * (bench.scale.empty_runs + 1)
    results = bench.rig.ansible.play(bench.rig.inventory(bench.rig.target), pairs)
    for name, result in list(zip(cycle(tasks), results, strict=False))[len(tasks) :]:
        bench.recorder.keep("empty", name, Taken({"seconds": result.seconds}, result.seconds))


#: In the order in which they are measured.
CHAPTERS: dict[str, Callable[[Bench], None]] = {
    "stream": measure_stream,
    "file": measure_file,
    "file, pull": partial(measure_file, pull=True),
    "tree": measure_tree,
    "size": measure_size,
    "hosts": measure_hosts,
    "block size": measure_block_size,
    "round trip": measure_round_trip,
    "empty": measure_empty,
}


def describe_peers(collection: str, ansible_core: str) -> list[dict[str, Any]]:
    """In the order of display."""
    found = []
    for peer in PEERS.values():
        missing = peer.missing()
        version = None if missing else _version(peer, collection, ansible_core)
        found.append({"name": peer.name, "command": peer.shown(), "version": version, "missing": missing})
    command = {"name": "command", "command": "ansible.builtin.command: /bin/true"}
    found.append({**command, "version": f"ansible-core {ansible_core}", "missing": None})
    return found


def _version(peer: Peer, collection: str, ansible_core: str) -> str | None:
    if isinstance(peer, Session):
        return collection
    if isinstance(peer, CProgram):
        return "1.10"
    if isinstance(peer, Module) and peer.needs != "rsync":
        return f"ansible-core {ansible_core}"
    return version_of(peer.needs)
