# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a task names in the place of its local commands, or beside them: looked at, and opened.

What is a file to the user may be one of three things here. A regular file and a block device
are descriptors that the local endpoint reads or writes. A character device and a FIFO are left
to dd, for there the size of each read or write matters, and opening them may have to wait.

A file beside a command is the command's standard input or output: a descriptor that the local endpoint
passes on to it, or the path of what may have to wait to be opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from enum import Enum
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.command import (
    LEFTOVER_GRACE,
    SIGPIPE_STATUS,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    AnySpec,
    CommandSpec,
    FileSpec,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import printable, to_bytes
from ansible_collections.dds.socketpipe.plugins.plugin_utils._output_file import (
    Attributes,
    FileError,
    OutputFile,
    bring_onto_disk,
    expect_replaceable,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._writers import wait_for_writers

#: Bytes of each read and write of dd, where the user has no word on it.
_DD_BLOCK = 1 << 20


class _Kind(Enum):
    NOTHING = "nothing"
    REGULAR = "a regular file"
    BLOCK = "a block device"
    STREAM = "a character device or a FIFO"


_KINDS = {
    stat.S_IFREG: _Kind.REGULAR,
    stat.S_IFBLK: _Kind.BLOCK,
    stat.S_IFCHR: _Kind.STREAM,
    stat.S_IFIFO: _Kind.STREAM,
}


class LocalFiles:
    """The files of one task, by role; a context, which closes them unless they were handed over.

    `specs` is what the local endpoint is to do with each. With *is_check* all is looked at, but
    nothing is made or opened for writing, and `specs` has only what dd is to do. Everything raises
    FileError.
    """

    def __init__(self, *, is_check: bool) -> None:
        self._is_check = is_check
        self._output: OutputFile | None = None
        self._device: int | None = None  # that is written
        self._inherited: list[int] = []
        self._is_handed_over = False
        self.specs: dict[str, AnySpec] = {}

    def __enter__(self) -> LocalFiles:
        return self

    def __exit__(self, *error: Any) -> None:
        if not self._is_handed_over:
            self.close()

    def close(self) -> None:
        if self._output is not None:
            self._output.close()
        for descriptor in self._inherited:
            os.close(descriptor)

    def hand_over(self) -> None:
        """Leave it to another thread to close them."""
        self._is_handed_over = True

    def forget(self) -> None:
        """Leave it to another process, which has them too, to put the output file into its place or to
        remove it."""
        if self._output is not None:
            self._output.forget()

    @property
    def held(self) -> list[int]:
        """All descriptors that it takes to `commit` and to `close`."""
        return [*self._inherited, *([] if self._output is None else self._output.held)]

    @property
    def descriptors(self) -> list[int]:
        """Those that the local endpoint has to be given."""
        given = [spec.descriptor if isinstance(spec, FileSpec) else spec.file for spec in self.specs.values()]
        return [descriptor for descriptor in given if isinstance(descriptor, int)]

    @property
    def input_size(self) -> int | None:
        """The bytes of the input, if that is a regular file without a command."""
        spec = self.specs.get("input")
        if not isinstance(spec, FileSpec):
            return None
        status = os.fstat(spec.descriptor)
        # Those of /proc have none before they are read.
        return status.st_size or None if stat.S_ISREG(status.st_mode) else None

    def open_input(
        self, path: str, *, block_size: int | None, accept_rc: list[int], command: CommandSpec | None = None
    ) -> None:
        """Read *path*, or have *command* read it. *accept_rc* is as for a command; all that counts of it
        for a file alone is 141."""
        kind = _look("read", path)
        if kind is _Kind.NOTHING:
            raise FileError("could not be read: there is no such file")
        accepted = [0, *(status for status in accept_rc if status == SIGPIPE_STATUS)]
        if kind is _Kind.STREAM:
            _expect_access("read", path, os.R_OK)
            dd = _dd("input", f"if={path}", block_size, accepted)
            self.specs["input"] = dd if command is None else _opening(command, path)
        else:
            self._inherited.append(_open("read", path, os.O_RDONLY, kind))
            self._pass(FileSpec("input", self._inherited[-1], accepted), command)

    def open_output(
        self,
        path: str,
        attributes: Attributes,
        *,
        block_size: int | None,
        command: CommandSpec | None = None,
    ) -> None:
        """Write *path*, or have *command* write it: in its place if it is a device or a FIFO, else beside it
        until `commit`."""
        kind = _look("written", path)
        if kind in (_Kind.BLOCK, _Kind.STREAM):
            if attributes != Attributes():
                raise FileError(f"is {kind.value}: mode, owner, group and backup are for regular files")
            _expect_access("written", path, os.W_OK)
        if kind is _Kind.STREAM:
            dd = _dd("output", f"of={path}", block_size, [0])
            self.specs["output"] = dd if command is None else _opening(command, path)
        elif kind is not _Kind.BLOCK:
            self._create(path, attributes, command)
        elif not self._is_check:
            self._device = _open("written", path, os.O_WRONLY, kind)
            self._inherited.append(self._device)
            self._pass(FileSpec("output", self._device, [0]), command)

    def _create(self, path: str, attributes: Attributes, command: CommandSpec | None) -> None:
        folder, name = os.path.split(path)
        if not name:
            raise FileError("is the name of a directory: name a file in it")
        _expect_folder(folder or ".")
        expect_replaceable(to_bytes(path), backup=attributes.backup)
        if not self._is_check:
            self._output = OutputFile(to_bytes(path), attributes)
            temporary = self._output.temporary
            shown = None if temporary is None else temporary.decode("utf-8", "surrogateescape")
            self._pass(FileSpec("output", self._output.descriptor, [0], shown), command)

    def _pass(self, file: FileSpec, command: CommandSpec | None) -> None:
        """Have the local endpoint use it, or pass it on to *command*."""
        if not self._is_check:
            beside = command and command._replace(file=file.descriptor, temporary=file.temporary)
            self.specs[file.role] = beside or file

    def commit(self, *, besides: Collection[int] = ()) -> str | None:
        """Have all that was written on the disk, and give the output file its name, if it is one that has
        to get it. Gives the path of the backup, if there is one. The processes *besides* this one may have
        the output file open."""
        if self._device is not None:
            bring_onto_disk(self._device)
        self._expect_no_writer(besides)
        backup = None if self._output is None else self._output.commit()
        return None if backup is None else backup.decode("utf-8", "surrogateescape")

    def _expect_no_writer(self, besides: Collection[int]) -> None:
        """What a command left running would write to the file behind its name."""
        if self._output is None or not isinstance(self.specs["output"], CommandSpec):
            return
        writer = wait_for_writers(self._output.descriptor, besides=besides, seconds=LEFTOVER_GRACE)
        if writer is not None:
            words = (
                "could not be given its name: process {}, which the command left running, still writes to "
                "it; have the command wait for all that it starts"
            )
            shown = f"{writer.pid} ({printable(writer.name)})"
            raise FileError(words.format(shown), words.format(writer.pid))


def _look(done: str, path: str) -> _Kind:
    try:
        mode = os.stat(to_bytes(path)).st_mode
    except FileNotFoundError:
        return _Kind.NOTHING
    except ValueError:
        raise FileError(f"could not be {done}: no name of a file has such characters") from None
    except OSError as error:
        raise FileError(f"could not be {done}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise FileError("is a directory: name a file, or use tar in a command")
    if stat.S_ISSOCK(mode):
        raise FileError("is a socket: use a command that connects to it")
    return _KINDS.get(stat.S_IFMT(mode), _Kind.STREAM)


def _expect_folder(folder: str) -> None:
    shown = printable(folder)
    if not os.path.isdir(to_bytes(folder)):
        words = "could not be written: there is no directory"
        raise FileError(f"{words} '{shown}'", f"{words} for it")
    if not os.access(to_bytes(folder), os.W_OK | os.X_OK):
        words = "could not be written: who runs Ansible may not write in"
        raise FileError(f"{words} directory '{shown}'", f"{words} its directory")


def _expect_access(done: str, path: str, way: int) -> None:
    """For a file that is opened elsewhere, and later."""
    if not os.access(to_bytes(path), way):
        raise FileError(f"could not be {done}: {os.strerror(errno.EACCES)}")


def _open(done: str, path: str, flags: int, kind: _Kind) -> int:
    """Of the *kind* that was seen. What may have taken its place since then is not waited for, as
    a FIFO would be, and does not become this process's terminal."""
    try:
        descriptor = os.open(to_bytes(path), flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(f"could not be {done}: {error.strerror}") from error
    if _KINDS.get(stat.S_IFMT(os.fstat(descriptor).st_mode)) is not kind:
        os.close(descriptor)
        raise FileError(f"could not be {done}: it was replaced while it was opened")
    os.set_blocking(descriptor, True)
    return descriptor


def _dd(role: str, file: str, block_size: int | None, accept_rc: list[int]) -> CommandSpec:
    size = f"bs={block_size or _DD_BLOCK}"
    # With a block_size each read of the stream is a whole block already; a tape is read as it comes.
    whole = ["iflag=fullblock"] if role == "output" and block_size is None else []
    return CommandSpec(role, ["dd", file, size, *whole, "status=none"], accept_rc)


def _opening(command: CommandSpec, path: str) -> CommandSpec:
    """*command*, which may run in another directory."""
    return command._replace(file=os.path.join(os.getcwd(), path))
