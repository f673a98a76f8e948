# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local side of the program socketpipe: a session through a login command, and its outcome.

Two kinds, for the two protocols: each has an endpoint, and a login that runs in the endpoint's loop.
Without an output command what the remote one prints goes to this process's standard output.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shlex
import socket
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, TextIO, Tuple, Union

from . import login_words
from .addresses import is_loopback, own_addresses
from .arguments import OWN_FAILURE, Call
from .classic import ClassicEndpoint
from .command import Surroundings
from .crew import NOTICE_GRACE
from .endpoint import Endpoint
from .errors import AbandonedError, CommandError, LoginError, SessionError
from .handshake import KEY_SIZE, Side
from .interrupts import take_signals
from .judge import Verdict, judge, mirrored
from .listener import open_listener
from .login import Login
from .order import Order, dump_order
from .progress import Progress
from .report import is_view
from .scene import Scene
from .specification import ROLES, AnySpec, CommandSpec, FileSpec, Identity, Specification
from .text import printable, to_text

#: Seconds for the remote side to tell its view through the login once the session is over.
LOGIN_GRACE = 5.0
#: Seconds for the remote side to find a path, once it runs.
PATH_TIMEOUT = 30.0

#: What ssh itself ends with when it could not log in.
SSH_FAILURE = 255
_HINT = "; is this version of socketpipe installed on the other machine?"
_LOOPBACKS = ["127.0.0.1", "::1"]

View = Dict[str, Any]
Say = Callable[[str], None]


class Outcome(NamedTuple):
    """*status* is the exit status of the program."""

    verdict: Verdict
    status: int


class _Call:
    """What the two kinds share: the order of things. A kind makes the endpoint and the words of the
    login."""

    def __init__(self, call: Call, say: Say, terminal: TextIO) -> None:
        self._call = call
        self._say = say
        self._scene = make_scene(call)
        self._signals: List[int] = []
        self._is_connected = False
        self._endpoint, self._login = self._make()
        self._progress = Progress(self._endpoint.loop, terminal, self._endpoint.moved)

    def _make(self) -> Tuple[Union[Endpoint, ClassicEndpoint], Login]:
        raise NotImplementedError

    def run(self) -> Outcome:
        """Raises CommandError if the login can not be started."""
        self._login.find_executable()
        take_signals(self._endpoint, self._signals.append, keep_ignored=True)
        try:
            local = self._endpoint.run()
            self._progress.end()
        finally:
            self._login.end_soon(self._login_patience)
            self._login.wait_ended()
        remote = self._remote_view(local)
        verdict = judge(local, remote, self._scene)
        status = exit_status(verdict, local, remote, self._scene, self._signals)
        return Outcome(verdict, status)

    @property
    def _login_patience(self) -> float:
        """Seconds for the login to end by itself once the session is over."""
        raise NotImplementedError

    def _remote_view(self, local: View) -> View:
        return mirrored(local)

    def _on_event(self, event: View) -> None:
        if event["event"] == "ready":
            self._start_login()
        elif event["event"] == "connected":
            self._is_connected = True
        elif event["event"] == "started" and self._call.progress:
            self._progress.begin()

    def _start_login(self) -> None:
        try:
            self._login.start(self._endpoint.crew)
        except CommandError as error:
            self._fail(str(error))

    def _fail(self, text: str, status: Optional[int] = None) -> None:
        self._endpoint.loop.fail(LoginError(text, status))

    def _pass_on(self, text: str) -> None:
        """What the login itself prints, as a message of the day."""
        if not self._call.batch:
            self._say(text)


class ProvenCall(_Call):
    """A session whose two sides prove themselves to each other."""

    def __init__(self, call: Call, around: Surroundings, say: Say, terminal: TextIO) -> None:
        self._around = around
        self._view: Optional[View] = None
        super().__init__(call, say, terminal)

    def _make(self) -> Tuple[Endpoint, Login]:
        call = self._call
        identities: Mapping[Side, Identity] = _identities() if call.encrypted else {}
        listener = open_listener(call.host)
        port = listener.getsockname()[1]
        key = secrets.token_bytes(KEY_SIZE)
        self._key = key.hex().encode()
        remote = Specification(
            side=Side.REMOTE,
            key=key,
            identity=identities.get(Side.REMOTE),
            commands=[_command("remote", call.remote)],
            directions=_directions(call),
            timeout=min(call.timeout, PATH_TIMEOUT),
            candidates=[(address, port) for address in _candidates(call.host)],
        )
        local = remote._replace(
            side=Side.LOCAL,
            identity=identities.get(Side.LOCAL),
            commands=local_specs(call),
            listener=listener.detach(),
            candidates=(),
        )
        endpoint = Endpoint(local, self._on_event, self._around)
        login = Login(
            endpoint.loop,
            [*call.login, *login_words.PROVEN],
            order=dump_order(Order(remote, uses_login_address=call.host is None)),
            surroundings=self._around,
            on_line=self._on_line,
            on_end=self._on_login_end,
        )
        return endpoint, login

    @property
    def _login_patience(self) -> float:
        return LOGIN_GRACE if self._is_connected else 0.0

    def _remote_view(self, local: View) -> View:
        return self._view or mirrored(local)

    def _on_event(self, event: View) -> None:
        super()._on_event(event)
        if event["event"] == "ready" and self._call.timeout < math.inf:
            self._endpoint.loop.after(self._call.timeout, self._time_out)

    def _time_out(self) -> None:
        if not self._is_connected:
            self._fail(f"did not connect back: its time, {self._call.timeout:g} s, is over")

    def _on_line(self, line: bytes) -> None:
        if self._key in line:
            return  # a terminal on the way echoes the order
        event = _parse_event(line, _directions(self._call))
        if event is None:
            self._pass_on(to_text(line))
        elif event["event"] == "ended":
            self._view = event["view"]
            if not self._is_connected:
                # Its report says why; nobody will connect any more.
                self._endpoint.loop.fail(AbandonedError("the remote side has ended"))

    def _on_login_end(self) -> None:
        if not self._is_connected and self._view is None:
            hint = "" if self._login.rc == SSH_FAILURE else _HINT
            text = f"did not connect back: it ended with status {self._login.rc}{hint}"
            self._fail(text, self._login.rc)


class ClassicCall(_Call):
    """A session in the classic protocol."""

    def __init__(self, call: Call, around: Surroundings, say: Say, terminal: TextIO) -> None:
        self._around = around
        self._asks = call.host is None or login_words.goes_through_a_shell(call.login)
        super().__init__(call, say, terminal)

    def _make(self) -> Tuple[ClassicEndpoint, Login]:
        call = self._call
        listener = open_listener(call.host)
        port = listener.getsockname()[1]
        spec = Specification(
            side=Side.LOCAL,
            key=b"",
            commands=local_specs(call),
            directions=_directions(call),
            timeout=call.timeout,
            listener=listener.detach(),
        )
        if self._asks:
            words = login_words.asking_words(call.host, port, call.remote)
        else:
            words = login_words.plain_words(call.host or "", port, call.remote)
        endpoint = ClassicEndpoint(spec, self._on_event, self._around)
        login = Login(
            endpoint.loop,
            [*call.login, *words],
            order=None,
            surroundings=self._around,
            on_line=self._on_line,
            on_end=lambda: endpoint.login_ended(login.rc or 0, was_told=login.was_told),
        )
        self._accept_from = endpoint.accept_from
        return endpoint, login

    @property
    def _login_patience(self) -> float:
        """With its connection broken the remote command ends, and so does the login."""
        return NOTICE_GRACE if self._is_connected else 0.0

    def _on_event(self, event: View) -> None:
        super()._on_event(event)
        if event["event"] == "ready" and not self._asks:
            self._accept_without_a_word()
        elif event["event"] == "aborted":
            self._login.end_soon(self._login_patience)

    def _accept_without_a_word(self) -> None:
        """Nothing shows where the remote side is."""
        host = self._call.host or ""
        if is_loopback(host):
            self._accept_from([host, *_LOOPBACKS])
        else:
            self._say("warning: nothing shows who may connect, so the first one may; -k has it prove itself")
            self._accept_from(None)

    def _on_line(self, line: bytes) -> None:
        text = to_text(line).rstrip("\r")
        shown = login_words.parse_shown(text)
        if shown is None:
            self._pass_on(text)
        elif shown.client is None and self._call.host is None:
            self._fail("shows no address of this machine (no SSH_CONNECTION): give it with -h")
        elif not shown.addresses:
            self._accept_without_a_word()
        else:
            self._accept_from([*shown.addresses, *_loopbacks_of(shown)])


def make_scene(call: Call) -> Scene:
    commands = {"input": call.input, "remote": call.remote, "output": call.output}
    texts = {role: printable(_joined(argv)) for role, argv in commands.items() if argv is not None}
    return Scene(
        hosts={"local": socket.gethostname(), "remote": f"'{printable(_joined(call.login))}'"},
        commands={"output": "standard output", **texts},
        listen="local",
        files=frozenset() if call.output else frozenset(["output"]),
        is_task=False,
    )


def local_specs(call: Call) -> List[AnySpec]:
    """In the order in which they are started: who reads is there before who writes."""
    specs: List[AnySpec] = []
    if call.output is None:
        specs.append(FileSpec("output", os.dup(1), accept_rc=[0]))
    else:
        specs.append(_command("output", call.output))
    if call.input is not None:
        specs.append(_command("input", call.input))
    return specs


def exit_status(verdict: Verdict, local: View, remote: View, scene: Scene, signals: List[int]) -> int:
    """That of the first command that failed; 2 for what no command did."""
    if verdict.failure is None:
        return 0
    if signals:
        return 128 + signals[0]
    commands = {**local["own"]["commands"], **remote["own"]["commands"]}
    if verdict.culprit is not None and verdict.culprit not in scene.files:
        # A command that others failed by may have ended with 0 itself.
        for role in (verdict.culprit, *ROLES):
            status = 0 if role in scene.files else commands.get(role, {}).get("rc")
            if status:
                return int(status)
    return (local["own"]["reason"] or {}).get("status") or OWN_FAILURE


def _joined(argv: List[str]) -> str:
    return " ".join(map(shlex.quote, argv))


def _command(role: str, argv: List[str]) -> CommandSpec:
    return CommandSpec(role, argv, accept_rc=[0])


def _directions(call: Call) -> List[str]:
    """What the remote command prints always comes back."""
    return ["input", "output"] if call.input else ["output"]


def _candidates(host: Optional[str]) -> List[str]:
    """This machine's addresses; the remote side knows better which its login came from."""
    return [host] if host is not None else [*own_addresses(), *_LOOPBACKS[:1]]


def _loopbacks_of(shown: login_words.Shown) -> List[str]:
    """A login to this machine itself may be by any of its addresses."""
    own = {*own_addresses(), *_LOOPBACKS}
    return _LOOPBACKS if own.intersection(shown.addresses) else []


def _identities() -> Mapping[Side, Identity]:
    # What starts the program leaves out site-packages, for speed; the library is there.
    import site

    site.main()
    from .identities import make_identities

    try:
        return make_identities()
    except ImportError as error:
        raise SessionError(f"-e needs the Python library cryptography on this machine: {error}") from None


def _parse_event(line: bytes, directions: List[str]) -> Optional[View]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or "event" not in event:
        return None
    is_whole = event["event"] != "ended" or is_view(event.get("view"), "remote", directions)
    return event if is_whole else None
