# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two state tables of docs/protocol.md, "A direction", over loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.counters import tcp_info, unread_bytes
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.data import DataConnection
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.direction import (
    DirectionEnd,
    ReadingEnd,
    State,
    WritingEnd,
)
from harness.sockets import read_to_the_end
from harness.waiting import wait_until

OPEN, FINISHED, STOPPED, BROKEN = State.OPEN, State.FINISHED, State.STOPPED, State.BROKEN
PAYLOAD = b"payload"
SIZE = len(PAYLOAD)


class Direction:
    """Both ends. The payload has been written and has arrived; nobody has read it."""

    def __init__(self, written: DataConnection, read: DataConnection) -> None:
        self.writing = WritingEnd("input", written)
        self.reading = ReadingEnd("input", read)
        written.sock.sendall(PAYLOAD)
        wait_until(lambda: unread_bytes(read.sock) == SIZE, "the payload")
        read.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        wait_until(lambda: written.count_sent() == SIZE, "its acknowledgement")


@pytest.fixture
def direction(make_pair: Callable[[], tuple[DataConnection, DataConnection]]) -> Direction:
    return Direction(*make_pair())


Event = Callable[[Direction], None]

# Events at the writing end


def writer_ends_well(direction: Direction) -> None:
    direction.writing.writer_ended(is_whole=True)


def writer_ends_badly(direction: Direction) -> None:
    direction.writing.writer_ended(is_whole=False)


def read_arrives(direction: Direction) -> None:
    direction.writing.reader_ended(is_whole=False)


def read_of_all_arrives(direction: Direction) -> None:
    direction.writing.reader_ended(is_whole=True)


def writer_is_reset(direction: Direction) -> None:
    direction.reading.connection.disconnect()
    wait_until(lambda: direction.writing.connection.is_broken, "the reset")


def writer_is_aborted(direction: Direction) -> None:
    direction.writing.break_off()


# Events at the reading end


def takes(count: int) -> Event:
    def take(direction: Direction) -> None:
        assert len(direction.reading.connection.sock.recv(count)) == count

    take.__name__ = f"takes_{count}"
    return take


takes_all = takes(SIZE)


def fin_arrives(direction: Direction) -> None:
    direction.writing.connection.finish()
    reader = direction.reading.connection.sock
    wait_until(lambda: (info := tcp_info(reader)) is not None and info.fin_arrived, "FIN")


def reader_ends_well(direction: Direction) -> None:
    direction.reading.reader_ended(is_accepted=True)


def reader_ends_badly(direction: Direction) -> None:
    direction.reading.reader_ended(is_accepted=False)


def reader_is_reset(direction: Direction) -> None:
    direction.writing.connection.disconnect()
    wait_until(lambda: direction.reading.connection.is_broken, "the reset")


def reader_is_aborted(direction: Direction) -> None:
    direction.reading.break_off()


# The tables: events, then the state, the bytes of the report, and whether the end is settled

Row = tuple[list[Event], State, "int | None", bool]

WRITING: list[Row] = [
    ([], OPEN, None, False),
    ([writer_ends_well], FINISHED, SIZE, False),
    ([writer_ends_well, read_of_all_arrives], FINISHED, SIZE, True),
    ([writer_ends_well, read_arrives], FINISHED, SIZE, True),
    ([read_of_all_arrives], OPEN, None, False),
    ([read_of_all_arrives, writer_ends_well], FINISHED, SIZE, True),
    ([read_of_all_arrives, writer_ends_badly], BROKEN, SIZE, True),
    ([writer_ends_badly], BROKEN, SIZE, True),
    ([writer_ends_badly, read_arrives], BROKEN, SIZE, True),
    ([read_arrives], STOPPED, None, False),
    ([read_arrives, writer_ends_well], STOPPED, SIZE, True),
    ([read_arrives, writer_ends_badly], STOPPED, SIZE, True),
    ([writer_is_reset], BROKEN, SIZE, False),
    ([writer_is_reset, writer_ends_well], BROKEN, SIZE, True),
    ([writer_is_reset, writer_ends_badly], BROKEN, SIZE, True),
    ([writer_is_reset, read_arrives], BROKEN, SIZE, False),
    ([writer_is_aborted], BROKEN, SIZE, False),
    ([writer_is_aborted, writer_ends_well], BROKEN, SIZE, True),
    ([read_arrives, writer_is_aborted], STOPPED, SIZE, False),
    ([writer_ends_well, writer_is_aborted], BROKEN, SIZE, True),
]

READING: list[Row] = [
    ([], OPEN, None, False),
    ([fin_arrives, takes_all], OPEN, None, False),
    ([fin_arrives, takes_all, reader_ends_well], FINISHED, SIZE, True),
    ([takes_all, fin_arrives, reader_ends_well], FINISHED, SIZE, True),
    ([fin_arrives, takes(3), reader_ends_well], STOPPED, 3, True),
    ([takes_all, reader_ends_well], STOPPED, SIZE, True),
    ([reader_ends_well], STOPPED, 0, True),
    ([fin_arrives, takes_all, reader_ends_badly], BROKEN, SIZE, True),
    ([reader_ends_badly], BROKEN, 0, True),
    ([reader_is_reset], BROKEN, 0, False),
    ([takes(3), reader_is_reset], BROKEN, 3, False),
    ([takes_all, reader_is_reset, reader_ends_well], BROKEN, SIZE, True),
    ([takes(3), reader_is_reset, reader_ends_badly], BROKEN, 3, True),
    ([takes(3), reader_is_aborted], BROKEN, 3, False),
    ([takes(3), reader_is_aborted, reader_ends_well], BROKEN, 3, True),
    ([fin_arrives, takes_all, reader_is_aborted, reader_ends_well], BROKEN, SIZE, True),
    ([takes(3), reader_ends_well, reader_is_aborted], STOPPED, 3, True),
    ([fin_arrives, takes_all, reader_ends_well, reader_is_aborted], BROKEN, SIZE, True),
]


#: How the writing end may end, with its state; but for a finished stream that was aborted then,
#: of which the reader sees the end or the reset, depending on when it looks.
ENDED = [row[:2] for row in WRITING if row[1] is not OPEN and row[0] != [writer_ends_well, writer_is_aborted]]


def name(value: object) -> str | None:
    return ", ".join(event.__name__ for event in value) or "nothing" if isinstance(value, list) else None


def play(direction: Direction, events: list[Event], end: DirectionEnd) -> None:
    for event in events:
        event(direction)
        end.notice_reset()  # as the endpoint does, when the loop tells it of a reset


@pytest.mark.parametrize(("events", "state", "count", "is_settled"), WRITING, ids=name)
def test_the_table_of_the_writing_end(
    direction: Direction, events: list[Event], state: State, count: int | None, is_settled: bool
) -> None:
    play(direction, events, direction.writing)
    assert direction.writing.report() == {"state": state.value, "bytes": count, "digest": None}
    assert direction.writing.is_settled is is_settled
    assert direction.writing.is_broken is (state is BROKEN)


@pytest.mark.parametrize(("events", "state", "count", "is_settled"), READING, ids=name)
def test_the_table_of_the_reading_end(
    direction: Direction, events: list[Event], state: State, count: int | None, is_settled: bool
) -> None:
    play(direction, events, direction.reading)
    assert direction.reading.report() == {"state": state.value, "bytes": count, "digest": None}
    assert direction.reading.is_settled is is_settled
    assert direction.reading.is_broken is (state is BROKEN)


# What the commands at both ends see of it


@pytest.mark.parametrize(("events", "state"), ENDED, ids=name)
def test_the_reader_sees_a_clean_end_only_of_a_finished_stream(
    direction: Direction, events: list[Event], state: State
) -> None:
    play(direction, events, direction.writing)
    if state is not FINISHED:
        direction.writing.connection.close(whole=False)
    data, error = read_to_the_end(direction.reading.connection.sock)
    assert (error is None) is (state is FINISHED)
    assert data == PAYLOAD or state is not FINISHED


@pytest.mark.parametrize("events", [row[0] for row in WRITING if row[1] is STOPPED], ids=name)
def test_a_stopped_writer_gets_a_broken_pipe(direction: Direction, events: list[Event]) -> None:
    play(direction, events, direction.writing)
    direction.reading.stop()
    wait_until(lambda: direction.writing.connection.is_broken, "the reset")
    direction.writing.after_reset()
    with pytest.raises(BrokenPipeError):
        direction.writing.connection.sock.send(b"x")


@pytest.mark.parametrize("events", [row[0] for row in READING if row[1] is BROKEN], ids=name)
def test_whatever_still_reads_a_broken_stream_never_sees_its_end(
    direction: Direction, events: list[Event]
) -> None:
    """Something that the reading command left running, for example."""
    play(direction, events, direction.reading)
    for _number in range(3):
        with pytest.raises(OSError, match=r"reset|not connected"):
            pytest.fail(f"it read {direction.reading.connection.sock.recv(100)!r}")


@pytest.mark.parametrize("events", [[writer_ends_badly], [writer_is_aborted]], ids=name)
def test_breaking_the_writing_end_leaves_the_reading_end_time_to_break_its_own_socket(
    direction: Direction, events: list[Event]
) -> None:
    """After a reset of ours a reader's second read would be a clean end of file."""
    play(direction, events, direction.writing)
    direction.writing.connection.sock.sendall(PAYLOAD)
    direction.reading.notice_reset()
    assert not direction.reading.is_broken


@pytest.mark.parametrize("events", [[reader_ends_badly], [reader_is_aborted]], ids=name)
def test_breaking_the_reading_end_breaks_the_writing_end(direction: Direction, events: list[Event]) -> None:
    play(direction, events, direction.reading)
    wait_until(lambda: direction.writing.connection.is_broken, "the reset at the other end")
    direction.writing.notice_reset()
    assert direction.writing.is_broken


def test_a_reader_that_ends_early_breaks_nothing_by_itself(direction: Direction) -> None:
    """Its endpoint says `read`, and the other endpoint stops the writer."""
    play(direction, [takes(3), reader_ends_well], direction.reading)
    direction.writing.connection.sock.sendall(PAYLOAD)
    direction.writing.notice_reset()
    assert not direction.writing.is_broken
