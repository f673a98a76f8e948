# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another machine's report has to be before anybody judges by it.

It is proven who says it, not that it makes sense: the other side may be of another version, or
somebody else's program. What is not known here is left as it is.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence

from .errors import ProtocolError
from .scene import PEER
from .specification import ROLES
from .text import to_bytes

Report = Dict[str, Any]
Check = Callable[[Any], bool]

#: Kinds of reasons, those nearest to the cause first: what an endpoint knows of itself
#: comes before what it saw of the other.
KINDS = (
    *("command", "system", "login", "interrupted", "connect", "integrity", "protocol", "stalled"),
    *("abandoned", "network", "lost"),
)
#: The roles whose commands a side runs.
ROLES_OF = {"local": ("input", "output"), "remote": ("remote",)}
#: Characters of a reason's text: more than any path or list of tries, and little in a message.
LONGEST_TEXT = 1 << 16


def check_report(report: Any, side: str, directions: Sequence[str]) -> Report:
    """*report*, if it can be one of the endpoint of *side*, of a session with *directions*; raises
    ProtocolError."""
    if not _is_report(report, side, directions):
        raise ProtocolError("its report is not a report")
    checked: Report = report
    return checked


def check_reason(reason: Any, side: str, directions: Sequence[str]) -> Report:
    """*reason* for an abort, as that endpoint may give it, and nothing that does not belong to one;
    raises ProtocolError."""
    if not _is_reason(reason, side, directions):
        raise ProtocolError("it aborts without a reason")
    known = {name: reason[name] for name in ("kind", "role", "direction", "status") if name in reason}
    return dict(known, text=shown(reason["text"]))


def check_outcome(outcome: Any) -> Report:
    """*outcome*, and nothing that is not known here; raises ProtocolError."""
    names = ("failure", "file_error", "backup_file")
    known = {name: outcome.get(name) for name in names} if isinstance(outcome, dict) else {}
    if not known or not all(_or_none(_is_text)(text) for text in known.values()):
        raise ProtocolError("its outcome is not an outcome")
    return {name: None if text is None else shown(text) for name, text in known.items()}


def is_view(view: Any, side: str, directions: Sequence[str]) -> bool:
    """Whether *view* can be that of the endpoint. Of its peer's report it only counts that it has one."""
    return isinstance(view, dict) and "peer" in view and _is_report(view.get("own"), side, directions)


def shown(text: str) -> str:
    """Another machine's text, in a form that every log and every message has room for."""
    return text[:LONGEST_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")


def _is_report(report: Any, side: str, directions: Sequence[str]) -> bool:
    return _fields(
        side=_one_of([side]),
        commands=_table(ROLES_OF[side], _is_command),
        directions=_table(directions, _is_end),
        path=_or_none(_is_path),
        attempts=_each(_is_attempt),
        cannot_listen=_or_none(_is_text),
        strangers=_is_count,
        other_version=_or_none(_is_text),
        reason=_or_none(lambda reason: _is_reason(reason, side, directions)),
    )(report)


def _is_reason(reason: Any, side: str, directions: Sequence[str]) -> bool:
    if not _fields(kind=_one_of(KINDS), text=_is_text)(reason):
        return False
    if not _or_none(_is_status)(reason.get("status")):
        return False
    if reason["kind"] == "command":
        # What it was told by its peer it tells of the peer's commands.
        return _one_of(ROLES if reason.get("by") == "peer" else ROLES_OF[side])(reason.get("role"))
    return reason["kind"] != "integrity" or _fields(direction=_or_none(_one_of(directions)))(reason)


# What a value may be


def _is_text(value: Any) -> bool:
    """One that can be printed: JSON has halves of characters, too."""
    if not isinstance(value, str):
        return False
    try:
        to_bytes(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int)


def _is_status(value: Any) -> bool:
    """An exit status as a shell has it: whatever is larger would become another one."""
    return _is_count(value) and value <= 255


def _one_of(values: Sequence[str]) -> Check:
    return lambda value: _is_text(value) and value in values


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _each(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _table(keys: Sequence[str], check: Check) -> Check:
    def is_table(value: Any) -> bool:
        return isinstance(value, dict) and all(key in keys and check(value[key]) for key in value)

    return is_table


def _fields(**checks: Check) -> Check:
    def has_fields(value: Any) -> bool:
        return isinstance(value, dict) and all(
            name in value and check(value[name]) for name, check in checks.items()
        )

    return has_fields


_is_end = _fields(state=_is_text, bytes=_or_none(_is_count), digest=_or_none(_is_text))

_has_outcome = _fields(
    rc=_or_none(_is_status),
    signal=_or_none(_is_text),
    stderr=_is_text,
    is_accepted=_is_bool,
    is_victim=_is_bool,
    may_be_stopped=_is_bool,
)

_has_place = _fields(
    listener=_one_of(tuple(PEER)), address=_is_text, port=_is_count, family=_is_text, seconds=_is_number
)

_is_attempt = _fields(
    side=_one_of(tuple(PEER)),
    purpose=_is_text,
    source=_or_none(_is_text),
    address=_is_text,
    port=_is_count,
    tries=_is_count,
    outcome=_is_text,
    seconds=_is_number,
)


def _is_command(value: Any) -> bool:
    return _has_outcome(value) and _is_text(value.get("stdout", ""))


def _is_path(value: Any) -> bool:
    return _has_place(value) and _is_number(value.get("round_trip", 0))
