# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much is measured, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.rig import BOUND, Outcome, Rig
from bench.streams import NO_NETWORK, Peer
from bench.streams import PEERS as STREAMS
from bench.transfers import MODULES
from bench.turns import Recorder

GB = 1e9
GIB = 1 << 30
PEERS: dict[str, Peer] = {**STREAMS, **MODULES, NO_NETWORK.name: NO_NETWORK}


@dataclass(frozen=True)
class Scale:
    """How much is measured, and how often."""

    stream: int = 8 * GIB
    slow_stream: int = GIB
    stream_runs: int = 9
    first_byte_runs: int = 2
    file: int = GIB
    file_runs: int = 3
    tree: int = 20_000
    tree_runs: int = 3
    empty_runs: int = 25
    sizes: Sequence[int] = (10**3, 10**6, 10**8, 10**9, 10**10, 2 * 10**10)
    size_runs: int = 2
    crowds: Sequence[int] = (1, 4, 16, 64)
    window: float = 10.0
    blocks: Sequence[int] = tuple(4096 << 2 * power for power in range(6))
    block_stream: int = 4 * GIB
    block_runs: int = 2
    #: Seconds, with the bytes of a stream.
    round_trips: Sequence[tuple[float, int]] = (
        *((0, 2 * GIB), (0.001, GIB), (0.01, GIB // 2), (0.05, GIB // 4), (0.1, GIB // 8)),
    )
    round_trip_runs: int = 2
    bound: float = BOUND


FULL = Scale()
#: To try the program itself.
QUICK = Scale(
    stream=64 << 20,
    slow_stream=32 << 20,
    stream_runs=1,
    first_byte_runs=1,
    file=4 << 20,
    file_runs=1,
    tree=20,
    tree_runs=1,
    empty_runs=2,
    sizes=(10**3, 10**6),
    size_runs=1,
    crowds=(1, 2),
    window=0.5,
    blocks=(4096, 65536),
    block_stream=32 << 20,
    block_runs=1,
    round_trips=((0, 32 << 20), (0.01, 8 << 20)),
    round_trip_runs=1,
    bound=60.0,
)


class Bench:
    """A rig, who can be measured on it, and how much."""

    def __init__(self, rig: Rig, recorder: Recorder, scale: Scale) -> None:
        self.rig = rig
        self.recorder = recorder
        self.scale = scale

    def present(self, names: Iterable[str]) -> list[Peer]:
        return [PEERS[name] for name in names if PEERS[name].missing() is None]


def usage_figures(outcome: Outcome, size: int) -> dict[str, float]:
    """Processor time for a GB, and memory, of both sides."""
    figures = {}
    for side, usage in outcome.usage.items():
        figures[f"cpu_{side}"] = usage.cpu / (size / GB)
        figures[f"memory_{side}"] = float(usage.memory)
    return figures
