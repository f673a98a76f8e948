# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With no_log no sentence has a word of a command, of its stderr or of a path in it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import (
    CommandError,
    LoginError,
    NetworkError,
    SessionError,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.hidden import judge_in_scene
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import build_detached_result
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import Scene
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    CommandSpec,
    Specification,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._remote_side import result_of_task

ROLES = ("input", "remote", "output")
SCENE = Scene(
    {"local": "controller", "remote": "t1"},
    {role: f"{role} s3cret" for role in ROLES},
    redirected={"output": "/s3cret"},
    is_hidden=True,
)
Views = tuple[dict[str, Any], dict[str, Any]]


def command(rc: int = 0, **fields: Any) -> dict[str, Any]:
    report = {"rc": rc, "signal": None, "stderr": "s3cret: No such file or directory\n", "stdout": "printed"}
    return {**report, "is_accepted": rc == 0, "is_victim": False, "may_be_stopped": False, **fields}


def views(read: int = 6, reason: SessionError | None = None, **commands: dict[str, Any]) -> Views:
    """Of a filter; *read* are the bytes of its six that the output command took."""
    players = {**{role: command() for role in ROLES}, **commands}
    whole = {"state": "finished", "bytes": 6, "digest": None}
    part = whole if read == 6 else {**whole, "state": "stopped", "bytes": read}
    common: dict[str, Any] = {"path": None, "attempts": [], "cannot_listen": None, "other_version": None}
    remote = {
        **common,
        "commands": {"remote": players["remote"]},
        "directions": {"input": whole, "output": whole},
        "reason": None if reason is None else reason.reason(),
    }
    local = {
        **common,
        "commands": {role: players[role] for role in ("input", "output")},
        "directions": {"input": whole, "output": part},
        "reason": None,
    }
    return {"own": local, "peer": remote}, {"own": remote, "peer": local}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (views(remote=command(3)), "remote command on t1 exited 3"),
        (
            views(output=command(137, signal="SIGKILL")),
            "output command on controller was ended by SIGKILL",
        ),
        (
            views(read=3),
            "output command on controller ended after 3 of the 6 bytes from remote command on t1; if it may, "
            "accept the status 141 (SIGPIPE) of remote with accept_rc",
        ),
        (
            views(reason=CommandError("remote", "no executable 's3cret' was found in PATH (/s3cret)")),
            "remote command on t1: no_log hides what it was",
        ),
        (
            views(reason=CommandError("remote", "there is no directory '/s3cret' to change to")),
            "remote command on t1: no_log hides what it was",
        ),
        (
            views(reason=CommandError("output", "the output file could not be written: s3cret")),
            "output command on controller: no_log hides what it was",
        ),
        (
            views(reason=CommandError("remote", "the remote command exited 3")),
            "remote command on t1: the remote command exited 3",
        ),
        (
            views(reason=CommandError("remote", "the remote command was ended by SIGKILL")),
            "remote command on t1: the remote command was ended by SIGKILL",
        ),
        (
            views(reason=LoginError("did not connect back: it ended with status 127: sh: s3cret", 127)),
            "the helper on controller did not connect back: it ended with status 127",
        ),
        (
            views(reason=LoginError("did not connect back: its time, 30 s, is over")),
            "the helper on controller did not connect back",
        ),
        (
            views(reason=NetworkError("the data connection was cut")),
            "the data connection was cut, as remote endpoint on t1 saw it; is there a firewall that ends "
            "connections?",
        ),
    ],
)
def test_a_failure_names_roles_hosts_and_how_it_ended(given: Views, sentence: str) -> None:
    assert judge_in_scene(*given, SCENE).failure == sentence


def test_a_warning_names_roles_and_hosts() -> None:
    given = views(read=3, remote=command(may_be_stopped=True))
    verdict = judge_in_scene(*given, SCENE)
    words = "output command on controller ended after 3 of the 6 bytes from remote command on t1"
    assert (verdict.failure, verdict.warnings) == (None, [words])


def test_files_are_named_by_their_roles() -> None:
    assert SCENE.file("output") == "output file on controller"
    assert SCENE._replace(files=frozenset({"input"})).command("input") == "input file on controller"


def test_without_no_log_everything_is_told() -> None:
    words = "remote command 'remote s3cret' on t1 exited 3: s3cret: No such file or directory"
    assert judge_in_scene(*views(remote=command(3)), SCENE._replace(is_hidden=False)).failure == words


def test_a_side_whose_report_never_came_is_told_of() -> None:
    local, remote = views()
    words = "local endpoint on controller never got the report of the remote endpoint on t1"
    assert judge_in_scene({**local, "peer": None}, remote, SCENE).failure == words


def test_the_target_hides_it_too() -> None:
    """It makes the result of a task with async, and what is not a sentence stays in that."""
    _local, remote = views(remote=command(3))
    task = {"scene": SCENE.dump(), "commands": dict(SCENE.commands)}
    result = build_detached_result({**remote, "outcome": None}, task, datetime.now())
    assert result["msg"] == "remote command on t1 exited 3"
    assert result["remote"]["stderr"] == "s3cret: No such file or directory\n"


@pytest.mark.parametrize(
    ("is_hidden", "words"), [(True, "creates or removes says so"), (False, "'/s3cret' exists on the target")]
)
def test_the_target_tells_of_no_condition(is_hidden: bool, words: str) -> None:
    spec = Specification(Side.REMOTE, bytes(32), [CommandSpec("remote", ["cat"], [0])], ["input"], 1.0)
    task = {"scene": SCENE._replace(is_hidden=is_hidden).dump(), "commands": {}}
    result = result_of_task(spec, "'/s3cret' exists on the target", task)
    assert (result["msg"], result["stdout"]) == (f"Did not run, since {words}", f"skipped, since {words}")
