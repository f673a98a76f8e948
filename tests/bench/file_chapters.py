# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole tasks: a file, a folder, much and little."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.rig import Rig
from bench.scale import Bench, usage_figures
from bench.streams import PEERS as STREAMS
from bench.streams import Peer, Stream, zeros
from bench.turns import Taken, Turn


def take_task(rig: Rig, peer: Peer, stream: Stream, bound: float, *, with_usage: bool = False) -> Taken:
    """It has to have moved what it was to move, unless it was stopped."""
    if stream.source is not None and stream.source.is_dir():
        assert stream.dest is not None
        stream.dest.mkdir()
    try:
        outcome = peer.run(rig, stream, bound)
        if outcome.stopped is None and stream.source is not None:
            words = ["diff", "-rq", str(stream.source), str(stream.dest)]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    finally:
        if stream.dest is not None:
            remove(stream.dest)
    figures = {"seconds": outcome.seconds}
    if with_usage:
        figures.update(usage_figures(outcome, stream.size))
    if outcome.stopped is not None:  # nobody knows how much it has moved
        figures = {name: value for name, value in figures.items() if not name.startswith("cpu")}
    return Taken(figures, outcome.seconds, outcome.stopped)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def random_file(folder: Path, size: int) -> Iterator[Path]:
    """Readable for all users of the target."""
    path = folder / "source"
    with path.open("wb") as file:
        subprocess.run(["head", "-c", str(size), "/dev/urandom"], stdout=file, check=True)
    try:
        yield path
    finally:
        path.unlink()


def file_stream(source: Path, size: int, *, pull: bool = False) -> Stream:
    dest = source.with_name("dest")
    return Stream(
        f"dd if={source} bs=256k status=none",
        f"dd of={dest} bs=256k status=none",
        size,
        *(source, dest, pull),
    )


#: All whole tasks; nc and its like need somebody who starts the other end.
FILE_PEERS = [
    "no network",
    *("socketpipe", "socketpipe, encrypt", "socketpipe, checksum", "C socketpipe"),
    *(name for name in STREAMS if name.startswith("ssh")),
]


def measure_file(bench: Bench, *, pull: bool = False) -> None:
    """Push or pull a file."""
    if pull:
        names = [name for name in FILE_PEERS if name != "C socketpipe"]
        names += ["fetch", "fetch, become", "synchronize"]
    else:
        names = [*FILE_PEERS, "copy", "synchronize"]
    scale = bench.scale
    with random_file(bench.rig.folder, scale.file) as source:
        stream = file_stream(source, scale.file, pull=pull)
        turns = [
            Turn(peer.name, partial(take_task, bench.rig, peer, stream, scale.bound, with_usage=True))
            for peer in bench.present(names)
        ]
        bench.recorder.take_turns("file, pull" if pull else "file", turns, scale.file_runs)


def measure_tree(bench: Bench) -> None:
    folder, scale = bench.rig.make_folder("tree"), bench.scale
    size = make_tree(folder / "source", scale.tree)
    source, dest = folder / "source", folder / "dest"
    stream = Stream(f"tar cf - -C {source} .", f"tar xf - -C {dest}", size, source, dest)
    turns = [
        Turn(peer.name, partial(take_task, bench.rig, peer, stream, scale.bound))
        for peer in bench.present(["no network", "socketpipe", "ssh", "ssh -C", "copy", "synchronize"])
    ]
    bench.recorder.take_turns("tree", turns, scale.tree_runs)
    bench.rig.remove_folder("tree")


def make_tree(folder: Path, count: int) -> int:
    """That many files of up to 8 KB, 100 in a folder; their bytes."""
    chance = random.Random(count)
    sizes = [chance.randrange(8192) for _file in range(count)]
    for number, size in enumerate(sizes):
        path = folder / str(number // 100) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(size))
    return sum(sizes)


# From a line to a disk

#: The largest file: it is in memory twice.
LARGEST_FILE = 10**9


def measure_size(bench: Bench) -> None:
    """Who takes too long is not asked for more."""
    names = ["socketpipe", "ssh", "copy", "synchronize", "fetch"]
    waiting = {peer.name: peer for peer in bench.present(names)}
    for size in bench.scale.sizes:
        runs = bench.scale.size_runs if size <= LARGEST_FILE else 1
        stopped = _measure_one_size(bench, waiting, size, runs)
        waiting = {name: peer for name, peer in waiting.items() if name not in stopped}


def _measure_one_size(bench: Bench, peers: Mapping[str, Peer], size: int, runs: int) -> set[str]:
    """Who was stopped."""
    stopped = set()

    def take(peer: Peer, stream: Stream) -> Taken:
        with_usage = peer.name == "socketpipe"
        taken = take_task(bench.rig, peer, stream, bench.scale.bound, with_usage=with_usage)
        if taken.stopped is not None:
            stopped.add(peer.name)
        figures = {name: value for name, value in taken.figures.items() if not name.startswith("cpu")}
        return Taken(figures, taken.seconds, taken.stopped)

    turns = [Turn(name, partial(take, peers[name], zeros(size)), size) for name in peers if name in STREAMS]
    with ExitStack() as stack:
        if size <= LARGEST_FILE:
            source = stack.enter_context(random_file(bench.rig.folder, size))
            for name in (name for name in peers if name not in STREAMS):
                stream = file_stream(source, size, pull=name == "fetch")
                turns.append(Turn(name, partial(take, peers[name], stream), size))
        bench.recorder.take_turns("size", turns, runs, warm=size <= LARGEST_FILE)
    return stopped
