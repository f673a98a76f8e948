# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program socketpipe as a process, installed in a folder, with logins to this machine."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from harness.processes import processes_with, wait_ended
from harness.waiting import wait_until

MODULE_UTILS = Path(__file__).parents[2] / "plugins" / "module_utils"
#: Seconds for whatever the program does, on a machine that has other things to do too.
BOUND = 30.0

_START_UP = """\
#!{python} -IS
import importlib
import sys

sys.path.insert(0, {library!r})
for name, value in {patience!r}.items():
    module, constant = name.split(".")
    setattr(importlib.import_module("_engine." + module), constant, value)
from _engine.cli import main

sys.exit(main())
"""
#: A login that makes one text of its words for a shell, as ssh does.
_SHELL_LOGIN = 'exec sh -c "$*"'
_MARK = "SOCKETPIPE_TEST_SESSION"
#: What a login of the person who runs the tests would show.
_OF_SSH = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")


class Ended(NamedTuple):
    """What a run left: its exit status, and all that it wrote."""

    status: int
    stdout: bytes
    errors: str


class Running:
    """A started program. It is ended with the `with` block, if it has not ended before."""

    def __init__(self, process: subprocess.Popen[bytes], stdout: Path, stderr: Path) -> None:
        self.process = process
        self._stdout = stdout
        self._stderr = stderr

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass  # what was not read is lost, as it should be

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> bytes:
        """What it has written so far."""
        return self._stdout.read_bytes()

    @property
    def errors(self) -> str:
        return self._stderr.read_bytes().decode("utf-8", "surrogateescape")

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self, bound: float = BOUND) -> Ended:
        try:
            wait_ended(self.process, bound)
        except AssertionError as error:
            raise AssertionError(f"{error}; it has said: {self.errors}") from None
        return Ended(self.process.returncode, self.stdout, self.errors)


class Program:
    """An installation of the program in *folder*, which comes first in PATH.

    It runs on *python*, and with other values of constants of the engine, `module.NAME`, if
    there is *patience*. All that it starts has a mark in its environment.
    """

    def __init__(
        self, folder: Path, *, python: str = sys.executable, patience: Mapping[str, float] | None = None
    ) -> None:
        self.folder = folder
        self._bin = folder / "bin"
        self._bin.mkdir(parents=True)
        self._setting = f"{_MARK}={secrets.token_hex(8)}"
        self._runs = 0
        text = _START_UP.format(python=python, library=str(MODULE_UTILS), patience=dict(patience or {}))
        self.path = self.add("socketpipe", text)
        self.add("shlogin", f"#!/bin/sh\n{_SHELL_LOGIN}\n")

    def add(self, name: str, text: str) -> Path:
        """One more executable in the folder."""
        path = self._bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def add_script(self, name: str, text: str) -> Path:
        """One more executable, in Python."""
        return self.add(name, f"#!{sys.executable} -IS\n{textwrap.dedent(text)}")

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """That of its runs."""
        own = {name: value for name, value in os.environ.items() if name not in _OF_SSH}
        name, _equals, value = self._setting.partition("=")
        return {**own, "PATH": f"{self._bin}:{os.environ['PATH']}", name: value, **(more or {})}

    def start(
        self,
        *words: str | bytes | Path,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str | Path] = (),
        path: Path | None = None,
        **options: Any,
    ) -> Running:
        """Start it, or what is at *path*, without a terminal, through the words *before* if there are
        any; *options* are those of `subprocess.Popen`."""
        self._runs += 1
        stdout, stderr = (self.folder / f"{self._runs}.{name}" for name in ("stdout", "stderr"))
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                [*before, path or self.path, *words],
                **{
                    "stdin": stdin,
                    "stdout": out,
                    "stderr": err,
                    "env": self.environment(environment),
                    "start_new_session": True,
                    **options,
                },
            )
        return Running(process, stdout, stderr)

    def run(
        self, *words: str | bytes | Path, input: bytes = b"", bound: float = BOUND, **options: Any
    ) -> Ended:
        """Run it to its end, after which no process of it may be left."""
        given = self.folder / "given"
        given.write_bytes(input)
        with given.open("rb") as stdin, self.start(*words, stdin=stdin, **options) as running:
            ended = running.wait(bound)
        self.expect_nothing_left()
        return ended

    def processes(self) -> dict[int, str]:
        """All that its runs have left, by name."""
        return processes_with(self._setting)

    def expect_nothing_left(self, bound: float = BOUND) -> None:
        try:
            wait_until(lambda: not self.processes(), "no process of the run is left", bound)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.processes()}") from None

    def close(self) -> None:
        """End all that is left."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def block(option: str, *words: str) -> list[str]:
    """An option and its command."""
    return [option, "{", *words, "}"]


def commands(
    *,
    login: Sequence[str] = ("shlogin",),
    input: Sequence[str] | None = None,
    remote: Sequence[str],
    output: Sequence[str] | None = None,
) -> list[str]:
    """The commands of a call, as its words."""
    given = {"-l": login, "-i": input, "-r": remote, "-o": output}
    return [word for option, words in given.items() if words is not None for word in block(option, *words)]
