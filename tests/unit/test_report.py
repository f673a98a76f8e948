# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a report says that is taken for one, a verdict and a result can be made of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.caller import exit_status
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import (
    CommandError,
    IntegrityError,
    LoginError,
    PeerAbortError,
    ProtocolError,
    SessionError,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import judge, mirrored
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.paths import attempt_line
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.report import (
    LONGEST_TEXT,
    check_reason,
    check_report,
    is_view,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import (
    build_preflight_result,
    build_result,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import PEER, Scene
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import to_bytes
from hypothesis import given
from hypothesis import strategies as st

Report = dict[str, Any]

DIRECTIONS = ["input", "output"]
COMMANDS = {"input": "tar cf - /", "remote": "dd of=/dev/full", "output": "wc -c"}
SCENES = [
    Scene({"local": "here", "remote": "there"}, COMMANDS, listen=listen, files=files, is_task=is_task)
    for listen in ("auto", "local", "remote")
    for files in (frozenset(), frozenset(["input"]))
    for is_task in (True, False)
]
COMMAND: Report = {
    "rc": 0,
    "signal": None,
    "stdout": "12\n",
    "stderr": "wc: short file\n",
    "is_accepted": True,
    "is_victim": False,
    "may_be_stopped": False,
}
END: Report = {"state": "finished", "bytes": 1000, "digest": None}
PATH: Report = {
    "listener": "local",
    "address": "192.0.2.1",
    "port": 40000,
    "family": "IPv4",
    "seconds": 0.1,
    "round_trip": 0.001,
}
ATTEMPT: Report = {
    "purpose": "control",
    "source": "192.0.2.2",
    "address": "192.0.2.1",
    "port": 40000,
    "tries": 1,
    "outcome": "no answer",
    "seconds": 0,
}
ROLES = {"local": ["input", "output"], "remote": ["remote"]}
REASONS: dict[str, list[Report | None]] = {
    side: [
        None,
        {"kind": "command", "text": "no such file", "role": roles[0]},
        {"kind": "integrity", "text": "a bit", "direction": "input"},
        {"kind": "integrity", "text": "a bit", "direction": None},
        {"kind": "connect", "text": "no path was found"},
        {"kind": "login", "text": "ended", "status": 255},
        {"kind": "command", "text": "ended", "role": "input", "by": "peer"},
        *({"kind": kind, "text": "x"} for kind in ("system", "lost", "protocol", "interrupted", "network")),
    ]
    for side, roles in ROLES.items()
}
SIDES = pytest.mark.parametrize("side", ROLES)


def report_of(side: str, reason: Report | None = None) -> Report:
    """One with something in each of its places."""
    return copy.deepcopy(
        {
            "side": side,
            "commands": dict.fromkeys(ROLES[side], COMMAND),
            "directions": {"input": END, "output": END},
            "path": PATH,
            "attempts": [{**ATTEMPT, "side": side}],
            "cannot_listen": None,
            "other_version": None,
            "strangers": 3,
            "reason": reason,
        }
    )


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in *value*, as the keys that lead to them."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    for key, one in inner:
        yield from places(one, (*at, key))


def changed(report: Report, at: tuple[Any, ...], value: Any) -> Report:
    """With *value* at that place; without the place if *value* is `GONE`."""
    report = copy.deepcopy(report)
    target: Any = report
    for key in at[:-1]:
        target = target[key]
    if value is GONE:
        del target[at[-1]]
    else:
        target[at[-1]] = value
    return report


GONE = object()
_odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 66), 1 << 66)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["", "local", "remote", "input", "output", "finished", "stopped", "command", "\ud800"])
    | st.sampled_from([COMMAND, END, PATH, ATTEMPT, *filter(None, REASONS["remote"])]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def _reports(draw: st.DrawFn, side: str) -> Report:
    """A good one, with a few places changed, taken away or added."""
    report = report_of(side, draw(st.sampled_from(REASONS[side])))
    for _time in range(draw(st.integers(0, 3))):
        at = draw(st.sampled_from(list(places(report))))
        if draw(st.booleans()) and isinstance(at[-1], str):
            at = (*at[:-1], draw(st.text(max_size=5) | st.sampled_from(["by", "role", "output", "remote"])))
            report = changed(report, at, draw(_odd))
        else:
            report = changed(report, at, draw(_odd | st.just(GONE)))
    return report


def accepted(report: Any, side: str) -> bool:
    try:
        return check_report(report, side, DIRECTIONS) is report
    except ProtocolError:
        return False


def conclude(local: Report, remote: Report) -> None:
    """All that is ever made of two views; the texts can be printed."""
    for scene in SCENES:
        verdict = judge(local, remote, scene)
        texts = [verdict.failure or "", *verdict.warnings]
        assert exit_status(verdict, local, remote, scene, []) in range(256)
        result = build_result(local, remote, verdict, scene, COMMANDS, datetime.now())
        preflight = (
            {}
            if verdict.failure is None and not local["own"]["path"]
            else build_preflight_result(local, remote, verdict, scene)
        )
        texts += [json.dumps([result, preflight])]
        for report in (local["own"], remote["own"]):
            texts += [attempt_line(attempt, scene) for attempt in report["attempts"]]
        for text in texts:
            to_bytes(text)


# What is a report


@SIDES
def test_what_an_endpoint_reports_is_a_report(side: str) -> None:
    for reason in REASONS[side]:
        assert accepted(report_of(side, reason), side)
        assert is_view({"own": report_of(side, reason), "peer": None}, side, DIRECTIONS)


@SIDES
def test_of_another_version_more_may_come(side: str) -> None:
    report = report_of(side)
    for at in list(places(report)):
        if isinstance(at[-1], str) and at[:-1] not in (("commands",), ("directions",)):
            assert accepted(changed(report, (*at[:-1], "new"), {"any": ["thing"]}), side)


OPTIONAL = {("path", "round_trip"), ("commands", "input"), ("commands", "remote"), ("commands", "output")}


@pytest.mark.parametrize(("kind", "field"), [("command", "role"), ("integrity", "direction")])
def test_a_reason_tells_what_is_meant(kind: str, field: str) -> None:
    assert not accepted(report_of("remote", {"kind": kind, "text": "x"}), "remote")
    assert not accepted(report_of("remote", {"kind": kind, "text": "x", field: "x"}), "remote")


@SIDES
def test_what_the_verdict_needs_has_to_be_there(side: str) -> None:
    report = report_of(side)
    for at in places(report):
        is_optional = at in OPTIONAL or at[:-1] in (("directions",), ("attempts",)) or at[-1] == "stdout"
        assert accepted(changed(report, at, GONE), side) is is_optional, at


@SIDES
def test_nothing_can_be_of_another_kind(side: str) -> None:
    report = report_of(side)
    for at in places(report):
        assert not accepted(changed(report, at, [["x"]]), side), at


@SIDES
def test_a_side_can_not_speak_for_the_other(side: str) -> None:
    report, other = report_of(side), PEER[side]
    assert not accepted(report, other)
    assert not accepted(changed(report, ("commands", ROLES[other][0]), COMMAND), side)
    culprit = {"kind": "command", "text": "x", "role": ROLES[other][0]}
    assert not accepted(report_of(side, culprit), side)
    assert accepted(report_of(side, {**culprit, "by": "peer"}), side)


@SIDES
def test_a_direction_is_one_of_the_session(side: str) -> None:
    """There is no name for the others, in a sentence."""
    report = changed(report_of(side), ("directions", "output"), GONE)
    damage = {"kind": "integrity", "text": "a bit", "direction": "output"}
    assert check_report(report, side, ["input"]) is report
    for wrong in (report_of(side), changed(report, ("reason",), damage)):
        with pytest.raises(ProtocolError):
            check_report(wrong, side, ["input"])
    with pytest.raises(ProtocolError):
        check_reason(damage, side, ["input"])


@pytest.mark.parametrize("rc", [-1, 256, 512, True, 0.0, "0"])
def test_a_status_is_one_that_a_process_can_have(rc: Any) -> None:
    """As the program's own a larger one would become another: 256 would be success."""
    assert not accepted(changed(report_of("remote"), ("commands", "remote", "rc"), rc), "remote")


def test_a_text_can_be_printed() -> None:
    for text, is_fine in (("caf\u00e9 \udcff\n", True), ("\ud800", False)):
        report = changed(report_of("remote"), ("commands", "remote", "stderr"), text)
        assert accepted(report, "remote") is is_fine


@pytest.mark.parametrize("view", [None, [], {}, {"own": {}}, {"own": report_of("remote")}, "view"])
def test_what_is_no_view(view: Any) -> None:
    assert not is_view(view, "remote", DIRECTIONS)


# Reasons


@pytest.mark.parametrize(
    "error",
    [
        CommandError("remote", "no such file"),
        IntegrityError("a bit", "output"),
        IntegrityError("a bit"),
        LoginError("ended", 255),
        *(kind("text") for kind in SessionError.__subclasses__()
          if kind not in (CommandError, IntegrityError, LoginError, PeerAbortError)),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_every_error_of_an_endpoint_is_a_reason_to_abort(error: SessionError) -> None:
    assert check_reason(error.reason(), "remote", DIRECTIONS) == error.reason()
    assert accepted(report_of("remote", error.reason()), "remote")
    assert accepted(report_of("local", PeerAbortError(error.reason()).reason()), "local")


def test_of_a_reason_nothing_is_kept_that_belongs_to_none() -> None:
    """It goes into this side's report, and back: it must not grow, nor tell that it is from the peer."""
    reason = {"kind": "lost", "text": "\udcff" + "x" * 4_000_000, "by": "peer", "more": ["x"] * 1_000_000}
    kept = check_reason(reason, "remote", DIRECTIONS)
    assert set(kept) == {"kind", "text"}
    assert kept["text"].startswith("\\udcffxxx")
    assert len(kept["text"]) < 2 * LONGEST_TEXT


@SIDES
@given(data=st.data())
def test_any_reason_is_one_or_a_protocol_error(side: str, data: st.DataObject) -> None:
    good = {"reason": data.draw(st.sampled_from(REASONS[side]))}
    at = data.draw(st.sampled_from(list(places(good))))
    reason = changed(good, at, data.draw(_odd | st.just(GONE))).get("reason")
    try:
        kept = check_reason(reason, side, DIRECTIONS)
    except ProtocolError:
        return
    assert accepted(report_of(PEER[side], {**kept, "by": "peer"}), PEER[side])


# What is made of them


@SIDES
@given(data=st.data())
def test_whatever_is_a_report_can_be_judged(side: str, data: st.DataObject) -> None:
    report = data.draw(_reports(side))
    if accepted(report, side):
        other = report_of(PEER[side], data.draw(st.sampled_from(REASONS[PEER[side]])))
        views = {
            side: {"own": report, "peer": data.draw(st.sampled_from([None, other]))},
            PEER[side]: {"own": other, "peer": data.draw(st.sampled_from([None, report]))},
        }
        conclude(views["local"], views["remote"])


@given(report=st.just(None) | _reports("remote"), reason=st.sampled_from(REASONS["local"]))
def test_the_report_that_came_over_the_control_connection_alone_can_be_judged(
    report: Report | None, reason: Report | None
) -> None:
    if report is None or accepted(report, "remote"):
        local = {"own": report_of("local", reason), "peer": report}
        conclude(local, mirrored(local))


@SIDES
@given(value=_odd)
def test_anything_else_is_no_report(side: str, value: Any) -> None:
    assert not accepted(value, side)
