# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data connections over loopback: how each ending looks to the reader, and exact counts."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import counters
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.counters import tcp_info, unread_bytes
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.data import DataConnection
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import ResourceError
from harness.processes import state_of
from harness.sockets import read_to_the_end, tcp_pair
from harness.waiting import wait_until

Ends = tuple[DataConnection, DataConnection]


@pytest.fixture(params=[True, False], ids=["connector writes", "listener writes"])
def ends(make_pair: Callable[[], Ends], request: pytest.FixtureRequest) -> Ends:
    """The writing and the reading end, in either TCP role."""
    connector, listener = make_pair()
    return (connector, listener) if request.param else (listener, connector)


def assert_reset(sock: socket.socket, data: bytes) -> None:
    read, error = read_to_the_end(sock)
    assert data.startswith(read)
    assert error is not None
    assert error.errno == errno.ECONNRESET


# How a stream ends


def test_finish_gives_the_reader_all_and_then_end_of_file(ends: Ends) -> None:
    writer, reader = ends
    writer.sock.sendall(b"payload")
    writer.finish()
    assert read_to_the_end(reader.sock) == (b"payload", None)
    assert not writer.is_broken
    assert not reader.is_broken


def test_finish_and_close_of_a_whole_session_give_end_of_file(ends: Ends) -> None:
    writer, reader = ends
    writer.sock.sendall(b"payload")
    writer.finish()
    writer.close(whole=True)
    assert read_to_the_end(reader.sock) == (b"payload", None)


@pytest.mark.parametrize("payload", [b"", b"payload"])
def test_a_close_that_is_not_whole_resets(ends: Ends, payload: bytes) -> None:
    writer, reader = ends
    writer.sock.sendall(payload)
    writer.close(whole=False)
    assert_reset(reader.sock, payload)


def test_a_close_after_finish_resets_unless_the_session_was_whole(ends: Ends) -> None:
    """The reader that has not got there yet learns that its session was aborted."""
    writer, reader = ends
    writer.sock.sendall(b"payload")
    writer.finish()
    wait_until(lambda: has_fin(reader), "FIN")
    writer.close(whole=False)
    wait_until(lambda: reader.is_broken, "the reset")


@pytest.mark.parametrize("how", ["exit", "kill -9 $$"])
def test_the_exit_of_a_process_that_holds_the_last_descriptor_resets(ends: Ends, how: str) -> None:
    """An endpoint that was killed: its commands and then nobody hold the socket."""
    writer, reader = ends
    command = subprocess.Popen(
        ["sh", "-c", f"echo payload; read x; {how}"], stdin=subprocess.PIPE, stdout=writer.sock
    )
    writer.sock.close()
    assert reader.sock.recv(100, socket.MSG_PEEK) == b"payload\n"
    assert not reader.is_broken
    command.communicate(b"\n")
    assert_reset(reader.sock, b"payload\n")


def test_disconnect_resets_though_another_process_holds_the_socket(ends: Ends) -> None:
    writer, reader = ends
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=writer.sock) as cat:
        writer.disconnect()
        assert_reset(reader.sock, b"")
        assert writer.is_broken
        assert cat.poll() is None


def test_a_reader_that_sees_a_reset_sees_an_end_of_file_next(ends: Ends) -> None:
    """Why a reset alone is not enough; if this ever fails, the kernel has become kinder."""
    writer, reader = ends
    writer.close(whole=False)
    assert_reset(reader.sock, b"")
    assert reader.sock.recv(1) == b""


@pytest.mark.parametrize("seen", ["nothing", "the reset", "some data", "finish"])
def test_after_disconnect_every_read_fails(ends: Ends, seen: str) -> None:
    writer, reader = ends
    writer.sock.sendall(b"payload" * 1000)
    if seen == "some data":
        assert reader.sock.recv(7) == b"payload"
    if seen == "the reset":
        writer.close(whole=False)
        assert_reset(reader.sock, b"payload" * 1000)
    if seen == "finish":
        writer.finish()
        wait_until(lambda: has_fin(reader), "FIN")
    reader.disconnect()
    for _number in range(5):
        with pytest.raises(OSError, match=r"reset|not connected"):
            pytest.fail(f"it read {reader.sock.recv(1)!r}")


def test_a_command_that_reads_a_disconnected_socket_fails_again_and_again(ends: Ends) -> None:
    _writer, reader = ends
    reader.disconnect()
    script = "for i in 1 2 3; do cat || echo failed; done"
    result = subprocess.run(
        ["sh", "-c", script], stdin=reader.sock, capture_output=True, text=True, check=False
    )
    assert result.stdout == "failed\n" * 3


def test_a_blocked_reader_is_woken_by_disconnect(ends: Ends) -> None:
    _writer, reader = ends
    with subprocess.Popen(["cat"], stdin=reader.sock, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as cat:
        wait_until(lambda: state_of(cat.pid) == "S", "cat waits")
        reader.disconnect()
        assert cat.wait(5) == 1


def test_disconnecting_twice_is_as_once(ends: Ends) -> None:
    writer, reader = ends
    for _number in range(2):
        writer.disconnect()
    assert_reset(reader.sock, b"")


# A reader that ends early


def test_a_blocked_writer_is_woken_when_its_reader_stops(ends: Ends) -> None:
    """Most often by the reset itself, for its write waits; else by SIGPIPE."""
    writer, reader = ends
    command = subprocess.Popen(["cat", "/dev/zero"], stdout=writer.sock, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: state_of(command.pid) == "S", "cat waits for its reader")
    reader.stop_reading()
    words = command.communicate(timeout=5)[1]
    assert command.returncode == -signal.SIGPIPE or "Connection reset by peer" in words


def test_without_the_pending_error_the_next_write_is_a_broken_pipe(ends: Ends) -> None:
    writer, reader = ends
    reader.stop_reading()
    wait_until(lambda: writer.is_broken, "the reset")
    writer.take_error()
    with pytest.raises(BrokenPipeError):
        writer.sock.send(b"x")
    command = subprocess.run(["cat", "/dev/zero"], stdout=writer.sock, check=False)
    assert command.returncode == -signal.SIGPIPE


def test_what_was_written_is_known_after_the_reader_stopped(ends: Ends) -> None:
    writer, reader = ends
    writer.sock.sendall(b"payload")
    reader.stop_reading()
    wait_until(lambda: writer.is_broken, "the reset")
    writer.take_error()
    assert writer.count_sent() == len(b"payload")


def test_what_still_reads_when_the_reader_stopped_sees_no_end_of_file(ends: Ends) -> None:
    writer, reader = ends
    writer.sock.sendall(b"payload")
    reader.stop_reading()
    for _number in range(3):
        with pytest.raises(OSError, match=r"reset|not connected"):
            reader.sock.recv(1)


def test_finish_after_the_reader_broke_the_pipe_is_no_error(ends: Ends) -> None:
    writer, reader = ends
    reader.disconnect()
    wait_until(lambda: writer.is_broken, "the reset")
    writer.finish()


# The descriptor that a command gets


@pytest.mark.parametrize("timeout", [None, 0, 5.0])
def test_no_o_nonblock_is_left_on_the_descriptor(timeout: float | None) -> None:
    for sock in tcp_pair():
        sock.settimeout(timeout)
        with sock:
            connection = DataConnection(sock, handshake_sent=0, handshake_received=0, is_connector=True)
            assert not fcntl.fcntl(connection.descriptor(), fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_command_waits_for_data_instead_of_failing(ends: Ends) -> None:
    writer, reader = ends
    with subprocess.Popen(["cat"], stdin=reader.sock, stdout=subprocess.PIPE) as cat:
        wait_until(lambda: state_of(cat.pid) == "S", "cat waits")
        writer.sock.sendall(b"late")
        writer.finish()
        assert cat.communicate(timeout=5)[0] == b"late"


def test_both_ends_are_armed_from_the_start(ends: Ends) -> None:
    for end in ends:
        linger = end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        assert linger == (1).to_bytes(4, "little") + bytes(4)


# Whole or not


def test_read_whole_is_fin_and_nothing_left(ends: Ends) -> None:
    writer, reader = ends
    assert not reader.is_read_whole()
    writer.sock.sendall(b"payload")
    wait_until(lambda: unread_bytes(reader.sock) == 7, "the payload")
    assert not reader.is_read_whole()
    reader.sock.recv(7)
    assert not reader.is_read_whole()
    writer.finish()
    wait_until(reader.is_read_whole, "FIN")


def test_fin_with_something_unread_is_not_whole(ends: Ends) -> None:
    writer, reader = ends
    writer.sock.sendall(b"payload")
    writer.finish()
    wait_until(lambda: has_fin(reader), "FIN")
    assert not reader.is_read_whole()
    reader.sock.recv(6)
    assert not reader.is_read_whole()
    reader.sock.recv(1)
    assert reader.is_read_whole()


def test_a_reset_is_not_whole(ends: Ends) -> None:
    writer, reader = ends
    writer.close(whole=False)
    wait_until(lambda: reader.is_broken, "the reset")
    assert not reader.is_read_whole()


def test_a_reset_is_none_the_less_one_when_its_error_was_taken(ends: Ends) -> None:
    """As by a reader that reads on; the next read would show it a clean end."""
    writer, reader = ends
    writer.sock.sendall(b"payload")
    wait_until(lambda: unread_bytes(reader.sock) == 7, "the payload")
    writer.close(whole=False)
    wait_until(lambda: reader.is_broken, "the reset")
    assert reader.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
    assert reader.sock.recv(7) == b"payload"
    assert reader.is_broken
    assert not reader.was_read_whole()
    assert reader.count_received() == 7


def test_two_fins_are_no_reset(ends: Ends) -> None:
    writer, reader = ends
    writer.sock.sendall(b"payload")
    writer.finish()
    assert read_to_the_end(reader.sock) == (b"payload", None)
    reader.sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: all(is_over(end) for end in ends), "the end of both directions")
    assert not writer.is_broken
    assert not reader.is_broken
    assert reader.was_read_whole()
    assert (writer.count_sent(), reader.count_received()) == (7, 7)


def test_where_the_system_does_not_tell_only_who_asks_after_the_end_knows(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing unread is no end: more may come."""
    monkeypatch.setattr(counters, "_raw_info", lambda sock: None)
    writer, reader = ends
    assert not reader.was_read_whole()
    writer.sock.sendall(b"payload")
    assert reader.sock.recv(7) == b"payload"
    assert not reader.was_read_whole()
    writer.finish()
    wait_until(reader.was_read_whole, "FIN")
    assert not reader.is_read_whole()


def test_where_the_system_does_not_tell_a_reset_is_not_whole(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "_raw_info", lambda sock: None)
    writer, reader = ends
    writer.close(whole=False)
    wait_until(lambda: select.select([reader.sock], [], [], 0)[0], "the reset")
    assert not reader.was_read_whole()


# Silence


def test_a_connection_that_nothing_moves_on_is_kept_alive(ends: Ends) -> None:
    """Routers forget the others, the most hasty of them after some minutes."""
    for end in ends:
        assert end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert end.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


# Counts


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_exact_to_the_byte(ends: Ends, tmp_path: Path, seed: int) -> None:
    writer, reader = ends
    size = random.Random(seed).choice([0, 1, 2, 80, 1447, 65536, random.Random(seed).randrange(3_000_000)])
    (tmp_path / "payload").write_bytes(bytes(size))
    command = subprocess.Popen(["cat", str(tmp_path / "payload")], stdout=writer.sock)
    counter = subprocess.Popen(["wc", "-c"], stdin=reader.sock, stdout=subprocess.PIPE)
    assert command.wait(5) == 0
    writer.finish()
    assert writer.count_sent() == size
    assert int(counter.communicate(timeout=5)[0]) == size
    assert (writer.count_sent(), reader.count_received()) == (size, size)


def test_sent_counts_what_is_still_on_its_way(ends: Ends) -> None:
    """The reader takes nothing: most of it is in the writer's queue when the writer ends."""
    writer, reader = ends
    writer.sock.setblocking(False)
    size = 0
    while True:
        try:
            size += writer.sock.send(bytes(100_000))
        except BlockingIOError:
            break
    writer.finish()
    assert writer.count_sent() == size
    assert len(read_to_the_end(reader.sock)[0]) == size
    assert (writer.count_sent(), reader.count_received()) == (size, size)


@pytest.mark.parametrize("taken", [0, 1, 500, 1000])
@pytest.mark.parametrize("is_finished", [True, False])
def test_unread_bytes_are_not_counted_as_received(ends: Ends, taken: int, is_finished: bool) -> None:
    writer, reader = ends
    writer.sock.sendall(bytes(1000))
    if is_finished:
        writer.finish()
    wait_until(lambda: unread_bytes(reader.sock) == 1000, "the payload")
    if taken:
        reader.sock.recv(taken)
    assert reader.count_received() == taken


def test_of_a_stream_that_was_not_finished_only_what_was_acknowledged_counts(ends: Ends) -> None:
    writer, reader = ends
    assert (writer.count_sent(), reader.count_received()) == (0, 0)
    writer.sock.sendall(bytes(1000))
    wait_until(lambda: writer.count_sent() == 1000, "the acknowledgement")


def test_the_handshake_itself_is_not_counted() -> None:
    """Other lengths than those of the protocol, so that none of it can be built in."""
    connector, listener = tcp_pair()
    connector.sendall(bytes(11))
    listener.sendall(bytes(7))
    assert (len(listener.recv(100)), len(connector.recv(100))) == (11, 7)
    one = DataConnection(connector, handshake_sent=11, handshake_received=7, is_connector=True)
    other = DataConnection(listener, handshake_sent=7, handshake_received=11, is_connector=False)
    one.sock.sendall(bytes(100))
    other.sock.sendall(bytes(50))
    assert (len(other.sock.recv(200)), len(one.sock.recv(200))) == (100, 50)
    wait_until(lambda: (one.count_sent(), other.count_sent()) == (100, 50), "the acknowledgements")
    assert (one.count_received(), other.count_received()) == (50, 100)
    for end in (one, other):
        end.close(whole=False)


def test_counters_that_stand_still_count_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems have them, and leave them at 0."""
    info = bytearray(256)
    info[0] = 1  # ESTABLISHED
    monkeypatch.setattr(counters, "_raw_info", lambda sock: bytes(info))
    connector, listener = tcp_pair()
    with connector, listener:
        end = DataConnection(connector, handshake_sent=80, handshake_received=112, is_connector=True)
        assert (end.count_sent(), end.count_received()) == (None, None)


def is_over(end: DataConnection) -> bool:
    info = tcp_info(end.sock)
    return info is not None and info.is_over


def has_fin(reader: DataConnection) -> bool:
    info = tcp_info(reader.sock)
    return info is not None and info.fin_arrived


# Whole blocks, and the rate


def test_a_read_waits_for_a_whole_block_or_the_end(ends: Ends) -> None:
    writer, reader = ends
    reader.read_in_blocks(10)
    writer.sock.sendall(b"123456789")
    wait_until(lambda: unread_bytes(reader.sock) == 9, "all has arrived")
    assert select.select([reader.sock], [], [], 0)[0] == []
    writer.sock.sendall(b"01")
    assert reader.sock.recv(10) == b"1234567890"
    writer.finish()
    assert read_to_the_end(reader.sock) == (b"1", None)


def test_a_read_that_waits_for_a_block_sees_the_reset(ends: Ends) -> None:
    writer, reader = ends
    reader.read_in_blocks(10)
    writer.sock.sendall(b"123")
    writer.close(whole=False)
    assert_reset(reader.sock, b"123")


def test_a_block_larger_than_the_kernel_can_keep_is_refused_with_what_is_possible(ends: Ends) -> None:
    with pytest.raises(
        ResourceError, match=r"of 1073741824 bytes is not possible here, but (\d+) are"
    ) as found:
        ends[1].read_in_blocks(1 << 30)
    possible = re.search(r"but (\d+) are", str(found.value))
    assert possible is not None
    ends[1].read_in_blocks(int(possible[1]))


@pytest.mark.parametrize("rate", [1, 5 << 20, 1 << 33])
def test_the_kernel_is_told_the_rate(ends: Ends, rate: int) -> None:
    ends[0].limit_rate(rate)
    told = ends[0].sock.getsockopt(socket.SOL_SOCKET, 47, 8)
    assert int.from_bytes(told, sys.byteorder) == rate


@pytest.mark.parametrize("system", ["darwin", "freebsd14"])
def test_another_system_says_that_it_has_no_rate_limit(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(ResourceError, match="only Linux"):
        ends[0].limit_rate(1)


def test_a_system_that_refuses_an_option_is_quoted(ends: Ends) -> None:
    writer, reader = ends
    writer.sock.close()
    reader.sock.close()
    with pytest.raises(ResourceError, match="block_size is not possible here: Bad file descriptor"):
        reader.read_in_blocks(10)
    with pytest.raises(ResourceError, match="rate_limit is not possible here: Bad file descriptor"):
        writer.limit_rate(10)
