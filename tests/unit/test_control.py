# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control messages: what is read is what was written, in order, or nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import tracemalloc
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.command import TAIL_SIZE
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.control import (
    MAX_BODY,
    MAX_DEPTH,
    ControlReader,
    ControlWriter,
    Message,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import ProtocolError
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import to_text
from harness.examples import one_in
from hypothesis import given
from hypothesis import strategies as st

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
#: What a reader may hold: the longest frame and what came with one read, in a buffer that grows in steps.
BOUND = 2 * (MAX_BODY + (1 << 17))

MESSAGES: list[Message] = [
    {"type": "go"},
    {"type": "read", "direction": "input", "whole": True},
    {
        "type": "abort",
        "reason": {"kind": "command", "text": "Zeilenumbruch:\n\u00fc\u2028\U0001f600\udcff\0"},
    },
    {"type": "finished", "report": {"bytes": 1 << 62, "rc": None, "list": [1, 2.5, "x"]}},
]


def frames(*messages: Message, key: bytes = KEY) -> list[bytes]:
    writer = ControlWriter(key)
    return [writer.frame(message) for message in messages]


def forge(body: bytes, *, number: int = 0, length: int | None = None, key: bytes = KEY) -> bytes:
    """A frame with a MAC that verifies, computed from docs/protocol.md alone."""
    framed = (len(body) if length is None else length).to_bytes(4, "big") + body
    return framed + hmac.new(key, number.to_bytes(8, "big") + framed, hashlib.sha256).digest()


def test_the_frames_are_those_of_the_protocol_page() -> None:
    first, second = frames({"type": "go"}, {"type": "start"})
    assert first == forge(b'{"type":"go"}', number=0)
    assert second == forge(b'{"type":"start"}', number=1)


def test_what_is_written_is_read() -> None:
    assert ControlReader(KEY).receive(b"".join(frames(*MESSAGES))) == MESSAGES


def test_messages_may_be_cut_anywhere() -> None:
    stream = b"".join(frames(*MESSAGES))
    for at in range(1, len(stream)):
        reader = ControlReader(KEY)
        assert reader.receive(stream[:at]) + reader.receive(stream[at:]) == MESSAGES, f"cut at byte {at}"


def test_messages_may_come_byte_by_byte_and_are_given_as_soon_as_they_are_whole() -> None:
    reader = ControlReader(KEY)
    for message, frame in zip(MESSAGES, frames(*MESSAGES), strict=True):
        for at in range(len(frame) - 1):
            assert reader.receive(frame[at : at + 1]) == []
        assert reader.receive(frame[-1:]) == [message]


def test_a_frame_is_ascii() -> None:
    for frame in frames(*MESSAGES):
        assert frame[4:-32].isascii()


# Attacks by whoever can change the stream


@pytest.mark.parametrize(
    ("attack", "order"),
    [
        ("swapped", [1, 0, 2]),
        ("the first dropped", [1, 2]),
        ("one dropped from the middle", [0, 2]),
        ("repeated at once", [0, 0, 1]),
        ("repeated later", [0, 1, 0]),
    ],
)
def test_frames_that_were_moved_do_not_verify(attack: str, order: list[int]) -> None:
    sent = frames(*MESSAGES[:3])
    with pytest.raises(ProtocolError, match="does not verify"):
        pytest.fail(f"{attack}: {ControlReader(KEY).receive(b''.join(sent[at] for at in order))}")


def test_any_flipped_bit_is_refused_or_waits_for_ever() -> None:
    """A longer length than the true one waits; the MAC fails when more comes."""
    (frame,) = frames({"type": "go"})
    for place in range(8 * len(frame)):
        tampered = bytearray(frame)
        tampered[place // 8] ^= 1 << place % 8
        more = bytes(min(MAX_BODY, int.from_bytes(tampered[:4], "big")))
        with pytest.raises(ProtocolError):
            pytest.fail(f"bit {place}: {ControlReader(KEY).receive(bytes(tampered) + more)}")


def test_frames_under_another_key_are_refused() -> None:
    with pytest.raises(ProtocolError, match="does not verify"):
        ControlReader(KEY).receive(frames({"type": "go"}, key=OTHER_KEY)[0])


def test_reflected_frames_are_refused() -> None:
    """The keys differ by direction: what a side wrote does not verify when it comes back."""
    own_key, peers_key = KEY, OTHER_KEY
    with pytest.raises(ProtocolError, match="does not verify"):
        ControlReader(peers_key).receive(frames({"type": "go"}, key=own_key)[0])


def test_frames_are_numbered_beyond_what_one_byte_holds() -> None:
    writer, reader = ControlWriter(KEY), ControlReader(KEY)
    for number in range(300):
        frame = writer.frame({"type": "heartbeat"})
        assert frame == forge(b'{"type":"heartbeat"}', number=number)
        assert reader.receive(frame) == [{"type": "heartbeat"}]


# A proven peer that does not follow the protocol


@pytest.mark.parametrize("length", [MAX_BODY + 1, 1 << 24, (1 << 32) - 1])
def test_an_oversized_message_is_refused_when_it_is_announced(length: int) -> None:
    with pytest.raises(ProtocolError, match=f"message of {length} bytes"):
        ControlReader(KEY).receive(length.to_bytes(4, "big"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"go",
        b"{",
        b'{"type":"go"',
        b'{"type":"go"}{}',
        b'{"type":"\xc3\xbc"}',
        b"\xff\xfe",
        b"null",
        b"1",
        b'"type"',
        b'["type"]',
        b"{}",
        b'{"Type":"go"}',
        b'{"type":null}',
        b'{"type":1}',
        b'{"type":["go"]}',
        b"[" * 100_000,
        b'{"type":' * 100_000,
        b'{"type":"go","number":' + b"9" * 100_000 + b".",
        b'{"type":"go","number":' + b"9" * 21 + b"}",
        b'{"type":"go","number":-' + b"9" * 100_000 + b"}",
        b'{"type":"go","number":NaN}',
        b'{"type":"go","number":-Infinity}',
        b'{"type":"go","number":1e999}',
        b'{"type":"go","number":[-1E999]}',
        b'{"type":"\\ud8"}',
        b'{"type":1,"type":2}',
    ],
    ids=lambda body: repr(bytes(body[:24])),
)
def test_what_is_no_object_with_a_type_is_refused_though_it_verifies(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a JSON object with a type"):
        ControlReader(KEY).receive(forge(body))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"type":"go","number":' + b"9" * 20 + b"}", {"type": "go", "number": 10**20 - 1}),
        (b'{"type":"go","type":"stop"}', {"type": "stop"}),
        (b'{"type":1,"type":"stop"}', {"type": "stop"}),
        (b'{"type":"\\ud800"}', {"type": "\ud800"}),
        (b' {"type" : "" }\n', {"type": ""}),
    ],
    ids=["twenty digits", "two types", "the latter is one", "half a character", "blanks"],
)
def test_odd_but_readable(body: bytes, message: Message) -> None:
    assert ControlReader(KEY).receive(forge(body)) == [message]


def nested(depth: int, begin: bytes, end: bytes) -> bytes:
    """An object that nests *depth* deep, itself included."""
    return b'{"type":"go","x":' + begin * (depth - 1) + b"0" + end * (depth - 1) + b"}"


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"x":', b"}")], ids=["lists", "objects"])
def test_what_nests_deeper_than_any_message_is_refused(begin: bytes, end: bytes) -> None:
    """Else it depends on the Python whether there is stack enough to write it again."""
    ControlReader(KEY).receive(forge(nested(MAX_DEPTH - 1, begin, end)))
    for depth in (MAX_DEPTH, 100, 900, 5_000, 100_000):
        with pytest.raises(ProtocolError):
            ControlReader(KEY).receive(forge(nested(depth, begin, end)))


def test_the_longest_message_passes_and_one_byte_more_is_not_sent() -> None:
    filler = "x" * (MAX_BODY - len(b'{"type":"","a":""}'))
    message = {"type": "", "a": filler}
    (frame,) = frames(message)
    assert len(frame) == 4 + MAX_BODY + 32
    assert ControlReader(KEY).receive(frame) == [message]
    with pytest.raises(ValueError, match="at most"):
        frames({"type": "", "a": filler + "x"})


@pytest.mark.parametrize("byte", [b"x", b"\0", b"\xff", b'"', b"\\", b"\n", b"\x7f"])
def test_a_report_with_full_tails_fits_into_a_message(byte: bytes) -> None:
    """The local side has three tails, with input and output: two stderr and one stdout."""
    tail = to_text(byte * TAIL_SIZE)
    frames({"type": "finished", "report": {"commands": [tail] * 3}})


# Properties

_finite = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20) + 1, 10**20 - 1) | _finite | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_messages = st.builds(
    lambda fields, kind: {**fields, "type": kind}, st.dictionaries(st.text(), _json, max_size=4), st.text()
)


@one_in(5)
@given(messages=st.lists(_messages, max_size=5), data=st.data())
def test_any_message_is_read_as_it_was_written_however_it_is_cut(
    messages: list[Any], data: st.DataObject
) -> None:
    stream = b"".join(frames(*messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader, read = ControlReader(KEY), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        read += reader.receive(stream[start:end])
    assert read == messages


@given(
    chunks=st.lists(st.binary(max_size=200)),
    begin=st.sampled_from([b"", *frames({"type": "go"}), b"\0\0\0\x10", b"\0\x10\0\0"]),
)
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(chunks: list[bytes], begin: bytes) -> None:
    reader = ControlReader(KEY)
    read: list[Message] = []
    try:
        for chunk in [begin, *chunks]:
            read += reader.receive(chunk)
    except ProtocolError:
        pass
    assert all(message == {"type": "go"} for message in read)


@st.composite
def _tampered_frames(draw: st.DrawFn) -> bytes:
    """Good frames after somebody on the way has cut, changed, repeated, left out or added something."""
    pieces = frames(*MESSAGES, *draw(st.lists(_messages, max_size=2)))
    for _time in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(pieces) - 1))
        place = draw(st.integers(0, len(pieces[at])))
        change = draw(st.sampled_from(["cut", "repeat", "drop", "add", "flip"]))
        if change == "cut":
            pieces[at] = pieces[at][:place]
        elif change == "repeat":
            pieces.insert(draw(st.integers(0, len(pieces))), pieces[at])
        elif change == "drop":
            pieces[at] = b""
        elif change == "add":
            pieces[at] = pieces[at][:place] + draw(st.binary(max_size=40)) + pieces[at][place:]
        elif place < len(pieces[at]):
            flipped = pieces[at][place] ^ draw(st.integers(1, 255))
            pieces[at] = pieces[at][:place] + bytes([flipped]) + pieces[at][place + 1 :]
    return b"".join(pieces)


@given(stream=_tampered_frames(), data=st.data())
def test_of_a_tampered_stream_only_what_came_before_is_read(stream: bytes, data: st.DataObject) -> None:
    """In order and without a gap, from the first message on, however the stream is cut."""
    reader = ControlReader(KEY)
    read: list[Message] = []
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    try:
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            read += reader.receive(stream[start:end])
    except ProtocolError:
        pass
    assert b"".join(frames(*read)) == stream[: sum(map(len, frames(*read)))]


@given(body=st.binary(max_size=300) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_body_that_verifies_gives_a_message_with_a_type_or_a_protocol_error(body: bytes) -> None:
    try:
        messages = ControlReader(KEY).receive(forge(body))
    except ProtocolError:
        return
    assert [type(message["type"]) for message in messages] == [str]
    frames(*messages)  # and can be sent again


def test_a_peer_that_never_ends_a_message_fills_no_memory() -> None:
    """It announces the most it may, and then sends for ever: the MAC ends that."""
    reader = ControlReader(KEY)
    reader.receive(MAX_BODY.to_bytes(4, "big"))
    chunk = bytes(1 << 16)
    tracemalloc.start()
    try:
        refused = False
        while not refused:
            try:
                reader.receive(chunk)
            except ProtocolError:
                refused = True
            assert tracemalloc.get_traced_memory()[0] < BOUND
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("piece", [b"[],", b"{},"], ids=["lists", "objects"])
def test_the_fullest_message_takes_no_more_than_a_known_multiple_of_its_length(piece: bytes) -> None:
    """Python's objects are larger than what stands for them in JSON; these by most."""
    frame = forge(b'{"type":"go","x":[' + piece * (1 << 16) + b"0]}")
    reader = ControlReader(KEY)
    tracemalloc.start()
    try:
        reader.receive(frame)
        assert tracemalloc.get_traced_memory()[1] < 40 * len(frame)
    finally:
        tracemalloc.stop()


@given(lengths=st.lists(st.integers(0, 400), min_size=1, max_size=8), piece=st.integers(1, 500))
def test_no_message_that_is_whole_is_held_back(lengths: list[int], piece: int) -> None:
    sent = frames(*({"type": "x" * length} for length in lengths))
    stream = b"".join(sent)
    reader, given_out = ControlReader(KEY), 0
    for start in range(0, len(stream), piece):
        given_out += len(reader.receive(stream[start : start + piece]))
        arrived = min(start + piece, len(stream))
        assert given_out == sum(len(b"".join(sent[: at + 1])) <= arrived for at in range(len(sent)))
