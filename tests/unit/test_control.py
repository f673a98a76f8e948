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
    ControlReader,
    ControlWriter,
    Message,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import ProtocolError
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import to_text
from hypothesis import given, settings
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
    ],
    ids=lambda body: repr(bytes(body[:24])),
)
def test_what_is_no_object_with_a_type_is_refused_though_it_verifies(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a JSON object with a type"):
        ControlReader(KEY).receive(forge(body))


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

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_messages = st.builds(
    lambda fields, kind: {**fields, "type": kind}, st.dictionaries(st.text(), _json, max_size=4), st.text()
)


@settings(max_examples=40)
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


@given(body=st.binary(max_size=300) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_body_that_verifies_gives_a_message_with_a_type_or_a_protocol_error(body: bytes) -> None:
    try:
        messages = ControlReader(KEY).receive(forge(body))
    except ProtocolError:
        return
    assert [type(message["type"]) for message in messages] == [str]


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
