# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands: from a specification to a process group, and what is kept of their words.

Unless it has to share a terminal, each command leads a session and process group of its own: nothing
can ask a question at night, and it can be ended together with all that it started.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from typing import IO, Any, Callable, Dict, List, NamedTuple, Optional

from .errors import CommandError
from .loop import READ, Loop, in_thread
from .specification import CommandSpec
from .text import printable, to_bytes, to_text

#: Bytes kept of each stdout and stderr: enough for a tired reader, little enough for a log.
TAIL_SIZE = 64 * 1024
#: Seconds that a pipe may stay open after its command ended, held by something it left behind.
LEFTOVER_GRACE = 1.0
#: What a shell calls the status of a writer whose reader has ended.
SIGPIPE_STATUS = 128 + signal.SIGPIPE
#: Scripts that become the command "$@" with the file "$0". Opening a FIFO or a tape may have to wait: so
#: may these, not an endpoint. When it fails their status is a shell's for what it could not run: the
#: redirection's own, 1 or 2, may be one that the user accepts of the command.
_OPENERS = {"input": '{ exec "$@"; } <"$0" || exit 127', "output": '{ exec "$@"; } >"$0" || exit 127'}


def find_executable(spec: CommandSpec) -> None:
    """Raise CommandError unless *spec* can be started, as far as can be known before."""
    if spec.chdir is not None:
        _find_directory(spec.role, spec.chdir)
    name = spec.argv[0]
    if "/" in name:
        found = os.path.join(to_bytes(spec.chdir or "."), to_bytes(name))
        if not os.path.exists(found):
            raise CommandError(spec.role, f"there is no file '{printable(name)}'")
        if not _is_executable(found):
            raise CommandError(spec.role, f"'{printable(name)}' is not executable")
    elif not _search_path(name, spec.chdir):
        path = os.environ.get("PATH", os.defpath)
        raise CommandError(spec.role, f"no executable '{printable(name)}' was found in PATH ({path})")


def _find_directory(role: str, path: str) -> None:
    try:
        os.stat(os.path.join(to_bytes(path), b"."))
    except (FileNotFoundError, NotADirectoryError):
        raise CommandError(role, f"there is no directory '{printable(path)}' to change to") from None
    except OSError as error:
        raise CommandError(role, f"could not change to '{printable(path)}': {error.strerror}") from None


def _search_path(name: str, chdir: Optional[str]) -> bool:
    folders = os.get_exec_path()
    base = to_bytes(chdir or ".")
    return any(_is_executable(os.path.join(base, os.fsencode(folder), to_bytes(name))) for folder in folders)


def _is_executable(path: bytes) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _words(spec: CommandSpec) -> List[bytes]:
    words = spec.argv
    if isinstance(spec.file, str):
        words = ["/bin/sh", "-c", _OPENERS[spec.role], spec.file, *words]
    return [to_bytes(word) for word in words]


def _not_started(spec: CommandSpec, error: OSError) -> str:
    """It was found before, and for an interpreter that is missing the system says what it says of a file."""
    if spec.chdir is not None and error.filename == to_bytes(spec.chdir):
        return f"could not change to '{printable(spec.chdir)}': {error.strerror}"
    hint = "; is the interpreter there that it names?" if _is_still_there(spec, error) else ""
    return f"'{printable(spec.argv[0])}' could not be started: {error.strerror}{hint}"


def _is_still_there(spec: CommandSpec, error: OSError) -> bool:
    try:
        find_executable(spec)
    except CommandError:
        return False
    return error.errno == errno.ENOENT


class Surroundings(NamedTuple):
    """What commands have of the process that starts them.

    *stdin* is a descriptor for the input command, *stdout* one for the output command, *stderr* one
    for all of them. None: /dev/null, and tails. With *own_session* a command leads a session and
    process group of its own; without, it shares the terminal, and the signals of its keys.
    """

    stdin: Optional[int] = None
    stdout: Optional[int] = None
    stderr: Optional[int] = None
    own_session: bool = True


#: Those of an endpoint that nobody sits in front of.
UNATTENDED = Surroundings()


class Tail:
    """The last `TAIL_SIZE` bytes of a pipe, read by the loop."""

    def __init__(self, loop: Loop, pipe: IO[bytes]) -> None:
        self._loop = loop
        self._pipe = pipe
        self._kept = bytearray()
        self._total = 0
        self.is_open = True
        os.set_blocking(pipe.fileno(), False)
        loop.watch(pipe.fileno(), READ, lambda events: self._read())

    def _read(self) -> None:
        try:
            data = os.read(self._pipe.fileno(), TAIL_SIZE)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        self._total += len(data)
        self._kept += data
        del self._kept[:-TAIL_SIZE]

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.unwatch(self._pipe.fileno())
            self._pipe.close()

    def text(self) -> str:
        lost = self._total - len(self._kept)
        mark = f"[{lost} bytes cut]\n" if lost else ""
        return mark + to_text(bytes(self._kept))


class Command:
    """A running command. *on_exit* is called once, from the loop, when its own process has ended.

    *stdin* and *stdout* are descriptors of data connections; without one, they are the file of *spec*,
    else what *surroundings* say.
    """

    def __init__(
        self,
        spec: CommandSpec,
        loop: Loop,
        *,
        stdin: Optional[int],
        stdout: Optional[int],
        on_exit: Callable[[], None],
        surroundings: Surroundings = UNATTENDED,
    ) -> None:
        self.spec = spec
        self._surroundings = surroundings
        self._loop = loop
        self._on_exit = on_exit
        self._status: Optional[int] = None  # of an ended process: its rc, or minus a signal
        self._process = self._spawn(stdin, stdout)
        pipes = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        self._tails = {name: Tail(loop, pipe) for name, pipe in pipes.items() if pipe is not None}

    def _spawn(self, stdin: Optional[int], stdout: Optional[int]) -> subprocess.Popen[bytes]:
        spec, around = self.spec, self._surroundings
        file = spec.file if isinstance(spec.file, int) else None
        if stdin is None and spec.role == "input":
            stdin = around.stdin if file is None else file
        if stdout is None and spec.role == "output":
            stdout = around.stdout if file is None else file
        try:
            # A module's run_command could give it no socket.
            return subprocess.Popen(  # pylint: disable=ansible-bad-function
                _words(spec),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=subprocess.PIPE if around.stderr is None else around.stderr,
                cwd=None if spec.chdir is None else to_bytes(spec.chdir),
                start_new_session=around.own_session,
            )
        except OSError as error:
            raise CommandError(spec.role, _not_started(spec, error)) from None

    def watch(self) -> None:
        """Begin to wait for its end, with a thread: to be called when no process is to be
        started any more, for threads and fork do not go together well."""
        in_thread(self._await_exit)

    def _await_exit(self) -> None:
        # The process stays a zombie until `let_go`, so its number is not given to
        # another group while a signal may still be sent to this one.
        ended: Any = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        self._loop.call_soon(lambda: self._exited(status))

    def _exited(self, status: int) -> None:
        self._status = status
        self._on_exit()
        self._loop.after(LEFTOVER_GRACE, self._give_up_tails)

    def _give_up_tails(self) -> None:
        for tail in self._tails.values():
            tail.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._status is not None

    @property
    def has_settled(self) -> bool:
        """Whether it has ended and its words have been read too."""
        return self.has_ended and not any(tail.is_open for tail in self._tails.values())

    @property
    def rc(self) -> Optional[int]:
        """Exit status as a shell gives it: 128 and the signal's number for a signal."""
        return 128 + self._signal if self._signal else self._status

    @property
    def signal_name(self) -> Optional[str]:
        if not self._signal:
            return None
        try:
            return signal.Signals(self._signal).name
        except ValueError:
            return f"signal {self._signal}"

    @property
    def _signal(self) -> int:
        """The number of the signal that ended it, or 0."""
        return max(0, -(self._status or 0))

    @property
    def is_accepted(self) -> bool:
        return self.rc in self.spec.accept_rc

    @property
    def may_be_stopped(self) -> bool:
        """Whether its reader may end before it: the user accepts the broken pipe."""
        return SIGPIPE_STATUS in self.spec.accept_rc

    def failure(self) -> CommandError:
        how = f"exited {self.rc}" if self.signal_name is None else f"was ended by {self.signal_name}"
        return CommandError(self.spec.role, f"the {self.spec.role} command {how}")

    def signal_group(self, signum: int) -> None:
        """Send *signum* to the command and, where it has a group, to all that it started."""
        try:
            if self._surroundings.own_session:
                os.killpg(self.pid, signum)
            else:
                os.kill(self.pid, signum)
        except (ProcessLookupError, PermissionError):
            pass  # nothing is left, or what is left has become another user's

    def let_go(self) -> None:
        """Give the process number back; the group may not be signalled any more."""
        self._give_up_tails()
        if self.has_ended:
            self._process.wait()

    def report(self) -> Dict[str, Any]:
        tails = {name: tail.text() for name, tail in self._tails.items()}
        return {"stderr": "", **tails, "rc": self.rc, "signal": self.signal_name}
