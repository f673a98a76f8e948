# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Local files: which are read and written how, and which are refused before anything connects."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, cast

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    CommandSpec,
    FileSpec,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils import _output_file
from ansible_collections.dds.socketpipe.plugins.plugin_utils._local_files import LocalFiles
from ansible_collections.dds.socketpipe.plugins.plugin_utils._output_file import (
    Attributes,
    FileError,
)
from harness.waiting import wait_until

CHECKED = pytest.mark.parametrize("is_check", [False, True], ids=["run", "check mode"])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with one of each: a file, a directory, a FIFO, a socket, and links."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "to directory").symlink_to("directory")
    (tmp_path / "to null").symlink_to("/dev/null")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        yield tmp_path


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user who may do nothing; the tests may be root, who may."""
    monkeypatch.setattr(os, "access", lambda path, way: False)


@pytest.fixture
def block_device(folder: Path) -> Path:
    """One that may be opened, but is not there."""
    try:
        os.mknod(folder / "block", stat.S_IFBLK | 0o600, os.makedev(0, 0))
    except PermissionError:
        pytest.skip("only root makes devices")
    return folder / "block"


def open_input(files: LocalFiles, path: Path | str, **options: Any) -> None:
    files.open_input(str(path), **{"block_size": None, "accept_rc": [0], **options})


def open_output(files: LocalFiles, path: Path | str, **options: Any) -> None:
    files.open_output(str(path), **{"attributes": Attributes(), "block_size": None, **options})


OPEN: dict[str, Callable[..., None]] = {"input": open_input, "output": open_output}


# How each is read or written


@pytest.mark.parametrize("accept_rc", [[0], [0, 1], [0, 1, 141], []])
def test_a_file_is_read_by_the_endpoint(folder: Path, accept_rc: list[int]) -> None:
    """Of the accepted statuses only the broken pipe's goes there."""
    with LocalFiles(is_check=False) as files:
        open_input(files, folder / "file", accept_rc=accept_rc)
        (descriptor,) = files.descriptors
        assert files.specs == {"input": FileSpec("input", descriptor, [0, 141] if 141 in accept_rc else [0])}
        assert os.read(descriptor, 10) == b"content"


def test_the_size_of_an_input_file_is_known(folder: Path) -> None:
    (folder / "empty").touch()
    # Those of /proc say that they are empty.
    sizes = {"file": len(b"content"), "empty": None, "fifo": None, "to null": None, "/proc/cpuinfo": None}
    for name, size in sizes.items():
        with LocalFiles(is_check=False) as files:
            open_input(files, folder / name)
            assert files.input_size == size, name


def test_without_an_input_file_no_size_is_known(folder: Path) -> None:
    with LocalFiles(is_check=False) as files:
        open_output(files, folder / "new")
        assert files.input_size is None


def test_a_file_is_written_by_the_endpoint_and_gets_its_name_later(folder: Path) -> None:
    with LocalFiles(is_check=False) as files:
        open_output(files, folder / "file", attributes=Attributes(backup=True))
        (descriptor,) = files.descriptors
        assert files.specs == {"output": FileSpec("output", descriptor, [0])}
        os.write(descriptor, b"new")
        assert (folder / "file").read_bytes() == b"content"
        backup = files.commit()
    assert (folder / "file").read_bytes() == b"new"
    assert Path(backup or "").read_bytes() == b"content"


def test_the_endpoint_is_told_of_a_name_that_it_has_to_remove(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    before = set(os.listdir(folder))
    with LocalFiles(is_check=False) as files:
        open_output(files, folder / "new")
        spec = files.specs["output"]
        assert isinstance(spec, FileSpec)
        assert {os.path.basename(spec.temporary or "")} == set(os.listdir(folder)) - before
    assert set(os.listdir(folder)) == before


@pytest.mark.parametrize("name", ["fifo", "to null", "/dev/null", "/dev/zero"])
@pytest.mark.parametrize(
    ("block_size", "shown", "whole"), [(None, 1 << 20, ["iflag=fullblock"]), (32768, 32768, [])]
)
def test_a_device_or_a_fifo_is_left_to_dd(
    folder: Path, name: str, block_size: int | None, shown: int, whole: list[str]
) -> None:
    path = os.path.join(folder, name)
    with LocalFiles(is_check=False) as files:
        open_input(files, path, block_size=block_size, accept_rc=[0, 2, 141])
        open_output(files, path, block_size=block_size)
        size = f"bs={shown}"
        assert files.specs == {
            "input": CommandSpec("input", ["dd", f"if={path}", size, "status=none"], [0, 141]),
            "output": CommandSpec("output", ["dd", f"of={path}", size, *whole, "status=none"], [0]),
        }
        assert files.descriptors == []
        assert files.commit() is None


def test_each_write_of_dd_is_whole_however_the_data_comes(folder: Path) -> None:
    """What a read of the stream gave was a block to it, some kilobytes."""
    with LocalFiles(is_check=False) as files:
        open_output(files, folder / "fifo")
        spec = files.specs["output"]
    assert isinstance(spec, CommandSpec)
    with (folder / "fifo").open("r+b", buffering=0) as fifo:
        dd = subprocess.Popen(spec.argv, stdin=subprocess.PIPE)
        stream = cast(IO[bytes], dd.stdin)
        for _piece in range(2):
            stream.write(b"x" * 1000)
            stream.flush()
            wait_until(lambda: readable(stream) == 0, "dd has read it")
        assert readable(fifo) == 0
        stream.close()
        assert dd.wait() == 0
        assert fifo.read(3000) == b"x" * 2000


def readable(pipe: IO[bytes]) -> int:
    count = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff"), "a b", "two\nlines", "-"])
def test_any_name_will_do(folder: Path, name: str) -> None:
    path = os.path.join(folder, name)
    with LocalFiles(is_check=False) as files:
        open_output(files, path)
        files.commit()
    with LocalFiles(is_check=False) as files:
        open_input(files, path)


def test_nothing_is_open_in_the_end(folder: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with LocalFiles(is_check=False) as files:
        open_input(files, folder / "file")
        open_output(files, folder / "new")
        with pytest.raises(FileError):
            open_output(files, folder / "directory")
    assert os.listdir("/proc/self/fd") == before


def swap_before_open(monkeypatch: pytest.MonkeyPatch, swap: Callable[[], object]) -> None:
    """Does *swap* between a look at a file and its opening."""
    real_open = os.open

    def call(*arguments: Any, **options: Any) -> int:
        swap()
        return real_open(*arguments, **options)

    monkeypatch.setattr(os, "open", call)


def test_a_file_is_read_as_usual_though_it_was_opened_without_waiting(folder: Path) -> None:
    with LocalFiles(is_check=False) as files:
        open_input(files, folder / "file")
        (descriptor,) = files.descriptors
        assert os.get_blocking(descriptor)
        assert not os.get_inheritable(descriptor)


# Beside a command


def command(role: str, folder: Path) -> CommandSpec:
    return CommandSpec(role, ["cat"], [0, 3], str(folder))


def test_a_command_gets_the_file_itself(folder: Path) -> None:
    with LocalFiles(is_check=False) as files:
        open_input(files, folder / "file", command=command("input", folder))
        open_output(files, folder / "new", command=command("output", folder))
        source, sink = files.descriptors
        assert files.specs == {
            "input": command("input", folder)._replace(file=source),
            "output": command("output", folder)._replace(file=sink),
        }
        assert os.read(source, 10) == b"content"
        os.write(sink, b"new")
        assert not (folder / "new").exists()
        files.commit()
    assert (folder / "new").read_bytes() == b"new"


def test_the_size_of_a_file_is_not_that_of_what_a_command_makes_of_it(folder: Path) -> None:
    with LocalFiles(is_check=False) as files:
        open_input(files, folder / "file", command=command("input", folder))
        assert files.input_size is None


def test_the_endpoint_is_told_of_a_name_that_it_has_to_remove_beside_a_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    before = set(os.listdir(folder))
    with LocalFiles(is_check=False) as files:
        open_output(files, folder / "new", command=command("output", folder))
        temporary = files.specs["output"].temporary
        assert {os.path.basename(temporary or "")} == set(os.listdir(folder)) - before


@pytest.mark.parametrize("name", ["fifo", "to null"])
def test_what_may_have_to_wait_is_opened_by_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Wherever that runs: a relative path is relative to where this process is."""
    monkeypatch.chdir(folder)
    with LocalFiles(is_check=False) as files:
        open_input(files, name, command=command("input", folder))
        open_output(files, name, command=command("output", folder))
        assert files.descriptors == []
        for role in ("input", "output"):
            assert files.specs[role] == command(role, folder)._replace(file=str(folder / name))
        assert files.commit() is None


def test_in_check_mode_a_command_stays_as_it_is(folder: Path) -> None:
    with LocalFiles(is_check=True) as files:
        open_input(files, folder / "file", command=command("input", folder))
        open_output(files, folder / "new", command=command("output", folder))
        assert (files.specs, files.descriptors) == ({}, [])


# What is refused


@pytest.mark.parametrize("name", ["fifo", "directory", "/dev/zero"])
def test_what_took_the_place_of_an_input_file_is_neither_waited_for_nor_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A FIFO that nobody writes held the task up for good."""

    def swap() -> None:
        (folder / "file").unlink()
        (folder / "file").symlink_to(name)

    swap_before_open(monkeypatch, swap)
    before = len(os.listdir("/proc/self/fd"))
    words = "^could not be read: it was replaced while it was opened$"
    with pytest.raises(FileError, match=words), LocalFiles(is_check=False) as files:
        open_input(files, folder / "file")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_took_the_place_of_a_block_device_is_not_written(
    folder: Path, block_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_before_open(monkeypatch, lambda: (folder / "file").replace(block_device))
    words = "^could not be written: it was replaced while it was opened$"
    with pytest.raises(FileError, match=words), LocalFiles(is_check=False) as files:
        open_output(files, block_device)
    assert block_device.stat().st_size == len(b"content")


@CHECKED
@pytest.mark.parametrize(
    ("role", "name", "words"),
    [
        ("input", "nowhere", "could not be read: there is no such file"),
        ("input", "dangling", "could not be read: there is no such file"),
        ("input", "", "could not be read: there is no such file"),
        ("input", "{}/file/x", "could not be read: Not a directory"),
        ("input", "{}/loop", "could not be read: Too many levels of symbolic links"),
        ("input", "{}/a\0b", "could not be read: no name of a file has such characters"),
        ("input", "{}/\ud800", "could not be read: no name of a file has such characters"),
        ("input", "{}/directory", "is a directory: name a file, or use tar in a command"),
        ("input", "{}/socket", "is a socket: use a command that connects to it"),
        ("output", "{}/directory", "is a directory: name a file, or use tar in a command"),
        ("output", "{}/to directory", "is a directory: name a file, or use tar in a command"),
        ("output", "{}/socket", "is a socket: use a command that connects to it"),
        ("output", "{}/nowhere/", "is the name of a directory: name a file in it"),
        ("output", "{}/nowhere/x", "could not be written: there is no directory '{}/nowhere'"),
        ("output", "{}/file/x", "could not be written: Not a directory"),
        ("output", "{}/loop", "could not be written: Too many levels of symbolic links"),
        ("output", "{}/" + "n" * 256, "could not be written: File name too long"),
        ("output", "{}/a\0b", "could not be written: no name of a file has such characters"),
        ("output", "", "is the name of a directory: name a file in it"),
    ],
)
def test_what_can_not_be_is_refused_in_words(
    folder: Path, role: str, name: str, words: str, is_check: bool
) -> None:
    before = os.listdir(folder)
    expected = re.escape(words.format(folder))
    with pytest.raises(FileError, match=f"^{expected}$"), LocalFiles(is_check=is_check) as files:
        OPEN[role](files, name.format(folder))
    assert os.listdir(folder) == before


@CHECKED
@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize(
    ("role", "name", "words"),
    [
        ("input", "fifo", "could not be read: Permission denied"),
        ("output", "fifo", "could not be written: Permission denied"),
        ("output", "new", "could not be written: who runs Ansible may not write in directory '{}'"),
        ("output", "file", "could not be written: who runs Ansible may not write in directory '{}'"),
    ],
)
def test_what_may_not_be_done_is_refused_in_words(
    folder: Path, role: str, name: str, words: str, is_check: bool
) -> None:
    expected = re.escape(words.format(folder))
    with pytest.raises(FileError, match=f"^{expected}$"), LocalFiles(is_check=is_check) as files:
        OPEN[role](files, folder / name)


@CHECKED
def test_a_name_that_is_too_long_for_a_backup_is_refused_where_there_would_be_one(
    folder: Path, is_check: bool
) -> None:
    path, words = folder / ("n" * 240), "its name is too long for the name of a backup"
    with LocalFiles(is_check=is_check) as files:
        open_output(files, path, attributes=Attributes(backup=True))
    path.touch()
    with LocalFiles(is_check=is_check) as files:
        open_output(files, path)
    with pytest.raises(FileError, match=words), LocalFiles(is_check=is_check) as files:
        open_output(files, path, attributes=Attributes(backup=True))


@CHECKED
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes others")
@pytest.mark.parametrize(
    ("user", "words"), [(12345, "its owner may replace a file"), (12346, None), (0, None)]
)
def test_another_users_file_in_a_sticky_directory_is_refused(
    is_check: bool, user: int, words: str | None
) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o1777)
        path = Path(name) / "file"
        path.touch()
        os.chown(path, 12346, 12346)
        os.seteuid(user)
        try:
            with LocalFiles(is_check=is_check) as files:
                open_output(files, Path(name) / "new")
            refused = nullcontext() if words is None else pytest.raises(FileError, match=words)
            with refused, LocalFiles(is_check=is_check) as files:
                open_output(files, path)
        finally:
            os.seteuid(0)


@CHECKED
@pytest.mark.parametrize(
    "attributes",
    [Attributes(mode=0o600), Attributes(owner=0), Attributes(group=0), Attributes(backup=True)],
)
def test_a_device_has_no_attributes_to_be_given(folder: Path, attributes: Attributes, is_check: bool) -> None:
    words = "^is a character device or a FIFO: mode, owner, group and backup are for regular files$"
    with pytest.raises(FileError, match=words), LocalFiles(is_check=is_check) as files:
        open_output(files, "/dev/null", attributes=attributes)


# Check mode


def test_check_mode_writes_nothing_and_leaves_nothing_to_the_endpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    before = os.listdir(folder)
    with LocalFiles(is_check=True) as files:
        open_input(files, folder / "file")
        open_output(files, folder / "new")
        assert (files.specs, files.descriptors) == ({}, [])
        assert os.listdir(folder) == before


def test_check_mode_does_not_open_a_block_device_for_writing(block_device: Path) -> None:
    """When that is closed, udev takes the device for changed."""
    with LocalFiles(is_check=True) as files:
        open_output(files, block_device)
        assert (files.specs, files.descriptors) == ({}, [])
    with pytest.raises(FileError, match="could not be written: No such"), LocalFiles(is_check=False) as files:
        open_output(files, block_device)


@pytest.mark.usefixtures("locked")
def test_check_mode_finds_a_block_device_that_may_not_be_written(block_device: Path) -> None:
    words = "^could not be written: Permission denied$"
    with pytest.raises(FileError, match=words), LocalFiles(is_check=True) as files:
        open_output(files, block_device)


def test_check_mode_knows_of_dd(folder: Path) -> None:
    """So that it is looked for."""
    with LocalFiles(is_check=True) as files:
        open_input(files, folder / "fifo")
        assert set(files.specs) == {"input"}
