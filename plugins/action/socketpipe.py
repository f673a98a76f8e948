# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: runs a session's two endpoints, and judges it."""

from __future__ import annotations

import glob
import json
import os
import secrets
from datetime import datetime
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.command import (
    find_executable,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import CommandError
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import (
    KEY_SIZE,
    Side,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import (
    Scene,
    judge,
    significant_line,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.listener import open_listener
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    ROLES,
    CommandSpec,
    Specification,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import to_bytes
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.words import split_command
from ansible_collections.dds.socketpipe.plugins.modules.socketpipe import (
    LOCAL_COMMANDS,
    argument_spec,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._addresses import addresses_towards
from ansible_collections.dds.socketpipe.plugins.plugin_utils._local_endpoint import (
    LocalEndpoint,
    LocalEndpointError,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._patience import (
    UnansweredError,
    patience,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._result import (
    build_result,
    one_line,
)

_MODULE = "dds.socketpipe.socketpipe_endpoint"
_CONTROLLER = "controller"
_PATHS_ON_TARGET = ("chdir", "creates", "removes")
#: Seconds that the module has to answer once the local endpoint has ended: both end together,
#: unless the login is dead.
ANSWER_TIMEOUT = 20.0
_LOOPBACK = "127.0.0.1"
_CONDITIONS = ("creates", "removes", "local_creates", "local_removes")

display = Display()

Result = dict[str, Any]


class RefusalError(Exception):
    """The task can not be done; the sentence is for the user."""


class ActionModule(ActionBase):  # type: ignore[misc]
    """The socketpipe task."""

    _supports_check_mode = True
    _supports_async = True  # to refuse it in words of our own

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        try:
            self._read_options()
            skipped = self._skip_locally()
            if skipped is not None:
                return self._skipped(skipped)
            self._find_local_executables()
            return self._check() if self._task.check_mode else self._transfer()
        except (RefusalError, CommandError) as error:
            # Returned, not raised: a trace of our own lines helps nobody.
            return {"changed": False, "failed": True, "rc": None, "msg": str(error)}

    # Options

    def _read_options(self) -> None:
        if self._task.async_val:
            raise RefusalError("socketpipe does not support async: remove 'async' from the task")
        self._options = self._validate()
        self._commands = {role: self._options[role] for role in ROLES if self._options[role] is not None}
        self._specs = {role: self._command_spec(role) for role in self._commands}

    def _validate(self) -> dict[str, Any]:
        spec = argument_spec()
        for name in _PATHS_ON_TARGET:
            spec[name]["type"] = "str"  # the target expands it
        _result, options = self.validate_argument_spec(argument_spec=spec, required_one_of=LOCAL_COMMANDS)
        if not 0 < options["timeout"] < float("inf"):
            raise RefusalError("timeout: must be more than 0 seconds")
        return dict(options)

    def _command_spec(self, role: str) -> CommandSpec:
        return CommandSpec(
            role=role,
            argv=split_command(role, self._commands[role], self._options["shell"]),
            accept_rc=self._options["accept_rc"][role],
            chdir=None if role == "remote" else self._options["local_chdir"],
        )

    @property
    def _target(self) -> str:
        return str(self._task.delegate_to or self._task_vars.get("inventory_hostname", "target"))

    @property
    def _scene(self) -> Scene:
        return Scene(
            hosts={"local": _CONTROLLER, "remote": self._target},
            commands={role: one_line(command) for role, command in self._commands.items()},
        )

    # Before a session: is there anything to do, and could it be done

    def _skip_locally(self) -> str | None:
        creates, removes = self._options["local_creates"], self._options["local_removes"]
        if creates and self._matches_locally(creates):
            return f"'{creates}' exists on the {_CONTROLLER}"
        if removes and not self._matches_locally(removes):
            return f"'{removes}' does not exist on the {_CONTROLLER}"
        return None

    def _matches_locally(self, pattern: str) -> bool:
        folder = to_bytes(self._options["local_chdir"] or ".")
        return bool(glob.glob(os.path.join(folder, to_bytes(pattern))))

    def _find_local_executables(self) -> None:
        """What could not be started is refused before anything connects."""
        for role in self._local_roles:
            try:
                find_executable(self._specs[role])
            except CommandError as error:
                raise RefusalError(f"{self._scene.command(role)}: {error}") from error

    def _skipped(self, reason: str) -> Result:
        did = "Would not run" if self._task.check_mode else "Did not run"
        return {
            "changed": False,
            "rc": 0,
            "msg": f"{did}, since {reason}",
            "stdout": f"skipped, since {reason}",
        }

    def _check(self) -> Result:
        """Check mode: what can be said without a connection."""
        answer = self._run_module(self._remote_specification(secrets.token_bytes(KEY_SIZE), []))
        if "view" not in answer:
            return self._without_view(answer)
        reason = answer["view"]["own"]["reason"]
        if reason is not None:
            raise RefusalError(f"{self._scene.command('remote')}: {reason['text']}")
        result = {"changed": True, "rc": 0, "msg": "The commands would have run"}
        if not any(self._options[name] for name in _CONDITIONS):
            # As ansible.builtin.command does: without a condition nothing is known of changes.
            result.update(changed=False, skipped=True)
        return result

    # The session

    def _transfer(self) -> Result:
        began = datetime.now()
        key = secrets.token_bytes(KEY_SIZE)
        # The listener is there before the endpoint is: the two endpoints can start side by side.
        try:
            listener = open_listener(self._listening_address)
        except OSError as error:
            raise RefusalError(f"{_CONTROLLER} can not listen: {error.strerror}") from error
        with listener:
            candidates = self._candidates(listener.getsockname()[1])
            local_endpoint = LocalEndpoint(self._local_specification(key), listener, self._log)
        try:
            answer = self._ask_module(self._remote_specification(key, candidates), local_endpoint)
            if "view" not in answer:
                return self._without_view(answer)
            remote = answer["view"]
            if remote["own"]["path"] is None:
                local_endpoint.give_up()
            local = local_endpoint.wait_ended()
        except LocalEndpointError as error:
            raise RefusalError(f"the local endpoint on {_CONTROLLER} ended unexpectedly: {error}") from error
        finally:
            local_endpoint.close()
        return self._result(local, remote, began)

    def _ask_module(self, spec: Specification, local_endpoint: LocalEndpoint) -> Result:
        """The module's answer; an empty view if it does not come, the local endpoint having ended."""
        try:
            with patience() as end_after:
                local_endpoint.on_ended = lambda: end_after(ANSWER_TIMEOUT)
                return self._run_module(spec)
        except UnansweredError:
            nothing = {"commands": {}, "directions": {}, "path": local_endpoint.path, "reason": None}
            return {"view": {"own": nothing, "peer": None}}

    @property
    def _local_roles(self) -> list[str]:
        """In the order in which they are started: who reads is there before who writes."""
        return [role for role in ("output", "input") if role in self._commands]

    @property
    def _directions(self) -> list[str]:
        return [role for role in ("input", "output") if role in self._commands]

    @property
    def _is_on_controller(self) -> bool:
        """Whether the target is this machine, so that no other has to be let in."""
        return bool(self._connection.transport == "local")

    @property
    def _listening_address(self) -> str | None:
        """None for all addresses."""
        if self._options["host"] is None and self._is_on_controller:
            return _LOOPBACK
        address: str | None = self._options["host"]
        return address

    def _local_specification(self, key: bytes) -> Specification:
        return Specification(
            side=Side.LOCAL,
            key=key,
            commands=[self._specs[role] for role in self._local_roles],
            directions=self._directions,
            timeout=self._options["timeout"],
        )

    def _remote_specification(self, key: bytes, candidates: list[tuple[str, int]]) -> Specification:
        return Specification(
            side=Side.REMOTE,
            key=key,
            commands=[self._specs["remote"]],
            directions=self._directions,
            timeout=self._options["timeout"],
            candidates=candidates,
        )

    def _candidates(self, port: int) -> list[tuple[str, int]]:
        if self._options["host"] is not None:
            addresses = [self._options["host"]]
        elif self._is_on_controller:
            addresses = [_LOOPBACK]
        else:
            addresses = addresses_towards(self._play_context.remote_addr)
        return [(address, port) for address in addresses]

    def _run_module(self, spec: Specification) -> Result:
        arguments = {
            "spec": json.dumps(spec.dump()),
            "key": spec.key.hex(),
            **{name: self._options[name] for name in _PATHS_ON_TARGET},
            "use_login_address": self._options["host"] is None and not self._is_on_controller,
        }
        answer = self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=self._task_vars)
        return dict(answer)

    def _without_view(self, answer: Result) -> Result:
        """The module skipped, or failed as any module may: no Python, no memory, killed."""
        if "skipped_because" in answer:
            return self._skipped(answer["skipped_because"])
        answer.pop("invocation", None)
        printed = f"{answer.get('module_stdout', '')}\n{answer.get('module_stderr', '')}"
        words = significant_line(printed) or answer.get("msg", "")
        if words.startswith("SyntaxError"):
            words += (
                "; is the target's Python too old for this ansible-core? "
                "Set ansible_python_interpreter to a later one"
            )
        answer["msg"] = f"the remote endpoint on {self._target} ended without a report: {words}"
        answer["failed"] = True
        return answer

    def _result(self, local: Result, remote: Result, began: datetime) -> Result:
        strangers = local["own"]["strangers"]
        if strangers:
            display.v(f"socketpipe: {strangers} connections of strangers were refused", host=self._target)
        verdict = judge(local, remote, self._scene)
        return build_result(local, remote, verdict, self._commands, began)

    def _log(self, event: Result) -> None:
        if event["event"] == "connected":
            path = event["path"]
            display.v(
                f"socketpipe: {self._target} is connected to {path['address']} port {path['port']}",
                host=self._target,
            )
