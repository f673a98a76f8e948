# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local endpoint as a child process of the task's worker.

It is a process, not a thread, so that it can clean up when the worker is killed: it
sees its standard input end. The worker itself may survive the process that runs the
playbook, so a thread here watches for that, and ends the child's standard input.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import IO, Any, cast

from ansible_collections.dds.socketpipe.plugins.module_utils import _engine
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.order import (
    Classic,
    Order,
    dump_order,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    Specification,
)

_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from _engine.process import main; main()"
#: Seconds between two looks at whether the playbook still runs.
_WATCH_INTERVAL = 1.0
#: Seconds for an endpoint that knows it is over: its own deadlines, and some more.
ENDING_TIMEOUT = 20.0
#: What is said of an endpoint's process that was killed.
KILLED = "SIGKILL ended it; if nobody sent that, memory ran out there: see the kernel's log"

Event = dict[str, Any]


class LocalEndpointError(Exception):
    """The local endpoint's process ended without its view."""


class LocalEndpoint:
    """Starts an endpoint for *spec*, which listens on *listener* if there is one, and inherits
    *files*, which are descriptors. With *classic*, it speaks the classic protocol. *log* gets each
    event, from a thread; those of progress come every *progress* seconds. `path` is its path once it
    is connected; `on_ended` is called, from a thread, when it has ended. If not *outlives_playbook*,
    it is given up when this process loses its parent.
    """

    def __init__(
        self,
        spec: Specification,
        listener: socket.socket | None,
        log: Callable[[Event], None],
        files: Iterable[int] = (),
        classic: Classic | None = None,
        *,
        progress: float | None = None,
        outlives_playbook: bool = False,
    ) -> None:
        self._log = log
        self.path: Event | None = None
        self.on_ended: Callable[[], None] = lambda: None
        self._views: queue.Queue[Event | None] = queue.Queue()  # events with a view; None: no more
        self._playbook = None if outlives_playbook else os.getppid()
        self._lock = threading.Lock()
        descriptor = None if listener is None else listener.fileno()
        process = subprocess.Popen(
            # Isolated and without site: the engine needs the standard library alone.
            [sys.executable, "-I", "-S", "-c", _BOOT, os.path.dirname(next(iter(_engine.__path__)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[*files, *([] if descriptor is None else [descriptor])],
            # Ctrl-C in the terminal is for the playbook, which then gives the session up.
            start_new_session=True,
        )
        self._process = process
        self._stdin, self._stdout, self._stderr = (
            cast(IO[bytes], pipe) for pipe in (process.stdin, process.stdout, process.stderr)
        )
        self._write(dump_order(Order(spec._replace(listener=descriptor), classic, progress=progress)))
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell_login_end(self, rc: int, words: str) -> None:
        """How the login ended, for an endpoint that speaks the classic protocol."""
        self._write_line({"rc": rc, "stderr": words})

    def tell_outcome(self, outcome: Event) -> None:
        """What has become of a detached session."""
        self._write_line(outcome)

    def wait_reported(self, timeout: float) -> Event | None:
        """Its view when it holds both reports, of a detached session; None if it has ended without.
        Raises queue.Empty after *timeout* seconds."""
        event = self._next(timeout)
        return event["view"] if event["event"] == "reported" else None

    def wait_view(self) -> Event:
        """Its view, however long the data that is on its way still takes."""
        return self._read_view(None)

    def wait_ended(self) -> Event:
        """Its view, once it has ended; it is given up, and then killed, if it does not."""
        for give_up in (self.give_up, self._process.kill):
            try:
                return self._read_view(ENDING_TIMEOUT)
            except queue.Empty:
                give_up()
        raise LocalEndpointError("it did not end when it was told to")

    def give_up(self) -> None:
        """Have it abort the session."""
        # What could not be written to one that has died is tried again by close.
        with self._lock, suppress(BrokenPipeError):
            self._stdin.close()

    def close(self) -> None:
        """Have it abort the session unless it is over, and wait for it."""
        self.give_up()
        try:
            self._process.wait(ENDING_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write_line(self, event: Event) -> None:
        self._write(json.dumps(event).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with self._lock, suppress(BrokenPipeError):  # it has died already, and _next tells why
            if not self._stdin.closed:
                self._stdin.write(line)
                self._stdin.flush()

    def _read_view(self, timeout: float | None) -> Event:
        """The last one, and no other."""
        event = self._next(timeout)
        view: Event = event["view"]
        return view if event["event"] == "ended" else self._read_view(timeout)

    def _next(self, timeout: float | None) -> Event:
        event = self._views.get(timeout=timeout)
        if event is None:
            self._views.put(None)
            words = self._stderr.read().decode("utf-8", "backslashreplace").strip()
            raise LocalEndpointError(words or _end_of(self._process.wait()))
        return event

    @property
    def _is_abandoned(self) -> bool:
        """Whether nobody waits for the task any more: neither the playbook nor the worker."""
        has_lost_playbook = self._playbook not in (None, os.getppid())
        return has_lost_playbook or not threading.main_thread().is_alive()

    def _follow(self) -> None:
        for line in self._lines():
            event = json.loads(line)
            self.path = event.get("path", self.path)
            self._log(event)
            if "view" in event:
                self._views.put(event)
        self._views.put(None)
        self.on_ended()

    def _lines(self) -> Iterator[bytes]:
        buffer = b""
        readable = select.poll()
        with self._stdout as pipe:
            readable.register(pipe, select.POLLIN)
            while True:
                is_readable = readable.poll(_WATCH_INTERVAL * 1000)
                # Asked each time, for one that tells of its progress is never quiet for that long.
                if self._is_abandoned:
                    self.give_up()
                if is_readable:
                    data = os.read(pipe.fileno(), 1 << 16)
                    if not data:
                        return
                    *lines, buffer = (buffer + data).split(b"\n")
                    yield from lines


def _end_of(status: int) -> str:
    return KILLED if status == -signal.SIGKILL else f"exit status {status}"
