# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of one side, and files in the place of commands: started together, ended together."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Callable, Dict, Iterable, Optional, Sequence, Union

from .command import Command, Surroundings, find_executable
from .guard import TERM_GRACE, Guard
from .loop import Loop
from .specification import AnySpec, CommandSpec, FileSpec

#: Seconds that commands have to notice that their connection broke, and to say so.
NOTICE_GRACE = 2.0

# Whoever imports a file may have to compile it, for each task anew: what few sessions need is imported
# where they do.
if TYPE_CHECKING:
    from .file import File

#: What plays a role: a process, or a thread with a file.
Player = Union[Command, "File"]


def find_executables(specs: Sequence[AnySpec]) -> None:
    """Raise CommandError unless all can be started, as far as can be known before."""
    for spec in specs:
        if isinstance(spec, CommandSpec):
            find_executable(spec)


class Crew:
    """`players` are those that were started, by role; *on_exit* gets the role of one that has ended,
    from the loop. The guard of their processes is there from `hire_guard` on, which forks."""

    def __init__(self, loop: Loop, surroundings: Surroundings, on_exit: Callable[[str], None]) -> None:
        self._loop = loop
        self._surroundings = surroundings
        self._on_exit = on_exit
        self._guard: Optional[Guard] = None
        self.players: Dict[str, Player] = {}

    def hire_guard(self) -> None:
        """Before the first thread. Where commands share a terminal there is no group to guard."""
        if self._surroundings.own_session:
            self._guard = Guard()

    def guard_descriptors(self, descriptors: Iterable[int]) -> None:
        """To be told before a command is started with one."""
        if self._guard is not None:
            for descriptor in descriptors:
                self._guard.add_descriptor(descriptor)

    def guard_group(self, pid: int) -> None:
        if self._guard is not None:
            self._guard.add_group(pid)

    def start(self, spec: AnySpec, *, stdin: Optional[int], stdout: Optional[int]) -> None:
        player = self.players[spec.role] = self._start(spec, stdin, stdout)
        if player.pid is not None:
            self.guard_group(player.pid)

    def _start(self, spec: AnySpec, stdin: Optional[int], stdout: Optional[int]) -> Player:
        def on_exit() -> None:
            self._on_exit(spec.role)

        if isinstance(spec, FileSpec):
            from .file import File

            return File(spec, self._loop, stdin=stdin, stdout=stdout, on_exit=on_exit)
        around = self._surroundings
        return Command(spec, self._loop, stdin=stdin, stdout=stdout, on_exit=on_exit, surroundings=around)

    def watch(self) -> None:
        """Begin to wait for their ends, with threads: when no process is to be started any more."""
        for player in self.players.values():
            player.watch()

    @property
    def has_settled(self) -> bool:
        return all(player.has_settled for player in self.players.values())

    def end_soon(self) -> None:
        """Their connections are broken: end those that do not notice."""
        self._loop.after(NOTICE_GRACE, lambda: self._signal(signal.SIGTERM))
        self._loop.after(NOTICE_GRACE + TERM_GRACE, lambda: self._signal(signal.SIGKILL))

    def _signal(self, signum: int) -> None:
        for player in self.players.values():
            player.signal_group(signum)

    def let_go(self, *, whole: bool) -> None:
        """What a *whole* session left running is meant to stay; any other's is left to the guard."""
        if self._guard is not None:
            if whole:
                self._guard.dismiss()
            else:
                self._guard.end_groups()
        for player in self.players.values():
            player.let_go()
