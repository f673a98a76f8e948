# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions over loopback without Ansible: two endpoints, each a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.identities import make_identities
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import (
    Verdict,
    empty_report,
    judge,
    mirrored,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import PEER, Scene

from harness.processes import processes_with, wait_ended
from harness.sockets import LOOPBACK, hold_port
from harness.waiting import wait_until

ENGINE = Path(__file__).parents[2] / "plugins" / "module_utils" / "_engine"

_BOOT = """
import importlib, json, runpy, sys
sys.path.insert(0, sys.argv[1])
for name, value in json.loads(sys.argv[2]).items():
    module, constant = name.split(".")
    setattr(importlib.import_module("_engine." + module), constant, value)
exec(sys.argv[3])
runpy.run_module("_engine.process", run_name="__main__")
"""
_MARK = "SOCKETPIPE_TEST_SESSION"

View = dict[str, Any]


class Redirected(NamedTuple):
    """The words of a command, and the file that it reads or prints to."""

    words: Sequence[str]
    path: Path


#: The words of a command; or a file in its place, which the endpoint gets as a descriptor; or both.
Words = Sequence[str] | Path | Redirected


class Place(NamedTuple):
    """Where an endpoint runs: its address there, and what enters the network of that machine."""

    address: str = LOOPBACK
    entered: Callable[[], AbstractContextManager[None]] = nullcontext


HERE = Place()


class EndpointProcess:
    """An endpoint that follows *spec*, and listens on *listener* if there is one.

    Its events and its stderr are files in *folder*. *mark* is in the environment of all
    that it starts. *patience* gives constants of the engine, `module.NAME`, another value in
    seconds. *before* is Python that its process runs first.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        key: bytes,
        folder: Path,
        *,
        mark: str = "",
        listener: socket.socket | None = None,
        python: str = sys.executable,
        patience: dict[str, float] | None = None,
        identity: dict[str, str] | None = None,
        progress: float | None = None,
        before: str = "",
    ) -> None:
        self._events = folder / f"{spec['side']}.events"
        self._errors = folder / f"{spec['side']}.errors"
        descriptors = [] if listener is None else [listener.fileno()]
        given = [command.get("descriptor", command.get("file")) for command in spec["commands"]]
        files = [file for file in given if isinstance(file, int)]
        with self._events.open("wb") as events, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [python, "-I", "-S", "-c", _BOOT, str(ENGINE.parent), json.dumps(patience or {}), before],
                stdin=subprocess.PIPE,
                stdout=events,
                stderr=errors,
                pass_fds=[*descriptors, *files],
                env={**os.environ, _MARK: mark},
            )
        for file in files:
            os.close(file)
        assert self.process.stdin is not None
        spec = {**spec, "listener": next(iter(descriptors), None)}
        order = {"key": key.hex(), "identity": identity, "spec": spec, "progress": progress}
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
        view = self.wait_gone(timeout)
        assert view is not None, f"the endpoint ended without a view: {self.errors}"
        return view

    def wait_gone(self, timeout: float = 30.0) -> View | None:
        """Its view of the session; None if it was killed."""
        if self.process.poll() is None:
            wait_ended(self.process, timeout)
        ended = self._find("ended")
        return None if ended is None else ended["view"]

    def has_said(self, event: str) -> bool:
        return self._find(event) is not None

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of that name so far."""
        # What follows the last newline is still being written.
        lines = self._events.read_text().split("\n")[:-1]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def _find(self, name: str) -> dict[str, Any] | None:
        return next(iter(self.events(name)), None)

    def conclude(self, **outcome: Any) -> None:
        """As whoever asked for a detached session does when the local side is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(outcome).encode() + b"\n")
        self.process.stdin.flush()

    def let_go(self) -> None:
        """As whoever asked for the session does when it ends: standard input ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)


def side_of(
    side: str,
    commands: dict[str, Words],
    *,
    accept_rc: dict[str, list[int]] | None = None,
    candidates: Sequence[tuple[str, int]] = (),
    ports: Sequence[int] = (),
    preflight: bool = False,
    timeout: float = 10,
    checksum: str | None = None,
    stall_timeout: float | None = None,
    detached: bool = False,
    listen_address: str = LOOPBACK,
) -> dict[str, Any]:
    """That side's specification of a session of *commands*, without key and listener.

    Who listens on *ports* does so at *listen_address*.
    """
    accepted = accept_rc or {}
    return {
        "side": side,
        "commands": [
            _command(role, commands[role], accepted.get(role, [0]))
            for role in (["remote"] if side == "remote" else ["output", "input"])
            if role in commands
        ],
        "directions": [] if preflight else [role for role in ("input", "output") if role in commands],
        "timeout": timeout,
        "candidates": list(candidates),
        "listen_address": listen_address,
        "ports": list(ports),
        "preflight": preflight,
        "checksum": checksum,
        "stall_timeout": stall_timeout,
        "is_detached": detached,
    }


def _command(role: str, words: Words, accept_rc: list[int]) -> dict[str, Any]:
    if isinstance(words, Redirected):
        return {**_command(role, words.words, accept_rc), "file": _beside(role, words.path)}
    if not isinstance(words, Path):
        return {"role": role, "argv": list(words), "accept_rc": accept_rc, "chdir": None}
    return {"role": role, "descriptor": _open(role, words), "accept_rc": accept_rc}


def _beside(role: str, path: Path) -> int | str:
    """A device or a FIFO is left to the command, as the task leaves it."""
    mode = path.stat().st_mode if path.exists() else stat.S_IFREG
    return _open(role, path) if stat.S_ISREG(mode) else str(path)


def _open(role: str, path: Path) -> int:
    flags = os.O_RDONLY if role == "input" else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return os.open(path, flags, 0o600)


class Session:
    """A session of the given *commands*, by role; its two endpoints are already started.

    *listen* is the side that listens, or `auto` for both. *accept_rc* maps roles to accepted
    statuses. Who connects does so to the port that *through* makes of the listening side and
    its port. *progress* is for the local endpoint. Both endpoints run on *python*, but for a side
    that has another one in *pythons*.
    *places* are where the sides run, *before* is Python that they run first.
    """

    def __init__(
        self,
        folder: Path,
        commands: dict[str, Words],
        *,
        listen: str = "local",
        preflight: bool = False,
        accept_rc: dict[str, list[int]] | None = None,
        python: str = sys.executable,
        pythons: dict[str, str] | None = None,
        through: Callable[[str, int], int] = lambda listener, port: port,
        timeout: float = 10,
        patience: dict[str, float] | None = None,
        encrypt: bool = False,
        checksum: str | None = None,
        stall_timeout: float | None = None,
        detached: bool = False,
        progress: float | None = None,
        places: dict[str, Place] | None = None,
        before: dict[str, str] | None = None,
    ) -> None:
        self._mark = secrets.token_hex(8)
        self._commands = commands
        key = secrets.token_bytes(32)
        at = {side: (places or {}).get(side, HERE) for side in PEER}
        held = {side: _hold_port(at[side]) for side in PEER if listen in (side, "auto")}
        #: By the side that listens.
        self.ports: dict[str, int] = {side: sock.getsockname()[1] for side, sock in held.items()}

        identities = make_identities() if encrypt else {}

        def start(side: str) -> EndpointProcess:
            peer = PEER[side]
            reached = [(at[peer].address, through(peer, self.ports[peer]))] if peer in self.ports else []
            # The local side is given its socket, the remote one opens it.
            own = [self.ports[side]] if side == "remote" and side in self.ports else []
            listener = held.get("local") if side == "local" else None
            if listener is not None:
                listener.listen()
            spec = side_of(
                side,
                commands,
                accept_rc=accept_rc,
                candidates=reached,
                ports=own,
                preflight=preflight,
                timeout=timeout,
                checksum=checksum,
                listen_address=at[side].address,
                stall_timeout=stall_timeout,
                detached=detached,
            )
            identity = identities.get(Side(side))
            with at[side].entered():
                return EndpointProcess(
                    spec,
                    key,
                    folder,
                    mark=self._mark,
                    listener=listener,
                    python=(pythons or {}).get(side, python),
                    patience=patience,
                    identity=identity and identity._asdict(),
                    progress=progress if side == "local" else None,
                    before=(before or {}).get(side, ""),
                )

        self.local = start("local")
        self.remote = start("remote")
        self._held = held.get("remote")
        if "local" in held:
            held["local"].close()

    @property
    def endpoints(self) -> dict[str, EndpointProcess]:
        return {"local": self.local, "remote": self.remote}

    def wait_ended(self) -> tuple[View, View]:
        """The views of the local and of the remote endpoint."""
        remote = self.remote.wait_ended()
        if remote["own"]["path"] is None:
            self.local.let_go()
        return self.local.wait_ended(), remote

    def wait_over(self, timeout: float = 30.0) -> Ended:
        """How it ended, whoever was killed: whoever asked for the session knows what is left to know."""
        remote = self.remote.wait_gone(timeout)
        if not self.local.has_said("connected"):
            self.local.let_go()
        local = self.local.wait_gone(timeout)
        unknown: View = {"own": empty_report(), "peer": None}
        return Ended(
            local or mirrored(remote or unknown), remote or mirrored(local or unknown), self._commands
        )

    def processes(self) -> dict[int, str]:
        """What still runs of the session, with names: endpoints, guards and commands."""
        return processes_with(f"{_MARK}={self._mark}")

    def commands(self) -> list[str]:
        """Names of the commands that still run."""
        return [name for name in self.processes().values() if not name.startswith("python")]

    def close(self) -> None:
        """End all of it, whatever state it is in."""
        if self._held is not None:
            self._held.close()
        for endpoint in self.endpoints.values():
            endpoint.let_go()
            endpoint.kill()
            endpoint.process.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _hold_port(place: Place) -> socket.socket:
    with place.entered():
        return hold_port(place.address)


class Ended:
    """How a session ended: the two views, and the verdict."""

    def __init__(self, local: View, remote: View, commands: dict[str, Words]) -> None:
        self.reports = {"local": local["own"], "remote": remote["own"]}
        scene = Scene(
            {"local": "here", "remote": "there"},
            {role: role for role in commands},
            files=frozenset(role for role, words in commands.items() if isinstance(words, Path)),
        )
        self.verdict: Verdict = judge(local, remote, scene)

    def reason(self, side: str) -> dict[str, Any]:
        reason: dict[str, Any] = self.reports[side]["reason"]
        assert reason is not None, f"the {side} endpoint had no reason to abort"
        return reason

    def bytes(self, direction: str) -> set[int | None]:
        return {report["directions"][direction]["bytes"] for report in self.reports.values()}

    def command(self, role: str) -> dict[str, Any]:
        command: dict[str, Any] = self.reports["remote" if role == "remote" else "local"]["commands"][role]
        return command


class Sessions:
    """Starts sessions in *folder*, with *defaults* of the options of `Session`."""

    def __init__(self, folder: Path, defaults: dict[str, Any]) -> None:
        self._folder = folder
        self._defaults = defaults
        self._sessions: list[Session] = []
        self._commands: dict[str, Words] = {}

    def start(self, commands: dict[str, Words], **options: Any) -> Session:
        self._commands = commands
        self._sessions.append(Session(self._folder, commands, **{**self._defaults, **options}))
        return self._sessions[-1]

    def end(self, session: Session) -> Ended:
        return Ended(*session.wait_ended(), self._commands)

    def run(self, commands: dict[str, Words], **options: Any) -> Ended:
        return self.end(self.start(commands, **options))

    def close(self) -> None:
        for session in self._sessions:
            session.close()
