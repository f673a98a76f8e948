# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: runs a session's two endpoints, and judges it."""

from __future__ import annotations

import glob
import json
import os
import secrets
import shlex
import signal
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.addresses import (
    login,
    parse_login,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.command import (
    TAIL_SIZE,
    find_executable,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import CommandError
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import (
    KEY_SIZE,
    Side,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.hidden import (
    CONDITION,
    judge_in_scene,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import (
    empty_report,
    mirrored,
    significant_line,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.login_words import (
    ASK,
    Shown,
    parse_shown,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.order import Classic
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.paths import attempt_line
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.report import is_view
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import (
    Outcome,
    as_given,
    build_preflight_result,
    build_result,
    one_line,
    skipped_result,
    with_outcome,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import Scene
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    ROLES,
    AnySpec,
    CommandSpec,
    Identity,
    Specification,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import to_bytes
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.words import split_command
from ansible_collections.dds.socketpipe.plugins.modules.socketpipe import (
    LOCAL_COMMANDS,
    argument_spec,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._compiled import compile_remote_side
from ansible_collections.dds.socketpipe.plugins.plugin_utils._detached import conduct, leave, stay
from ansible_collections.dds.socketpipe.plugins.plugin_utils._helper import (
    sources,
    with_helper,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._local_endpoint import (
    KILLED,
    LocalEndpoint,
    LocalEndpointError,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._local_files import LocalFiles
from ansible_collections.dds.socketpipe.plugins.plugin_utils._options import checked
from ansible_collections.dds.socketpipe.plugins.plugin_utils._output_file import (
    Attributes,
    FileError,
    parse_attributes,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._patience import (
    UnansweredError,
    patience,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._progress import Progress
from ansible_collections.dds.socketpipe.plugins.plugin_utils._rendezvous import (
    Place,
    Rendezvous,
    Target,
    arrange,
    resolve,
)

_MODULE = "dds.socketpipe.socketpipe_endpoint"
# Once in a playbook: all workers are forks of the process that loads this file. Who keeps the files on the
# target wants to change them, and have them run.
_COMPILED = {} if constants.DEFAULT_KEEP_REMOTE_FILES else compile_remote_side()
_CONTROLLER = "controller"
_PATHS_ON_TARGET = ("chdir", "creates", "removes")
#: Seconds that the module has to answer once the local endpoint has ended: both end together,
#: unless the login is dead.
ANSWER_TIMEOUT = 20.0
#: A shell's status when SIGKILL ended what it ran.
_KILLED_STATUS = 137

#: Seconds beyond those that the target's side has, for the local side of a task with async to be
#: given up. Ansible looks every 5 s whether the time of such a task is over.
ASYNC_GRACE = 15.0

display = Display()

Result = dict[str, Any]


class Secrets(NamedTuple):
    """What the two endpoints of a session have to know, and nobody else. *identities* are by side;
    there are none unless the session is encrypted."""

    key: bytes
    identities: Mapping[Side, Identity]


class RefusalError(Exception):
    """The task can not be done; the sentence is for the user. *bare* is the same without what no_log
    hides, if there is any of that in it."""

    def __init__(self, text: str, bare: str | None = None) -> None:
        super().__init__(text)
        self.bare = text if bare is None else bare


def _refused_option(error: ValueError | CommandError) -> RefusalError:
    """For a sentence that begins with the name of an option."""
    name, _colon, _rest = str(error).partition(":")
    return RefusalError(str(error), f"{name}: no_log hides what is wrong with it")


def _end_by_signal(status: int | None) -> str:
    """Of the module, or of the login that runs it; empty if there is no word of a signal."""
    if status is not None and status < 0:
        return f"its login was ended by {signal.Signals(-status).name}"
    return KILLED if status == _KILLED_STATUS else ""


def _make_identities() -> Mapping[Side, Identity]:
    # Not before it is asked for: cryptography takes a while, and most sessions do without.
    from ansible_collections.dds.socketpipe.plugins.module_utils._engine.identities import (  # noqa: PLC0415
        make_identities,
    )

    try:
        return make_identities()
    except ImportError as error:
        raise RefusalError(
            f"encrypt needs the Python library cryptography on the {_CONTROLLER}: {error}"
        ) from error


def _ignore(event: Result) -> None:
    """Nobody is there any more who could be told of it."""


class ActionModule(ActionBase):  # type: ignore[misc]
    """The socketpipe task."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        try:
            self._read_options()
            skipped = self._skip_locally()
            if skipped is not None:
                return self._skipped(skipped)
            with LocalFiles(is_check=self._task.check_mode) as files:
                self._open_files(files)
                self._find_local_executables()
                self._progress = self._new_progress(files)
                return self._run_session(files)
        except RefusalError as error:
            # Returned, not raised: a trace of our own lines helps nobody.
            return {"changed": False, "failed": True, "rc": None, "msg": self._told(error)}

    @property
    def _is_hidden(self) -> bool:
        """Whether no sentence may have a word of a command in it. A template that nobody has resolved
        yet may mean that, too."""
        return bool(self._task.no_log)

    def _told(self, error: RefusalError | FileError) -> str:
        return error.bare if self._is_hidden else str(error)

    # Options

    def _read_options(self) -> None:
        self._options = self._validate()
        self._helper: str | None = self._options["helper"]
        commands = {role: self._options[role] for role in ROLES if self._options[role] is not None}
        self._command_specs = {role: self._command_spec(role, commands[role]) for role in commands}
        self._specs: dict[str, AnySpec] = dict(self._command_specs)
        self._files = self._paths_of_files()
        self._commands = {**self._files, **commands}
        self._redirected = {role: path for role, path in self._files.items() if role in commands}
        self._attributes = self._read_attributes()

    def _validate(self) -> dict[str, Any]:
        spec = argument_spec()
        for name in _PATHS_ON_TARGET:
            spec[name]["type"] = "str"  # the target expands it
        try:
            _result, options = self.validate_argument_spec(argument_spec=spec, required_one_of=LOCAL_COMMANDS)
        except AnsibleError as error:
            if not self._is_hidden:
                raise
            raise RefusalError(str(error), "no_log hides what is wrong with the options") from None
        try:
            return checked(options, is_async=bool(self._task.async_val))
        except ValueError as error:
            raise _refused_option(error) from error

    def _paths_of_files(self) -> dict[str, str]:
        """By role, those that take the place of a command, or that a command reads or prints to."""
        paths = {role: self._options[f"{role}_file"] for role in ("input", "output")}
        folder = self._options["local_chdir"] or ""
        return {role: os.path.join(folder, path) for role, path in paths.items() if path is not None}

    def _read_attributes(self) -> Attributes:
        try:
            attributes = parse_attributes(self._options)
        except ValueError as error:
            raise _refused_option(error) from error
        if attributes != Attributes() and "output" not in self._files:
            raise RefusalError("mode, owner, group and backup are for output_file, and the task has none")
        return attributes

    def _command_spec(self, role: str, command: Any) -> CommandSpec:
        try:
            argv = split_command(role, command, self._options["shell"])
        except CommandError as error:
            raise _refused_option(error) from error
        return CommandSpec(
            role=role,
            argv=argv,
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
            listen=self._options["listen"],
            ports=self._options["ports"],
            files=frozenset(self._files.keys() - self._redirected.keys()),
            redirected={role: one_line(path) for role, path in self._redirected.items()},
            is_hidden=self._is_hidden,
        )

    # Before a session: is there anything to do, and could it be done

    def _skip_locally(self) -> str | None:
        creates, removes = self._options["local_creates"], self._options["local_removes"]
        if creates and self._matches_locally(creates):
            shown = "what local_creates names" if self._is_hidden else f"'{creates}'"
            return f"{shown} exists on the {_CONTROLLER}"
        if removes and not self._matches_locally(removes):
            shown = "what local_removes names" if self._is_hidden else f"'{removes}'"
            return f"{shown} does not exist on the {_CONTROLLER}"
        return None

    def _matches_locally(self, pattern: str) -> bool:
        folder = glob.escape(to_bytes(self._options["local_chdir"] or "."))
        return bool(glob.glob(os.path.join(folder, to_bytes(pattern))))

    def _open_files(self, files: LocalFiles) -> None:
        """What can not be read or written is refused before anything connects."""
        block_size, accept_rc = self._options["block_size"], self._options["accept_rc"]["input"]
        for role, path in self._files.items():
            command = self._command_specs.get(role)
            try:
                if role == "input":
                    files.open_input(path, block_size=block_size, accept_rc=accept_rc, command=command)
                else:
                    files.open_output(path, self._attributes, block_size=block_size, command=command)
            except FileError as error:
                raise RefusalError(f"{self._scene.file(role)} {self._told(error)}") from error
        self._specs.update(files.specs)

    def _find_local_executables(self) -> None:
        """What could not be started is refused before anything connects."""
        for spec in self._local_specs:
            try:
                if isinstance(spec, CommandSpec):
                    find_executable(spec)
            except CommandError as error:
                command = self._scene.command(spec.role)
                raise RefusalError(f"{command}: {error}", f"{command} could not be started") from error

    def _skipped(self, reason: str) -> Result:
        result = skipped_result(reason, is_check=self._task.check_mode)
        # Of a task with async that is not said to be skipped, Ansible wants a job.
        return {**result, "skipped": True} if self._task.async_val else result

    # The session

    def _run_session(self, files: LocalFiles) -> Result:
        if self._helper is not None:
            return self._run_with_helper(files)
        return self._run_detached(files) if self._task.async_val else self._run_with_module(files)

    def _run_with_module(self, files: LocalFiles) -> Result:
        began = datetime.now()
        self._secrets = self._make_secrets()
        # The listener is there before the endpoint is: the two endpoints can start side by side.
        rendezvous = self._arrange()
        with rendezvous.listener or nullcontext():
            spec = self._local_specification(rendezvous)
            local_endpoint = self._start_endpoint(spec, rendezvous.listener, files)
        with self._closing(local_endpoint):
            answer = self._ask_module(self._remote_specification(rendezvous), local_endpoint)
            if not is_view(answer.get("view"), Side.REMOTE.value, self._directions):
                return self._without_view(answer)
            remote = answer["view"]
            if remote["own"]["path"] is None:
                local_endpoint.give_up()
            local = local_endpoint.wait_ended()
        return self._result(local, remote, began, files)

    def _start_endpoint(
        self,
        spec: Specification,
        listener: socket.socket | None,
        files: LocalFiles,
        classic: Classic | None = None,
    ) -> LocalEndpoint:
        interval = self._progress.interval
        return LocalEndpoint(spec, listener, self._log, files.descriptors, classic, progress=interval)

    @contextmanager
    def _closing(self, local_endpoint: LocalEndpoint) -> Iterator[None]:
        """Its process ends with the body, whatever happens there."""
        try:
            yield
        except LocalEndpointError as error:
            words = f"the local endpoint on {_CONTROLLER} ended unexpectedly"
            raise RefusalError(f"{words}: {error}", words) from error
        finally:
            local_endpoint.close()
            self._progress.close()

    def _run_detached(self, files: LocalFiles) -> Result:
        """Start it; what has become of it is to be found on the target, as that of any async task."""
        self._secrets = self._make_secrets()
        rendezvous = self._arrange()
        with rendezvous.listener or nullcontext():
            answer = self._launch(self._remote_specification(rendezvous))
            if "ansible_job_id" not in answer:
                return self._without_view(answer)
            self._detach(rendezvous, files)
        return answer

    def _launch(self, spec: Specification) -> Result:
        commands = {role: as_given(command) for role, command in self._commands.items()}
        task = json.dumps({"scene": self._scene.dump(), "commands": commands})
        return self._call_module(is_async=True, task=task, **self._module_arguments(spec))

    def _detach(self, rendezvous: Rendezvous, files: LocalFiles) -> None:
        """The local side, which goes on when the task has returned."""
        spec, listener = self._local_specification(rendezvous), rendezvous.listener

        def play(start: Callable[[], LocalEndpoint]) -> None:
            meeting, limit = (
                seconds + ASYNC_GRACE for seconds in (self._options["timeout"], self._task.async_val)
            )
            with closing(files), closing(self._progress):
                endpoint = start()
                conduct(
                    endpoint,
                    lambda view: self._conclude(view, files, endpoint),
                    meeting=meeting,
                    limit=limit,
                )

        if self._task.poll:
            endpoint = self._start_endpoint(spec, listener, files)
            files.hand_over()
            stay(lambda: play(lambda: endpoint))
        else:
            held = [*files.held, *([] if listener is None else [listener.fileno()])]
            leave(lambda: play(lambda: self._start_outliving(spec, listener, files)), held)
            files.forget()

    def _start_outliving(
        self, spec: Specification, listener: socket.socket | None, files: LocalFiles
    ) -> LocalEndpoint:
        # The worker closes its own; the port is free when all have.
        with listener or nullcontext():
            return LocalEndpoint(spec, listener, _ignore, files.descriptors, outlives_playbook=True)

    def _conclude(self, view: Result, files: LocalFiles, endpoint: LocalEndpoint) -> Outcome:
        """While *endpoint* waits for it, with its own descriptors of the files."""
        verdict = judge_in_scene(view, mirrored(view), self._scene)
        if verdict.failure is not None:
            return Outcome(verdict.failure)
        return self._commit(files, besides=[endpoint.pid])

    def _run_with_helper(self, files: LocalFiles) -> Result:
        """The target logs in first: where its login comes from has to be known before."""
        if self._task.check_mode:
            return self._look_for_helper()
        shown = self._ask_login()
        began = datetime.now()
        self._secrets = self._make_secrets()
        rendezvous = self._arrange()
        listener = rendezvous.listener
        if listener is None:
            raise RefusalError(
                f"{_CONTROLLER} could not listen on port {self._options['ports']}: all are taken"
            )
        (candidate, port), *_others = rendezvous.remote.candidates
        host = self._options["host"] or shown.client or candidate
        classic = Classic(self._sources(shown), self._options["accept_rc"]["remote"])
        spec = self._local_specification(rendezvous)
        with listener:
            local_endpoint = self._start_endpoint(spec, listener, files, classic)
        with self._closing(local_endpoint):
            self._ask_helper(host, port, local_endpoint)
            local = local_endpoint.wait_view()
        result = self._result(local, mirrored(local), began, files)
        return with_helper(result, local, one_line(self._helper))

    def _look_for_helper(self) -> Result:
        helper = shlex.quote(str(self._helper))
        found = self._low_level_execute_command(f"command -v {helper}")
        if found["rc"] != 0:
            words = "helper: there is no executable {} on {}"
            raise RefusalError(
                words.format(f"'{self._helper}'", self._target), words.format("of that name", self._target)
            )
        shown = "the helper" if self._is_hidden else self._helper
        return {"changed": True, "rc": 0, "msg": f"Would run: {shown} is on {self._target}"}

    def _ask_login(self) -> Shown:
        """What the login shows, as its own user: becoming another one cleans the environment."""
        said = self._low_level_execute_command(ASK, sudoable=False)
        lines = [parse_shown(line.strip()) for line in said["stdout_lines"]]
        shown = next((line for line in lines if line is not None), Shown(None, []))
        is_own = shown.client is not None and shown.client == getattr(login(), "client", None)
        return shown._replace(client=None) if is_own and self._is_on_controller else shown

    def _sources(self, shown: Shown) -> list[str] | None:
        known = resolve(self._play_context.remote_addr) if not self._is_on_controller else ["127.0.0.1"]
        return sources(shown, known)

    def _ask_helper(self, host: str, port: int, local_endpoint: LocalEndpoint) -> None:
        """Run it, and tell the local endpoint how it ended, unless that has ended before."""
        remote = self._specs["remote"]
        words = [str(self._helper), "-s", host, str(port), *getattr(remote, "argv", [])]
        command = f"{self._compute_environment_string()} {shlex.join(words)}".strip()
        chdir = self._options["chdir"] and shlex.quote(self._remote_expand_user(self._options["chdir"]))
        try:
            with patience() as end_after:
                local_endpoint.on_ended = lambda: end_after(ANSWER_TIMEOUT)
                said = self._low_level_execute_command(command, chdir=chdir)
        except UnansweredError:
            return
        # With a terminal on the way, the two are one.
        words = said["stdout"] + said["stderr"]
        local_endpoint.tell_login_end(said["rc"], words[-TAIL_SIZE:])

    def _arrange(self) -> Rendezvous:
        target = Target(
            host=self._play_context.remote_addr,
            is_controller=self._is_on_controller,
            facts=self._addresses_in_facts(),
            ask=self._ask_addresses,
        )
        try:
            return arrange(self._options, target)
        except OSError as error:
            raise RefusalError(f"{_CONTROLLER} could not listen: {error.strerror or error}") from error

    def _addresses_in_facts(self) -> list[str]:
        known = self._task_vars
        if self._task.delegate_to:
            # Not by `get`: of a host that is not in the inventory Ansible's variables give anything.
            hosts = self._task_vars.get("hostvars", {})
            known = hosts[self._target] if self._target in hosts else {}  # noqa: SIM401
        facts = known.get("ansible_facts", {})
        return [*(facts.get("all_ipv4_addresses") or []), *(facts.get("all_ipv6_addresses") or [])]

    def _ask_addresses(self) -> list[str]:
        """Its word, for the login may go to a name that only the login knows."""
        answer = self._call_module(only_addresses=True)
        return list(answer.get("addresses", []))

    def _ask_module(self, spec: Specification, local_endpoint: LocalEndpoint) -> Result:
        """The module's answer; an empty view if it does not come, the local endpoint having ended."""
        try:
            with patience() as end_after:
                local_endpoint.on_ended = lambda: end_after(ANSWER_TIMEOUT)
                return self._call_module(**self._module_arguments(spec))
        except UnansweredError:
            own = {**empty_report(), "side": Side.REMOTE.value, "path": local_endpoint.path}
            return {"view": {"own": own, "peer": None}}

    @property
    def _local_specs(self) -> list[AnySpec]:
        """In the order in which they are started: who reads is there before who writes. Nothing is
        to be done with a file in check mode."""
        return [self._specs[role] for role in ("output", "input") if role in self._specs]

    @property
    def _directions(self) -> list[str]:
        if self._task.check_mode:
            return []
        return [role for role in ("input", "output") if role in self._commands]

    @property
    def _is_on_controller(self) -> bool:
        """Whether the target is this machine, so that no other has to be let in."""
        return bool(self._connection.transport == "local")

    def _make_secrets(self) -> Secrets:
        return Secrets(secrets.token_bytes(KEY_SIZE), _make_identities() if self._options["encrypt"] else {})

    def _local_specification(self, rendezvous: Rendezvous) -> Specification:
        return self._specification(Side.LOCAL, self._local_specs, rendezvous.local)

    def _remote_specification(self, rendezvous: Rendezvous) -> Specification:
        return self._specification(Side.REMOTE, [self._specs["remote"]], rendezvous.remote)

    def _specification(self, side: Side, commands: list[AnySpec], place: Place) -> Specification:
        return Specification(
            side=side,
            key=self._secrets.key,
            identity=self._secrets.identities.get(side),
            commands=commands,
            directions=self._directions,
            timeout=self._options["timeout"],
            checksum=self._options["checksum"],
            **{name: self._options[name] for name in ("block_size", "rate_limit")},
            **place._asdict(),
            preflight=self._task.check_mode,
            stall_timeout=self._options["stall_timeout"] or None,
            is_detached=bool(self._task.async_val),
        )

    def _module_arguments(self, spec: Specification) -> dict[str, Any]:
        is_found = self._options["host"] is not None or self._is_on_controller
        return {
            "spec": json.dumps(spec.dump()),
            "key": spec.key.hex(),
            "identity": spec.identity and spec.identity._asdict(),
            **{name: self._options[name] for name in _PATHS_ON_TARGET},
            "use_login_address": not is_found and bool(spec.candidates),
            "login_address": None if is_found or not spec.candidates else self._login_address(),
        }

    def _login_address(self) -> str | None:
        """Where the login to the target comes from, if the module can not see it: becoming another
        user cleans the environment, and nobody but root may look at what was there before."""
        if not self._connection.become or self.get_become_option("become_user") in (None, "root"):
            return None
        said = self._low_level_execute_command("echo $SSH_CONNECTION", sudoable=False)
        found = parse_login(said["stdout"])
        return None if found is None or found == login() else found.client

    def _call_module(self, *, is_async: bool = False, **arguments: Any) -> Result:
        arguments["controller_login"] = login()
        answer = self._execute_module(
            module_name=_MODULE,
            module_args={**arguments, **_COMPILED},
            task_vars=self._task_vars,
            wrap_async=is_async,
        )
        return dict(answer)

    def _without_view(self, answer: Result) -> Result:
        """The module skipped, or failed as any module may: no Python, no memory, killed."""
        if "skipped_because" in answer:
            return self._skipped(CONDITION if self._is_hidden else answer["skipped_because"])
        answer.pop("invocation", None)
        if self._is_hidden:
            # A trace may quote anything; Ansible shows these all the same.
            for name in ("exception", "warnings", "deprecations"):
                answer.pop(name, None)
        words = _end_by_signal(answer.get("rc")) or self._words_of(answer)
        if words.startswith(("SyntaxError", "Ansible requires Python")):
            words += (
                "; is the target's Python too old for this ansible-core? "
                "Set ansible_python_interpreter to a later one"
            )
        answer["msg"] = f"the remote endpoint on {self._target} ended without a report: {words}"
        answer["failed"] = True
        return answer

    def _words_of(self, answer: Result) -> str:
        """Of a module that failed."""
        if self._is_hidden:
            return "no_log hides its words"
        printed = f"{answer.get('module_stdout', '')}\n{answer.get('module_stderr', '')}"
        return significant_line(printed) or str(answer.get("msg", ""))

    def _result(self, local: Result, remote: Result, began: datetime, files: LocalFiles) -> Result:
        scene = self._scene
        for attempt in [*remote["own"]["attempts"], *local["own"]["attempts"]]:
            self._say(attempt_line(attempt, scene))
        strangers = local["own"]["strangers"]
        if strangers:
            self._say(f"{strangers} connections of strangers were refused")
        verdict = judge_in_scene(local, remote, scene)
        if self._task.check_mode:
            # Shown without -v too: it is what was asked for.
            return {**build_preflight_result(local, remote, verdict, scene), "_ansible_verbose_always": True}
        result = build_result(local, remote, verdict, scene, self._commands, began)
        return result if verdict.failure is not None else with_outcome(result, self._commit(files))

    def _commit(self, files: LocalFiles, besides: Collection[int] = ()) -> Outcome:
        """Only now, when the session is known to have succeeded, the output file gets its name. The
        processes *besides* this one may still have it."""
        try:
            backup = files.commit(besides=besides)
        except FileError as error:
            words = self._told(error)
            return Outcome(f"{self._scene.file('output')} {words}", words)
        return Outcome(backup_file=None if backup is None else one_line(backup))

    def _new_progress(self, files: LocalFiles) -> Progress:
        size = self._options["size"] or files.input_size
        return Progress(self._target, display.display, seconds=self._options["progress"], size=size)

    def _log(self, event: Result) -> None:
        self._progress.take(event)
        if event["event"] == "connected":
            path = event["path"]
            self._say(f"connected over {path['address']} port {path['port']}")

    def _say(self, text: str) -> None:
        display.v(f"socketpipe: {text}", host=self._target)
