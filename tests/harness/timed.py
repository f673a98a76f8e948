# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints without Ansible, whose steps and memory are measured."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import Identity

from harness.network import Target
from harness.sessions import ENGINE

TIMED_ENDPOINT = str(Path(__file__).parent / "timed_endpoint.py")


class TimedEndpoint:
    """One side of a session, started by *words*. It plays *command*, with its role, and inherits
    *files*; by default the session is of `true` to `cat`. With an *identity* it is encrypted."""

    def __init__(
        self,
        words: list[str],
        key: bytes,
        command: dict[str, Any] | None = None,
        files: Sequence[int] = (),
        identity: Identity | None = None,
        **spec: Any,
    ) -> None:
        own = ["true"] if spec["side"] == "local" else ["cat"]
        role = "input" if spec["side"] == "local" else "remote"
        spec["commands"] = [{"accept_rc": [0], **(command or {"role": role, "argv": own})}]
        descriptor = spec.get("listener")
        self._process = subprocess.Popen(
            [*words, sys.executable, "-I", "-S", TIMED_ENDPOINT, str(ENGINE.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[*files, *([] if descriptor is None else [descriptor])],
        )
        defaults = {"directions": ["input"], "timeout": 10, "ports": [], "candidates": []}
        order = {
            "key": key.hex(),
            "identity": identity and identity._asdict(),
            "spec": {**defaults, **spec},
        }
        self._order = json.dumps(order).encode() + b"\n"

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(self._order)
        self._process.stdin.flush()

    def times(self) -> dict[str, float]:
        """The time of each step, once it has ended."""
        return {line["step"]: line["time"] for line in self._lines()}

    def memory(self) -> int:
        """The bytes that it had at its peak, once it has ended."""
        return max(line["memory"] for line in self._lines())

    def _lines(self) -> list[dict[str, Any]]:
        output = self._process.communicate()[0]
        assert self._process.returncode == 0
        return [json.loads(line) for line in output.splitlines()]


def begin_session(
    target: Target,
    local: dict[str, Any],
    remote: list[str],
    identities: Mapping[Side, Identity] | None = None,
    **options: Any,
) -> list[TimedEndpoint]:
    """The local and the remote endpoint of a session of *local*, a command or a file with its role, and the
    command *remote*. The controller listens."""
    key, own = secrets.token_bytes(32), identities or {}
    files = [local["descriptor"]] if "descriptor" in local else []
    options["directions"] = [local["role"]]
    with socket.create_server((target.controller_address, 0)) as listener:
        ends = [
            TimedEndpoint(
                [], key, local, files, own.get(Side.LOCAL), side="local",
                listener=listener.fileno(), **options,
            ),
            TimedEndpoint(
                target.words(), key, {"role": "remote", "argv": remote}, identity=own.get(Side.REMOTE),
                side="remote", candidates=[listener.getsockname()[:2]], **options,
            ),
        ]  # fmt: skip
    for end in ends:
        end.begin()
    return ends
