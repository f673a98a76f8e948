# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two long-lived processes play one session after the other, and keep nothing of any."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.identities import make_identities
from harness.moments import BOUND
from harness.sessions import ENGINE, Ended, Words, side_of
from harness.sockets import LOOPBACK, hold_port, refuses
from harness.streams import sh

ROUNDS = 40

#: Plays the orders that come on standard input, and tells what is left of each in its process.
PLAYER = """
import json, os, sys, threading
sys.path.insert(0, sys.argv[1])
from _engine.endpoint import Endpoint
from _engine.order import load_order
for line in sys.stdin.buffer:
    endpoint = Endpoint(load_order(line).spec, lambda event: None)
    view = endpoint.run()
    endpoint.loop.close()
    del endpoint
    while True:  # the guards, which an endpoint's process leaves to init
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    paths = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    held = [os.readlink(path) for path in paths if os.path.lexists(path)]
    print(json.dumps({"view": view, "left": [sorted(held), threading.active_count()]}), flush=True)
"""

COMMANDS: dict[str, Words] = {
    "input": sh("head -c 100000 /dev/zero"),
    "remote": ["cat"],
    "output": ["wc", "-c"],
}
#: Each is played in every round, and either succeeds or does not.
KINDS: dict[str, tuple[dict[str, Words], dict[str, Any], bool]] = {
    "whole": (COMMANDS, {}, True),
    "checked": (COMMANDS, {"checksum": "sha256"}, True),
    "encrypted": (COMMANDS, {"encrypt": True}, True),
    "input fails": ({**COMMANDS, "input": sh("head -c 1000 /dev/zero; exit 3")}, {}, False),
    "output fails": ({**COMMANDS, "output": sh("exit 3")}, {"checksum": "crc32"}, False),
    "remote is killed": ({**COMMANDS, "remote": sh("kill -9 $$")}, {}, False),
}


class Player:
    """A process that plays one side."""

    def __init__(self, side: str, folder: Path) -> None:
        self.side = side
        self._errors = folder / f"{side}.errors"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PLAYER, str(ENGINE.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors.open("wb"),
            env={**os.environ, "TMPDIR": str(folder)},
        )

    def order(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], BOUND)[0], f"the {self.side} side hangs"
        line = self._process.stdout.readline()
        assert line, self._errors.read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Players:
    """Both sides; the local one listens on one and the same port in every session."""

    def __init__(self, folder: Path) -> None:
        self._held = hold_port()
        self.port: int = self._held.getsockname()[1]
        self._players = [Player(side, folder) for side in ("local", "remote")]

    def play(
        self, commands: dict[str, Words], *, encrypt: bool = False, checksum: str | None = None
    ) -> Ended:
        """One session; what it leaves in the two processes is in `left`."""
        key, identities = secrets.token_hex(32), make_identities() if encrypt else {}
        for player in self._players:
            spec = side_of(
                player.side,
                commands,
                candidates=[(LOOPBACK, self.port)] if player.side == "remote" else [],
                ports=[self.port] if player.side == "local" else [],
                checksum=checksum,
            )
            identity = identities.get(Side(player.side))
            player.order(key=key, spec=spec, identity=identity and identity._asdict())
        local, remote = (player.answer() for player in self._players)
        self.left = [local["left"], remote["left"]]
        return Ended(local["view"], remote["view"], commands)

    def close(self) -> None:
        for player in self._players:
            player.close()
        self._held.close()


@pytest.fixture
def players(tmp_path: Path) -> Iterator[Players]:
    players = Players(tmp_path)
    yield players
    players.close()


def test_200_sessions_in_a_row_leave_nothing(players: Players, tmp_path: Path) -> None:
    """No descriptor, thread, process or file, and the port is free for the next one."""
    left = []
    for _round in range(ROUNDS):
        for name, (commands, options, is_good) in KINDS.items():
            verdict = players.play(commands, **options).verdict
            assert (verdict.failure is None) == is_good, f"{name}: {verdict}"
            assert refuses(players.port)
        left.append(players.left)
    assert left[-1] == left[0]
    assert [threads for _held, threads in left[0]] == [1, 1]
    assert {path.name for path in tmp_path.iterdir()} == {"local.errors", "remote.errors"}
