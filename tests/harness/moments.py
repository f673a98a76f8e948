# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session that waits at a moment of its life, and what may be left of one that was broken there.

start     the three commands run, and not one byte was written
middle    bytes flow from each command to the next, without end
end       all streams that end before the one who waits have ended; that one still runs
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict

from harness.processes import parent_of
from harness.sessions import Ended, Session, Sessions, Words
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

START, MIDDLE, END = MOMENTS = ("start", "middle", "end")
#: Seconds in which a session ends of which something was killed.
BOUND = 15.0
SIZE = 300_000


class Held:
    """A filter session, with *options*, that waits at *moment*; at the end it is *waiter* who does.

    The remote command and `output` commit what they read, each through a gate of its own.
    """

    def __init__(
        self, sessions: Sessions, folder: Path, moment: str, waiter: str = "output", **options: Any
    ) -> None:
        self._sessions = sessions
        self._folder = folder
        self._moment = moment
        self._waiter = waiter
        self._kept: list[int] = []
        self.there, self.here = CommitGate(folder, "there"), CommitGate(folder, "here")
        os.mkfifo(folder / "begin")
        os.mkfifo(folder / "end")
        self.session: Session = sessions.start(self._commands(), **options)
        if moment != START:
            self._open("begin")

    def _commands(self) -> dict[str, Words]:
        return {
            "input": sh(f"{self._begin('input')}; {self._write()} && exec >&- && {self._wait('input')}"),
            "remote": sh(
                f"{self._begin('remote')}; tee {self.there.part} && exec >&- && {self._wait('remote')} "
                f"&& mv {self.there.part} {self.there.whole}"
            ),
            "output": sh(
                f"{self._begin('output')}; cat > {self.here.part} && {self._wait('output')} "
                f"&& mv {self.here.part} {self.here.whole}"
            ),
        }

    def _begin(self, role: str) -> str:
        return f"echo $$ > {self._folder}/{role}.begun; : < {self._folder}/begin"

    def _write(self) -> str:
        if self._moment == END:
            return f"head -c {SIZE} /dev/zero"
        little = "head -c 10000 /dev/zero"
        return f"until [ -e {self._folder}/enough ]; do {little} || exit; sleep 0.02; done; {little}"

    def _wait(self, role: str) -> str:
        if self._moment != END or role != self._waiter:
            return "true"
        return f"{{ : > {self._folder}/waits; : < {self._folder}/end; }}"

    def _open(self, fifo: str) -> None:
        """Whoever waits for somebody to open it goes on."""
        self._kept.append(os.open(self._folder / fifo, os.O_RDWR | os.O_NONBLOCK))

    def wait(self) -> None:
        """Until the session has come to its moment."""
        for role in ("input", "remote", "output"):
            wait_until(lambda role=role: self._begun(role), f"the {role} command runs")
        if self._moment == MIDDLE:
            wait_until(lambda: self.here.has_bytes(30_000), "the stream flows")
        if self._moment == END:
            wait_until((self._folder / "waits").exists, f"the {self._waiter} command waits at the end")

    def _begun(self, role: str) -> str:
        path = self._folder / f"{role}.begun"
        return path.read_text().strip() if path.exists() else ""

    def pid(self, role: str) -> int:
        """That of a command, which leads its group."""
        pid = int(self._begun(role))
        side = self.session.remote if role == "remote" else self.session.local
        assert parent_of(pid) == side.process.pid
        return pid

    def go_on(self) -> None:
        """To a good end of the session."""
        (self._folder / "enough").touch()
        self._open("begin")
        self._open("end")

    def expect_whole(self) -> None:
        """The session succeeds, all that was written was read, and nothing runs any more."""
        ended = self.session.wait_over(BOUND)
        assert ended.verdict == Verdict(None, None, [])
        (size,) = ended.bytes("input") | ended.bytes("output")
        assert self.there.whole.read_bytes() == self.here.whole.read_bytes() == bytes(size or 0)
        wait_until(lambda: not self.session.processes(), "nothing of the session is left", BOUND)

    def expect_broken(self, began: float) -> Ended:
        """Since *began* no more than `BOUND` went by, nothing runs any more, and nobody who read a
        broken stream took it for a whole one."""
        ended = self.session.wait_over(BOUND)
        wait_until(lambda: not self.session.processes(), "nothing of the session is left", BOUND)
        assert time.monotonic() - began < BOUND
        assert ended.verdict.failure is not None
        assert not self.here.whole.exists()
        # The remote command reads the whole stream before the end, unless it is input that waits.
        assert self.there.whole.exists() == (self._moment == END and self._waiter == "output")
        return ended

    def close(self) -> None:
        for descriptor in self._kept:
            os.close(descriptor)
