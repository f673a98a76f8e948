# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole sessions, encrypted or checked, with somebody between the two machines who changes things."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.sessions import Ended, Sessions, Words
from harness.streams import CommitGate, sh
from harness.tls import (
    CLOSE_NOTIFY_SIZE,
    FlipWhenTold,
    Tamper,
    TamperingRelay,
    Truncate,
    TruncateRecord,
    Way,
    python_by_side,
)
from harness.waiting import wait_until

from .test_session import interpreters

SIZE = 300_000
#: Data of the only direction, as the writer sends it, by the side that listens.
DATA: dict[tuple[str, str], Way] = {
    ("input", "local"): (1, False),
    ("input", "remote"): (1, True),
    ("output", "local"): (1, True),
    ("output", "remote"): (1, False),
}
#: The Python of the side that reads; the other side has the one that runs this.
READERS = pytest.mark.parametrize("reading", interpreters().values(), ids=interpreters().keys())


@pytest.fixture
def tampered(sessions: Sessions) -> Iterator[Callable[..., Ended]]:
    """A session through a relay that tampers."""
    relays: list[TamperingRelay] = []

    def through(tampers: dict[Way, Tamper]) -> Callable[[str, int], int]:
        def relay(listener: str, port: int) -> int:
            relays.append(TamperingRelay(port, tampers))
            return relays[-1].port

        return relay

    def run(commands: dict[str, Words], tampers: dict[Way, Tamper], **options: Any) -> Ended:
        return sessions.run(commands, through=through(tampers), **options)

    yield run
    for relay in relays:
        relay.close()


def push(gate: CommitGate) -> dict[str, Words]:
    return {"input": sh(f"head -c {SIZE} /dev/zero"), "remote": gate.argv}


#: Of a stream of 19 records of payload, after those of the handshake.
TRUNCATIONS: dict[str, Callable[[], Tamper]] = {
    "mid-record": lambda: Truncate(SIZE // 2),
    "in a record's header": lambda: TruncateRecord(lambda number, size: number == 15, inside=3),
    "at a record's boundary": lambda: TruncateRecord(lambda number, size: number == 15),
    "before close_notify": lambda: TruncateRecord(lambda number, size: size == CLOSE_NOTIFY_SIZE),
    "in close_notify": lambda: TruncateRecord(lambda number, size: size == CLOSE_NOTIFY_SIZE, inside=12),
}


@READERS
@pytest.mark.parametrize("how", TRUNCATIONS)
def test_a_truncated_encrypted_stream_is_never_committed(
    tampered: Callable[..., Ended], tmp_path: Path, how: str, reading: str
) -> None:
    gate = CommitGate(tmp_path)
    python = python_by_side(tmp_path, local=sys.executable, remote=reading)
    tampers = {DATA["input", "local"]: TRUNCATIONS[how]()}
    ended = tampered(push(gate), tampers, encrypt=True, listen="local", python=python)
    assert not gate.whole.exists()
    assert ended.verdict.failure is not None


def test_a_control_message_changed_on_its_way_ends_an_encrypted_session_soon(
    sessions: Sessions, tmp_path: Path
) -> None:
    gate = CommitGate(tmp_path)
    flip = FlipWhenTold()
    relays = []

    def through(listener: str, port: int) -> int:
        relays.append(TamperingRelay(port, {(0, False): flip}))
        return relays[-1].port

    endless = "while head -c 100000 /dev/zero; do sleep 0.01; done"
    commands: dict[str, Words] = {"input": sh(endless), "remote": gate.argv}
    patience = {"peer.HEARTBEAT": 0.1, "endpoint.NOTICE_GRACE": 0.05}
    session = sessions.start(commands, through=through, encrypt=True, patience=patience)
    wait_until(gate.has_bytes, "the stream flows")
    flip.now.set()
    remote = session.remote.wait_ended(timeout=8)
    assert remote["own"]["reason"]["kind"] == "integrity"
    assert not gate.whole.exists()
    relays[0].close()
