# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local side in the classic protocol, that of socketpipe 1.10.

General theory of operation. There is no peer that says anything: the remote command holds the other
end of the one connection. What is known of it comes from the kernel, and from the login, which
somebody else watches and tells of: `accept_from` what it shows, `login_ended` how it ended. From
these two the report is made that the other side would have sent, so that `judge` has the
same to judge as ever. docs/protocol.md, "The classic protocol", has the rules.
"""

from __future__ import annotations

import math
import os
import socket
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from .classic_connection import LOOK, ClassicConnection, ClassicListener
from .command import SIGPIPE_STATUS, UNATTENDED, Surroundings, Tail
from .crew import Crew, find_executables
from .errors import (
    CommandError,
    InterruptError,
    LoginError,
    NetworkError,
    PeerLostError,
    ResourceError,
    SessionError,
)
from .handshake import Side
from .judge import empty_report, significant_line
from .loop import Loop
from .meeting import path_report
from .specification import AnySpec, FileSpec, Specification

#: Seconds from the beginning of an abort after which nobody is waited for any more.
ABORT_TIMEOUT = 12.0
#: Seconds that the status of the remote command may come after the end of its connection.
STATUS_GRACE = 5.0
#: Seconds without a byte, after the remote command has ended, until its connection has to end too.
LEFTOVER_GRACE = 30.0
#: Seconds without an answer that is owed, after which the other machine is given up.
SILENCE = 60.0
_LOOK_AT_LEFTOVER = 1.0
_LOOK_AT_SILENCE = 5.0

Event = Dict[str, Any]


class ClassicEndpoint:
    """Plays the local side. *on_event* gets ``ready`` when nothing is in the way of threads, then
    ``connected``, ``started``, and ``aborted``. *remote_accept_rc* are statuses of the login.

    Of *spec* the listener, the commands and the timeout count; what the remote command prints is
    kept as a tail if there is no output.
    """

    def __init__(
        self,
        spec: Specification,
        on_event: Callable[[Event], None],
        surroundings: Surroundings = UNATTENDED,
        remote_accept_rc: Sequence[int] = (0,),
    ) -> None:
        self._spec = spec
        self._specs: Dict[str, AnySpec] = {command.role: command for command in spec.commands}
        self._on_event = on_event
        self._remote_accept_rc = remote_accept_rc
        self.loop = Loop()
        self._listener = ClassicListener(self.loop, socket.socket(fileno=spec.listener), self._take)
        self._began = time.monotonic()
        self._accepted: Optional[ClassicConnection] = None
        self._path: Optional[Event] = None
        self.crew = Crew(self.loop, surroundings, self._command_ended)
        self._captured: Optional[Tail] = None
        self._states = {"input": "open", "output": "open"}
        self._bytes: Dict[str, Optional[int]] = {"input": None, "output": None}
        self._victims: List[str] = []
        self._login_rc: Optional[int] = None
        self._login_words = ""
        self._is_login_lost = False
        self._blames_remote = True
        self._remote_is_victim = False
        self._output_error: Optional[CommandError] = None
        self._is_looking = False
        self._reason: Optional[Event] = None
        self._has_given_up = False

    def run(self) -> Event:
        """Play the session to its end, and give this side's view of it: ``peer`` is the report that
        the remote side would have sent, None if nothing is known of its end."""
        try:
            self._play()
        except SessionError as error:
            self._abort(error)
        except OSError as error:
            self._abort(ResourceError(error.strerror or str(error)))
        self._let_go()
        return {"own": self._report(), "peer": self._remote_report()}

    def interrupt(self, text: str) -> None:
        """End the session; *text* says why. May be called from a signal handler."""
        self.loop.call_soon(lambda: self.loop.fail(InterruptError(text)))

    def moved(self) -> Dict[str, Optional[int]]:
        """Payload bytes of each direction so far."""
        connection = self._accepted
        if connection is None or connection.was_reset or self._reason is not None or connection.is_closed:
            return dict(self._bytes)
        return {"input": connection.count_sent(), "output": connection.count_received()}

    @property
    def is_connected(self) -> bool:
        return self._accepted is not None

    # What the login tells, from the loop

    def accept_from(self, addresses: Optional[Sequence[str]]) -> None:
        """Begin to accept, from these addresses only; None: from anybody."""
        self._listener.accept_from(addresses)

    def login_ended(self, rc: int, words: str = "", *, was_told: bool = False) -> None:
        """The login's status, which is the remote command's unless the login *was_told* to end; *words*
        are its stderr, as far as known."""
        if not self.is_connected:
            self._listener.accept()  # a short command has connected and ended in one moment
        self._login_rc, self._login_words = rc, words
        if not self.is_connected:
            line = significant_line(words)
            end = f"it ended with status {rc}{': ' + line if line else ''}"
            self.loop.fail(LoginError(self._unconnected(end), rc))
        elif rc not in self._remote_accept_rc:
            self._remote_is_victim = was_told or not self._blames_remote
            self.loop.fail(CommandError("remote", f"the remote command exited {rc}"))
        elif self._output_error is not None:
            self.loop.fail(self._output_error)
        elif self._connection.was_reset:
            self._settle_reset()
        else:
            self._watch_leftover(None, time.monotonic())

    def login_lost(self) -> None:
        """Nobody will tell how the login ended."""
        self._is_login_lost = True

    # The session, step by step

    def _play(self) -> None:
        find_executables(self._spec.commands)
        self.crew.hire_guard()
        self._on_event({"event": "ready"})
        self._wait_connected()
        self._connection.notice_reset()
        # There may be no remote command: then, if that is known in time, nothing is read from a tape for it.
        if "broken" not in self._states.values():
            self.crew.guard_descriptors([self._connection.sock.fileno()])
            self._start()
        self.loop.run_until(self._is_over)

    def _wait_connected(self) -> None:
        timeout = self._spec.timeout
        if timeout < math.inf:
            self.loop.after(timeout, self._time_out)
        self.loop.run_until(lambda: self.is_connected)

    def _time_out(self) -> None:
        if not self.is_connected:
            what = f"its time, {self._spec.timeout:g} s, is over"
            self.loop.fail(LoginError(self._unconnected(what)))

    def _unconnected(self, what: str) -> str:
        refused = ", ".join(self._listener.refused)
        but = f"; a connection from {refused} was refused, for the login does not show that address"
        return f"did not connect back: {what}{but if refused else ''}"

    @property
    def _connection(self) -> ClassicConnection:
        """Not to be asked for before there is one."""
        if self._accepted is None:
            raise ResourceError("there is no connection yet")
        return self._accepted

    def _take(self, sock: socket.socket) -> None:
        connection = self._accepted = ClassicConnection(self.loop, sock, self._reset)
        self._path = path_report(Side.LOCAL, connection.own, self._began)
        self._watch_silence()
        self._on_event({"event": "connected", "path": self._path})

    def _start(self) -> None:
        """The reader first."""
        descriptor = self._connection.descriptor()
        if "input" not in self._specs:
            self._finish_input()
        try:
            self.crew.start(self._specs.get("output") or self._capture(), stdin=descriptor, stdout=None)
            if "input" in self._specs:
                self.crew.start(self._specs["input"], stdin=None, stdout=descriptor)
            self._on_event({"event": "started"})
        finally:
            self.crew.watch()

    def _capture(self) -> FileSpec:
        reader, writer = os.pipe()
        self._captured = Tail(self.loop, os.fdopen(reader, "rb", buffering=0))
        return FileSpec("output", writer, accept_rc=[0])

    # Commands

    def _command_ended(self, role: str) -> None:
        player, connection = self.crew.players[role], self._connection
        connection.notice_reset()
        if connection.was_reset or self._reason is not None:
            self._victims.append(role)
        elif not player.is_accepted:
            self._failed(role, player.failure())
        elif role == "input":
            self._finish_input()
        else:
            connection.look_for_end(self._output_ended)

    def _finish_input(self) -> None:
        self._connection.finish()
        self._bytes["input"] = self._connection.count_sent()
        self._states["input"] = "finished"

    def _failed(self, role: str, error: CommandError) -> None:
        """A reader may only have noticed that its stream was cut: then the remote command's status,
        which comes another way, names the cause."""
        if role == "output" and self._connection.fin_arrived and self._login_rc is None:
            self._output_error = error
            self.loop.after(STATUS_GRACE, lambda: self.loop.fail(error))
        else:
            self.loop.fail(error)

    def _output_ended(self, was_whole: bool) -> None:
        if not was_whole:
            self.loop.fail(CommandError("output", "it ended without reading all that came"))
        elif self._reason is None:
            self._bytes["output"] = self._connection.count_received()
            self._states["output"] = "finished"

    # The connection

    def _reset(self) -> None:
        """The remote command has ended without reading everything, or has failed, or the network cut
        the connection: its status, which comes another way, tells."""
        if self._reason is not None:
            return
        state = "stopped" if self._may_be_stopped else "broken"
        self._states = dict.fromkeys(self._states, state)
        if self._captured is None:
            # A command's second read would be a clean end of file.
            self._connection.disconnect()
        if self._login_rc is not None:
            self._settle_reset()
        else:
            self.loop.after(STATUS_GRACE, self._settle_reset)

    def _settle_reset(self) -> None:
        if self._login_rc is None:
            self.loop.fail(NetworkError("the data connection was cut by something on the way"))
        elif "input" not in self._specs:
            self.loop.fail(
                NetworkError("the data connection was reset, though the remote command ended well")
            )
        elif not self._may_be_stopped:
            self.loop.fail(CommandError("remote", "it ended without reading all that was sent to it"))

    @property
    def _may_be_stopped(self) -> bool:
        """Whether the input command may be stopped, and nothing else is lost by that."""
        spec = self._specs.get("input")
        return spec is not None and "output" not in self._specs and SIGPIPE_STATUS in spec.accept_rc

    def _is_over(self) -> bool:
        if not self.crew.has_settled or self._login_rc is None:
            return False
        if self._connection.was_reset:
            return self._may_be_stopped
        if self._states["output"] == "finished" and self._connection.is_acknowledged:
            return True
        self._look_again()
        return False

    def _look_again(self) -> None:
        """Have this asked again soon: the kernel wakes nobody for an acknowledgement."""
        if not self._is_looking:
            self._is_looking = True
            self.loop.after(LOOK, self._looked)

    def _looked(self) -> None:
        self._is_looking = False

    def _watch_leftover(self, received: Optional[int], since: float) -> None:
        """The remote command has ended well: so should its connection, once all has come."""
        connection = self._connection
        if connection.was_reset or connection.fin_arrived or self._reason is not None:
            return
        now, count = time.monotonic(), connection.count_received()
        if count != received or connection.unread:
            since = now
        if now - since >= LEFTOVER_GRACE:
            text = "it has ended, but something that it left running holds its connection open"
            self.loop.fail(CommandError("remote", text))
        self.loop.after(_LOOK_AT_LEFTOVER, lambda: self._watch_leftover(count, since))

    def _watch_silence(self) -> None:
        if self._connection.was_reset or self._reason is not None:
            return
        silence = self._connection.look_for_silence()
        if silence >= SILENCE:
            self.loop.fail(PeerLostError(f"nothing was heard of its machine for {silence:.0f} s"))
        self.loop.after(_LOOK_AT_SILENCE, self._watch_silence)

    # The end

    def _abort(self, error: SessionError) -> None:
        if self.is_connected:
            self._blames_remote = self._connection.was_reset or self._connection.fin_arrived
            self._break_off()
        self._reason = error.reason()
        self._listener.close()
        self._on_event({"event": "aborted"})
        self.crew.end_soon()
        self.loop.after(ABORT_TIMEOUT, self._give_up)
        self.loop.run_through(lambda: self._has_given_up or self._has_ended)

    def _break_off(self) -> None:
        for direction, count in self.moved().items():
            if self._states[direction] == "open":
                self._states[direction], self._bytes[direction] = "broken", count
        self._connection.disconnect()

    def _give_up(self) -> None:
        self._has_given_up = True

    @property
    def _has_ended(self) -> bool:
        is_login_over = self._login_rc is not None or self._is_login_lost or not self.is_connected
        return self.crew.has_settled and is_login_over

    def _let_go(self) -> None:
        self._listener.close()
        is_whole = self._reason is None
        if self._captured is not None:
            self._captured.close()
        if self.is_connected:
            self._connection.close(whole=is_whole)
        self.crew.let_go(whole=is_whole)

    def _report(self) -> Event:
        commands = {
            role: dict(
                player.report(),
                is_accepted=player.is_accepted or self._was_stopped(role),
                is_victim=role in self._victims or not player.has_ended,
                may_be_stopped=player.may_be_stopped,
            )
            for role, player in self.crew.players.items()
            if not (role == "output" and self._captured is not None)
        }
        return {
            **empty_report(),
            "side": "local",
            "commands": commands,
            "directions": self._directions(self._bytes),
            "path": self._path,
            "strangers": self._listener.strangers,
            "reason": self._reason,
        }

    def _was_stopped(self, role: str) -> bool:
        return role == "input" and self._states["input"] == "stopped"

    def _directions(self, counts: Dict[str, Optional[int]]) -> Dict[str, Event]:
        return {
            name: {"state": self._states[name], "bytes": counts[name], "digest": None}
            for name in self._spec.directions
        }

    def _remote_report(self) -> Optional[Event]:
        """What the remote side would have said."""
        if not self.is_connected or self._login_rc is None:
            return None
        acknowledged = self._bytes["input"] if self._reason is None else None
        remote = {
            "rc": self._login_rc,
            "signal": None,
            "stdout": "" if self._captured is None else self._captured.text(),
            "stderr": self._login_words,
            "is_accepted": self._login_rc in self._remote_accept_rc,
            "is_victim": self._remote_is_victim,
            "may_be_stopped": False,
        }
        return {
            **empty_report(),
            "side": "remote",
            "commands": {"remote": remote},
            "directions": self._directions({"input": acknowledged, "output": None}),
        }
