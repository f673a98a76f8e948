# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a command to a command: how fast, with which blocks, and how far away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bench.far import far_target
from bench.rig import Rig
from bench.scale import PEERS, Bench, usage_figures
from bench.streams import PEERS as STREAMS
from bench.streams import Peer, Stream, zeros
from bench.turns import Taken, Turn

#: Of a stream; its throughput would be of no interest.
STREAM_BOUND = 120.0
#: So slow that a smaller stream tells as much.
SLOW = ("socketpipe, encrypt", "socketpipe, checksum", *(name for name in STREAMS if name.startswith("ssh")))


def measure_stream(bench: Bench) -> None:
    scale = bench.scale
    turns = []
    for peer in bench.present(STREAMS):
        stream = zeros(scale.slow_stream if peer.name in SLOW else scale.stream)
        turns.append(Turn(peer.name, partial(take_stream, bench.rig, peer, stream)))
    bench.recorder.take_turns("stream", turns, scale.stream_runs)
    # It makes its data itself, and has no reader.
    names = [name for name in STREAMS if not name.startswith("iperf3")]
    first = [Turn(peer.name, partial(take_first_byte, bench.rig, peer)) for peer in bench.present(names)]
    bench.recorder.take_turns("stream", first, scale.first_byte_runs)


def take_stream(rig: Rig, peer: Peer, stream: Stream) -> Taken:
    outcome = peer.run(rig, stream, STREAM_BOUND)
    if outcome.stopped is not None:
        raise TimeoutError(f"it was ended after {outcome.stopped:g} s")
    figures = {"throughput": peer.throughput(outcome, stream), **usage_figures(outcome, stream.size)}
    return Taken(figures, outcome.seconds)


def take_first_byte(rig: Rig, peer: Peer, **place: Any) -> Taken:
    """From the start of the task to the first byte at the reader."""
    when, reader = rig.folder / "first", rig.folder / "reader"
    reader.write_text(
        f"dd bs=1 count=1 of=/dev/null status=none; date +%s.%N > {when}; cat > /dev/null\n", encoding="ascii"
    )
    when.unlink(missing_ok=True)
    outcome = peer.run(rig, Stream("echo x", f"sh {reader}", 2, **place), STREAM_BOUND)
    seconds = float(when.read_text(encoding="ascii")) - outcome.began
    return Taken({"first_byte": seconds}, outcome.seconds)


def measure_block_size(bench: Bench) -> None:
    rig, scale = bench.rig, bench.scale
    turns = []
    for block in scale.blocks:
        stream = zeros(scale.block_stream, str(block))
        for name in ("bare TCP", "bare TCP, reno", "socketpipe"):
            turns.append(Turn(name, partial(take_throughput, rig, PEERS[name], stream), block))
    bench.recorder.take_turns("block size", turns, scale.block_runs, warm=False)


def take_throughput(rig: Rig, peer: Peer, stream: Stream) -> Taken:
    taken = take_stream(rig, peer, stream)
    return Taken({"throughput": taken.figures["throughput"]}, taken.seconds)


def measure_round_trip(bench: Bench) -> None:
    for round_trip, size in bench.scale.round_trips:
        if round_trip == 0:
            _measure_one_distance(bench, 0, size, {})
            _measure_carrier(bench, size)
        else:
            with far_target(bench.rig, round_trip) as place:
                _measure_one_distance(bench, round_trip, size, place)


def _measure_one_distance(bench: Bench, round_trip: float, size: int, place: Mapping[str, Any]) -> None:
    rig, runs = bench.rig, bench.scale.round_trip_runs
    names = ["bare TCP", "bare TCP, reno", "socketpipe", "socketpipe, encrypt", "ssh", "nc"]
    stream = replace(zeros(size), **place)
    turns = [
        Turn(peer.name, partial(take_throughput, rig, peer, stream), round_trip)
        for peer in bench.present(names)
    ]
    turns += [
        Turn(name, partial(take_first_byte, rig, PEERS[name], **place), round_trip)
        for name in ("socketpipe", "ssh")
    ]
    bench.recorder.take_turns("round trip", turns, runs, warm=False)


def _measure_carrier(bench: Bench, size: int) -> None:
    """What the program that delays packets can carry, with no delay: the limit of what is behind it."""
    with far_target(bench.rig, 0) as place:
        stream = replace(zeros(size), **place)

        def take() -> Taken:
            taken = take_throughput(bench.rig, PEERS["bare TCP"], stream)
            return Taken({"limit": taken.figures["throughput"]}, taken.seconds)

        runs = bench.scale.round_trip_runs
        bench.recorder.take_turns("round trip", [Turn("bare TCP", take, 0)], runs, warm=False)
