# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local file in the place of a command: what `cat FILE` and `cat > FILE` do, without a process.

General theory of operation. A thread moves the bytes, and the kernel does the work: sendfile
from a file to the stream, splice by way of a pipe from the stream to a file. Where the kernel
refuses that for this kind of file, the thread reads and writes blocks. It has a duplicate of the
stream's descriptor, and waits in the kernel for as long as the stream does; what ends an aborted
session for it is that the stream breaks, as for a command that ignores SIGTERM.

A file that is written is on the disk when the thread ends: fsync is part of writing it, for that
is where a full disk or a broken one may show itself first.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
from typing import Any, Callable, Dict, Optional, Tuple

from .command import SIGPIPE_STATUS
from .errors import CommandError
from .loop import Loop, in_thread
from .specification import ERROR_STATUS, FileSpec, Specification
from .text import to_bytes

#: Bytes that are moved at once: what an unprivileged process may have in a pipe.
BLOCK_SIZE = 1 << 20
#: Linux moves at most some bytes less than 2 GiB in one call.
_LARGEST_COUNT = 1 << 30
#: What the kernel says when it can not move bytes from or to this kind of file itself.
_REFUSED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
#: What it says to a writer whose reader has ended.
_BROKEN_PIPE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
#: What sendfile is elsewhere does not move the file's position, and Python before 3.10 has no splice.
_HAS_SENDFILE = sys.platform.startswith("linux")
_HAS_SPLICE = hasattr(os, "splice")


class File:
    """A file that is read or written, to `Endpoint` the same as a `Command`.

    *stdin* and *stdout* are descriptors of data connections: a file that is written has the
    first, one that is read the second. *on_exit* is called once, from the loop, when all was done.
    The descriptor of *spec* is closed then.
    """

    #: There is no process that could be signalled.
    pid: Optional[int] = None

    def __init__(
        self,
        spec: FileSpec,
        loop: Loop,
        *,
        stdin: Optional[int],
        stdout: Optional[int],
        on_exit: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._loop = loop
        self._on_exit = on_exit
        self._stdin = None if stdin is None else os.dup(stdin)
        self._stdout = None if stdout is None else os.dup(stdout)
        self._words = ""
        self.rc: Optional[int] = None

    def watch(self) -> None:
        """Begin. Not before every process is started: threads and fork do not go together well."""
        in_thread(self._move)

    def _move(self) -> None:
        rc, words = self._try_to_move()
        self._loop.call_soon(lambda: self._ended(rc, words))

    def _try_to_move(self) -> Tuple[int, str]:
        """The status of the end, and the system's words for it."""
        try:
            self._move_all()
        except OSError as error:
            # Only a pipe or a socket says so, and the stream is the only one here.
            is_stopped = self._stdout is not None and error.errno in _BROKEN_PIPE
            return SIGPIPE_STATUS if is_stopped else ERROR_STATUS, error.strerror or str(error)
        except Exception as error:
            # Whatever it is, the session must not wait for this thread for ever.
            return ERROR_STATUS, repr(error)
        return 0, ""

    def _move_all(self) -> None:
        try:
            if self._stdout is not None:
                send(self.spec.descriptor, self._stdout)
            if self._stdin is not None:
                receive(self._stdin, self.spec.descriptor)
                _sync(self.spec.descriptor)
        finally:
            for stream in (self._stdin, self._stdout):
                if stream is not None:
                    os.close(stream)
            # A network file system may say only here that the disk is full.
            os.close(self.spec.descriptor)

    def _ended(self, rc: int, words: str) -> None:
        self.rc, self._words = rc, words
        self._on_exit()

    @property
    def has_ended(self) -> bool:
        return self.rc is not None

    @property
    def has_settled(self) -> bool:
        return self.has_ended

    @property
    def is_accepted(self) -> bool:
        """Statuses that a user accepts are those of commands: no error of a file is among them."""
        return self.rc == 0

    @property
    def may_be_stopped(self) -> bool:
        """Whether its reader may end before it, and that is all that happened."""
        return SIGPIPE_STATUS in self.spec.accept_rc and self.rc != ERROR_STATUS

    def failure(self) -> CommandError:
        role = self.spec.role
        done = "read" if role == "input" else "written"
        return CommandError(role, f"the {role} file could not be {done}: {self._words}")

    def signal_group(self, signum: int) -> None:
        """Nothing: the thread ends with the stream."""

    def let_go(self) -> None:
        """Nothing: what the thread had, it has closed."""

    def report(self) -> Dict[str, Any]:
        return {"rc": self.rc, "signal": None, "stderr": self._words}


def send(file: int, stream: int) -> None:
    """Write *file* to *stream*, from its position to its end. Raises OSError, of either.

    What is added meanwhile is sent too; a file that got too short meanwhile is an error.
    """
    size = os.fstat(file).st_size
    try:
        _send_in_kernel(file, stream)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        _copy(file, stream)
    # Both are needed: there are files, as in /sys, whose size was never what can be read.
    if os.lseek(file, 0, os.SEEK_CUR) < size and os.fstat(file).st_size < size:
        raise OSError(errno.EIO, f"it had {size} bytes, and got shorter while it was read")


def _send_in_kernel(file: int, stream: int) -> None:
    if not _HAS_SENDFILE:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while os.sendfile(stream, file, None, _LARGEST_COUNT):
        pass


def receive(stream: int, file: int) -> None:
    """Write to *file* what comes out of *stream*, to its end. Raises OSError, of either."""
    ends = os.pipe()
    with open(ends[0], "rb", buffering=0) as reader, open(ends[1], "wb", buffering=0) as writer:
        try:
            _receive_in_kernel(stream, writer.fileno(), reader.fileno(), file)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            writer.close()
            _copy(reader.fileno(), file)  # what has come as far as the pipe
            _copy(stream, file)


def _receive_in_kernel(stream: int, writer: int, reader: int, file: int) -> None:
    """By way of the pipe from *writer* to *reader*, for splice wants one on one of its sides."""
    if not _HAS_SPLICE:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    _enlarge(writer)
    while True:
        left = os.splice(stream, writer, BLOCK_SIZE)
        if not left:
            return
        while left:
            left -= _patiently(file, lambda: os.splice(reader, file, left))  # noqa: B023


def _patiently(sink: int, write: Callable[[], int]) -> int:
    """What *write* gives, once *sink* takes something: whoever shares it may have made it not block."""
    while True:
        try:
            return write()
        except BlockingIOError:
            writable = select.poll()
            writable.register(sink, select.POLLOUT)
            writable.poll()


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, BLOCK_SIZE)
    except OSError:
        pass  # the user has too many large pipes: it takes some more calls


def _copy(source: int, sink: int) -> None:
    buffer = memoryview(bytearray(BLOCK_SIZE))
    while True:
        size = os.readv(source, [buffer])
        if not size:
            return
        block = buffer[:size]
        while block:
            block = block[_patiently(sink, lambda: os.write(sink, block)) :]  # noqa: B023


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise  # a pipe or a terminal has no disk behind it; this has


def remove_temporaries(spec: Specification) -> None:
    """Remove the files that were to get another name, for a session that was aborted."""
    for command in spec.commands:
        if command.temporary is not None:
            try:
                os.unlink(to_bytes(command.temporary))
            except OSError:
                pass  # whoever asked for the session has removed it, or nobody can
