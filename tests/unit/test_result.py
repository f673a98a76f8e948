# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the task says of the way between the two machines."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import (
    Outcome,
    build_preflight_result,
    find_path,
    with_outcome,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import PEER, Scene

SCENE = Scene({"local": "controller", "remote": "t1"}, {})
GOOD = Verdict(None, None, [])
LISTENERS = pytest.mark.parametrize("listener", ["local", "remote"])


def path(listener: str, seen_by: str, seconds: float) -> dict[str, Any]:
    """Each side sees its own address of a listener that is behind address translation."""
    address = {"local": "192.0.2.1", "remote": "10.0.0.1"}[seen_by]
    port = {"local": 50000, "remote": 4000}[seen_by]
    return {"listener": listener, "address": address, "port": port, "family": "IPv4", "seconds": seconds}


def views(
    local: dict[str, Any] | None, remote: dict[str, Any] | None, attempts: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    reports = {
        side: {"path": one, "attempts": (attempts or {}).get(side, []), "commands": {}}
        for side, one in (("local", local), ("remote", remote))
    }
    return {"own": reports["local"], "peer": None}, {"own": reports["remote"], "peer": None}


@LISTENERS
def test_the_path_is_what_the_connecting_side_saw_in_the_remote_sides_time(listener: str) -> None:
    """The local side's time has the login in it."""
    seen = {"local": path(listener, "local", 2.5), "remote": path(listener, "remote", 0.01)}
    found = find_path(*views(seen["local"], seen["remote"]))
    assert found == {**seen[PEER[listener]], "seconds": 0.01}


@LISTENERS
@pytest.mark.parametrize("by", ["local", "remote"])
def test_a_path_that_one_side_alone_tells_of_is_told(listener: str, by: str) -> None:
    """The other was killed, or lost, before it could."""
    one = path(listener, by, 2.5)
    assert find_path(*views(**{"local": None, "remote": None, by: one})) == one


@LISTENERS
def test_the_round_trip_is_what_the_local_side_measured(listener: str) -> None:
    local, remote = {**path(listener, "local", 2.5), "round_trip": 0.001}, path(listener, "remote", 0.01)
    found = find_path(*views(local, remote))
    assert found is not None
    assert found["round_trip"] == 0.001
    assert found["seconds"] == 0.01


def test_without_a_path_there_is_none() -> None:
    assert find_path(*views(None, None)) is None


# A preflight


def test_a_preflight_says_what_would_happen_and_over_which_path() -> None:
    local, remote = {**path("remote", "local", 2.5), "round_trip": 0.001}, path("remote", "remote", 0.01)
    result = build_preflight_result(*views(local, remote), GOOD, SCENE)
    summary = "controller connected to t1 at 192.0.2.1 port 50000 (IPv4) in 0.010 s, round trip 1.00 ms"
    assert result == {
        "changed": True,
        "rc": 0,
        "msg": f"Would run: {summary}",
        "path": {**local, "seconds": 0.01, "summary": summary},
    }


def test_a_preflight_without_a_path_lists_what_both_sides_tried() -> None:
    """The remote side first, as in the sentence."""
    attempts: dict[str, Any] = {"local": [{"side": "local"}], "remote": [{"side": "remote"}]}
    result = build_preflight_result(*views(None, None, attempts), Verdict("no path", None, []), SCENE)
    assert result == {
        "changed": False,
        "failed": True,
        "rc": None,
        "msg": "no path",
        "paths_tried": [{"side": "remote"}, {"side": "local"}],
    }


def test_a_preflight_that_failed_before_anything_was_tried_lists_nothing() -> None:
    """As for an executable that is not there."""
    result = build_preflight_result(*views(None, None), Verdict("no such file", None, []), SCENE)
    assert "paths_tried" not in result
    assert result["msg"] == "no such file"


def test_a_preflight_whose_reports_did_not_come_is_no_success() -> None:
    local = path("local", "local", 0.1)
    result = build_preflight_result(*views(local, local), Verdict("never got the report", None, []), SCENE)
    assert (result["changed"], result["failed"], result["msg"]) == (False, True, "never got the report")
    assert result["path"]["address"] == "192.0.2.1"


# What only the local side knows

DONE: dict[str, Any] = {
    "changed": True,
    "failed": False,
    "msg": "",
    "rc": 0,
    "output": {"file": "/backup/x", "rc": 0, "stderr": ""},
}


def test_a_good_outcome_changes_nothing() -> None:
    assert with_outcome(DONE, Outcome()) == DONE


def test_a_good_outcome_tells_of_the_backup() -> None:
    assert with_outcome(DONE, Outcome(backup_file="/backup/x~")) == {**DONE, "backup_file": "/backup/x~"}


def test_an_output_file_that_failed_is_the_culprit() -> None:
    result = with_outcome(DONE, Outcome("output file 'x' failed: No space", "No space"))
    output = {"file": "/backup/x", "rc": 1, "stderr": "No space"}
    assert result == {
        **DONE,
        "failed": True,
        "msg": "output file 'x' failed: No space",
        "rc": 1,
        "output": output,
    }


def test_a_command_has_ended_well_though_the_file_that_it_printed_to_failed() -> None:
    output = {"cmd": "zstd", "file": "/backup/x", "rc": 0, "stderr": "a word\n"}
    result = with_outcome({**DONE, "output": output}, Outcome("output file 'x' failed: No space", "No space"))
    assert (result["failed"], result["rc"], result["output"]) == (True, 1, output)


def test_any_other_failure_is_told() -> None:
    assert with_outcome(DONE, Outcome("lost")) == {**DONE, "failed": True, "msg": "lost"}
