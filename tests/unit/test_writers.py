# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who still writes to a file is found, and nobody else is taken for that."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import CommandSpec
from ansible_collections.dds.socketpipe.plugins.plugin_utils import _local_files, _output_file
from ansible_collections.dds.socketpipe.plugins.plugin_utils._local_files import LocalFiles
from ansible_collections.dds.socketpipe.plugins.plugin_utils._output_file import (
    Attributes,
    FileError,
    OutputFile,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._writers import (
    Writer,
    find_writer,
    wait_for_writers,
)

GZIP = CommandSpec("output", ["gzip"], [0])
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(params=["without a name", "with a hidden name"])
def output(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[OutputFile]:
    """A file that has not got its name yet."""
    if request.param == "with a hidden name":
        monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    output = OutputFile(os.fsencode(tmp_path / "f"), Attributes())
    yield output
    output.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process with this standard output, which ends when it is told to, or with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(stdout: int, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "60"], stdout=stdout, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_this_process_and_those_that_may_write_are_not_found(output: OutputFile, start: Start) -> None:
    assert find_writer(output.descriptor, besides=[]) is None
    process = start(output.descriptor)
    assert find_writer(output.descriptor, besides=[process.pid]) is None


def test_any_other_that_writes_is_found(output: OutputFile, start: Start) -> None:
    process = start(output.descriptor)
    assert find_writer(output.descriptor, besides=[1]) == Writer(process.pid, "sleep")


def test_one_that_only_reads_is_no_writer(output: OutputFile, start: Start) -> None:
    reader = os.open(f"/proc/self/fd/{output.descriptor}", os.O_RDONLY)
    start(reader)
    os.close(reader)
    assert find_writer(output.descriptor, besides=[]) is None


def test_one_that_writes_to_a_file_of_that_name_elsewhere_is_no_writer(
    output: OutputFile, start: Start, tmp_path: Path
) -> None:
    name = os.path.basename(os.readlink(f"/proc/self/fd/{output.descriptor}"))
    (tmp_path / "elsewhere").mkdir()
    with (tmp_path / "elsewhere" / name).open("wb") as file:
        start(file.fileno())
    assert find_writer(output.descriptor, besides=[]) is None


def test_a_writer_is_waited_for_but_not_for_ever(output: OutputFile, start: Start) -> None:
    process = start(output.descriptor)
    assert wait_for_writers(output.descriptor, besides=[], seconds=0.1) == Writer(process.pid, "sleep")
    process.kill()
    assert wait_for_writers(output.descriptor, besides=[], seconds=30) is None


def test_where_proc_does_not_tell_nobody_is_waited_for(
    output: OutputFile, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(output.descriptor)
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert find_writer(output.descriptor, besides=[]) is None


# What becomes of the file


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalFiles]:
    monkeypatch.setattr(_local_files, "LEFTOVER_GRACE", 0.1)
    with LocalFiles(is_check=False) as files:
        yield files


def test_a_file_that_a_command_had_gets_no_name_while_something_writes_to_it(
    files: LocalFiles, start: Start, tmp_path: Path
) -> None:
    files.open_output(str(tmp_path / "f"), Attributes(), block_size=None, command=GZIP)
    process = start(*files.descriptors)
    words = (
        rf"^could not be given its name: process {process.pid} \(sleep\), which the command left running, "
        "still writes to it; have the command wait for all that it starts$"
    )
    with pytest.raises(FileError, match=words):
        files.commit()
    assert os.listdir(tmp_path) == []
    files.commit(besides=[process.pid])
    assert os.listdir(tmp_path) == ["f"]


def test_a_file_that_no_command_had_is_not_looked_for(
    files: LocalFiles, start: Start, tmp_path: Path
) -> None:
    files.open_output(str(tmp_path / "f"), Attributes(), block_size=None)
    start(*files.descriptors)
    files.commit()
    assert os.listdir(tmp_path) == ["f"]
