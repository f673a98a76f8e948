# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for the module no longer than makes sense.

When the way to the target is cut, the local endpoint learns of it by its own heartbeats, but
the login that runs the module may never notice. Its connection plugin waits in the main
thread, where only a signal gets it out. The process of the login that it started, such as ssh, would
then wait on its own, for ever.
"""

from __future__ import annotations

import glob
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_SIGNAL = signal.SIGUSR2


class UnansweredError(BaseException):
    """Nobody waits for the module any more. Not an Exception: connection plugins catch those."""


@contextmanager
def patience() -> Iterator[Callable[[float], None]]:
    """Gives a function that any thread may call, at any time, to have the body end in
    UnansweredError after so many seconds, if it has not ended by then. What the body started is then
    told to end. For the main thread."""
    timers: list[threading.Timer] = []
    lock = threading.Lock()
    is_over = threading.Event()
    main = threading.get_ident()

    def end_after(seconds: float) -> None:
        with lock:
            if not is_over.is_set():
                timers.append(threading.Timer(seconds, signal.pthread_kill, (main, _SIGNAL)))
                timers[-1].daemon = True
                timers[-1].start()

    started_before = _children()
    before = signal.signal(_SIGNAL, _raise)
    try:
        yield end_after
    except UnansweredError:
        for pid in _children() - started_before:
            with suppress(OSError):  # it is another user's, by sudo
                os.kill(pid, signal.SIGTERM)
        raise
    finally:
        # From here on the signal may still come, but does nothing; nobody can ask for another.
        signal.signal(_SIGNAL, signal.SIG_IGN)
        with lock:
            is_over.set()
        for timer in timers:
            timer.cancel()
            timer.join()
        signal.signal(_SIGNAL, before)


def _raise(signum: int, frame: Any) -> None:
    raise UnansweredError


def _children() -> set[int]:
    """Those of this process, where /proc tells; reaped by nobody else, so a number stays theirs."""
    return {int(pid) for path in glob.glob("/proc/self/task/*/children") for pid in _read(path).split()}


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""  # that thread has ended
