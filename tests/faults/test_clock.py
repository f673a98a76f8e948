# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock of a machine jumps by a day: nothing in a session is measured by it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.moments import MIDDLE, Held
from harness.sessions import ENGINE
from harness.waiting import let_pass

Hold = Callable[..., Held]

#: What an endpoint's Python says the time is: a day more and a day less, ten times in a second.
JUMPING = """
import time
def jumping(tell, day):
    return lambda *args: tell(*args) + (day if int(time.monotonic() * 10) % 2 else -day)
time.time = jumping(time.time, 86400.0)
time.time_ns = jumping(time.time_ns, 86400 * 10**9)
"""
#: What tells of the wall clock, or waits by it.
WALL_CLOCK = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "now", "utcnow", "today"}
PATIENCE = {"peer.HEARTBEAT": 0.1, "peer.SILENCE": 2.0}


@pytest.mark.parametrize("options", [{}, {"encrypt": True}], ids=["direct", "encrypted"])
def test_a_clock_jumps_by_a_day(hold: Hold, options: dict[str, Any]) -> None:
    held = hold(MIDDLE, before=dict.fromkeys(("local", "remote"), JUMPING), patience=PATIENCE, **options)
    held.wait()
    endpoints = held.session.endpoints.values()
    let_pass(3.0, lambda: not any(end.has_said("ended") for end in endpoints), "the session lives")
    held.go_on()
    held.expect_whole()


def _called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("time", "datetime", "date"):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (alias.name for alias in node.names)


def test_no_file_of_the_engine_asks_for_the_time_of_day() -> None:
    """But to tell the user when the session began and ended."""
    used = {path.name: set(_called(ast.parse(path.read_text()))) for path in ENGINE.glob("*.py")}
    assert "monotonic" in used["loop.py"]
    assert "now" in used.pop("result.py")
    assert {name: words & WALL_CLOCK for name, words in used.items() if words & WALL_CLOCK} == {}
