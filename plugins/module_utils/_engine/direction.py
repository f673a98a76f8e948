# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ends of a direction: what each event makes of it.

The states and the two tables are those of docs/protocol.md, "A direction". An end only
records and acts on its own connection; telling the peer is the endpoint's part.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Dict, Optional

from .data import DataConnection


class State(Enum):
    OPEN = "open"
    FINISHED = "finished"
    STOPPED = "stopped"
    BROKEN = "broken"


class DirectionEnd:
    """What both ends share. *name* is input or output."""

    def __init__(self, name: str, connection: DataConnection) -> None:
        self.name = name
        self.connection = connection
        self.state = State.OPEN
        self._command_ended = False
        self._bytes: Optional[int] = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing that still happens can change this end."""
        raise NotImplementedError

    @property
    def is_at_end(self) -> bool:
        """Whether no byte is to go through this end any more."""
        return self._command_ended

    @property
    def is_broken(self) -> bool:
        return self.state is State.BROKEN

    @property
    def is_cut(self) -> bool:
        """Whether the connection has ended in another way than by the FINs that this end knows of. The
        command at either end may send one for the direction that it has no use for."""
        raise NotImplementedError

    def notice_reset(self) -> None:
        """The connection may have been reset already, without the loop having said so."""
        if self.state is State.OPEN and self.is_cut:
            self.break_off()

    def break_off(self) -> None:
        """The connection was reset, or the session is aborted. What it takes to keep a reader from
        a clean end of file differs between the ends."""
        self._count()
        if self.state is not State.STOPPED:
            self.state = State.BROKEN

    def after_reset(self) -> None:
        """The connection was reset, and this end is stopped or settled already."""
        raise NotImplementedError

    def report(self) -> Dict[str, Any]:
        """State, payload bytes that went through this end, and their digest (None: unknown)."""
        return {"state": self.state.value, "bytes": self._bytes, "digest": self.connection.digest()}

    def moved(self) -> Optional[int]:
        """Payload bytes that have gone through this end so far."""
        return self._measure() if self._bytes is None else self._bytes

    def _count(self) -> None:
        """Once: a connection that was disconnected counts no more."""
        if self._bytes is None:
            self._bytes = self._measure()

    def _measure(self) -> Optional[int]:
        raise NotImplementedError


class WritingEnd(DirectionEnd):
    """The end whose command writes."""

    _reader_ended = False

    @property
    def is_cut(self) -> bool:
        return self.connection.is_broken if self.state is State.FINISHED else self.connection.is_over

    def break_off(self) -> None:
        """Not with RST at once: the reading end is to break its own socket first, on ``abort``."""
        super().break_off()
        if self.connection.is_over:
            self.connection.disconnect()

    def writer_ended(self, *, is_whole: bool) -> None:
        """*is_whole*: the status was accepted, and what the command had read was not broken."""
        self._command_ended = True
        self.notice_reset()
        if self.state is State.STOPPED:
            self._count()
        elif self.state is State.OPEN and is_whole:
            self.connection.finish()
            self._count()
            self.state = State.FINISHED
        elif self.state is State.OPEN:
            self.break_off()

    def reader_ended(self, *, is_whole: bool) -> None:
        """The peer's ``read`` has arrived. When it is whole while the command still runs, the
        command has sent FIN itself, with shutdown(2); its status still decides."""
        self._reader_ended = True
        self.notice_reset()
        if self.state is State.OPEN and not is_whole:
            self.state = State.STOPPED

    def after_reset(self) -> None:
        if self.state is State.STOPPED:
            self.connection.take_error()

    @property
    def is_settled(self) -> bool:
        needed = self._reader_ended if self.state is State.FINISHED else True
        return self._command_ended and needed

    def _measure(self) -> Optional[int]:
        return self.connection.count_sent()


class ReadingEnd(DirectionEnd):
    """The end whose command reads."""

    @property
    def is_cut(self) -> bool:
        return self.connection.is_broken

    def break_off(self) -> None:
        super().break_off()
        self.connection.disconnect()

    def after_reset(self) -> None:
        """What the command has left running shall not see a clean end of file."""
        self.connection.disconnect()

    def stop(self) -> None:
        """The peer's ``stop``: its writer's pipe may be broken now."""
        self.connection.stop_reading()

    def reader_ended(self, *, is_accepted: bool, may_be_early: bool = True) -> None:
        """*may_be_early* is for a reader that may end before the stream does, as a command may."""
        self._command_ended = True
        self.notice_reset()
        if self.state is State.OPEN:
            whole = self.connection.was_read_whole()
            if is_accepted and (whole or may_be_early):
                self._count()
                self.state = State.FINISHED if whole else State.STOPPED
            else:
                self.break_off()

    @property
    def is_settled(self) -> bool:
        return self._command_ended

    @property
    def is_at_end(self) -> bool:
        return super().is_at_end or self.connection.is_read_whole()

    def _measure(self) -> Optional[int]:
        return self.connection.count_received()
