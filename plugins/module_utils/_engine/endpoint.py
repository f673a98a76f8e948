# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endpoint: one side of a session, from its specification to its view of the end.

General theory of operation. `Endpoint.run` is the session's steps in a straight line; each
step starts something and waits in the loop until a condition holds. The first thing that
goes wrong leaves the step it happened in as an exception, and `run` turns it into an abort,
which is one straight line for every reason. docs/protocol.md has the messages, the
states and the deadlines.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

from . import peer
from .command import UNATTENDED, Surroundings
from .control import Message
from .crew import Crew, Player, find_executables
from .data import DataConnection
from .direction import DirectionEnd, ReadingEnd, State, WritingEnd
from .errors import (
    CommandError,
    IntegrityError,
    InterruptError,
    NetworkError,
    PeerAbortError,
    PeerLostError,
    ProtocolError,
    ResourceError,
    SessionError,
    StallError,
)
from .handshake import Side
from .loop import HANGUP, Loop, has_error, was_reset
from .meeting import Meeting, Opened
from .peer import Peer
from .report import check_outcome, check_reason, check_report, shown
from .specification import READER, WRITER, CommandSpec, Specification

#: Seconds from the beginning of an abort after which nobody is waited for any more.
ABORT_TIMEOUT = 12.0
#: Seconds that a reset data connection may be ahead of the peer's word about it.
NETWORK_GRACE = 2.0
#: Seconds to wait, after both reports are known, for the peer to say nothing more, or to have taken more
#: of what it was told.
ENDING_TIMEOUT = 3.0
#: Bytes per second of the slowest way on which a peer is given that time again.
SLOWEST = 1000
#: Round trips that a preflight measures.
PROBES = 5
#: Characters of a digest: twice those of the longest hash there is.
LONGEST_DIGEST = 256
#: splice(2) takes a mark of urgent data for the end.
_EARLY_END = "the data seemed to end before its end; does its writer send urgent data (MSG_OOB)?"
#: Seconds that the peer has, after ``abort``, to break its reading ends before ours send RST.
RESET_DELAY = 1.0

# Whoever imports a file may have to compile it, for each task anew: what few sessions need is imported
# where they do.
if TYPE_CHECKING:
    from .pump import PumpedReader

Event = Dict[str, Any]


class Endpoint:
    """Plays one side. *on_event* gets ``ready`` when nothing is in the way of threads, ``connected``,
    ``started`` and, of a detached session on the local side, ``reported``, which wants an answer by
    `conclude`; *surroundings* are for the commands."""

    def __init__(
        self,
        spec: Specification,
        on_event: Callable[[Event], None],
        surroundings: Surroundings = UNATTENDED,
    ) -> None:
        self._spec = spec
        self._on_event = on_event
        self.loop = Loop()
        self._meeting = Meeting(self.loop, spec, on_peer=self._on_peer, on_message=self._on_message)
        self._peer: Optional[Peer] = None
        self._path: Optional[Event] = None
        self._writing: Dict[str, WritingEnd] = {}  # by direction
        self._reading: Dict[str, ReadingEnd] = {}
        self._pumped: Dict[str, PumpedReader] = {}
        self.crew = Crew(self.loop, surroundings, self._command_ended)
        self._victims: List[str] = []
        self._heard: List[Tuple[str, str]] = []  # types of the messages that come once, and about what
        self._reason: Optional[Event] = None
        self._echoes: List[int] = []  # numbers of the probes that were answered
        self._peer_report: Optional[Event] = None
        self._sent_report: Optional[Event] = None
        self._outcome: Optional[Event] = None
        self._has_given_up = False

    def run(self) -> Event:
        """Play the session to its end, and give the view that `judge` takes.

        ``own`` is this side's report, ``peer`` the other's, None if it never came. The remote side of
        a detached session has an ``outcome`` too, None if it never came.
        """
        try:
            self._play()
        except SessionError as error:
            self._abort(error)
        except OSError as error:
            self._abort(ResourceError(error.strerror or str(error)))
        self._let_go()
        return dict(self._view(), outcome=self._outcome) if self._awaits_outcome else self._view()

    def interrupt(self, text: str) -> None:
        """End the session; *text* says which signal came. May be called from a signal handler."""
        self.loop.call_soon(lambda: self.loop.fail(InterruptError(text)))

    def conclude(self, outcome: Event) -> None:
        """Say to the peer what has become of a detached session. To be called from the loop."""
        self._outcome = outcome

    def moved(self) -> Dict[str, Optional[int]]:
        """Payload bytes of each direction so far."""
        return {end.name: end.moved() for end in self._ends}

    # The session, step by step

    def _play(self) -> None:
        self._new_checksum()
        find_executables(self._spec.commands)
        if self._spec.preflight:
            self._measure(self._meet())
        else:
            self.crew.hire_guard()
            self._on_event({"event": "ready"})
            self._meet()
            self.crew.guard_descriptors(end.connection.sock.fileno() for end in self._ends)
            self._start()
        self._finish()
        if self._spec.is_detached:
            self._exchange_outcome()
        self._end_control()

    def _meet(self) -> Event:
        peer = self._meeting.find_peer()
        path = self._path = self._meeting.path(peer)
        self._on_event({"event": "connected", "path": path})
        data = self._meeting.open_data(peer, lambda: self._may_start)
        for direction, opened in data.items():
            self._add_end(direction, opened)
        self._meeting.close()
        return path

    @property
    def _may_start(self) -> bool:
        """The local side says ``start`` when it has all connections, the remote side waits for it."""
        return self._spec.preflight or self._spec.side is Side.LOCAL or self._has_heard("start")

    def _measure(self, path: Event) -> None:
        if self._spec.side is Side.LOCAL:
            path["round_trip"] = min(self._round_trip(number) for number in range(PROBES))

    def _round_trip(self, number: int) -> float:
        """Seconds from a word of this side to the peer's answer."""
        began = time.monotonic()
        self._tell("probe", number=number)
        self.loop.run_until(lambda: number in self._echoes)
        return round(time.monotonic() - began, 6)

    def _start(self) -> None:
        """The remote command first: when it can not be started, nothing local was."""
        if self._spec.side is Side.LOCAL:
            self._tell("start")
            self.loop.run_until(lambda: self._has_heard("started"))
        try:
            for spec in self._spec.commands:
                stdin = _descriptor(self._read_by(spec.role))
                stdout = _descriptor(self._written_by(spec.role))
                self.crew.start(spec, stdin=stdin, stdout=stdout)
            self._tell("started")
            self._on_event({"event": "started"})
        finally:
            self.crew.watch()
        if self._spec.stall_timeout is not None:
            self._watch_for_stall(self._spec.stall_timeout)

    def _finish(self) -> None:
        self.loop.run_until(self._has_settled)
        self._send_report()
        self.loop.run_until(lambda: self._peer_report is not None)

    def _has_settled(self) -> bool:
        return self.crew.has_settled and all(end.is_settled for end in self._ends)

    @property
    def _awaits_outcome(self) -> bool:
        return self._spec.is_detached and self._spec.side is Side.REMOTE

    def _exchange_outcome(self) -> None:
        """However long the local side takes to put its file into place: it lives, or it is lost."""
        if not self._awaits_outcome:
            self._on_event({"event": "reported", "view": self._view()})
        self.loop.run_until(lambda: self._outcome is not None)
        if not self._awaits_outcome:
            self._tell("outcome", outcome=self._outcome)

    def _end_control(self) -> None:
        ended: List[bool] = []
        if self._peer is not None:
            self._peer.end(lambda: ended.append(True))
        self._give_time(lambda: ended.append(False))
        self.loop.run_until(lambda: ended)

    def _give_time(self, on_over: Callable[[], None]) -> None:
        """Call *on_over* when the peer has had its time. On a slow way a report takes longer than that."""
        before = self._unsent()

        def look() -> None:
            taken = before - self._unsent()
            if taken and taken >= min(before, SLOWEST * ENDING_TIMEOUT):
                self._give_time(on_over)
            else:
                on_over()

        self.loop.after(ENDING_TIMEOUT, look)

    def _unsent(self) -> int:
        return 0 if self._peer is None else self._peer.unsent()

    # Directions

    @property
    def _ends(self) -> List[DirectionEnd]:
        return [*self._writing.values(), *self._reading.values()]

    def _add_end(self, direction: str, opened: Opened) -> None:
        end: DirectionEnd
        if any(WRITER[direction] == spec.role for spec in self._spec.commands):
            end = self._writing[direction] = WritingEnd(direction, self._writing_side(direction, opened))
            if self._spec.rate_limit is not None:
                end.connection.limit_rate(self._spec.rate_limit)
        else:
            end = self._reading[direction] = ReadingEnd(direction, self._reading_side(direction, opened))
            if self._spec.block_size is not None:
                end.connection.read_in_blocks(self._spec.block_size)
        self.loop.watch(end.connection.sock.fileno(), HANGUP, lambda events: self._hung_up(end, events))

    def _writing_side(self, direction: str, opened: Opened) -> DataConnection:
        if not self._spec.is_pumped:
            return opened.connection
        from .pump import PumpedWriter

        return PumpedWriter(
            self.loop,
            opened,
            on_sent=lambda digest: self._tell("digest", direction=direction, digest=digest),
            **self._pump_options(direction),
        )

    def _reading_side(self, direction: str, opened: Opened) -> DataConnection:
        if not self._spec.is_pumped:
            return opened.connection
        from .pump import PumpedReader

        reader = PumpedReader(self.loop, opened, **self._pump_options(direction))
        self._pumped[direction] = reader
        return reader

    def _pump_options(self, direction: str) -> Dict[str, Any]:
        return {
            "checksum": self._new_checksum(),
            "on_damage": lambda error: self.loop.fail(IntegrityError(str(error), direction)),
        }

    def _new_checksum(self) -> Any:
        name = self._spec.checksum
        if name is None:
            return None
        from .checksum import new_checksum

        try:
            return new_checksum(name)
        except ValueError:
            raise ResourceError(f"its Python knows no checksum '{name}'") from None

    def _hung_up(self, end: DirectionEnd, events: int) -> None:
        """FIN or RST. A settled end may hang up: the peer closes when it holds both reports."""
        self.loop.unwatch(end.connection.sock.fileno())
        is_cut = has_error(events) or (was_reset(events) and end.is_cut)
        if is_cut and end.state is not State.STOPPED and not end.is_settled:
            end.break_off()
            self._expect_word(end)
        elif is_cut:
            end.after_reset()

    def _expect_word(self, end: DirectionEnd) -> None:
        """It is broken, and not by this endpoint: the peer says why, or neither did it."""
        self.loop.after(NETWORK_GRACE, lambda: self._cut(end.name))

    def _cut(self, direction: str) -> None:
        text = f"the data connection of direction {direction} was cut by something on the way"
        self.loop.fail(NetworkError(text))

    # Stalls

    def _counts(self) -> Dict[str, Optional[int]]:
        """Of each direction that is not at its end here."""
        return {end.name: end.moved() for end in self._ends if not end.is_at_end}

    def _watch_for_stall(self, timeout: float) -> None:
        """A heartbeat longer: so late may the peer's next word of what has moved there be."""
        from .stall import StallWatch

        if None in self.moved().values():
            raise ResourceError("it does not count bytes, so it can not watch for a stall")
        text = f"no byte has moved for {timeout:g} s"
        patience = timeout + peer.HEARTBEAT
        StallWatch(self.loop, patience, self._open_counts, lambda: self.loop.fail(StallError(text)))

    def _open_counts(self) -> Dict[str, Any]:
        """What both sides count, of each direction that is not at its reading end."""
        own, peers = self._counts(), self._peers_counts()
        open_directions = [name for name in self._reading if name in own]
        open_directions += [name for name in self._writing if name in peers]
        return {name: (own.get(name), peers.get(name)) for name in open_directions}

    def _peers_counts(self) -> Dict[str, Any]:
        """As its last heartbeat told them; before the first, each direction is open."""
        moved = (
            {}
            if self._peer is None
            else self._peer.heartbeat.get("moved", dict.fromkeys(self._spec.directions))
        )
        return moved if isinstance(moved, dict) else {}

    def _read_by(self, role: str) -> List[ReadingEnd]:
        return [end for name, end in self._reading.items() if READER[name] == role]

    def _written_by(self, role: str) -> List[WritingEnd]:
        return [end for name, end in self._writing.items() if WRITER[name] == role]

    # Commands

    def _command_ended(self, role: str) -> None:
        """Settle what the command read, then what it wrote: a broken stream in is no whole
        stream out. A command that failed with its connections intact is the culprit."""
        command = self.crew.players[role]
        is_accepted = self._is_accepted(command)
        read, written = self._read_by(role), self._written_by(role)
        for end in [*read, *written]:
            end.notice_reset()
        broken = [end for end in [*read, *written] if end.is_broken]
        for end in broken:
            self._expect_word(end)
        is_victim = self._reason is not None or bool(broken)
        for reading in read:
            self._reader_ended(reading, is_accepted)
        is_whole = is_accepted and not any(end.is_broken for end in read)
        for writing in written:
            writing.writer_ended(is_whole=is_whole)
        if is_victim:
            self._victims.append(role)
        elif not is_accepted:
            self.loop.fail(command.failure())
        elif any(end.is_broken for end in read):
            self.loop.fail(CommandError(role, _EARLY_END))

    def _is_accepted(self, command: Player) -> bool:
        """A writer whose reader has ended gets SIGPIPE or, just then, a write error: accepting
        the one accepts the other."""
        written = self._written_by(command.spec.role)
        was_stopped = any(end.state is State.STOPPED for end in written)
        return command.is_accepted or (was_stopped and command.may_be_stopped)

    def _reader_ended(self, end: ReadingEnd, is_accepted: bool) -> None:
        may_be_early = isinstance(self.crew.players[READER[end.name]].spec, CommandSpec)
        end.reader_ended(is_accepted=is_accepted, may_be_early=may_be_early)
        if not end.is_broken:
            self._tell("read", direction=end.name, whole=end.state is State.FINISHED)

    # Messages

    def _on_peer(self, peer: Peer) -> None:
        self._peer = peer
        peer.pulse = lambda: {"moved": self._counts()}

    def _tell(self, type: str, **fields: Any) -> None:
        if self._peer is not None:
            self._peer.send(type, **fields)

    def _on_message(self, message: Message) -> None:
        handlers: Dict[str, Callable[[Message], None]] = {
            "start": self._on_once,
            "started": self._on_once,
            "read": self._on_read,
            "digest": self._on_digest,
            "stop": self._on_stop,
            "probe": self._on_probe,
            "echo": self._on_echo,
            "finished": self._on_finished,
            "outcome": self._on_outcome,
            "abort": self._on_abort,
        }
        handler = handlers.get(message["type"])
        if handler is None:
            raise ProtocolError(f"it sent an unknown message, '{shown(message['type'])}'")
        handler(message)

    def _hear_once(self, message: Message, about: str = "") -> None:
        """No message comes twice, nor twice *about* the same: what it asks for would have no end."""
        type = message["type"]
        if (type, about) in self._heard:
            raise ProtocolError(f"it sent '{type}' out of turn")
        self._heard.append((type, about))

    def _has_heard(self, type: str) -> bool:
        return (type, "") in self._heard

    def _on_once(self, message: Message) -> None:
        if message["type"] == "start" and self._spec.side is Side.LOCAL:
            raise ProtocolError("it sent 'start' out of turn")
        self._hear_once(message)

    def _on_read(self, message: Message) -> None:
        end = self._writing.get(str(message.get("direction")))
        if end is None:
            raise ProtocolError("it reports on a direction that this side does not write")
        self._hear_once(message, end.name)
        end.reader_ended(is_whole=message.get("whole") is True)
        if end.state is State.STOPPED:
            self._tell("stop", direction=end.name)

    def _on_digest(self, message: Message) -> None:
        direction, digest = str(message.get("direction")), message.get("digest")
        reader = self._pumped.get(direction)
        if reader is None or self._spec.checksum is None:
            raise ProtocolError("it sent a digest that this side did not ask for")
        if not isinstance(digest, str) or len(digest) > LONGEST_DIGEST:
            raise ProtocolError("it sent a digest that is none")
        self._hear_once(message, direction)
        reader.expect(shown(digest))

    def _on_stop(self, message: Message) -> None:
        end = self._reading.get(str(message.get("direction")))
        if end is None or end.state is not State.STOPPED:
            raise ProtocolError("it stops a direction whose reader has not ended early")
        self._hear_once(message, end.name)
        self.loop.unwatch(end.connection.sock.fileno())
        end.stop()

    def _on_probe(self, message: Message) -> None:
        if not self._spec.preflight or self._spec.side is Side.LOCAL:
            raise ProtocolError("it sent 'probe' out of turn")
        self._tell("echo", number=self._number_of(message))

    def _on_echo(self, message: Message) -> None:
        if not self._spec.preflight or self._spec.side is Side.REMOTE:
            raise ProtocolError("it sent 'echo' out of turn")
        self._echoes.append(self._number_of(message))

    def _number_of(self, message: Message) -> int:
        number = message.get("number")
        if not isinstance(number, int) or number not in range(PROBES):
            raise ProtocolError(f"it sent '{message['type']}' without a number from 0 to {PROBES - 1}")
        self._hear_once(message, str(number))
        return number

    def _on_finished(self, message: Message) -> None:
        self._hear_once(message)
        peer, directions = self._spec.side.peer.value, self._spec.directions
        self._peer_report = check_report(message.get("report"), peer, directions)
        if self._reason is not None:
            self._disconnect()

    def _on_outcome(self, message: Message) -> None:
        if not self._awaits_outcome:
            raise ProtocolError("it sent 'outcome' out of turn")
        self._hear_once(message)
        self._outcome = check_outcome(message.get("outcome"))

    def _on_abort(self, message: Message) -> None:
        self._hear_once(message)
        peer, directions = self._spec.side.peer.value, self._spec.directions
        self.loop.fail(PeerAbortError(check_reason(message.get("reason"), peer, directions)))

    # Reports

    def _view(self) -> Event:
        return {"own": self._report(), "peer": self._peer_report}

    def _send_report(self) -> None:
        if self._sent_report is None:
            self._sent_report = self._report()
            self._tell("finished", report=self._sent_report)

    def _report(self) -> Event:
        commands = {
            role: dict(
                command.report(),
                is_accepted=self._is_accepted(command),
                is_victim=role in self._victims or not command.has_ended,
                may_be_stopped=command.may_be_stopped,
            )
            for role, command in self.crew.players.items()
        }
        return {
            "side": self._spec.side.value,
            "commands": commands,
            "directions": {end.name: end.report() for end in self._ends},
            "path": self._path,
            "attempts": self._meeting.attempts(),
            "cannot_listen": self._meeting.cannot_listen,
            "strangers": self._meeting.strangers,
            "other_version": self._meeting.other_version,
            "reason": self._reason,
        }

    # Abort

    def _abort(self, error: SessionError) -> None:
        self._reason = error.reason()
        self.loop.after(ABORT_TIMEOUT, self._stop_waiting)
        self._tell_abort(error)
        for end in self._ends:
            self.loop.unwatch(end.connection.sock.fileno())
            end.break_off()
        self._reset_soon()
        self._meeting.close()
        self.crew.end_soon()
        self._run_aborting(lambda: self.crew.has_settled)
        self._send_report()
        self._run_aborting(lambda: self._peer is None or self._peer_report is not None)
        if self._peer is not None:
            self._peer.end(self._forget_peer)
            self.loop.after(ENDING_TIMEOUT, self._forget_peer)
            self._run_aborting(lambda: self._peer is None)

    def _tell_abort(self, error: SessionError) -> None:
        if self._peer is not None:
            self._peer.on_lost = lambda error: self._forget_peer()
        # It may have been lost in the moment in which another reason came first.
        is_lost = self._peer is not None and not self._peer.is_open
        if is_lost or isinstance(error, (PeerLostError, ProtocolError)) or _is_of_message(error):
            self._forget_peer()
        elif not isinstance(error, PeerAbortError):
            self._tell("abort", reason=self._reason)

    def _reset_soon(self) -> None:
        """RST goes out once the peer's readers are safe from a clean end of file: its endpoint
        breaks their sockets on ``abort``, and is done by the time its report comes."""
        self.loop.after(RESET_DELAY, self._disconnect)
        if self._peer is None:
            self._disconnect()

    def _disconnect(self) -> None:
        for end in self._ends:
            end.break_off()  # and count: what is disconnected counts no more
            end.connection.disconnect()

    def _run_aborting(self, condition: Callable[[], bool]) -> None:
        """Run until *condition* holds or nobody is waited for."""
        self.loop.run_through(lambda: self._has_given_up or condition())

    def _stop_waiting(self) -> None:
        self._has_given_up = True

    def _forget_peer(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        if self._reason is not None:
            self._disconnect()

    def _let_go(self) -> None:
        """Close everything; what an aborted session left running is left to the guard."""
        self._meeting.close()
        self._forget_peer()
        is_whole = self._reason is None
        for end in self._ends:
            self.loop.unwatch(end.connection.sock.fileno())
            if not is_whole:
                end.connection.disconnect()
            end.connection.close(whole=is_whole)
        self.crew.let_go(whole=is_whole)


def _is_of_message(error: SessionError) -> bool:
    """Whether the control connection has come to its end with it."""
    return isinstance(error, IntegrityError) and error.direction is None


def _descriptor(ends: Sequence[DirectionEnd]) -> Optional[int]:
    """A command reads at most one direction, and writes at most one."""
    return ends[0].connection.descriptor() if ends else None
