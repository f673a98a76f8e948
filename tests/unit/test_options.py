# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of the task says, and what the code takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import yaml
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Scene, judge
from ansible_collections.dds.socketpipe.plugins.modules import socketpipe
from ansible_collections.dds.socketpipe.plugins.plugin_utils._result import build_result

OPTIONS: dict[str, Any] = yaml.safe_load(socketpipe.DOCUMENTATION)["options"]
RETURN: dict[str, Any] = yaml.safe_load(socketpipe.RETURN)
#: Keys that every task may return; Ansible documents them.
COMMON = {"changed", "failed", "skipped", "warnings"}
COMMANDS = {"input": "seq 3", "remote": ["cat", "a b"], "output": "cat"}


# Options


def facts_of_the_spec(spec: dict[str, Any]) -> dict[str, Any]:
    return {name: facts(option, option.get("options")) for name, option in spec.items()}


def facts_of_the_documentation(options: dict[str, Any]) -> dict[str, Any]:
    return {name: facts(option, option.get("suboptions")) for name, option in options.items()}


def facts(option: dict[str, Any], inner: dict[str, Any] | None) -> dict[str, Any]:
    """Of an option of either form."""
    return {
        "type": option.get("type", "str"),
        "elements": option.get("elements"),
        "required": option.get("required", False),
        "default": option.get("default"),
        "choices": option.get("choices"),
        "aliases": option.get("aliases", []),
        "inner": {name: facts(one, None) for name, one in (inner or {}).items()},
    }


def test_the_argument_spec_and_the_documentation_agree() -> None:
    assert facts_of_the_spec(socketpipe.argument_spec()) == facts_of_the_documentation(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_described(name: str) -> None:
    assert OPTIONS[name]["description"]


def test_the_spec_is_made_afresh_for_everybody() -> None:
    """The action plugin changes what it gets."""
    one, other = socketpipe.argument_spec(), socketpipe.argument_spec()
    for name, option in one.items():
        assert option is not other[name]
    one["accept_rc"]["default"]["input"] = [1]
    assert other["accept_rc"]["default"] == {}


# What is returned


def command(rc: int | None = 0, **fields: Any) -> dict[str, Any]:
    report = {"rc": rc, "signal": None, "stderr": "words\n", "is_accepted": rc == 0, "is_victim": False}
    return {**report, "may_be_stopped": True, **fields}


def views(remote_rc: int = 0, read: str = "finished") -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a filter."""
    directions = {name: {"state": "finished", "bytes": 6} for name in ("input", "output")}
    path = {"listener": "local", "address": "192.0.2.1", "port": 1, "family": "IPv4", "seconds": 0.1}
    local = {
        "commands": {"input": command(), "output": command(stdout="printed\n")},
        "directions": directions,
        "path": path,
        "reason": None,
    }
    remote = {
        "commands": {"remote": command(remote_rc)},
        "directions": {**directions, "input": {"state": read, "bytes": 3}},
        "path": path,
        "reason": None,
    }
    return {"own": local, "peer": remote}, {"own": remote, "peer": local}


def no_path() -> tuple[dict[str, Any], dict[str, Any]]:
    attempt = {"address": "192.0.2.1", "port": 1, "tries": 2, "outcome": "no answer"}
    reason = {"kind": "connect", "text": "no path", "connector": "remote", "attempts": [attempt]}
    nothing = {"commands": {}, "directions": {}, "path": None}
    return {"own": {**nothing, "reason": None}, "peer": None}, {
        "own": {**nothing, "reason": reason},
        "peer": None,
    }


def result_of(local: dict[str, Any], remote: dict[str, Any]) -> dict[str, Any]:
    commands = {role: str(words) for role, words in COMMANDS.items()}
    verdict = judge(local, remote, Scene({"local": "controller", "remote": "t1"}, commands))
    return build_result(local, remote, verdict, COMMANDS, datetime.now())


RESULTS = {
    "success": result_of(*views(read="stopped")),
    "failure": result_of(*views(remote_rc=3)),
    "no path": result_of(*no_path()),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_every_key_that_is_returned_is_documented(kind: str) -> None:
    assert set(RESULTS[kind]) - set(RETURN) - COMMON == set()


def test_every_documented_key_is_returned_by_one_of_these() -> None:
    """So that the documentation promises nothing that does not come."""
    assert set(RETURN) <= {key for result in RESULTS.values() for key in result}


@pytest.mark.parametrize("kind", RESULTS)
def test_what_is_always_returned_is(kind: str) -> None:
    assert {key for key, entry in RETURN.items() if entry["returned"] == "always"} <= set(RESULTS[kind])


@pytest.mark.parametrize("key", ["input", "remote", "output", "path"])
def test_the_parts_of_a_key_are_documented(key: str) -> None:
    assert set(RESULTS["success"][key]) == set(RETURN[key]["contains"])


TYPES = {"int": int, "str": str, "list": list, "dict": dict, "float": float}


@pytest.mark.parametrize("kind", RESULTS)
def test_values_have_the_documented_types(kind: str) -> None:
    for key, value in RESULTS[kind].items():
        if key in RETURN and value is not None:
            assert isinstance(value, TYPES[RETURN[key]["type"]]), f"{key}: {value!r}"


def test_a_list_is_returned_as_a_list_of_printable_words() -> None:
    assert RESULTS["success"]["remote"]["cmd"] == ["cat", "a b"]
    assert RESULTS["success"]["input"]["cmd"] == "seq 3"


def test_counts_are_those_of_the_readers() -> None:
    assert (RESULTS["success"]["bytes_sent"], RESULTS["success"]["bytes_received"]) == (3, 6)


def test_rc_is_the_culprits_or_that_of_the_last_command() -> None:
    assert (RESULTS["success"]["rc"], RESULTS["failure"]["rc"], RESULTS["no path"]["rc"]) == (0, 3, None)


def test_stderr_is_that_of_all_commands_and_stdout_that_of_the_last() -> None:
    assert RESULTS["success"]["stderr_lines"] == ["words"] * 3
    assert RESULTS["success"]["stdout_lines"] == ["printed"]


def test_nothing_changed_when_nothing_ran() -> None:
    assert [RESULTS[kind]["changed"] for kind in RESULTS] == [True, True, False]
    assert [RESULTS[kind]["failed"] for kind in RESULTS] == [False, True, True]
