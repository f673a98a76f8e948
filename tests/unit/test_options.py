# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of the task says, and what the code takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import yaml
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.connector import Connector
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Purpose, Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import judge
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import (
    Outcome,
    build_preflight_result,
    build_result,
    with_outcome,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import Scene
from ansible_collections.dds.socketpipe.plugins.modules import socketpipe
from ansible_collections.dds.socketpipe.plugins.plugin_utils._helper import with_helper
from ansible_collections.dds.socketpipe.plugins.plugin_utils._options import checked
from harness.sockets import run_until

OPTIONS: dict[str, Any] = yaml.safe_load(socketpipe.DOCUMENTATION)["options"]
RETURN: dict[str, Any] = yaml.safe_load(socketpipe.RETURN)
#: Keys that every task may return; Ansible documents them.
COMMON = {"changed", "failed", "skipped", "warnings"}
COMMANDS = {"input": "seq 3", "remote": ["cat", "a b"], "output": "cat"}
FILES = {**COMMANDS, "input": "/srv/x", "output": "/backup/x"}


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


@pytest.mark.parametrize("size", ["0", "0K"])
def test_an_empty_stream_may_be_expected_but_no_empty_blocks(size: str) -> None:
    options = {name: option.get("default") for name, option in socketpipe.argument_spec().items()}
    assert checked({**options, "size": size}, is_async=False)["size"] == 0
    for name in ("block_size", "rate_limit"):
        with pytest.raises(ValueError, match=f"^{name}: '{size}' is not a number of bytes"):
            checked({**options, name: size}, is_async=False)


# What is returned


def command(rc: int | None = 0, **fields: Any) -> dict[str, Any]:
    report = {"rc": rc, "signal": None, "stderr": "words\n", "is_accepted": rc == 0, "is_victim": False}
    return {**report, "may_be_stopped": True, **fields}


PATH = {"listener": "local", "address": "192.0.2.1", "port": 1, "family": "IPv4", "seconds": 0.1}
ATTEMPT = {
    "side": "remote",
    "purpose": "control",
    "source": "192.0.2.2",
    "address": "192.0.2.1",
    "port": 1,
    "tries": 2,
    "outcome": "no answer",
    "seconds": 30.0,
}
SCENE = Scene({"local": "controller", "remote": "t1"}, {role: str(words) for role, words in COMMANDS.items()})


def report(**fields: Any) -> dict[str, Any]:
    nothing = {
        "path": PATH,
        "commands": {},
        "directions": {},
        "attempts": [],
        "cannot_listen": None,
        "other_version": None,
        "reason": None,
    }
    return {**nothing, **fields}


Views = tuple[dict[str, Any], dict[str, Any]]


def views(local: dict[str, Any], remote: dict[str, Any]) -> Views:
    return {"own": local, "peer": remote}, {"own": remote, "peer": local}


def filtered(remote_rc: int = 0, read: str = "finished") -> Views:
    directions = {
        name: {"state": "finished", "bytes": 6, "digest": "5fe0b5e8"} for name in ("input", "output")
    }
    return views(
        report(commands={"input": command(), "output": command(stdout="printed\n")}, directions=directions),
        report(
            commands={"remote": command(remote_rc)},
            directions={**directions, "input": {"state": read, "bytes": 3}},
            attempts=[{**ATTEMPT, "outcome": "proven"}],
        ),
    )


def no_path() -> Views:
    reason = {"kind": "connect", "text": "no path"}
    return views(report(path=None), report(path=None, attempts=[ATTEMPT], reason=reason))


def result_of(local: dict[str, Any], remote: dict[str, Any]) -> dict[str, Any]:
    return build_result(local, remote, judge(local, remote, SCENE), SCENE, COMMANDS, datetime.now())


def result_of_files() -> dict[str, Any]:
    scene = SCENE._replace(files=frozenset(("input", "output")))
    local, remote = filtered(read="stopped")
    result = build_result(local, remote, judge(local, remote, scene), scene, FILES, datetime.now())
    return {**result, "backup_file": "/backup/x.1.2026-11-22@03:10:00~"}


def result_of_both() -> dict[str, Any]:
    scene = SCENE._replace(redirected={"input": "/srv/x", "output": "/backup/x"})
    local, remote = filtered(read="stopped")
    del local["own"]["commands"]["output"]["stdout"]
    return build_result(local, remote, judge(local, remote, scene), scene, COMMANDS, datetime.now())


def preflight_of(local: dict[str, Any], remote: dict[str, Any]) -> dict[str, Any]:
    return build_preflight_result(local, remote, judge(local, remote, SCENE), SCENE)


RESULTS = {
    "success": result_of(*filtered(read="stopped")),
    "failure": result_of(*filtered(remote_rc=3)),
    "files": result_of_files(),
    "failed file": with_outcome(result_of_files(), Outcome("it could not", "be named")),
    "both": result_of_both(),
    "helper": with_helper(result_of(*filtered(read="stopped")), filtered()[0], "/usr/local/bin/socketpipe"),
    "no path": result_of(*no_path()),
    "preflight": preflight_of(*views(report(path={**PATH, "round_trip": 0.001}), report())),
    "preflight without a path": preflight_of(*no_path()),
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


@pytest.mark.parametrize(
    ("kind", "key", "returned"),
    [
        ("success", "input", {"always", "for a command"}),
        ("success", "remote", {"always"}),
        ("success", "output", {"always", "for a command"}),
        ("files", "input", {"always", "for a file"}),
        ("files", "remote", {"always"}),
        ("failed file", "output", {"always", "for a file"}),
        ("both", "input", {"always", "for a command", "for a file"}),
        ("both", "output", {"always", "for a command", "for a file"}),
    ],
)
def test_the_parts_of_a_command_are_documented(kind: str, key: str, returned: set[str]) -> None:
    parts = RETURN[key]["contains"]
    assert set(RESULTS[kind][key]) == {name for name in parts if parts[name]["returned"] in returned}


def test_a_command_beside_a_file_is_shown_with_it_and_what_it_printed_is_there_alone() -> None:
    result = RESULTS["both"]
    assert (result["input"]["cmd"], result["input"]["file"]) == (COMMANDS["input"], "/srv/x")
    assert (result["output"]["cmd"], result["output"]["file"]) == (COMMANDS["output"], "/backup/x")
    assert result["stdout"] == ""


@pytest.mark.parametrize(
    ("kind", "returned"), [("success", {"always"}), ("preflight", {"always", "in check mode"})]
)
def test_the_parts_of_a_path_are_documented(kind: str, returned: set[str]) -> None:
    parts = RETURN["path"]["contains"]
    assert set(RESULTS[kind]["path"]) == {name for name in parts if parts[name]["returned"] in returned}


@pytest.mark.parametrize("kind", ["no path", "preflight without a path"])
def test_the_parts_of_a_path_that_was_tried_are_documented(kind: str) -> None:
    (tried,) = RESULTS[kind]["paths_tried"]
    assert set(tried) == set(RETURN["paths_tried"]["contains"])


def test_what_an_endpoint_says_of_a_try_is_what_is_documented(loop: Loop) -> None:
    """So that the attempts above are no invention."""
    connector = Connector(
        loop,
        [("127.0.0.1", 1)],
        key=bytes(32),
        side=Side.REMOTE,
        purpose=Purpose.CONTROL,
        on_proven=lambda proven: None,
    )
    run_until(loop, connector.attempts, "a try")
    connector.close()
    (tried,) = connector.attempts()
    assert set(tried) == set(RETURN["paths_tried"]["contains"])


TYPES = {"int": int, "str": str, "list": list, "dict": dict, "float": float, "raw": object}


@pytest.mark.parametrize("kind", RESULTS)
def test_values_have_the_documented_types(kind: str) -> None:
    for key, value in RESULTS[kind].items():
        if key in RETURN and value is not None:
            assert_type(RETURN[key], value, key)


def assert_type(entry: dict[str, Any], value: Any, name: str) -> None:
    assert isinstance(value, TYPES[entry["type"]]), f"{name}: {value!r}"
    for part, contained in entry.get("contains", {}).items():
        for one in value if isinstance(value, list) else [value]:
            if one.get(part) is not None:
                assert_type(contained, one[part], f"{name}.{part}")


def test_a_list_is_returned_as_a_list_of_printable_words() -> None:
    assert RESULTS["success"]["remote"]["cmd"] == ["cat", "a b"]
    assert RESULTS["success"]["input"]["cmd"] == "seq 3"


def test_a_file_is_returned_as_its_path() -> None:
    assert (RESULTS["files"]["input"]["file"], RESULTS["files"]["output"]["file"]) == ("/srv/x", "/backup/x")


def test_a_file_that_failed_when_all_else_was_well_decides() -> None:
    result = RESULTS["failed file"]
    assert (result["failed"], result["msg"], result["rc"]) == (True, "it could not", 1)
    assert (result["output"]["rc"], result["output"]["stderr"]) == (1, "be named")


def test_counts_are_those_of_the_readers() -> None:
    assert (RESULTS["success"]["bytes_sent"], RESULTS["success"]["bytes_received"]) == (3, 6)


def test_rc_is_the_culprits_or_that_of_the_last_command() -> None:
    assert (RESULTS["success"]["rc"], RESULTS["failure"]["rc"], RESULTS["no path"]["rc"]) == (0, 3, None)


def test_stderr_is_that_of_all_commands_and_stdout_that_of_the_last() -> None:
    assert RESULTS["success"]["stderr_lines"] == ["words"] * 3
    assert RESULTS["success"]["stdout_lines"] == ["printed"]


def test_nothing_changed_when_nothing_ran() -> None:
    """But a preflight says what would."""
    changed = {kind: RESULTS[kind]["changed"] for kind in RESULTS}
    assert changed == {
        "success": True,
        "failure": True,
        "files": True,
        "failed file": True,
        "both": True,
        "helper": True,
        "no path": False,
        "preflight": True,
        "preflight without a path": False,
    }
    failed = [kind for kind in RESULTS if RESULTS[kind].get("failed")]
    assert failed == ["failure", "failed file", "no path", "preflight without a path"]
