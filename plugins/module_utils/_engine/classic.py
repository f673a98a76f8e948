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

import ipaddress
import math
import os
import socket
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from .addresses import plain_address
from .command import SIGPIPE_STATUS, UNATTENDED, Surroundings, Tail
from .counters import seconds_of_silence, tcp_info, unread_bytes
from .crew import Crew, find_executables
from .data import DataConnection, keep_alive
from .errors import (
    CommandError,
    InterruptError,
    LoginError,
    NetworkError,
    PeerLostError,
    ResourceError,
    SessionError,
)
from .loop import READ, Loop, has_error
from .specification import AnySpec, FileSpec, Specification

#: Seconds from the beginning of an abort after which nobody is waited for any more.
ABORT_TIMEOUT = 12.0
#: Seconds that the status of the remote command may come after the end of its connection.
STATUS_GRACE = 5.0
#: Seconds without a byte, after the remote command has ended, until its connection has to end too.
LEFTOVER_GRACE = 30.0
#: Seconds without any acknowledgement after which the other machine is given up.
SILENCE = 60.0
#: Seconds between two looks at what the kernel does not wake anybody for.
_LOOK = 0.05
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
        self._listener = socket.socket(fileno=spec.listener)
        self._sources: Optional[List[str]] = None
        self._refused: List[str] = []
        self._began = time.monotonic()
        self._accepted: Optional[DataConnection] = None
        self._path: Optional[Event] = None
        self._crew = Crew(self.loop, surroundings, self._command_ended)
        self._captured: Optional[Tail] = None
        self._states = {"input": "open", "output": "open"}
        self._bytes: Dict[str, Optional[int]] = {"input": None, "output": None}
        self._was_reset = False
        self._victims: List[str] = []
        self._login_rc: Optional[int] = None
        self._login_words = ""
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
        if not self.is_connected or self._was_reset or self._reason is not None:
            return dict(self._bytes)
        return {"input": self._count_sent(), "output": self._count_received()}

    @property
    def is_connected(self) -> bool:
        return self._accepted is not None

    # What the login tells, from the loop

    def accept_from(self, addresses: Optional[Sequence[str]]) -> None:
        """Begin to accept, from these addresses only; None: from anybody."""
        self._sources = None if addresses is None else [_canonical(address) for address in addresses]
        self._listener.setblocking(False)
        self.loop.watch(self._listener.fileno(), READ, lambda events: self._accept())

    def login_ended(self, rc: int, words: str = "") -> None:
        """The login's status, which is the remote command's; *words* are its stderr, as far as known."""
        if not self.is_connected:
            self._accept()  # a short command has connected and ended in one moment
        self._login_rc, self._login_words = rc, words
        if not self.is_connected:
            self.loop.fail(LoginError(self._unconnected(f"it ended with status {rc}")))
        elif rc not in self._remote_accept_rc:
            self._remote_is_victim = not self._blames_remote
            self.loop.fail(CommandError("remote", f"the remote command exited {rc}"))
        elif self._output_error is not None:
            self.loop.fail(self._output_error)
        elif self._was_reset:
            self._settle_reset()
        else:
            self._watch_leftover(None, time.monotonic())

    # The session, step by step

    def _play(self) -> None:
        find_executables(self._spec.commands)
        self._crew.hire_guard()
        self._on_event({"event": "ready"})
        self._wait_connected()
        self._crew.guard_sockets([self._connection.sock])
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
        refused = ", ".join(dict.fromkeys(self._refused))
        but = f"; a connection from {refused} was refused, for the login does not show that address"
        return f"the login did not connect back: {what}{but if refused else ''}"

    @property
    def _connection(self) -> DataConnection:
        """Not to be asked for before there is one."""
        if self._accepted is None:
            raise ResourceError("there is no connection yet")
        return self._accepted

    def _accept(self) -> None:
        while not self.is_connected and self._may_accept:
            try:
                sock, address = self._listener.accept()
            except OSError:
                return  # nobody is there, or has gone again
            host = plain_address(address)[0]
            if self._sources is None or _canonical(host) in self._sources:
                self._take(sock)
            else:
                self._refused.append(host)
                sock.close()

    @property
    def _may_accept(self) -> bool:
        return not self._listener.getblocking()

    def _take(self, sock: socket.socket) -> None:
        self._stop_listening()
        keep_alive(sock)
        self._accepted = DataConnection(sock, handshake_sent=0, handshake_received=0, is_connector=False)
        address, port = plain_address(sock.getsockname())
        self._path = {
            "listener": "local",
            "address": address,
            "port": port,
            "family": "IPv6" if ":" in address else "IPv4",
            "seconds": round(time.monotonic() - self._began, 4),
        }
        # Nothing but an error, or the end of both directions.
        self.loop.watch(sock.fileno(), 0, self._hung_up)
        self._watch_silence()
        self._on_event({"event": "connected", "path": self._path})

    def _stop_listening(self) -> None:
        if self._listener.fileno() >= 0:
            self.loop.unwatch(self._listener.fileno())
            self._listener.close()

    def _start(self) -> None:
        """The reader first."""
        descriptor = self._connection.descriptor()
        if "input" not in self._specs:
            self._finish_input()
        try:
            self._crew.start(self._specs.get("output") or self._capture(), stdin=descriptor, stdout=None)
            if "input" in self._specs:
                self._crew.start(self._specs["input"], stdin=None, stdout=descriptor)
            self._on_event({"event": "started"})
        finally:
            self._crew.watch()

    def _capture(self) -> FileSpec:
        reader, writer = os.pipe()
        self._captured = Tail(self.loop, os.fdopen(reader, "rb", buffering=0))
        return FileSpec("output", writer, accept_rc=[0])

    # Commands

    def _command_ended(self, role: str) -> None:
        player = self._crew.players[role]
        self._notice_reset()
        if self._was_reset or self._reason is not None:
            self._victims.append(role)
        elif not player.is_accepted:
            self._failed(role, player.failure())
        elif role == "input":
            self._finish_input()
        else:
            self._look_for_end()

    def _finish_input(self) -> None:
        self._connection.finish()
        self._bytes["input"] = self._count_sent()
        self._states["input"] = "finished"

    def _failed(self, role: str, error: CommandError) -> None:
        """A reader may only have noticed that its stream was cut: then the remote command's status,
        which comes another way, names the cause."""
        if role == "output" and self._fin_arrived and self._login_rc is None:
            self._output_error = error
            self.loop.after(STATUS_GRACE, lambda: self.loop.fail(error))
        else:
            self.loop.fail(error)

    def _look_for_end(self) -> None:
        """The output command has ended well. Was that all? What comes next tells."""
        if self._reason is not None or self._was_reset:
            return
        try:
            left = self._connection.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            self.loop.after(_LOOK, self._look_for_end)
        except OSError:
            self._reset()
        else:
            if left:
                self.loop.fail(CommandError("output", "it ended without reading all that came"))
            else:
                self._bytes["output"] = self._count_received()
                self._states["output"] = "finished"

    # The connection

    def _hung_up(self, events: int) -> None:
        """An error, or the end of both directions; only an error takes one that is open with it."""
        self.loop.unwatch(self._connection.sock.fileno())
        if has_error(events) or self._states["input"] == "open":
            self._reset()

    def _notice_reset(self) -> None:
        """The loop may not have said so yet."""
        if self._states["input"] == "open" and self._connection.is_broken:
            self._reset()

    def _reset(self) -> None:
        """The remote command has ended without reading everything, or has failed, or the network cut
        the connection: its status, which comes another way, tells."""
        if self._was_reset or self._reason is not None:
            return
        for direction, count in self.moved().items():
            self._states[direction] = "stopped" if self._may_be_stopped else "broken"
            self._bytes[direction] = self._bytes[direction] or count
        self._was_reset = True
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
        elif not self._may_be_stopped:
            self.loop.fail(CommandError("remote", "it ended without reading all that was sent to it"))

    @property
    def _may_be_stopped(self) -> bool:
        """Whether the input command may be stopped, and nothing else is lost by that."""
        spec = self._specs.get("input")
        return spec is not None and "output" not in self._specs and SIGPIPE_STATUS in spec.accept_rc

    @property
    def _fin_arrived(self) -> bool:
        info = tcp_info(self._connection.sock)
        if info is None:
            return False
        ended_twice = info.is_reset and self._states["input"] == "finished" and not self._was_reset
        return info.fin_arrived or ended_twice

    def _is_over(self) -> bool:
        if not self._crew.has_settled or self._login_rc is None:
            return False
        if self._was_reset:
            return self._may_be_stopped
        return self._states["output"] == "finished" and self._is_acknowledged()

    def _is_acknowledged(self) -> bool:
        """Whether the other machine has our end, too. A late reset may still say that it was not wanted."""
        sock = self._connection.sock
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        info = tcp_info(sock)
        if error:
            self._reset()
        elif info is not None and info.is_closing:
            if not self._is_looking:
                self._is_looking = True
                self.loop.after(_LOOK, self._look_again)
        else:
            return True
        return False

    def _look_again(self) -> None:
        """For what the kernel wakes nobody."""
        self._is_looking = False

    def _watch_leftover(self, received: Optional[int], since: float) -> None:
        """The remote command has ended well: so should its connection, once all has come."""
        if self._was_reset or self._reason is not None or self._states["output"] == "finished":
            return
        now, count = time.monotonic(), self._count_received()
        if count != received or unread_bytes(self._connection.sock):
            since = now
        if now - since >= LEFTOVER_GRACE:
            text = "it has ended, but something that it left running holds its connection open"
            self.loop.fail(CommandError("remote", text))
        self.loop.after(_LOOK_AT_LEFTOVER, lambda: self._watch_leftover(count, since))

    def _watch_silence(self) -> None:
        if self._was_reset or self._reason is not None or self._is_closed:
            return
        silence = seconds_of_silence(self._connection.sock)
        if silence is not None and silence >= SILENCE:
            self.loop.fail(PeerLostError(f"nothing was heard of its machine for {silence:.0f} s"))
        self.loop.after(_LOOK_AT_SILENCE, self._watch_silence)

    @property
    def _is_closed(self) -> bool:
        """Whether the kernel has done with it: nothing is to be heard any more."""
        info = tcp_info(self._connection.sock)
        return info is not None and info.is_reset

    def _count_sent(self) -> Optional[int]:
        return self._connection.count_sent()

    def _count_received(self) -> Optional[int]:
        """The kernel counts a FIN as a byte, and no longer says so when both directions are over."""
        count = self._connection.count_received()
        return count - 1 if count is not None and self._is_closed and self._fin_arrived else count

    # The end

    def _abort(self, error: SessionError) -> None:
        self._reason = error.reason()
        self._stop_listening()
        if self.is_connected:
            self._blames_remote = self._was_reset or self._fin_arrived
            self._break_off()
        self._on_event({"event": "aborted"})
        self._crew.end_soon()
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
        return self._crew.has_settled and (self._login_rc is not None or not self.is_connected)

    def _let_go(self) -> None:
        self._stop_listening()
        is_whole = self._reason is None
        if self._captured is not None:
            self._captured.close()
        if self.is_connected:
            self.loop.unwatch(self._connection.sock.fileno())
            self._connection.close(whole=is_whole)
        self._crew.let_go(whole=is_whole)

    def _report(self) -> Event:
        commands = {
            role: dict(
                player.report(),
                is_accepted=player.is_accepted or self._was_stopped(role),
                is_victim=role in self._victims or not player.has_ended,
                may_be_stopped=player.may_be_stopped,
            )
            for role, player in self._crew.players.items()
            if not (role == "output" and self._captured is not None)
        }
        return {
            "side": "local",
            "commands": commands,
            "directions": self._directions(self._bytes),
            "path": self._path,
            "attempts": [],
            "cannot_listen": None,
            "strangers": len(self._refused),
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
            "side": "remote",
            "commands": {"remote": remote},
            "directions": self._directions({"input": None, "output": None}),
            "path": None,
            "attempts": [],
            "cannot_listen": None,
            "strangers": 0,
            "reason": None,
        }


def _canonical(address: str) -> str:
    """One text for each address; what is none is no machine's. The link of a link-local one is known to
    each machine by another name."""
    try:
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return ""
