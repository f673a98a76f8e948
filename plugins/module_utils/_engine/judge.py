# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a session: a pure function of what the two endpoints say.

Every sentence for a tired administrator is made here: what failed, on which host, with
which words of the system, and what to do.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

from .paths import no_path
from .report import KINDS
from .scene import PEER, Scene
from .specification import READER, ROLES, WRITER

Report = Dict[str, Any]
View = Dict[str, Any]

_SENDER = {"input": "local", "output": "remote"}
_FIREWALL = "is there a firewall that ends connections?"
_DAMAGE = "look for what damages data between the two machines, or for somebody who changes it"
_UNENDED = "did not end when it was told to"
#: The status of a file whose reader ended before it, and of a command that SIGPIPE ended.
_BROKEN_PIPE = 141
#: Characters of a command's words in a sentence; all of them are in its stderr.
LONGEST_LINE = 300
#: What the system says of each error.
_SYSTEM_WORDS = frozenset(os.strerror(number) for number in errno.errorcode if number)
#: How a program speaks of its own errors: its name, a colon, the words.
_ERROR_LINE = re.compile(r"^[\w./+-]+: \S")


def mirrored(view: View) -> View:
    """The other side's view, as far as this one can tell: its report, if that came."""
    return {"own": view["peer"] or empty_report(), "peer": view["own"] if view["peer"] else None}


def empty_report() -> Report:
    """That of an endpoint of which nothing is known."""
    return {
        "commands": {},
        "directions": {},
        "path": None,
        "attempts": [],
        "cannot_listen": None,
        "strangers": 0,
        "other_version": None,
        "reason": None,
    }


class Verdict(NamedTuple):
    """*failure* is None for a session that succeeded; *culprit* is the role of the command
    that caused it, if one did."""

    failure: Optional[str]
    culprit: Optional[str]
    warnings: List[str]


def judge(local: View, remote: View, scene: Scene) -> Verdict:
    """The verdict on the views of the local and of the remote endpoint."""
    reports = {"local": local["own"], "remote": remote["own"]}
    commands = _commands(reports)
    culprit = _first(commands, is_victim=False)
    if culprit is not None:
        return Verdict(_command_failure(culprit, reports, scene), culprit, [])
    for reason in _reasons(reports):
        role = reason["role"] if reason["kind"] == "command" else None
        return Verdict(_reason_failure(reason, reports, scene), role, [])
    victim = _first(commands, is_victim=True)
    if victim is not None:
        failure = _command_failure(victim, reports, scene)
        cut = f"a data connection was cut on the way; {_FIREWALL} As a consequence, {failure}"
        return Verdict(cut, None, [])
    missing = _missing_report(local, remote, scene) or _aborted(reports)
    if missing is not None:
        return Verdict(missing, None, [])
    streams = _streams(reports, commands, scene)
    broken = [stream.failure for stream in streams if stream.failure is not None]
    warnings = [stream.warning for stream in streams if stream.warning is not None]
    return Verdict(next(iter(broken), None), None, warnings)


def _commands(reports: Dict[str, Report]) -> Dict[str, Report]:
    merged = dict(reports["local"]["commands"], **reports["remote"]["commands"])
    return {role: merged[role] for role in ROLES if role in merged}


def _first(commands: Dict[str, Report], *, is_victim: bool) -> Optional[str]:
    """The first failed command in the order of the flow."""
    for role, command in commands.items():
        if not command["is_accepted"] and command["is_victim"] == is_victim:
            return role
    return None


def _reasons(reports: Dict[str, Report]) -> List[Report]:
    """The reasons that the endpoints found themselves, with the side that found each."""
    found = []
    for side, report in reports.items():
        reason = report["reason"]
        if reason is not None and reason.get("by") != "peer":
            found.append(dict(reason, side=side))
    return sorted(found, key=lambda reason: KINDS.index(reason["kind"]))


def _command_failure(role: str, reports: Dict[str, Report], scene: Scene) -> str:
    command = _commands(reports)[role]
    words = significant_line(command["stderr"])
    cause = _pipe_cause(role, reports, scene)
    how = _file_end(role, command) if role in scene.files else _command_end(command)
    return f"{scene.command(role)} {how}{cause}{': ' + words if words else ''}"


def _command_end(command: Report) -> str:
    if command["signal"] is not None:
        return f"was ended by {command['signal']}"
    return _UNENDED if command["rc"] is None else f"exited {command['rc']}"


def _file_end(role: str, file: Report) -> str:
    """A device may have been read or written by dd, which has signals and a status of its own."""
    if file["rc"] is None:
        return _UNENDED
    if file["rc"] == _BROKEN_PIPE:
        return "could not be sent to its end"
    done = f"could not be {'read' if role == 'input' else 'written'}"
    return done if file["signal"] is None else f"{done}, for dd was ended by {file['signal']}"


def _pipe_cause(role: str, reports: Dict[str, Report], scene: Scene) -> str:
    for direction, writer in WRITER.items():
        end = reports[_SENDER[direction]]["directions"].get(direction)
        if writer == role and end is not None and end["state"] == "stopped":
            return f", after {scene.command(READER[direction])} had ended without reading it all"
    return ""


def significant_line(stderr: str) -> str:
    """The line of *stderr* that most likely says what was wrong.

    That is the first with words of the system, else the first in which a program
    speaks of itself, else the last.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    of_system = [line for line in lines if any(words in line for words in _SYSTEM_WORDS)]
    of_program = [line for line in lines if _ERROR_LINE.match(line)]
    line = (of_system or of_program or lines[-1:] or [""])[0]
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " ..."


def _reason_failure(reason: Report, reports: Dict[str, Report], scene: Scene) -> str:
    side, kind, text = reason["side"], reason["kind"], reason["text"]
    endpoint, peer = scene.endpoint(side), scene.endpoint(PEER[side])
    sentences = {
        "system": f"{endpoint} could not go on: {text}",
        "interrupted": f"{endpoint} was interrupted: {text}",
        "abandoned": f"{endpoint} was interrupted: {text}",
        "lost": f"{peer} was lost: {text}",
        "protocol": f"{peer} broke the protocol: {text}",
        "login": f"{'the helper on ' + scene.hosts[PEER[side]] if scene.is_task else 'the login'} {text}",
        "stalled": f"{text}; see what {_all_commands(scene)} wait for, or raise stall_timeout",
        "network": f"{text}, as {endpoint} saw it; {_FIREWALL}",
    }
    if kind == "command":
        return f"{scene.command(reason['role'])}: {text}"
    if kind == "connect":
        return no_path(text, reports, scene)
    if kind == "integrity":
        return f"{_changed(reason, scene)}: {text}; {_DAMAGE}"
    return sentences[kind]


def _all_commands(scene: Scene) -> str:
    return " and ".join(scene.command(role) for role in ROLES if role in scene.commands)


def _missing_report(local: View, remote: View, scene: Scene) -> Optional[str]:
    for side, view in (("local", local), ("remote", remote)):
        if view["peer"] is None:
            peer = scene.endpoint(PEER[side])
            return f"{scene.endpoint(side)} never got the report of the {peer}"
    return None


def _aborted(reports: Dict[str, Report]) -> Optional[str]:
    """Whatever else is said: a session that was aborted is no success."""
    for report in reports.values():
        if report["reason"] is not None:
            return f"the session was aborted: {report['reason'].get('text')}"
    return None


def _changed(reason: Report, scene: Scene) -> str:
    direction = reason["direction"]
    if direction is None:
        return f"what the {scene.endpoint(PEER[reason['side']])} said was changed on its way"
    writer, reader = scene.command(WRITER[direction]), scene.command(READER[direction])
    return f"the data from {writer} was changed on its way to {reader}"


#: The states of a direction's writing and reading end that may be a success.
_ENDINGS = (("finished", "finished"), ("finished", "stopped"), ("stopped", "stopped"))


class _Stream(NamedTuple):
    failure: Optional[str] = None
    warning: Optional[str] = None


def _streams(reports: Dict[str, Report], commands: Dict[str, Report], scene: Scene) -> List[_Stream]:
    """What is to be said of each direction, all commands having ended well."""
    streams = []
    for direction, sender in _SENDER.items():
        written = reports[sender]["directions"].get(direction)
        read = reports[PEER[sender]]["directions"].get(direction)
        unknown = [role for role in (WRITER[direction], READER[direction]) if role not in commands]
        if written is None and read is None:
            continue
        if unknown:
            streams.append(_Stream(f"nothing is known of how the {scene.command(unknown[0])} ended"))
        else:
            may_be_stopped = commands[WRITER[direction]]["may_be_stopped"]
            streams.append(_stream(direction, written or {}, read or {}, may_be_stopped, scene))
    return streams


def _stream(direction: str, written: Report, read: Report, may_be_stopped: bool, scene: Scene) -> _Stream:
    writer, reader = scene.command(WRITER[direction]), scene.command(READER[direction])
    states = (written.get("state"), read.get("state"))
    is_file = READER[direction] in scene.files
    sent, received = written.get("bytes"), read.get("bytes")
    is_counted = None not in (sent, received)
    # Without counts FIN alone tells, and only a reader that has seen it.
    is_even = sent == received if is_counted else states[1] == "finished"
    if states not in _ENDINGS or (is_file and states[1] != "finished"):
        return _Stream(f"the stream from {writer} is {states[0]} there and {states[1]} at its reader")
    digests = (written.get("digest"), read.get("digest"))
    if is_even and digests[0] != digests[1]:
        return _Stream(f"the checksum of what {writer} wrote is {digests[0]}, and {digests[1]} at {reader}")
    if is_even:
        return _Stream()
    if states[1] == "finished":
        return _Stream(f"{sent} bytes left {writer}, and {received} reached {reader}")
    part = f"{reader} ended after {received} of the {sent} bytes from {writer}"
    if not is_counted:
        part = f"{reader} ended before the end of the stream from {writer}, whose bytes nobody counted"
    if may_be_stopped:
        return _Stream(warning=part)
    advice = f"; if it may, accept the status 141 (SIGPIPE) of {WRITER[direction]} with accept_rc"
    return _Stream(part + (advice if scene.is_task else ""))
