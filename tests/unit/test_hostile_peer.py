# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proven peer that says anything at any time: the session ends with an error of its own, or well.

The endpoint runs in a thread, with files in the place of its commands, so that a session takes
milliseconds. The types of messages and their fields are those of docs/protocol.md.
"""

from __future__ import annotations

import functools
import json
import os
import re
import select
import socket
import struct
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.command import Surroundings
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.control import MAX_BODY
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.endpoint import Endpoint
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Purpose, Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import judge, mirrored
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.report import KINDS
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import build_result
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import Scene
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    FileSpec,
    Specification,
)
from harness.by_hand import Control, connect, report_by_hand
from harness.examples import one_in
from harness.sockets import KEY, LOOPBACK, TIMEOUT
from hypothesis import given
from hypothesis import strategies as st

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
COMMANDS = {"input": "cat", "remote": "cat", "output": "cat"}
SCENE = Scene({"local": "here", "remote": "there"}, COMMANDS)
#: More than the buffers of a connection hold: the file that is sent waits for its reader.
LARGE = 64 << 20
#: Seconds in which a session has to end when its peer has said all it has to say: all the
#: deadlines of an abort together, which only a session that hangs needs.
ENDING = 20.0


def _table_of_messages() -> dict[str, set[str]]:
    """The fields of each type of message."""
    section = PROTOCOL.split("## Control connection")[1].split("\n## ")[0]
    fields: dict[str, set[str]] = {}
    for first, meaning in re.findall(r"^\| (`.*?`) \| .*? \| (.*) \|$", section, re.MULTILINE):
        for type in re.findall(r"`(\w+)`", first):
            fields[type] = set(re.findall(r"`(\w+)`", meaning))
    return fields


MESSAGES = _table_of_messages()
FIELDS = sorted(set().union(*MESSAGES.values()))


class Kind(NamedTuple):
    """What the endpoint was asked for."""

    side: Side
    directions: tuple[str, ...] = ("input", "output")
    checksum: str | None = None
    preflight: bool = False
    size: int = 10

    def __str__(self) -> str:
        asked_for = [*self.directions, *(["preflight"] if self.preflight else []), self.checksum]
        return "-".join(filter(None, [self.side.value, *asked_for, "large" if self.size == LARGE else ""]))


KINDS_OF_SESSIONS = [
    Kind(Side.LOCAL),
    Kind(Side.LOCAL, size=LARGE),
    Kind(Side.LOCAL, checksum="sha256"),
    Kind(Side.LOCAL, directions=("output",)),
    Kind(Side.LOCAL, directions=(), preflight=True),
    Kind(Side.REMOTE),
    Kind(Side.REMOTE, size=LARGE),
    Kind(Side.REMOTE, checksum="crc32"),
    Kind(Side.REMOTE, directions=("input",)),
    Kind(Side.REMOTE, directions=(), preflight=True),
]


EACH_KIND = pytest.mark.parametrize("kind", KINDS_OF_SESSIONS, ids=str)


def _file(size: int) -> int:
    descriptor = os.memfd_create("file")
    os.truncate(descriptor, size)
    return descriptor


class Session:
    """An endpoint in a thread, and its peer, which has proved itself and says what it is told to."""

    def __init__(self, kind: Kind, timeout: float = TIMEOUT) -> None:
        self.kind = kind
        server = socket.create_server((LOOPBACK, 0))
        port = server.getsockname()[1]
        roles = ("remote",) if kind.side is Side.REMOTE else ("output", "input")
        wanted = [role for role in roles if role == "remote" or role in kind.directions]
        self._files = {} if kind.preflight else {role: _file(kind.size) for role in wanted}
        spec = Specification(
            side=kind.side,
            key=KEY,
            commands=[FileSpec(role, descriptor, [0]) for role, descriptor in self._files.items()],
            directions=list(kind.directions),
            timeout=timeout,
            listener=server.detach(),
            checksum=kind.checksum,
            preflight=kind.preflight,
        )
        self.endpoint = Endpoint(spec, lambda event: None, Surroundings(None, None, None, own_session=False))
        self.ended: Any = None
        self._before = set(threading.enumerate())
        threading.Thread(target=self._run, daemon=True).start()
        self.peer = Control(*connect(port, Purpose.CONTROL, kind.side.peer), kind.side.peer)
        if kind.side is Side.REMOTE:
            self.peer.say("go")
        self.data = {
            name: connect(port, Purpose(name), kind.side.peer)[0]
            for name in ([] if kind.preflight else kind.directions)
        }

    def _run(self) -> None:
        try:
            self.ended = self.endpoint.run()
        except BaseException as error:
            self.ended = error

    def begin(self) -> None:
        """What comes first by the book: the endpoint's commands run."""
        if not self.kind.preflight:
            self.peer.say("start" if self.kind.side is Side.REMOTE else "started")
            self.peer.hear_until("started")

    def do(self, action: Callable[[Session], None]) -> None:
        """What the endpoint has ended meanwhile can not be done any more."""
        try:
            action(self)
        except OSError:
            pass

    def close(self) -> Any:
        """Say nothing more; gives the endpoint's view, or what it raised."""
        for sock in (self.peer.sock, *self.data.values()):
            self.do(lambda session, sock=sock: sock.shutdown(socket.SHUT_WR))
        self.do(lambda session: _drain(session.peer.sock))
        for sock in (self.peer.sock, *self.data.values()):
            sock.close()
        for thread in set(threading.enumerate()) - self._before:
            thread.join(ENDING)
            assert not thread.is_alive(), "the session has not ended"
        self.endpoint.loop.close()
        for role in self._files.keys() - self.endpoint.crew.players.keys():
            os.close(self._files[role])
        return self.ended


def _drain(sock: socket.socket) -> None:
    """A peer that closes with something unread resets the connection: here it shall be the last word."""
    sock.settimeout(ENDING)
    while sock.recv(1 << 16):
        pass


def expect_an_end(session: Session) -> dict[str, Any]:
    """A good one, or one for a reason of the protocol's; all that follows a session can be done."""
    view = session.close()
    assert isinstance(view, dict), f"the endpoint raised {view!r}"
    reason = view["own"]["reason"]
    assert reason is None or reason["kind"] in KINDS
    for end in view["own"]["directions"].values():
        assert end["bytes"] is None or 0 <= end["bytes"] <= LARGE
    assert len(json.dumps(view)) < 2 * MAX_BODY
    if session.kind.side is Side.LOCAL and not session.kind.preflight:
        verdict = judge(view, mirrored(view), SCENE)
        build_result(view, mirrored(view), verdict, SCENE, COMMANDS, datetime.now())
        assert reason is None or verdict.failure is not None
    return view


# What the peer does

_side = st.sampled_from(["input", "output", "control"])
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.integers(-(1 << 66), 1 << 66)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["input", "output", "local", "remote", "\ud800", "x" * 1_000_000, 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
) | st.sampled_from(
    [functools.reduce(lambda inner, level: [inner], range(depth), 0) for depth in (15, 50, 900)]
)
_numbers = st.integers(-1, 6)
_reasons = st.fixed_dictionaries(
    {"kind": st.sampled_from(KINDS), "text": st.text()},
    optional={
        "role": st.sampled_from(["input", "remote", "output"]),
        "direction": _side,
        "by": st.just("peer"),
    },
)


@st.composite
def _messages(draw: st.DrawFn) -> dict[str, Any]:
    """Of any type, with the fields of its own or of others, right, odd, or left out."""
    type = draw(st.sampled_from(sorted(MESSAGES)) | st.sampled_from(["", "nonsense", "n" * 1_000_000]))
    names = sorted(MESSAGES.get(type, set())) if draw(st.booleans()) else FIELDS
    fields: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)) if names else []:
        likely: dict[str, st.SearchStrategy[Any]] = {
            "direction": _side,
            "whole": st.booleans(),
            "number": _numbers,
            "reason": _reasons,
            "report": st.sampled_from(Side).map(report_by_hand),
        }
        fields[name] = draw(likely.get(name, _values) if draw(st.integers(0, 3)) else _values)
    return {**fields, "type": type}


def says(message: dict[str, Any]) -> Callable[[Session], None]:
    return lambda session: session.peer.say(**message)


def sends(data: bytes) -> Callable[[Session], None]:
    return lambda session: session.peer.sock.sendall(data)


def on_data(direction: str, deed: Callable[[socket.socket], object]) -> Callable[[Session], None]:
    def do(session: Session) -> None:
        sock = session.data.get(direction)
        if sock is not None and sock.fileno() >= 0:
            deed(sock)

    return do


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


DEEDS: list[Callable[[socket.socket], object]] = [
    lambda sock: sock.sendall(b"data"),
    lambda sock: select.select([sock], [], [], 0)[0] and sock.recv(1 << 20),
    lambda sock: sock.shutdown(socket.SHUT_WR),
    _reset,
]
_actions = (
    _messages().map(says)
    | _messages().map(says)
    | _messages().map(says)
    | st.builds(on_data, st.sampled_from(["input", "output"]), st.sampled_from(DEEDS))
    | st.binary(min_size=1, max_size=60).map(sends)
)


@EACH_KIND
@one_in(8)
@given(is_begun=st.booleans(), actions=st.lists(_actions, max_size=8))
def test_a_session_with_any_proven_peer_ends_with_a_view(
    kind: Kind, is_begun: bool, actions: list[Callable[[Session], None]]
) -> None:
    # Who said something wrong before its time is no peer: the remote side goes on looking for one.
    session = Session(kind, timeout=0.3)
    if is_begun:
        session.begin()
    for action in actions:
        session.do(action)
    expect_an_end(session)


# One by one


def test_the_page_has_the_messages() -> None:
    assert {"go", "start", "started", "read", "stop", "digest", "abort", "finished", "heartbeat"} <= set(
        MESSAGES
    )
    assert {"direction", "whole", "number", "reason", "report", "digest"} <= set(FIELDS)


@EACH_KIND
def test_every_message_without_its_fields_is_a_breach_or_nothing(kind: Kind) -> None:
    for type in MESSAGES:
        session = Session(kind)
        session.begin()
        session.do(says({"type": type}))
        view = expect_an_end(session)
        assert view["own"]["reason"]["kind"] in ("protocol", "lost"), type


def _flood(message: Callable[[int], dict[str, Any]]) -> Callable[[Session], None]:
    """One message after the other, of which the peer reads no answer."""

    def say_all(session: Session) -> None:
        for number in range(3000):
            session.peer.say(**message(number))

    return say_all


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Kind(Side.LOCAL, size=LARGE), lambda number: {"type": "read", "direction": "input"}),
        (Kind(Side.REMOTE, size=LARGE), lambda number: {"type": "read", "direction": "output"}),
        (Kind(Side.REMOTE, (), preflight=True), lambda number: {"type": "probe", "number": number % 5}),
        (Kind(Side.REMOTE, (), preflight=True), lambda number: {"type": "probe", "number": number}),
        (Kind(Side.LOCAL, (), preflight=True), lambda number: {"type": "echo", "number": 7 + number}),
        (
            Kind(Side.LOCAL, checksum="md5"),
            lambda number: {"type": "digest", "direction": "output", "digest": "x"},
        ),
        (Kind(Side.REMOTE), lambda number: {"type": "finished", "report": report_by_hand(Side.LOCAL)}),
        (Kind(Side.LOCAL), lambda number: {"type": "started"}),
    ],
    ids=["read", "read at the remote side", "probe", "more probes", "echo", "digest", "finished", "started"],
)
def test_nothing_can_be_said_again_and_again(kind: Kind, message: Callable[[int], dict[str, Any]]) -> None:
    """What has an answer would fill the endpoint's memory while the peer does not read it."""
    session = Session(kind)
    session.begin()
    session.do(_flood(message))
    reason = expect_an_end(session)["own"]["reason"]
    assert reason["kind"] == "protocol"
    assert f"'{message(0)['type']}'" in reason["text"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Kind(Side.REMOTE, (), preflight=True), {"type": "probe", "number": [1e15] * 200_000}),
        (Kind(Side.REMOTE, (), preflight=True), {"type": "probe", "number": 1e15}),
        (Kind(Side.LOCAL), {"type": "x" * 4_000_000}),
        (Kind(Side.LOCAL), {"type": "abort", "reason": {"kind": "lost", "text": "x" * 4_000_000}}),
        (Kind(Side.LOCAL), {"type": "abort", "reason": {"kind": "lost", "text": "\0" * 600_000}}),
        (Kind(Side.LOCAL), {"type": "abort", "reason": {"kind": "lost", "text": "x", "y": [1e15] * 200_000}}),
        (
            Kind(Side.LOCAL, checksum="md5"),
            {"type": "digest", "direction": "output", "digest": "x" * 4_000_000},
        ),
        (Kind(Side.LOCAL), {"type": "read", "direction": ["x"] * 800_000}),
    ],
    ids=["probe", "a number", "type", "text", "text that is longer in JSON", "reason", "digest", "direction"],
)
def test_what_the_peer_made_long_does_not_make_this_sides_words_too_long(
    kind: Kind, message: dict[str, Any]
) -> None:
    session = Session(kind)
    session.begin()
    session.do(says(message))
    view = expect_an_end(session)
    assert view["own"]["reason"]["kind"] in ("protocol", "lost")
    assert len(json.dumps(view)) < MAX_BODY / 4
