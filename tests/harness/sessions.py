# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions over loopback without Ansible: two endpoints, each a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.waiting import wait_until

ENGINE = Path(__file__).parents[2] / "plugins" / "module_utils" / "_engine"

_BOOT = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_module('_engine', run_name='__main__')"
_MARK = "SOCKETPIPE_TEST_SESSION"

View = dict[str, Any]
Words = Sequence[str]


class EndpointProcess:
    """An endpoint that follows *spec*. Its events and its stderr are files in *folder*."""

    def __init__(
        self, spec: dict[str, Any], key: bytes, folder: Path, mark: str, python: str = sys.executable
    ) -> None:
        self._events = folder / f"{spec['side']}.events"
        self._errors = folder / f"{spec['side']}.errors"
        with self._events.open("wb") as events, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [python, "-I", "-S", "-c", _BOOT, str(ENGINE.parent)],
                stdin=subprocess.PIPE,
                stdout=events,
                stderr=errors,
                env={**os.environ, _MARK: mark},
            )
        assert self.process.stdin is not None
        order = {"key": key.hex(), "spec": spec}
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def wait_for(self, event: str) -> dict[str, Any]:
        """The event of that name; AssertionError if the endpoint ends without it."""

        def look() -> bool:
            return self.process.poll() is not None or self._find(event) is not None

        wait_until(look, f"the event {event}")
        found = self._find(event)
        assert found is not None, f"the endpoint ended without the event {event}: {self.errors}"
        return found

    def wait_ended(self, timeout: float = 30.0) -> View:
        """Its view of the session."""
        self.process.wait(timeout)
        ended = self._find("ended")
        assert ended is not None, f"the endpoint ended without a view: {self.errors}"
        view: View = ended["view"]
        return view

    def _find(self, name: str) -> dict[str, Any] | None:
        # What follows the last newline is still being written.
        for line in self._events.read_text().split("\n")[:-1]:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
        return None

    def let_go(self) -> None:
        """As whoever asked for the session does when it ends: standard input ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)


class Session:
    """A session of the given commands, its two endpoints already started.

    *accept_rc* maps roles to accepted statuses. The local side listens on 127.0.0.1.
    """

    def __init__(
        self,
        folder: Path,
        *,
        remote: Words,
        input: Words | None = None,
        output: Words | None = None,
        accept_rc: dict[str, list[int]] | None = None,
        python: str = sys.executable,
    ) -> None:
        self._mark = secrets.token_hex(8)
        key = secrets.token_bytes(32)
        words = {"output": output, "remote": remote, "input": input}
        accepted = accept_rc or {}
        commands = {
            role: {"role": role, "argv": list(argv), "accept_rc": accepted.get(role, [0]), "chdir": None}
            for role, argv in words.items()
            if argv is not None
        }
        directions = [role for role in ("input", "output") if role in commands]
        common = {"directions": directions, "timeout": 10, "listen": False, "address": None, "candidates": []}
        local = [command for role, command in commands.items() if role != "remote"]
        listening = {"side": "local", "commands": local, "listen": True, "address": "127.0.0.1"}
        self.local = EndpointProcess({**common, **listening}, key, folder, self._mark, python)
        port = self.local.wait_for("listening")["port"]
        connecting = {"side": "remote", "commands": [commands["remote"]], "candidates": [["127.0.0.1", port]]}
        self.remote = EndpointProcess({**common, **connecting}, key, folder, self._mark, python)

    @property
    def endpoints(self) -> dict[str, EndpointProcess]:
        return {"local": self.local, "remote": self.remote}

    def wait_ended(self) -> tuple[View, View]:
        """The views of the local and of the remote endpoint."""
        remote = self.remote.wait_ended()
        if remote["own"]["path"] is None:
            self.local.let_go()
        return self.local.wait_ended(), remote

    def processes(self) -> dict[int, str]:
        """What still runs of the session, with names: endpoints, guards and commands."""
        mark = f"{_MARK}={self._mark}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                # A process that has ended, reaped or not, has no environment.
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
            except OSError:
                continue  # it has ended meanwhile
        return found

    def close(self) -> None:
        """End all of it, whatever state it is in."""
        for endpoint in self.endpoints.values():
            endpoint.let_go()
            endpoint.kill()
            endpoint.process.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
