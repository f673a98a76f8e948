# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behaves as ansible.builtin.command does, as far as a user can tell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.ansible import MODULE, ROOT, Ansible, TaskResult
from harness.network import Target
from harness.users import PASSWORD

Session = Callable[..., TaskResult]
Play = Callable[..., list[TaskResult]]


@pytest.fixture
def play(ansible: Ansible, target: Target) -> Play:
    """Runs tasks on the target, and gives their results."""

    def run_tasks(
        *tasks: dict[str, Any], options: tuple[str, ...] = (), **variables: object
    ) -> list[TaskResult]:
        return ansible.play({target.name: target.inventory(**variables)}, list(tasks), *options)

    return run_tasks


def task(**options: Any) -> dict[str, Any]:
    return {MODULE: {"input": "echo x", "remote": "cat", **options}}


def test_environment_is_for_the_remote_command(play: Play) -> None:
    command = {MODULE: {"input": "echo here $WHO", "remote": "cat; echo there $WHO", "shell": True}}
    result = play({**command, "environment": {"WHO": "me"}})[-1]
    assert result["stdout"] == "here\nthere me\n"


def test_chdir_and_local_chdir(play: Play, tmp_path: Path) -> None:
    result = play(task(input="pwd", remote="cat; pwd", shell=True, chdir="/usr", local_chdir=str(tmp_path)))[
        -1
    ]
    assert result["stdout"] == f"{tmp_path}\n/usr\n"


def test_a_relative_executable_is_found_in_chdir(play: Play, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "hello"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho hello\n", encoding="ascii")
    script.chmod(0o755)
    result = play(
        task(input=["bin/hello"], remote=["./hello"], local_chdir=str(tmp_path), chdir=str(script.parent))
    )
    assert result[-1]["stdout"] == "hello\n", result[-1].msg


@pytest.mark.parametrize(
    ("condition", "path", "runs"),
    [
        ("creates", "/etc/passwd", False),
        ("creates", "/etc/pass*", False),
        ("creates", "/no/such", True),
        ("removes", "/etc/passwd", True),
        ("removes", "/no/such*", False),
        ("local_creates", "/etc/passwd", False),
        ("local_creates", "/no/such", True),
        ("local_removes", "/etc/passwd", True),
        ("local_removes", "/no/such", False),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_conditions(play: Play, tmp_path: Path, condition: str, path: str, runs: bool, check: bool) -> None:
    ran = tmp_path / "ran"
    options = ("--check",) if check else ()
    result = play(task(input=f"touch {ran}", **{condition: path}), options=options)[-1]
    assert result.kind == "ok", result.msg
    assert result["changed"] is runs
    assert ran.exists() is (runs and not check)
    if not runs:
        assert "exist" in result.msg
        assert path in result.msg


@pytest.mark.parametrize(("condition", "runs"), [("creates", False), ("removes", True)])
@pytest.mark.parametrize("side", ["", "local_"])
def test_the_name_of_a_directory_is_no_pattern(
    play: Play, tmp_path: Path, side: str, condition: str, runs: bool
) -> None:
    folder = tmp_path / "a[1]*?"
    folder.mkdir()
    (folder / "done").touch()
    result = play(task(**{f"{side}chdir": str(folder), f"{side}{condition}": "do*"}))[-1]
    assert (result.kind, result["changed"]) == ("ok", runs), result.msg


def test_check_mode_runs_nothing(play: Play, tmp_path: Path) -> None:
    result = play(task(input=f"touch {tmp_path}/ran"), options=("--check",))[-1]
    assert (result.kind, result["changed"]) == ("ok", True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("role", ["input", "remote"])
def test_check_mode_finds_a_missing_executable(play: Play, role: str) -> None:
    result = play(task(**{role: "no-such-command"}), options=("--check",))[-1]
    assert result.kind == "failed"
    assert "no executable 'no-such-command'" in result.msg


def test_loops(play: Play) -> None:
    result = play({**task(input="echo {{ item }}"), "loop": ["a", "b", "c"]})[-1]
    assert [item["stdout"] for item in result["results"]] == ["a\n", "b\n", "c\n"]


def test_until_and_retries(play: Play, tmp_path: Path) -> None:
    counting = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -eq 3"
    retried = {
        **task(input=counting, shell=True),
        "register": "last",
        "until": "last is succeeded",
        "retries": 5,
        "delay": 0,
    }
    result = play(retried)[-1]
    assert result.kind == "ok"
    assert result["attempts"] == 3


def test_ignore_errors_goes_on(play: Play) -> None:
    results = play({**task(input="false"), "ignore_errors": True}, task())
    assert [result.kind for result in results] == ["failed", "ok"]


def test_failed_when_and_register(play: Play) -> None:
    results = play(
        {**task(input="false"), "register": "pipe", "failed_when": "pipe.input.rc != 1"},
        {"ansible.builtin.assert": {"that": ["pipe.rc == 1", "pipe.changed"]}},
    )
    assert [result.kind for result in results] == ["ok", "ok"], results[-1]


def test_no_log_hides_the_commands(ansible: Ansible, target: Target) -> None:
    run_ = ansible.start(
        {target.name: target.inventory()}, [{**task(input="echo s3cret"), "no_log": True}], "-vvv"
    )
    result = run_.wait()[-1]
    assert result.kind == "ok"
    assert "s3cret" not in str(result)
    assert "s3cret" not in run_.output


FAILING = {
    "input": "echo s3cret",
    "remote": "cat",
    "output": "sh -c 'cat; echo s3cret: Is a directory >&2; exit 3'",
}
#: Tasks that fail, or warn, and what is told of them if they are hidden.
HIDDEN: list[tuple[dict[str, Any], str]] = [
    (FAILING, "output command on controller exited 3"),
    (
        {"remote": "echo s3cret", "output": "sh -c 'exit 0; s3cret'", "accept_rc": {"remote": [0, 141]}},
        "output command on controller ended after 0 of the 7 bytes from remote command on ",
    ),
    ({"input": "echo x", "remote": "s3cret"}, "remote command on {}: no_log hides what it was"),
    ({"input": "s3cret x", "remote": "cat"}, "input command on controller could not be started"),
    ({"input": "s3cret 'x", "remote": "cat"}, "input: no_log hides what is wrong with it"),
    ({"input": "true", "remote": "cat", "s3cret": 1}, "no_log hides what is wrong with the options"),
    (
        {"input": "true", "remote": "cat", "checksum": "s3cret"},
        "checksum: no_log hides what is wrong with it",
    ),
    (
        {"remote": "true", "output_file": "/no/s3cret/x"},
        "output file on controller could not be written: there is no directory for it",
    ),
    (
        {"remote": "true", "output_file": "/tmp/s3cret", "owner": "s3cret"},
        "owner: no_log hides what is wrong with it",
    ),
    (
        {"remote": "true", "input_file": "/dev/null/s3cret"},
        "input file on controller could not be read: Not a directory",
    ),
    (
        {"input": "true", "remote": "true", "helper": "/no/s3cret"},
        "the helper on {} did not connect back: it ended with status 127",
    ),
]


@pytest.mark.parametrize("no_log", [True, "{{ 1 == 1 }}"], ids=["plain", "template"])
def test_no_log_hides_what_made_a_task_fail(ansible: Ansible, target: Target, no_log: object) -> None:
    """ansible-core shows that, and warnings, though it hides the result."""
    tasks: list[dict[str, Any]] = [
        {MODULE: options, "no_log": no_log, "register": f"task{number}", "ignore_errors": True}
        for number, (options, _words) in enumerate(HIDDEN)
    ]
    told = [f"task{number}.msg ~ task{number}.warnings | default([])" for number in range(len(HIDDEN))]
    tasks.append({"ansible.builtin.debug": {"msg": [f"{{{{ {one} }}}}" for one in told]}})
    run = ansible.start({target.name: target.inventory()}, tasks, "-v")
    results = run.wait()
    kinds = ["ok" if "accept_rc" in options else "failed" for options, _words in HIDDEN]
    assert [result.kind for result in results[:-1]] == kinds
    for (_options, words), said in zip(HIDDEN, results[-1]["msg"], strict=True):
        assert words.format(target.name) in said
    assert "s3cret" not in run.output


def test_no_log_hides_it_in_the_result_of_a_task_with_async(play: Play) -> None:
    options = [options for options, _words in HIDDEN[:2]]
    job = {"async": 60, "poll": 0, "no_log": True}
    tasks: list[dict[str, Any]] = []
    for number, one in enumerate(options):
        tasks.append({MODULE: one, **job, "register": "job"})
        status = {"jid": "{{ job.ansible_job_id }}"}
        waits = {"register": "status", "until": "status is finished", "retries": 60, "delay": 0.5}
        tasks.append({"async_status": status, **waits, "ignore_errors": True, "name": f"task {number}"})
    results = play(*tasks)[1::2]
    assert results[0].msg == "output command on controller exited 3"
    assert len(results[1]["warnings"]) == 1
    for result in results:
        assert "s3cret" not in f"{result.msg} {result.get('warnings')} {result.get('exception')}"
    assert "s3cret" in str(results[0]["input"])


def test_of_files_that_are_kept_on_the_target_the_sources_are_run(
    ansible: Ansible, target: Target, tmp_path: Path
) -> None:
    ansible.environment["ANSIBLE_KEEP_REMOTE_FILES"] = "true"
    host = target.inventory(ansible_remote_tmp=str(tmp_path / "kept"))
    result = ansible.play({target.name: host}, [task()])[-1]
    assert result.kind == "ok", result.msg
    (module,) = tmp_path.rglob("AnsiballZ_socketpipe_endpoint.py")
    arguments = module.read_text(encoding="utf-8")
    assert "use_login_address" in arguments
    assert "bytecode" not in arguments


def test_module_defaults_of_the_action_group(play: Play, ansible: Ansible, target: Target) -> None:
    defaults = {"group/dds.socketpipe.socketpipe": {"input": "echo default", "remote": "cat"}}
    plays = [
        {
            "hosts": "all",
            "gather_facts": False,
            "module_defaults": defaults,
            "tasks": [{MODULE: {"timeout": 20}}],
        }
    ]
    result = ansible.play({target.name: target.inventory()}, plays)[-1]
    assert result["stdout"] == "default\n", result.msg


def test_delegation_goes_to_the_delegated_host(
    ansible: Ansible, target: Target, make_target: Callable[..., Target]
) -> None:
    other = make_target()
    hosts = {target.name: target.inventory(), other.name: other.inventory()}
    tasks = [{**task(input="cat /no/such", remote="ip -br address show eth0"), "delegate_to": other.name}]
    plays = [{"hosts": target.name, "gather_facts": False, "tasks": tasks}]
    result = ansible.play(hosts, plays)[-1]
    assert other.address in result["stdout"]
    plays[0]["tasks"] = [{**task(remote="false"), "delegate_to": other.name}]
    assert f" on {other.name} exited 1" in ansible.play(hosts, plays)[-1].msg


def test_delegation_to_a_host_that_is_not_in_the_inventory(play: Play) -> None:
    nowhere = {
        "delegate_to": "127.0.0.5",
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
    }
    result = play({**task(), **nowhere})[-1]
    assert (result.kind, result.get("stdout")) == ("ok", "x\n"), result.msg


def test_many_hosts_at_once(ansible: Ansible, target: Target) -> None:
    hosts = {f"h{number}": target.inventory() for number in range(8)}
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [task(input="echo {{ inventory_hostname }}")]}]
    results = ansible.play(hosts, plays, "--forks", "8")
    assert {result.host: result["stdout"] for result in results} == {host: f"{host}\n" for host in hosts}


@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_become_with_a_password(ansible: Ansible, users_target: Target, pipelining: str) -> None:
    ansible.environment["ANSIBLE_PIPELINING"] = pipelining
    host = users_target.inventory(
        ansible_user="op", ansible_python_interpreter="/usr/bin/python3", ansible_become_password=PASSWORD
    )
    tasks = [
        task(input="id -un", remote="cat; id -un; echo $SSH_CONNECTION.", shell=True),
        {**task(input="id -un", remote="cat; id -un; echo $SSH_CONNECTION.", shell=True), "become": True},
    ]
    results = ansible.play({users_target.name: host}, tasks)
    assert [result.kind for result in results] == ["ok", "ok"], results
    login, become = results
    assert login["stdout"].startswith("root\nop\n10.77."), login.msg
    assert become["stdout"] == "root\nroot\n.\n", become.msg


def test_a_wrong_become_password_fails_without_hanging(ansible: Ansible, users_target: Target) -> None:
    host = users_target.inventory(
        ansible_user="op", ansible_python_interpreter="/usr/bin/python3", ansible_become_password="wrong"
    )
    result = ansible.play({users_target.name: host}, [{**task(), "become": True}])[-1]
    assert result.kind in ("failed", "unreachable")
    assert "password" in result.msg.lower()


def test_adhoc_by_the_full_name(ansible: Ansible, target: Target, tmp_path: Path) -> None:
    words = f'remote="dd of={tmp_path}/x bs=32k" input="tar cf - /etc/ssh"'
    done = ansible.adhoc({"tapehost": target.inventory()}, "tapehost", "-m", MODULE, "-a", words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tapehost | CHANGED" in done.stdout
    assert (tmp_path / "x").stat().st_size > 0


def test_adhoc_by_the_short_name_in_the_checkout(ansible: Ansible, target: Target) -> None:
    for name in ("ANSIBLE_COLLECTIONS_PATH",):
        del ansible.environment[name]
    words = 'remote="wc -c" input="echo x"'
    done = ansible.adhoc({"h": target.inventory()}, "h", "-m", "socketpipe", "-a", words, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"bytes_sent": 2' in done.stdout


def test_adhoc_by_the_short_name_with_two_settings(ansible: Ansible, target: Target) -> None:
    ansible.environment["ANSIBLE_ACTION_PLUGINS"] = str(ROOT / "plugins" / "action")
    words = 'remote="wc -c" input="echo x"'
    done = ansible.adhoc({"h": target.inventory()}, "h", "-m", "socketpipe", "-a", words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"bytes_sent": 2' in done.stdout


def test_the_module_without_its_action_says_what_is_missing(ansible: Ansible, target: Target) -> None:
    ansible.environment["ANSIBLE_LIBRARY"] = str(ROOT / "plugins" / "modules")
    done = ansible.adhoc(
        {"h": target.inventory()}, "h", "-m", "socketpipe", "-a", 'remote="cat" input="echo x"'
    )
    assert done.returncode != 0
    assert "add the collection's plugins/action to action_plugins in ansible.cfg" in done.stdout


def test_adhoc_in_process(
    ansible_adhoc: Callable[..., Any], ansible: Ansible, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", ansible.environment["ANSIBLE_SSH_CONTROL_PATH_DIR"])
    hosts = ansible_adhoc(inventory=str(ansible.inventory({target.name: target.inventory()})))
    contacted = getattr(hosts.all, MODULE)(input="echo x", remote="cat")
    assert contacted[target.name].get("stdout") == "x\n", contacted[target.name]
