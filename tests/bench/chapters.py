# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured, and how often."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.ansible import MODULE

from bench.machine import version_of
from bench.rig import BOUND, Outcome, Rig
from bench.streams import PEERS as STREAMS
from bench.streams import CProgram, Peer, Session, Stream, zeros
from bench.transfers import MODULES, Module
from bench.turns import Recorder, Taken, Turn

GB = 1e9
GIB = 1 << 30
#: Of a stream; its throughput would be of no interest.
STREAM_BOUND = 120.0
#: Less than a GB/s: a smaller stream tells as much.
SLOW = ("socketpipe, encrypt", "socketpipe, checksum", *(name for name in STREAMS if name.startswith("ssh")))
PEERS: dict[str, Peer] = {**STREAMS, **MODULES}


@dataclass(frozen=True)
class Scale:
    """How much is measured, and how often."""

    stream: int = 4 * GIB
    slow_stream: int = GIB
    stream_runs: int = 4
    first_byte_runs: int = 3
    file: int = GIB
    file_runs: int = 3
    tree: int = 20_000
    tree_runs: int = 3
    empty_runs: int = 10
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


def usage_of(outcome: Outcome, size: int) -> dict[str, float]:
    """Processor time for a GB, and memory, of both sides."""
    figures = {}
    for side, usage in outcome.usage.items():
        figures[f"cpu_{side}"] = usage.cpu / (size / GB)
        figures[f"memory_{side}"] = float(usage.memory)
    return figures


# A stream


def measure_stream(bench: Bench) -> None:
    scale = bench.scale
    turns = []
    for peer in bench.present(STREAMS):
        stream = zeros(scale.slow_stream if peer.name in SLOW else scale.stream)
        turns.append(Turn(peer.name, partial(take_stream, bench.rig, peer, stream)))
    bench.recorder.take_turns("stream", turns, scale.stream_runs)
    # It makes its data itself, and has no reader.
    names = [name for name in STREAMS if name != "iperf3"]
    first = [Turn(peer.name, partial(take_first_byte, bench.rig, peer)) for peer in bench.present(names)]
    bench.recorder.take_turns("stream", first, scale.first_byte_runs)


def take_stream(rig: Rig, peer: Peer, stream: Stream) -> Taken:
    outcome = peer.run(rig, stream, STREAM_BOUND)
    if outcome.stopped is not None:
        raise TimeoutError(f"it was ended after {outcome.stopped:g} s")
    figures = {"throughput": peer.throughput(outcome, stream), **usage_of(outcome, stream.size)}
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


# Whole tasks


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
        figures.update(usage_of(outcome, stream.size))
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


# Nothing at all


def measure_empty(bench: Bench) -> None:
    tasks: dict[str, dict[str, Any]] = {
        "command": {"ansible.builtin.command": "/bin/true"},
        "socketpipe": {MODULE: {"input": "/bin/true", "remote": "/bin/true"}},
    }

    def take(name: str) -> Taken:
        outcome = bench.rig.run(tasks[name])
        return Taken({"seconds": outcome.seconds}, outcome.seconds)

    turns = [Turn(name, partial(take, name)) for name in tasks]
    bench.recorder.take_turns("empty", turns, bench.scale.empty_runs)


#: In the order in which they are measured.
CHAPTERS: dict[str, Callable[[Bench], None]] = {
    "stream": measure_stream,
    "file": measure_file,
    "file, pull": partial(measure_file, pull=True),
    "empty": measure_empty,
}


# Who was measured


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
