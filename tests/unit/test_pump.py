# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pumped direction over loopback: what its two commands see, whatever happens between them."""

from __future__ import annotations

import concurrent.futures
import errno
import hashlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import data as connections
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import pump as pumps
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.checksum import new_checksum
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.counters import tcp_info
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.data import DataConnection
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import (
    IntegrityError,
    ResourceError,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.meeting import Opened
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.pump import (
    Pump,
    PumpedConnection,
    PumpedReader,
    PumpedWriter,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.stream import Stream, plain
from harness.processes import state_of
from harness.sockets import TIMEOUT, read_to_the_end, reset, run_until
from harness.tls import LOCAL, REMOTE, stream_pair
from harness.waiting import wait_until

SHA256 = "sha256"


class Direction:
    """Both machines, in one loop. The test is the writing command, with `output`, and the reading
    one, with `input`; what the endpoints tell each other is passed on if `tells`."""

    def __init__(self, loop: Loop, *, encrypt: bool, checksum: str | None) -> None:
        self.loop = loop
        self.tells = True
        self.digests: list[str] = []
        self.damage: list[IntegrityError] = []
        streams = stream_pair(LOCAL, REMOTE) if encrypt else stream_pair(plain, plain)
        #: The writer's end, and the reader's.
        self.network = [
            DataConnection(stream.sock, handshake_sent=0, handshake_received=0, is_connector=at == 0)
            for at, stream in enumerate(streams)
        ]
        opened = [Opened(*both) for both in zip(self.network, streams, strict=True)]

        def options() -> dict[str, Any]:
            return {"checksum": checksum and new_checksum(checksum), "on_damage": self.damage.append}

        self.writer = PumpedWriter(loop, opened[0], on_sent=self._sent, **options())
        self.reader = PumpedReader(loop, opened[1], **options())
        self.output, self.input = (_held(end) for end in (self.writer, self.reader))

    def _sent(self, digest: str) -> None:
        self.digests.append(digest)
        if self.tells:
            self.reader.expect(digest)

    def run(self, *actions: Callable[[], Any]) -> list[Any]:
        """What *actions* return, which may block, each in a thread, while the loop runs."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            futures = [pool.submit(action) for action in actions]
            for future in futures:
                future.add_done_callback(lambda future: self.loop.call_soon(lambda: None))
            run_until(self.loop, lambda: all(future.done() for future in futures), "the commands")
        return [future.result() for future in futures]

    def settle(self) -> None:
        """Until all has happened that happens by itself: over loopback it takes microseconds."""
        done: list[bool] = []
        self.loop.after(0.01, lambda: done.append(True))
        run_until(self.loop, lambda: done, "some rounds")

    def write(self, data: bytes) -> None:
        """As a command that ends well."""
        self.output.sendall(data)
        self.loop.call_soon(self.writer.finish)

    def read(self) -> tuple[bytes, OSError | None]:
        return read_to_the_end(self.input)

    def read_what_is_there(self) -> bytes:
        """Fails at an end."""
        data = bytearray()

        def read() -> None:
            piece = self.input.recv(1 << 20)
            assert piece, "an end was passed on"
            data.extend(piece)

        self._until_it_waits(self.input, read)
        return bytes(data)

    def write_until_it_waits(self) -> bytes:
        """As much as is taken, though nobody reads."""
        data = bytearray()

        def write() -> None:
            piece = random.Random(len(data)).randbytes(50_000)
            data.extend(piece[: self.output.send(piece)])

        self._until_it_waits(self.output, write)
        return bytes(data)

    def _until_it_waits(self, sock: socket.socket, action: Callable[[], None]) -> None:
        """Until *action* is not possible any more, whatever the loop does."""
        sock.setblocking(False)
        waits = 0
        while waits < 2:
            try:
                action()
                waits = 0
            except BlockingIOError:
                waits += 1
                self.settle()
        sock.settimeout(TIMEOUT)

    def close(self) -> None:
        for end in (self.writer, self.reader):
            end.close(whole=False)
        for sock in (self.output, self.input):
            sock.close()


def _held(end: PumpedConnection) -> socket.socket:
    """As a command holds it."""
    sock = socket.socket(fileno=os.dup(end.descriptor()))
    sock.settimeout(TIMEOUT)
    return sock


WAYS: dict[str, dict[str, Any]] = {
    "encrypted": {"encrypt": True, "checksum": None},
    "checked": {"encrypt": False, "checksum": SHA256},
    "both": {"encrypt": True, "checksum": SHA256},
}
ENCRYPTED = pytest.mark.parametrize("way", ["encrypted", "both"], indirect=True)
CHECKED = pytest.mark.parametrize("way", ["checked", "both"], indirect=True)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WAYS[request.param]


@pytest.fixture
def direction(loop: Loop, way: dict[str, Any]) -> Iterator[Direction]:
    direction = Direction(loop, **way)
    yield direction
    direction.close()


def payload(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def assert_every_read_fails(sock: socket.socket) -> None:
    """Whatever had arrived before."""
    for _number in range(5):
        error = read_to_the_end(sock)[1]
        assert error is not None, "a broken stream has ended as a whole one does"
        assert error.errno in (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE)


def assert_pipe_is_broken(sock: socket.socket) -> None:
    for _number in range(3):
        with pytest.raises(BrokenPipeError):
            sock.send(b"x")


# A whole stream


@pytest.mark.parametrize("size", [0, 1, pumps.BLOCK - 1, pumps.BLOCK, pumps.BLOCK + 1, 5_000_000])
def test_a_whole_stream_arrives_and_is_counted_to_the_byte(direction: Direction, size: int) -> None:
    data = payload(size)
    result = direction.run(lambda: direction.write(data), direction.read)[1]
    assert result == (data, None)
    assert (direction.writer.count_sent(), direction.reader.count_received()) == (size, size)
    assert direction.reader.is_read_whole()
    assert direction.damage == []
    assert not direction.writer.is_broken
    assert not direction.reader.is_broken


@CHECKED
def test_both_ends_have_the_digest_of_what_was_written(direction: Direction) -> None:
    data = payload(300_000)
    direction.run(lambda: direction.write(data), direction.read)
    digest = hashlib.sha256(data).hexdigest()
    assert (direction.writer.digest(), direction.reader.digest()) == (digest, digest)
    assert direction.digests == [digest]


@pytest.mark.parametrize("way", ["encrypted"], indirect=True)
def test_without_a_checksum_there_is_no_digest(direction: Direction) -> None:
    direction.run(lambda: direction.write(b"payload"), direction.read)
    assert (direction.writer.digest(), direction.reader.digest()) == (None, None)
    assert direction.digests == []


def test_what_was_not_pumped_yet_when_the_writer_ended_is_not_lost(direction: Direction) -> None:
    data = payload(100_000)  # as much as the command's connection takes without the loop
    direction.output.sendall(data)
    direction.writer.finish()
    assert direction.writer.count_sent() == len(data)
    assert direction.run(direction.read) == [(data, None)]


def test_what_a_writer_leaves_in_a_full_network_is_not_lost(direction: Direction) -> None:
    data = direction.write_until_it_waits()
    direction.writer.finish()
    assert direction.writer.count_sent() == len(data)
    assert direction.run(direction.read) == [(data, None)]


def test_a_writer_that_ends_its_output_itself_gives_no_end_before_it_ended_well(
    direction: Direction,
) -> None:
    direction.output.sendall(b"payload")
    direction.output.shutdown(socket.SHUT_WR)
    assert direction.read_what_is_there() == b"payload"
    assert direction.digests == []
    direction.writer.finish()
    assert direction.run(direction.read) == [(b"", None)]


def test_a_writer_that_closes_its_output_gives_no_end_before_it_ended_well(direction: Direction) -> None:
    direction.output.sendall(b"payload")
    direction.output.close()
    assert direction.read_what_is_there() == b"payload"
    direction.writer.finish()
    assert direction.run(direction.read) == [(b"", None)]


def test_a_reader_has_all_before_the_end_is_there(direction: Direction) -> None:
    direction.output.sendall(b"payload")
    assert direction.read_what_is_there() == b"payload"
    assert direction.reader.count_received() == 7
    assert not direction.reader.is_read_whole()


def test_what_a_reader_has_not_taken_is_not_counted(direction: Direction) -> None:
    direction.output.sendall(b"payload")
    direction.settle()
    assert direction.input.recv(3) == b"pay"
    assert (direction.writer.count_sent(), direction.reader.count_received()) == (7, 3)


def test_commands_get_what_they_wait_for_as_from_a_pipe(direction: Direction) -> None:
    """Neither finds a socket that does not block."""
    data = payload(3_000_000)
    reading = subprocess.Popen(
        ["sha256sum"], stdin=direction.reader.descriptor(), stdout=subprocess.PIPE, text=True
    )
    writing = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=direction.writer.descriptor())

    def write() -> None:
        writing.communicate(data)
        direction.loop.call_soon(direction.writer.finish)

    words = direction.run(write, reading.communicate)[1][0]
    assert words.split()[0] == hashlib.sha256(data).hexdigest()
    assert (writing.returncode, reading.returncode) == (0, 0)


# No end is passed on unless it is verified


@CHECKED
def test_a_reader_waits_for_its_end_until_the_digest_has_come(direction: Direction) -> None:
    direction.tells = False
    direction.run(lambda: direction.write(b"payload"))
    assert direction.read_what_is_there() == b"payload"
    assert len(direction.digests) == 1
    direction.reader.expect(direction.digests[0])
    assert direction.run(direction.read) == [(b"", None)]


@CHECKED
def test_a_digest_that_comes_before_the_data_is_no_end(direction: Direction) -> None:
    """It goes another way."""
    direction.tells = False
    direction.reader.expect(hashlib.sha256(b"payload").hexdigest())
    direction.output.sendall(b"payload")
    assert direction.read_what_is_there() == b"payload"
    direction.writer.finish()
    assert direction.run(direction.read) == [(b"", None)]


@CHECKED
@pytest.mark.parametrize("comes", ["before the end", "after it"])
@pytest.mark.parametrize("wrong", [hashlib.sha256(b"other").hexdigest(), "", "nonsense", "None"])
def test_a_wrong_digest_is_an_error_for_every_read(direction: Direction, comes: str, wrong: str) -> None:
    direction.tells = False
    if comes == "before the end":
        direction.reader.expect(wrong)
    direction.output.sendall(b"payload")
    direction.writer.finish()
    direction.settle()
    if comes == "after it":
        direction.reader.expect(wrong)
    assert_every_read_fails(direction.input)
    right = hashlib.sha256(b"payload").hexdigest()
    assert [str(error) for error in direction.damage] == [
        f"its checksum was {wrong} when it was sent, and is {right}"
    ]
    direction.reader.expect(right)
    assert_every_read_fails(direction.input)


@pytest.mark.parametrize("way", ["checked"], indirect=True)
def test_a_byte_more_that_somebody_added_is_an_error_for_every_read(direction: Direction) -> None:
    direction.run(lambda: direction.output.sendall(b"payload"))
    direction.settle()
    direction.network[0].sock.send(b"!")
    direction.writer.finish()
    direction.settle()
    assert_every_read_fails(direction.input)
    assert len(direction.damage) == 1


@ENCRYPTED
def test_a_forged_record_is_an_error_for_every_read(direction: Direction) -> None:
    direction.output.sendall(b"payload")
    direction.settle()
    direction.network[0].sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    direction.settle()
    assert_every_read_fails(direction.input)
    assert len(direction.damage) == 1
    direction.settle()
    assert_pipe_is_broken(direction.output)


@ENCRYPTED
def test_fin_alone_is_no_end_of_an_encrypted_stream(direction: Direction) -> None:
    direction.output.sendall(b"payload")
    direction.settle()
    direction.network[0].sock.shutdown(socket.SHUT_WR)
    direction.settle()
    assert_every_read_fails(direction.input)


@CHECKED
def test_the_right_digest_does_not_mend_a_stream_that_was_reset(direction: Direction) -> None:
    direction.tells = False
    direction.output.sendall(b"payload")
    direction.settle()
    direction.network[0].disconnect()
    direction.settle()
    direction.reader.expect(hashlib.sha256(b"payload").hexdigest())
    direction.settle()
    assert_every_read_fails(direction.input)


# Broken connections


@pytest.mark.parametrize("waiting", [b"", b"payload"], ids=["nothing unread", "something unread"])
def test_when_the_network_is_reset_every_read_fails(direction: Direction, waiting: bytes) -> None:
    direction.output.sendall(waiting)
    direction.settle()
    direction.network[0].disconnect()
    direction.settle()
    assert direction.reader.is_broken
    assert_every_read_fails(direction.input)


def test_when_the_network_is_reset_the_writers_pipe_is_broken(direction: Direction) -> None:
    direction.network[1].disconnect()
    direction.settle()
    assert direction.writer.is_broken
    assert_pipe_is_broken(direction.output)


def test_when_the_network_is_reset_a_reader_that_waits_is_woken(direction: Direction) -> None:
    reading = subprocess.Popen(
        ["cat"],
        stdin=direction.reader.descriptor(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: state_of(reading.pid) == "S", "cat waits")
    direction.network[0].disconnect()
    direction.settle()
    assert direction.run(reading.wait) == [1]


@pytest.mark.parametrize("end", ["writer", "reader"])
def test_a_writer_that_waits_is_woken_by_a_broken_pipe(direction: Direction, end: str) -> None:
    """Whichever end breaks: the reader has ended early, or the session is aborted. A write that was
    waiting gives the error without the signal."""
    writing = subprocess.Popen(
        ["cat", "/dev/zero"], stdout=direction.writer.descriptor(), stderr=subprocess.PIPE, text=True
    )

    def waits() -> bool:
        direction.settle()
        return state_of(writing.pid) == "S"

    wait_until(waits, "cat waits")
    getattr(direction, end).disconnect()
    words = direction.run(writing.communicate)[0][1]
    assert writing.returncode == -signal.SIGPIPE or "Broken pipe" in words


@pytest.mark.parametrize("end", ["writer", "reader"])
def test_disconnecting_either_end_breaks_the_connections_of_both_commands(
    direction: Direction, end: str
) -> None:
    direction.output.sendall(b"payload")
    for _number in range(2):
        getattr(direction, end).disconnect()
    direction.settle()
    assert_every_read_fails(direction.input)
    assert_pipe_is_broken(direction.output)
    assert direction.writer.is_broken
    assert direction.reader.is_broken


def test_nothing_is_passed_on_after_an_end_was_disconnected(direction: Direction) -> None:
    direction.output.sendall(b"payload")
    direction.writer.disconnect()
    direction.writer.finish()
    direction.settle()
    assert direction.digests == []
    assert_every_read_fails(direction.input)


def test_what_was_written_is_known_after_the_reader_stopped(direction: Direction) -> None:
    data = direction.write_until_it_waits()
    direction.reader.stop_reading()
    direction.settle()
    assert direction.writer.is_broken
    direction.writer.take_error()
    assert direction.writer.count_sent() == len(data)


def test_finish_after_the_reader_broke_the_pipe_is_no_error(direction: Direction) -> None:
    direction.reader.stop_reading()
    direction.settle()
    direction.writer.finish()
    direction.settle()
    assert direction.digests == []


def test_the_exit_of_the_writing_machine_breaks_the_stream(direction: Direction) -> None:
    """An endpoint that was killed: its kernel closes everything."""
    direction.output.sendall(b"payload")
    direction.settle()
    direction.writer.close(whole=False)
    direction.settle()
    assert_every_read_fails(direction.input)


def test_a_kernel_that_refuses_to_disconnect_a_reader_that_waits_is_asked_again(
    direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux 6.1 to 6.5. After the first error a read would see a clean end."""
    refused = {direction.reader.sock.fileno()}
    disconnect = connections._disconnect
    monkeypatch.setattr(connections, "_disconnect", lambda fd: fd not in refused and disconnect(fd))
    direction.network[0].disconnect()
    direction.settle()
    assert isinstance(direction.read()[1], ConnectionResetError)
    refused.clear()
    direction.reader.disconnect()
    assert_every_read_fails(direction.input)


# Backpressure


def test_a_reader_that_does_not_read_holds_its_writer_back(direction: Direction) -> None:
    """What waits is in the kernel's buffers, not in the endpoints'."""
    tracemalloc.start()
    try:
        data = direction.write_until_it_waits()
        kept = tracemalloc.get_traced_memory()[0] - sys.getsizeof(data)
    finally:
        tracemalloc.stop()
    assert len(data) < 40_000_000
    assert kept < 4 * pumps.BLOCK
    direction.writer.finish()
    assert direction.run(direction.read) == [(data, None)]


class Endless(Stream):
    """There is always more."""

    def receive_into(self, buffer: memoryview) -> int:
        return len(buffer)


class Swallowing(Stream):
    """It takes all."""

    taken = 0

    def send(self, data: bytes | memoryview) -> None:
        self.taken += len(data)


def test_a_source_that_never_runs_dry_leaves_the_rest_its_turn(loop: Loop) -> None:
    source, sink, far = *socket.socketpair(), socket.socket()
    far.close()
    sink.send(b"the source can be read at any time")
    swallowing = Swallowing(sink)
    pump = Pump(
        loop, Endless(source), swallowing, checksum=None, on_end=lambda: None, on_break=lambda error: None
    )
    taken = [0]
    for _round in range(100):
        done: list[bool] = []
        loop.call_soon(lambda done=done: done.append(True))
        run_until(loop, lambda done=done: done, "a round")
        taken.append(swallowing.taken)
    pump.stop()
    assert 0 < taken[-1] - taken[-11] <= 3 * (taken[11] - taken[1])
    for sock in (source, sink):
        sock.close()


# The connection inside this machine


def reading_side(loop: Loop, patch: pytest.MonkeyPatch, made_with: type[socket.socket]) -> PumpedReader:
    """On a machine whose sockets are *made_with* something else. Its writer has said `payload`."""
    far, near = stream_pair(plain, plain)
    connection = DataConnection(near.sock, handshake_sent=0, handshake_received=0, is_connector=False)
    try:
        with patch.context() as patched:
            patched.setattr(socket, "socket", made_with)
            reader = PumpedReader(loop, Opened(connection, near), checksum=None, on_damage=lambda error: None)
        far.send(b"payload")
        far.finish()
    finally:
        far.close()
    return reader


def test_a_stranger_on_this_machine_that_is_faster_is_not_taken_for_the_command(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers: list[socket.socket] = []

    class Socket(socket.socket):
        def listen(self, backlog: int = 1) -> None:
            super().listen(backlog)
            strangers.append(socket.create_connection(self.getsockname(), TIMEOUT))

    reader = reading_side(loop, monkeypatch, Socket)
    (stranger,) = strangers
    assert stranger.recv(100) == b""
    stranger.close()
    assert_passes_on(loop, reader)


def test_a_stranger_on_this_machine_that_is_faster_and_gone_is_not_taken_for_the_command(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Socket(socket.socket):
        def listen(self, backlog: int = 1) -> None:
            super().listen(backlog)
            stranger = socket.socket(self.family)
            stranger.connect(self.getsockname())
            reset(stranger)

    assert_passes_on(loop, reading_side(loop, monkeypatch, Socket))


def without(*families: int) -> type[socket.socket]:
    """Of a machine whose loopback has no address of *families*."""

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            if self.family in families:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
            super().bind(address)

    return Socket


def test_where_there_is_no_ipv4_the_reader_gets_ipv6(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = reading_side(loop, monkeypatch, without(socket.AF_INET))
    assert reader.sock.family == socket.AF_INET6
    assert_passes_on(loop, reader)


def test_a_machine_that_can_not_connect_to_itself_says_so(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match=r"could not connect to itself.*: Cannot assign requested"):
        reading_side(loop, monkeypatch, without(socket.AF_INET, socket.AF_INET6))


def assert_passes_on(loop: Loop, reader: PumpedReader) -> None:
    run_until(loop, lambda: (info := tcp_info(reader.sock)) is not None and info.fin_arrived, "the end")
    assert read_to_the_end(reader.sock) == (b"payload", None)
    reader.close(whole=True)


# Letting go


def descriptors() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue  # that of the folder itself
        found.add(int(name))
    return found


@pytest.mark.parametrize("how", ["whole", "aborted", "broken", "never used"])
def test_no_descriptor_is_left_open(loop: Loop, way: dict[str, Any], how: str) -> None:
    before = descriptors()
    direction = Direction(loop, **way)
    if how == "whole":
        direction.run(lambda: direction.write(b"payload"), direction.read)
    if how == "aborted":
        direction.write_until_it_waits()
        direction.reader.disconnect()
    if how == "broken":
        direction.network[0].disconnect()
        direction.settle()
    for end in (direction.writer, direction.reader):
        end.close(whole=how == "whole")
    assert direction.output.fileno() in descriptors()
    for sock in (direction.output, direction.input):
        sock.close()
    assert descriptors() == before
    direction.settle()


def test_a_reader_that_lags_behind_gets_all_of_a_session_that_ended_well(direction: Direction) -> None:
    """Something that the command has left running."""
    direction.run(lambda: direction.write(b"payload"))
    direction.settle()
    for end in (direction.writer, direction.reader):
        end.close(whole=True)
    assert direction.read() == (b"payload", None)


def test_a_reader_that_lags_behind_gets_no_end_of_a_session_that_did_not(direction: Direction) -> None:
    direction.output.sendall(b"payload")
    direction.settle()
    for end in (direction.writer, direction.reader):
        end.close(whole=False)
    assert isinstance(direction.read()[1], ConnectionResetError)


def test_the_rate_is_limited_where_the_network_is(direction: Direction) -> None:
    direction.writer.limit_rate(5 << 20)
    told = direction.network[0].sock.getsockopt(socket.SOL_SOCKET, 47, 8)
    assert int.from_bytes(told, sys.byteorder) == 5 << 20


def test_a_reader_gets_whole_blocks(direction: Direction) -> None:
    direction.reader.read_in_blocks(10)
    direction.output.sendall(b"123456789")
    direction.settle()
    assert select.select([direction.input], [], [], 0)[0] == []
    direction.run(lambda: direction.write(b"01"))
    direction.settle()
    assert direction.input.recv(10) == b"1234567890"
    assert direction.run(direction.read) == [(b"1", None)]
