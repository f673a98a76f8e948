# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams over sockets that take no more: what waits, in which order it goes, and how it ends."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.stream import Stream, plain
from harness.examples import one_in
from harness.sockets import reset, tcp_pair
from harness.tls import LOCAL, REMOTE, stream_pair
from harness.waiting import wait_until
from hypothesis import given
from hypothesis import strategies as st

Streams = tuple[Stream, Stream]
MAKERS: dict[str, Callable[[], Streams]] = {
    "plain": lambda: stream_pair(plain, plain),
    "encrypted": lambda: stream_pair(LOCAL, REMOTE),
}
EITHER = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
#: More than any socket takes at once.
LARGE = 12_000_000


@pytest.fixture(params=MAKERS.values(), ids=MAKERS.keys())
def streams(request: pytest.FixtureRequest) -> Iterator[Streams]:
    """The two ends of a connection."""
    made = request.param()
    yield made
    close(made)


def close(streams: Streams) -> None:
    for stream in streams:
        stream.close()


def read_what_is_there(stream: Stream) -> bytes:
    data = b""
    while piece := stream.receive(1 << 16):
        data += piece
    return data


def read_to_the_end(sender: Stream, receiver: Stream) -> bytes:
    """All that arrives while *sender* flushes, up to a clean end."""
    read = bytearray()

    def has_ended() -> bool:
        sender.flush()
        while piece := receiver.receive(1 << 16):
            read.extend(piece)
        return piece == b""

    wait_until(has_ended, "the end of the stream")
    return bytes(read)


def test_nothing_is_there_before_it_was_sent_and_is_no_end(streams: Streams) -> None:
    sender, receiver = streams
    assert receiver.receive(100) is None
    sender.send(b"payload")
    assert wait_until(lambda: receiver.receive(100), "the payload") == b"payload"
    assert receiver.receive(100) is None


def test_an_end_is_an_end_however_often_it_is_asked_for(streams: Streams) -> None:
    sender, receiver = streams
    sender.finish()
    wait_until(lambda: receiver.receive(100) == b"", "the end")
    assert [receiver.receive(100) for _number in range(3)] == [b""] * 3


def test_no_more_is_received_than_was_asked_for(streams: Streams) -> None:
    sender, receiver = streams
    sender.send(b"payload")
    assert wait_until(lambda: receiver.receive(3), "the payload") == b"pay"
    assert receiver.receive(100) == b"load"


def test_what_a_full_socket_does_not_take_waits_and_an_end_waits_with_it(streams: Streams) -> None:
    sender, receiver = streams
    data = random.Random(0).randbytes(LARGE)
    sender.send(data)
    assert sender.has_unsent
    sender.finish()
    assert sender.has_unsent
    assert read_to_the_end(sender, receiver) == data
    assert not sender.has_unsent


def test_flushing_a_full_socket_changes_nothing(streams: Streams) -> None:
    sender, receiver = streams
    data = random.Random(0).randbytes(LARGE)
    sender.send(data)
    for _number in range(3):
        sender.flush()
        assert sender.has_unsent
    sender.finish()
    assert read_to_the_end(sender, receiver) == data


def test_what_is_sent_while_something_waits_comes_after_it(streams: Streams) -> None:
    sender, receiver = streams
    data = random.Random(0).randbytes(LARGE)
    sender.send(data)
    sender.send(memoryview(b", and "))
    sender.send(b"more")
    sender.finish()
    assert read_to_the_end(sender, receiver) == data + b", and more"


@pytest.mark.parametrize("data", [b"", b"payload"])
def test_all_that_a_socket_takes_goes_at_once(streams: Streams, data: bytes) -> None:
    sender, receiver = streams
    sender.send(data)
    sender.finish()
    assert not sender.has_unsent
    assert read_to_the_end(sender, receiver) == data


@EITHER
@one_in(7)
@given(
    steps=st.lists(
        st.tuples(st.just("send"), st.integers(0, 400_000))
        | st.tuples(st.sampled_from(["flush", "receive"]), st.integers(1, 100_000)),
        max_size=12,
    )
)
def test_bytes_keep_their_order_whatever_is_done_when(
    make: Callable[[], Streams], steps: list[tuple[str, int]]
) -> None:
    sender, receiver = streams = make()
    sender.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    sent, received = bytearray(), bytearray()
    for number, (step, size) in enumerate(steps):
        if step == "send":
            data = random.Random(number).randbytes(size)
            sent += data
            sender.send(data)
        elif step == "flush":
            sender.flush()
        else:
            received += receiver.receive(size) or b""
    sender.finish()
    assert received + read_to_the_end(sender, receiver) == sent
    close(streams)


def test_the_other_direction_goes_on_after_an_end(streams: Streams) -> None:
    one, other = streams
    one.finish()
    wait_until(lambda: other.receive(100) == b"", "the end")
    other.send(b"payload")
    other.finish()
    assert read_to_the_end(other, one) == b"payload"


def test_nothing_ever_blocks(streams: Streams) -> None:
    for stream in streams:
        assert not os.get_blocking(stream.sock.fileno())


# Broken connections


def test_a_reset_is_an_error_for_who_receives(streams: Streams) -> None:
    sender, receiver = streams
    sender.send(b"payload")
    reset(sender.sock)
    with pytest.raises(ConnectionResetError):
        wait_until(lambda: receiver.receive(100) == b"", "an end that is none")


ACTIONS: dict[str, Callable[[Stream], None]] = {
    "sends": lambda stream: stream.send(b"payload"),
    "finishes": lambda stream: stream.finish(),
    "flushes": lambda stream: stream.flush(),
}


@pytest.mark.parametrize(
    ("action", "waits"),
    [("sends", False), ("sends", True), ("finishes", False), ("finishes", True), ("flushes", True)],
)
def test_a_reset_is_an_error_for_who_has_something_to_send(
    streams: Streams, action: str, waits: bool
) -> None:
    sender, receiver = streams
    if waits:
        sender.send(bytes(LARGE))
    reset(receiver.sock)
    with pytest.raises(OSError, match=r"reset|Broken pipe|not connected"):
        ACTIONS[action](sender)


def test_who_closes_a_stream_closes_its_socket() -> None:
    for stream in stream_pair(plain, plain):
        stream.close()
        assert stream.sock.fileno() == -1


def test_a_plain_stream_tells_nothing_but_what_its_socket_has() -> None:
    connector, listener = tcp_pair()
    connector.sendall(b"payload")
    stream = plain(listener, False)
    wait_until(lambda: stream.receive(3), "the payload")
    assert not stream.has_arrived
    connector.close()
    stream.close()


def test_an_encrypted_stream_tells_what_it_has_taken_from_its_socket() -> None:
    """Nobody who waits for the socket would learn of it."""
    sender, receiver = streams = stream_pair(LOCAL, REMOTE)
    assert not receiver.has_arrived
    sender.send(b"payload")
    sender.send(b"more")
    assert wait_until(lambda: receiver.receive(3), "the payload") == b"pay"
    assert receiver.has_arrived
    assert read_what_is_there(receiver) == b"loadmore"
    assert not receiver.has_arrived
    close(streams)
