# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""200 sessions, in each of which SIGKILL comes to anybody, at any moment.

Who and when is drawn from a seed, which a failure shows: SOCKETPIPE_STORM_SEED gives it again.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from harness.sessions import Session, Words
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

STORMS, SESSIONS, AT_ONCE = 4, 50, 3
#: Seconds in which each session is over, and seconds in which the last of its kills comes.
BOUND, LAST_KILL = 25.0, 0.6
PIECE, PIECES = 50_000, 12
WAYS: list[dict[str, Any]] = [{}, {"listen": "remote"}, {"checksum": "sha256"}, {"encrypt": True}]


class Plan(NamedTuple):
    """*kills* are moments, and numbers between 0 and 1 that say which of those who live then."""

    name: str
    directions: Sequence[str]
    options: dict[str, Any]
    kills: Sequence[tuple[float, float]]


def draw(chance: random.Random, name: str) -> Plan:
    moments = sorted(chance.uniform(0, LAST_KILL) for _kill in range(chance.choice([1, 1, 1, 2, 4])))
    return Plan(
        name,
        chance.choice([("input",), ("output",), ("input", "output")]),
        chance.choice(WAYS),
        [(moment, chance.random()) for moment in moments],
    )


class Stormy:
    """One session, and what it reads and writes."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        folder.mkdir()
        self._plan = plan
        self._gates = {
            role: CommitGate(folder, role)
            for role, direction in (("remote", "input"), ("output", "output"))
            if direction in plan.directions
        }
        self._data = os.urandom(PIECE) * PIECES
        (folder / "piece").write_bytes(self._data[:PIECE])
        # No command counts: a shell takes one that was killed for one that had nothing to say.
        numbers = " ".join(map(str, range(PIECES)))
        self._write = f"for n in {numbers}; do cat {folder}/piece || exit; sleep 0.02; done"
        self._session = Session(folder, self._commands(), timeout=3.0, **plan.options)

    def _commands(self) -> dict[str, Words]:
        if self._plan.directions == ("input",):
            return {"input": sh(self._write), "remote": self._gates["remote"].argv}
        if self._plan.directions == ("output",):
            return {"remote": sh(self._write), "output": self._gates["output"].argv}
        there = self._gates["remote"]
        copy = sh(f"tee {there.part} && mv {there.part} {there.whole}")
        return {"input": sh(self._write), "remote": copy, "output": self._gates["output"].argv}

    def run(self) -> None:
        began = time.monotonic()
        for moment, number in self._plan.kills:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            self._kill(number)
        verdict = self._session.wait_over(BOUND).verdict
        wait_until(lambda: not self._session.processes(), "nothing of the session is left", BOUND)
        assert time.monotonic() - began < BOUND
        for gate in self._gates.values():
            assert gate.whole.exists() or verdict.failure is not None, "success without the data"
            assert not gate.whole.exists() or gate.whole.read_bytes() == self._data, "a truncated commit"

    def _kill(self, number: float) -> None:
        alive = sorted(self._session.processes())
        try:
            os.kill(alive[int(number * len(alive))], signal.SIGKILL)
        except (IndexError, ProcessLookupError):
            pass  # it has ended meanwhile, as others have before it

    def close(self) -> None:
        self._session.close()


def weather(folder: Path, plan: Plan) -> str:
    """What went wrong with that session; empty if nothing did."""
    stormy = Stormy(folder / plan.name, plan)
    try:
        stormy.run()
    except AssertionError as error:
        return f"{plan}: {error}"
    finally:
        stormy.close()
    return ""


@pytest.mark.parametrize("storm", range(STORMS))
def test_whoever_is_killed_whenever_nobody_is_deceived(tmp_path: Path, storm: int) -> None:
    """No success without all of the data, no commit of a part of it, and an end in time of all."""
    seed = os.environ.get("SOCKETPIPE_STORM_SEED", secrets.token_hex(8))
    chance = random.Random(f"{seed} {storm}")
    plans = [draw(chance, str(number)) for number in range(SESSIONS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = [words for words in pool.map(lambda plan: weather(tmp_path, plan), plans) if words]
    assert not wrong, f"SOCKETPIPE_STORM_SEED={seed}\n" + "\n".join(wrong)
