# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no_log hides: sentences then name sides, roles, exit statuses and signals, and no more.

Ansible hides the result of such a task, but not what made it fail, nor its warnings.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Optional

from .judge import Verdict, judge
from .scene import Scene

Report = Dict[str, Any]
View = Dict[str, Any]

#: The condition that no path is to be told of.
CONDITION = "creates or removes says so"
#: What an endpoint says of a command without naming anything: names are in quotes, words of the system
#: behind a colon.
_HARMLESS = re.compile(r"[a-z, ]+(?: \d+| SIG[A-Z0-9]+)?")
_HIDDEN = "no_log hides what it was"


def judge_in_scene(local: View, remote: View, scene: Scene) -> Verdict:
    """`judge`, with nothing in its sentences that *scene* hides."""
    if scene.is_hidden:
        local, remote = _without_words(local), _without_words(remote)
    return judge(local, remote, scene)


def _without_words(view: View) -> View:
    peer = view["peer"]
    return {"own": _bare_report(view["own"]), "peer": None if peer is None else _bare_report(peer)}


def _bare_report(report: Report) -> Report:
    commands = {role: dict(command, stderr="") for role, command in report["commands"].items()}
    return dict(report, commands=commands, reason=_bare_reason(report["reason"]))


def _bare_reason(reason: Optional[Report]) -> Optional[Report]:
    if reason is None:
        return None
    if reason["kind"] == "login":
        status = reason.get("status")
        end = "" if status is None else f": it ended with status {status}"
        return dict(reason, text=f"did not connect back{end}")
    is_harmless = reason["kind"] != "command" or _HARMLESS.fullmatch(reason["text"])
    return reason if is_harmless else dict(reason, text=_HIDDEN)
