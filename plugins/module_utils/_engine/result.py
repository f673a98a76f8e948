# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the task returns, from the two views and the verdict."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any, Dict, Mapping, NamedTuple, Optional

from . import paths
from .hidden import judge_in_scene
from .judge import Verdict, mirrored
from .scene import PEER, Scene
from .specification import ERROR_STATUS, ROLES
from .text import printable

View = Dict[str, Any]
Result = Dict[str, Any]


def as_given(command: Any) -> Any:
    """A command as the user gave it, but safe for every log."""
    if isinstance(command, str):
        return printable(command)
    return [printable(str(word)) for word in command]


def one_line(command: Any) -> str:
    """A command as one text, for a sentence."""
    shown = as_given(command)
    return shown if isinstance(shown, str) else " ".join(map(shlex.quote, shown))


def build_result(
    local: View, remote: View, verdict: Verdict, scene: Scene, commands: Mapping[str, Any], began: datetime
) -> Result:
    """The task's result. *commands* are as the user gave them, and paths of files; *began* is by the
    clock of this machine."""
    reports = {**local["own"]["commands"], **remote["own"]["commands"]}
    result: Result = {
        "changed": bool(reports),
        "failed": verdict.failure is not None,
        "msg": verdict.failure or "",
        "rc": None,
    }
    result.update(_way(local, remote, scene))
    if reports:
        result.update(_of_commands(reports, verdict, commands, scene))
        result.update(_byte_counts(local, remote))
        result.update(_checksums(local, remote))
        result.update(_times(began))
    if verdict.warnings:
        result["warnings"] = verdict.warnings
    return result


def build_preflight_result(local: View, remote: View, verdict: Verdict, scene: Scene) -> Result:
    """The task's result in check mode."""
    way = _way(local, remote, scene)
    if verdict.failure is not None:
        return {"changed": False, "failed": True, "rc": None, "msg": verdict.failure, **way}
    return {"changed": True, "rc": 0, "msg": f"Would run: {way['path']['summary']}", **way}


def _way(local: View, remote: View, scene: Scene) -> Result:
    """The path that was found; else all that was tried."""
    path = find_path(local, remote)
    if path is not None:
        return {"path": {**path, "summary": paths.summary(path, scene)}}
    tried = [*remote["own"]["attempts"], *local["own"]["attempts"]]
    return {"paths_tried": tried} if tried else {}


def find_path(local: View, remote: View) -> Optional[Result]:
    """The path as the connecting side saw it: the listening one may be behind address translation.
    The time is the remote side's: the local one waits for the login too."""
    seen = {"local": local["own"]["path"], "remote": remote["own"]["path"]}
    one = seen["local"] or seen["remote"]
    if one is None:
        return None
    connector = seen[PEER[one["listener"]]] or one
    seconds = (seen["remote"] or one)["seconds"]
    measured = {name: one[name] for name in ("round_trip",) if name in one}
    return {**connector, "seconds": seconds, **measured}


def skipped_result(reason: str, *, is_check: bool = False) -> Result:
    """The task's result when there is nothing to do."""
    did = "Would not run" if is_check else "Did not run"
    msg = f"{did}, since {reason}"
    return {"changed": False, "rc": 0, "msg": msg, "stdout": f"skipped, since {reason}"}


class Outcome(NamedTuple):
    """What only the local side knows of a session: *failure* is a sentence if it failed there,
    *file_error* what the system said if that was by the output file alone, *backup_file* the path
    under which the old one was kept."""

    failure: Optional[str] = None
    file_error: Optional[str] = None
    backup_file: Optional[str] = None


def with_outcome(result: Result, outcome: Outcome) -> Result:
    """*result*, which was a success so far."""
    if outcome.backup_file is not None:
        result = dict(result, backup_file=outcome.backup_file)
    if outcome.failure is not None:
        result = dict(result, failed=True, msg=outcome.failure)
    if outcome.file_error is not None:
        result = dict(result, rc=ERROR_STATUS, output=_of_failed_file(result["output"], outcome.file_error))
    return result


def _of_failed_file(output: Result, words: str) -> Result:
    """A command has ended well all the same."""
    return output if "cmd" in output else dict(output, rc=ERROR_STATUS, stderr=words)


def build_detached_result(
    view: View, task: Mapping[str, Any], began: datetime, *, is_check: bool = False
) -> Result:
    """The result of a detached session, from the remote side's view alone. *task* has the scene, as it
    was dumped, and the commands."""
    scene, local = Scene.load(task["scene"]), mirrored(view)
    verdict = judge_in_scene(local, view, scene)
    if is_check:
        result = build_preflight_result(local, view, verdict, scene)
    else:
        result = build_result(local, view, verdict, scene, task["commands"], began)
    if verdict.failure is not None:
        return result
    if view["outcome"] is None:
        failure = f"the {scene.endpoint('local')} never said what had become of the session"
        return with_outcome(result, Outcome(failure))
    return with_outcome(result, Outcome(**view["outcome"]))


def _of_commands(
    reports: Mapping[str, Any], verdict: Verdict, commands: Mapping[str, Any], scene: Scene
) -> Result:
    result: Result = {}
    stderr = []
    for role in ROLES:
        if role in reports:
            report = reports[role]
            stderr.append(report["stderr"])
            result[role] = {
                "file" if role in scene.files else "cmd": as_given(commands[role]),
                **({"file": scene.redirected[role]} if role in scene.redirected else {}),
                "rc": report["rc"],
                "signal": report["signal"],
                "stderr": report["stderr"],
            }
    printing = "output" if "output" in commands else "remote"
    deciding = printing
    if verdict.culprit is not None and verdict.culprit in reports:
        deciding = verdict.culprit
    result["rc"] = reports.get(deciding, {}).get("rc")
    result["stdout"] = reports.get(printing, {}).get("stdout", "")
    result["stderr"] = "".join(stderr)
    for name in ("stdout", "stderr"):
        result[f"{name}_lines"] = result[name].splitlines()
    return result


def _byte_counts(local: View, remote: View) -> Result:
    """What arrived, where that is known: of a broken stream more may have been sent."""
    counts = {}
    for name, direction, reader in (
        ("bytes_sent", "input", remote),
        ("bytes_received", "output", local),
    ):
        end = reader["own"]["directions"].get(direction)
        counts[name] = 0 if end is None else end["bytes"]
    return counts


def _checksums(local: View, remote: View) -> Result:
    """That of each direction whose two ends had one, None unless it is the same."""
    checksums = {}
    for name, direction in (("checksum_sent", "input"), ("checksum_received", "output")):
        ends = [view["own"]["directions"].get(direction, {}) for view in (local, remote)]
        if any(end.get("digest") is not None for end in ends):
            one, other = (end.get("digest") for end in ends)
            checksums[name] = one if one == other else None
    return checksums


def _times(began: datetime) -> Result:
    end = datetime.now()
    return {"start": str(began), "end": str(end), "delta": str(end - began)}
