# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many targets on one controller, which all receive at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.ansible import MODULE, Run
from harness.network import Target
from harness.processes import wait_ended
from harness.waiting import wait_until

from bench.accounts import Meter
from bench.rig import Rig
from bench.turns import Taken

#: Bytes after which a session surely streams: no module is that large.
_STREAMS = 8 << 20
#: Seconds in which all sessions stream, and in which they end when they are told to.
_START, _END = 240.0, 120.0


@contextmanager
def crowd(rig: Rig, count: int) -> Iterator[list[Target]]:
    """That many targets; one of them is the rig's own."""
    with ExitStack() as stack:
        folder = rig.make_folder("crowd")
        stack.callback(rig.remove_folder, "crowd")
        others = []
        for _number in range(count - 1):
            others.append(Target(folder, rig.keys))
            stack.callback(others[-1].close)
        stack.enter_context(rig.adopted(*others))
        yield [rig.target, *others]


def take_crowd(rig: Rig, targets: Sequence[Target], window: float) -> Taken:
    """One play over all *targets*. Each gets data until *window* seconds have passed in which all did."""
    stop, script = rig.folder / "stop", rig.folder / "endless"
    stop.unlink(missing_ok=True)
    writer = "dd if=/dev/zero bs=256k count=1024 status=none"
    script.write_text(f"while ! [ -e {stop} ]; do {writer} || exit; done\n", encoding="utf-8")
    task = {MODULE: {"input": f"sh {script}", "remote": "dd of=/dev/null bs=256k"}}
    hosts = {name: variables for one in targets for name, variables in rig.inventory(one).items()}
    meter = Meter(rig.accounts)
    before = sent(targets)
    with meter.running():
        began = time.time()
        login = {"ansible.builtin.command": "/bin/true"}
        run = rig.ansible.start(hosts, [login, task], "--forks", str(len(targets)))
        try:
            all_stream = _wait_for_streams(run, targets, before)
            started = time.time() - began
            throughput = _throughput(targets, window)
        finally:
            stop.touch()
            wait_ended(run.process, _END)
        seconds = time.time() - began
    results = run.results()[len(targets) :]
    figures = {"seconds": seconds, "failures": float(len(targets) - sum(one.kind == "ok" for one in results))}
    if all_stream:
        figures.update(throughput=throughput, started=started)
    for side, usage in meter.usage(began, time.time()).items():
        figures[f"memory_{side}"] = float(usage.memory)
    return Taken(figures, seconds)


def sent(targets: Sequence[Target]) -> list[int]:
    """Bytes that have gone to each so far, headers included."""
    return sent_by(Path("/proc/thread-self/net/dev").read_text(), [target.link for target in targets])


def sent_by(table: str, links: Sequence[str]) -> list[int]:
    """As the kernel's *table* of interfaces has it."""
    rows = (line.split() for line in table.replace(":", ": ").splitlines())
    counts = {row[0].rstrip(":"): int(row[9]) for row in rows if row[0].endswith(":")}
    return [counts[link] for link in links]


def _wait_for_streams(run: Run, targets: Sequence[Target], before: Sequence[int]) -> bool:
    """Whether all of them stream; not if one has failed."""

    def stream() -> bool:
        return all(now - then > _STREAMS for now, then in zip(sent(targets), before, strict=True))

    def failed() -> bool:
        return run.process.poll() is not None or any(one.kind != "ok" for one in run.results())

    wait_until(lambda: stream() or failed(), "all sessions stream", _START)
    return not failed()


def _throughput(targets: Sequence[Target], window: float) -> float:
    """Of all together, in bytes for a second."""
    began, before = time.monotonic(), sum(sent(targets))
    time.sleep(window)
    return (sum(sent(targets)) - before) / (time.monotonic() - began)
