# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file in the place of a command: what it sends, what it writes, and how it ends."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import file as files
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.data import DataConnection
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.file import (
    BLOCK_SIZE,
    File,
    receive,
    remove_temporaries,
    send,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    CommandSpec,
    FileSpec,
    Specification,
)
from harness.sockets import read_to_the_end, reset, run_until, tcp_pair
from harness.waiting import wait_until

SIZES = [0, 1, 4096, BLOCK_SIZE, BLOCK_SIZE + 1, 5 * BLOCK_SIZE + 12345]
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a TCP connection; the first blocks, as a command's does."""
    ours, theirs = tcp_pair()
    ours.settimeout(None)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture(params=["in the kernel", "in blocks"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to move bytes."""
    if request.param == "in blocks":
        monkeypatch.setattr(files, "_HAS_SENDFILE", False)
        monkeypatch.setattr(files, "_HAS_SPLICE", False)
    return str(request.param)


def open_input(path: Path, data: bytes) -> int:
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


def open_output(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)


class Player:
    """A file at *ours*, already moving; *accept_rc* is its user's."""

    def __init__(
        self, loop: Loop, role: str, descriptor: int, ours: socket.socket, accept_rc: list[int] | None = None
    ) -> None:
        self._loop = loop
        self._ended: list[bool] = []
        self.descriptor = descriptor
        self.file = File(
            FileSpec(role, descriptor, accept_rc or [0]),
            loop,
            stdin=ours.fileno() if role == "output" else None,
            stdout=ours.fileno() if role == "input" else None,
            on_exit=lambda: self._ended.append(True),
        )
        self.file.watch()

    def end(self) -> dict[str, Any]:
        """Its report, once it has ended."""
        run_until(self._loop, lambda: self._ended, "the file has ended", timeout=15)
        assert self._ended == [True]
        return self.file.report()


def closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError as error:
        return error.errno == errno.EBADF
    return False


def drain(sock: socket.socket, into: list[bytes]) -> threading.Thread:
    """A thread that reads *sock* to its end."""
    reader = threading.Thread(target=lambda: into.append(read_to_the_end(sock)[0]))
    reader.start()
    return reader


# Whole


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_sent_whole(loop: Loop, pair: Pair, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    ours, theirs = pair
    read: list[bytes] = []
    reader = drain(theirs, read)
    player = Player(loop, "input", open_input(tmp_path / "f", data), ours)
    assert player.end() == {"rc": 0, "signal": None, "stderr": ""}
    assert player.file.is_accepted
    assert closed(player.descriptor)
    ours.shutdown(socket.SHUT_WR)
    reader.join()
    assert read == [data]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_written_whole(loop: Loop, pair: Pair, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    ours, theirs = pair
    player = Player(loop, "output", open_output(tmp_path / "f"), ours)
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    assert player.end() == {"rc": 0, "signal": None, "stderr": ""}
    assert player.file.is_accepted
    assert closed(player.descriptor)
    assert (tmp_path / "f").read_bytes() == data


def test_the_stream_is_the_endpoints_to_end(loop: Loop, pair: Pair, tmp_path: Path) -> None:
    """Only an accepted status makes of it a whole one."""
    ours, theirs = pair
    Player(loop, "input", open_input(tmp_path / "f", b"abc"), ours).end()
    assert theirs.recv(10) == b"abc"
    theirs.settimeout(0.1)
    with pytest.raises(TimeoutError):
        theirs.recv(10)


def test_what_is_added_while_a_file_is_read_is_sent_too(loop: Loop, pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    data = bytes(20 * BLOCK_SIZE)
    player = Player(loop, "input", open_input(tmp_path / "f", data), ours)
    assert theirs.recv(1) == b"\0"
    with (tmp_path / "f").open("ab") as more:
        more.write(b"more")
    read: list[bytes] = []
    reader = drain(theirs, read)
    assert player.end()["rc"] == 0
    ours.shutdown(socket.SHUT_WR)
    reader.join()
    assert read[0] == data[1:] + b"more"


@pytest.mark.usefixtures("way")
def test_a_file_that_gets_shorter_while_it_is_read_is_an_error(
    loop: Loop, pair: Pair, tmp_path: Path
) -> None:
    ours, theirs = pair
    size = 20 * BLOCK_SIZE
    player = Player(loop, "input", open_input(tmp_path / "f", bytes(size)), ours, [0, 1, 141])
    assert theirs.recv(1) == b"\0"
    os.truncate(tmp_path / "f", 10)
    reader = drain(theirs, [])
    report = player.end()
    ours.shutdown(socket.SHUT_WR)
    reader.join()
    assert report["rc"] == 1
    assert report["stderr"] == f"it had {size} bytes, and got shorter while it was read"
    assert not player.file.is_accepted
    assert not player.file.may_be_stopped


def test_a_file_that_is_emptied_once_it_was_read_is_well(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a log is that is rotated."""
    sendfile = os.sendfile

    def send_and_empty(*arguments: Any) -> int:
        count = sendfile(*arguments)
        if not count:
            os.truncate(tmp_path / "f", 0)
        return count

    monkeypatch.setattr(os, "sendfile", send_and_empty)
    file = open_input(tmp_path / "f", b"abc")
    send(file, pair[0].fileno())
    assert os.fstat(file).st_size == 0
    os.close(file)
    assert pair[1].recv(10) == b"abc"


def test_a_file_whose_size_was_never_true_is_sent(pair: Pair) -> None:
    """Those in /sys and /proc: the kernel refuses to send them, or has no size for them."""
    ours, theirs = pair
    for path in ("/sys/kernel/mm/transparent_hugepage/enabled", "/proc/self/status", "/proc/version"):
        expected = Path(path).read_bytes()
        file = os.open(path, os.O_RDONLY)
        send(file, ours.fileno())
        os.close(file)
        assert theirs.recv(1 << 16)[:20] == expected[:20]


# A stream that ends otherwise


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("accept_rc", [[0], [0, 141]])
def test_a_reader_that_ends_early_is_a_broken_pipe(
    loop: Loop, pair: Pair, tmp_path: Path, accept_rc: list[int]
) -> None:
    ours, theirs = pair
    player = Player(loop, "input", open_input(tmp_path / "f", bytes(20 * BLOCK_SIZE)), ours, accept_rc)
    theirs.recv(1)
    reset(theirs)
    report = player.end()
    assert report["rc"] == 141
    assert report["stderr"] in ("Broken pipe", "Connection reset by peer")
    assert not player.file.is_accepted  # that it was stopped is for the endpoint to say
    assert player.file.may_be_stopped == (141 in accept_rc)


@pytest.mark.usefixtures("way")
def test_a_reset_is_never_taken_for_the_end(loop: Loop, pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    player = Player(loop, "output", open_output(tmp_path / "f"), ours, [0, 1, 104, 141])
    theirs.sendall(b"some")
    wait_until(lambda: (tmp_path / "f").stat().st_size == 4, "some bytes are written")
    reset(theirs)
    assert player.end() == {"rc": 1, "signal": None, "stderr": "Connection reset by peer"}
    assert not player.file.is_accepted


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("waits", [True, False])
def test_a_stream_that_the_endpoint_breaks_is_never_taken_for_the_end(
    loop: Loop, make_pair: Callable[[], tuple[DataConnection, DataConnection]], tmp_path: Path, waits: bool
) -> None:
    """Before the first read, or while one waits."""
    ours, theirs = make_pair()
    ours.sock.settimeout(None)
    if not waits:
        ours.disconnect()
    player = Player(loop, "output", open_output(tmp_path / "f"), ours.sock)
    if waits:
        theirs.sock.sendall(b"some")
        wait_until(lambda: (tmp_path / "f").stat().st_size == 4, "some bytes are written")
        ours.disconnect()
    assert player.end()["rc"] == 1


@pytest.mark.usefixtures("way")
def test_a_send_that_waits_ends_when_the_endpoint_breaks_the_stream(
    loop: Loop, make_pair: Callable[[], tuple[DataConnection, DataConnection]], tmp_path: Path
) -> None:
    ours, theirs = make_pair()
    ours.sock.settimeout(None)
    player = Player(loop, "input", open_input(tmp_path / "f", bytes(20 * BLOCK_SIZE)), ours.sock)
    theirs.sock.recv(1)
    ours.disconnect()
    assert player.end()["rc"] == 141


# Errors of the file


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may have more bytes than this, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = BLOCK_SIZE + 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("way", "small_files")
def test_a_file_that_can_not_be_written_is_an_error(loop: Loop, pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    player = Player(loop, "output", open_output(tmp_path / "f"), ours, [0, 1])
    writer = threading.Thread(target=lambda: write_until_refused(theirs, 3 * BLOCK_SIZE))
    writer.start()
    report = player.end()
    reset(ours)
    writer.join()
    assert report == {"rc": 1, "signal": None, "stderr": "File too large"}
    assert not player.file.is_accepted
    assert str(player.file.failure()) == "the output file could not be written: File too large"


def write_until_refused(sock: socket.socket, size: int) -> None:
    try:
        sock.sendall(bytes(size))
    except OSError:
        pass


def refuse(number: int) -> Callable[..., int]:
    def call(*arguments: Any) -> int:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_that_comes_only_with_fsync_counts(
    loop: Loop, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", refuse(number))
    ours, theirs = pair
    player = Player(loop, "output", open_output(tmp_path / "f"), ours)
    theirs.shutdown(socket.SHUT_WR)
    assert player.end() == {"rc": 1, "signal": None, "stderr": os.strerror(number)}
    assert closed(player.descriptor)


def test_an_error_that_comes_only_with_close_counts(
    loop: Loop, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close
    file = open_output(tmp_path / "f")

    def close_badly(descriptor: int) -> None:
        close(descriptor)
        if descriptor == file:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "close", close_badly)
    ours, theirs = pair
    player = Player(loop, "output", file, ours)
    theirs.shutdown(socket.SHUT_WR)
    assert player.end()["stderr"] == os.strerror(errno.EDQUOT)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_file_that_can_not_be_read_is_an_error(
    loop: Loop, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "sendfile", refuse(number))
    player = Player(loop, "input", open_input(tmp_path / "f", b"abc"), pair[0], [0, 1, 141])
    assert player.end() == {"rc": 1, "signal": None, "stderr": os.strerror(number)}
    assert not player.file.is_accepted
    assert not player.file.may_be_stopped


def test_a_thread_that_fails_otherwise_is_not_waited_for_for_ever(
    loop: Loop, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> int:
        raise MemoryError("no room")

    monkeypatch.setattr(os, "sendfile", fail)
    player = Player(loop, "input", open_input(tmp_path / "f", b"abc"), pair[0])
    assert player.end() == {"rc": 1, "signal": None, "stderr": "MemoryError('no room')"}


# Where the kernel can not do it


def test_a_file_that_the_kernel_can_not_send_is_sent_in_blocks(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sendfile", refuse(errno.EINVAL))
    file = open_input(tmp_path / "f", b"abc")
    send(file, pair[0].fileno())
    os.close(file)
    assert pair[1].recv(10) == b"abc"


@pytest.mark.parametrize("refused", ["the stream", "the file", "the file later"])
def test_a_file_that_the_kernel_can_not_write_is_written_in_blocks(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Whatever has come as far as the pipe is written first."""
    data = os.urandom(3 * BLOCK_SIZE + 77)
    file = open_output(tmp_path / "f")
    splice = os.splice
    calls: list[int] = []

    def splice_or_not(source: int, sink: int, count: int) -> int:
        calls.append(sink)
        to_file = sink == file
        if (refused == "the stream" and not to_file) or (refused == "the file" and to_file):
            raise OSError(errno.EINVAL, "Invalid argument")
        if refused == "the file later" and calls.count(file) > 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        return splice(source, sink, count if not to_file else min(count, 1000))

    monkeypatch.setattr(os, "splice", splice_or_not)
    writer = threading.Thread(target=send_whole, args=(pair[1], data))
    writer.start()
    receive(pair[0].fileno(), file)
    writer.join()
    os.close(file)
    assert calls
    assert (tmp_path / "f").read_bytes() == data


def send_whole(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def test_a_file_that_only_appends_is_written_too(pair: Pair, tmp_path: Path) -> None:
    """A file that splice itself refuses, not the test."""
    (tmp_path / "f").write_bytes(b"old ")
    file = os.open(tmp_path / "f", os.O_WRONLY | os.O_APPEND)
    send_whole(pair[1], b"new")
    receive(pair[0].fileno(), file)
    os.close(file)
    assert (tmp_path / "f").read_bytes() == b"old new"


def test_a_small_pipe_will_do(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user may have so many large ones, and no more."""
    monkeypatch.setattr(files.fcntl, "fcntl", refuse(errno.EPERM))
    data = os.urandom(3 * BLOCK_SIZE)
    file = open_output(tmp_path / "f")
    writer = threading.Thread(target=send_whole, args=(pair[1], data))
    writer.start()
    receive(pair[0].fileno(), file)
    writer.join()
    os.close(file)
    assert (tmp_path / "f").read_bytes() == data


def test_no_descriptor_is_left_of_a_file(loop: Loop, pair: Pair, tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    player = Player(loop, "output", open_output(tmp_path / "f"), pair[0])
    pair[1].shutdown(socket.SHUT_WR)
    player.end()
    assert os.listdir("/proc/self/fd") == before


# Temporaries


@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "beside a command"])
def test_a_temporary_goes_when_the_session_was_aborted(tmp_path: Path, is_alone: bool) -> None:
    path = os.fsencode(tmp_path) + b"/\xff"
    with open(path, "wb"):
        pass
    output = (
        FileSpec("output", 7, [0], os.fsdecode(path))
        if is_alone
        else CommandSpec("output", ["cat"], [0], file=7, temporary=os.fsdecode(path))
    )
    spec = Specification(Side.LOCAL, bytes(32), [output, FileSpec("input", 8, [0])], [], 1.0)
    remove_temporaries(spec)
    assert os.listdir(tmp_path) == []
    remove_temporaries(spec)  # by whoever comes second


def test_a_temporary_that_can_not_be_removed_hides_no_reason(tmp_path: Path) -> None:
    """As in a directory that has become read-only. This one is none any more."""
    (tmp_path / "folder").touch()
    output = FileSpec("output", 7, [0], str(tmp_path / "folder" / "f"))
    remove_temporaries(Specification(Side.LOCAL, bytes(32), [output], [], 1.0))
