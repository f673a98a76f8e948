# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A broken stream is never taken for a whole one, and the message says what broke it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.ansible import MODULE, Ansible, Run, TaskResult
from harness.network import Target
from harness.streams import ENDLESS, CommitGate, sh
from harness.waiting import wait_until

Session = Callable[..., TaskResult]


@pytest.fixture
def gate(tmp_path: Path) -> CommitGate:
    return CommitGate(tmp_path)


def saw_an_error(reader: dict[str, Any]) -> bool:
    """A read that waits while the connection breaks gives EPIPE, one that comes later ECONNRESET."""
    words = ("Connection reset by peer", "Broken pipe")
    return reader["rc"] == 1 and any(word in reader["stderr"] for word in words)


@pytest.mark.parametrize("size", [0, 1, 64 << 20])
def test_input_exits_3(session: Session, target: Target, gate: CommitGate, size: int) -> None:
    script = f"head -c {size} /dev/zero; echo no tape >&2; exit 3"
    result = session(input=sh(script), remote=gate.argv)
    assert result.kind == "failed"
    assert result.msg.startswith("input command ")
    assert result.msg.endswith(" on controller exited 3: no tape")
    assert result["rc"] == 3
    assert result["input"]["rc"] == 3
    assert not gate.whole.exists()
    assert saw_an_error(result["remote"])


@pytest.mark.parametrize("signal", ["KILL", "TERM", "SEGV"])
def test_input_is_ended_by_a_signal(session: Session, gate: CommitGate, signal: str) -> None:
    result = session(input=sh(f"head -c 1000000 /dev/zero; kill -{signal} $$"), remote=gate.argv)
    assert result.kind == "failed"
    assert result.msg.startswith("input command ")
    assert result.msg.endswith(f" on controller was ended by SIG{signal}")
    assert result["input"]["signal"] == f"SIG{signal}"
    assert result["rc"] > 128
    assert not gate.whole.exists()


@pytest.mark.parametrize(
    ("end", "how"), [("exit 9", "exited 9: no more"), ("kill -9 $$", "was ended by SIGKILL: no more")]
)
def test_remote_ends_badly_while_it_writes(
    session: Session, target: Target, gate: CommitGate, end: str, how: str
) -> None:
    result = session(remote=sh(f"head -c 5000000 /dev/zero; echo no more >&2; {end}"), output=gate.argv)
    assert result.kind == "failed"
    assert result.msg.startswith("remote command ")
    assert result.msg.endswith(f" on {target.name} {how}")
    assert result["remote"]["stderr"] == "no more\n"
    assert not gate.whole.exists()
    assert saw_an_error(result["output"])


def test_remote_is_killed_from_outside_in_the_middle(
    start_session: Callable[..., Run], target: Target, gate: CommitGate
) -> None:
    run = start_session(remote=ENDLESS, output=gate.script, shell=True)
    wait_until(gate.has_bytes, "bytes have arrived", timeout=60)
    victims = [pid for pid, words in target.processes().items() if words.startswith("/bin/sh -c while")]
    for pid in victims:
        os.kill(pid, 9)
    result = run.wait()[-1]
    assert result.kind == "failed"
    assert result.msg.endswith(f" on {target.name} was ended by SIGKILL")
    assert not gate.whole.exists()


def test_remote_fails_while_it_reads(session: Session, target: Target, tmp_path: Path) -> None:
    result = session(input=["cat", "/dev/zero"], remote=["dd", "of=/dev/full", "bs=32k"])
    assert result.kind == "failed"
    assert result.msg == (
        f"remote command 'dd of=/dev/full bs=32k' on {target.name} exited 1: "
        "dd: error writing '/dev/full': No space left on device"
    )


def test_a_filter_whose_input_failed_does_not_finish_its_output(session: Session, gate: CommitGate) -> None:
    """Even if the filter itself takes the error for an end, and succeeds."""
    result = session(
        input=sh("head -c 1000000 /dev/zero; exit 3"), remote=sh("cat; exit 0"), output=gate.argv
    )
    assert result.kind == "failed"
    assert result.msg.endswith(" on controller exited 3")
    assert not gate.whole.exists()


def test_output_fails(session: Session) -> None:
    result = session(remote=["cat", "/dev/zero"], output=["dd", "of=/dev/full", "bs=64k"])
    assert result.kind == "failed"
    assert result.msg == (
        "output command 'dd of=/dev/full bs=64k' on controller exited 1: "
        "dd: error writing '/dev/full': No space left on device"
    )


def test_output_fails_on_a_full_disk(session: Session, tmp_path: Path, small_disk: Path) -> None:
    result = session(remote=["head", "-c", "20000000", "/dev/zero"], output=["tee", str(small_disk / "f")])
    assert result.kind == "failed"
    assert "No space left on device" in result.msg
    assert result.msg.startswith("output command 'tee ")


def test_remote_ends_early_while_input_still_writes(session: Session, target: Target) -> None:
    result = session(input=["cat", "/dev/zero"], remote=["head", "-c", "10"])
    assert result.kind == "failed"
    assert result.msg.startswith("input command 'cat /dev/zero' on controller ")
    assert (
        f"after remote command 'head -c 10' on {target.name} had ended without reading it all" in result.msg
    )


def test_output_ends_early_while_remote_still_writes(session: Session, target: Target) -> None:
    result = session(remote=["cat", "/dev/zero"], output=["head", "-c", "10"])
    assert result.kind == "failed"
    assert result.msg.startswith(f"remote command 'cat /dev/zero' on {target.name} ")
    assert "after output command 'head -c 10' on controller had ended without reading it all" in result.msg


def test_a_reader_may_end_early_when_the_writers_status_is_accepted(session: Session) -> None:
    result = session(
        remote=["cat", "/dev/zero"],
        output=sh("head -c 1000 | wc -c"),
        accept_rc={"remote": [0, 141]},
    )
    assert (result.kind, result["stdout"]) == ("ok", "1000\n"), result.msg
    assert "on controller ended after " in result["warnings"][0]


@pytest.mark.parametrize("pause", [0, 1], ids=["the writer ends first", "the reader ends first"])
def test_bytes_that_nobody_read_fail_the_task(session: Session, target: Target, pause: int) -> None:
    """Whichever end is quicker."""
    result = session(input=sh(f"echo 123456789; sleep {pause}"), remote=sh(f"sleep {1 - pause}; head -c 4"))
    assert result.kind == "failed"
    assert f" on {target.name} ended after " in result.msg
    assert " of the 10 bytes from input command " in result.msg
    assert "accept the status 141 (SIGPIPE) of input with accept_rc" in result.msg


def test_a_reader_that_knows_the_end_need_not_wait_for_it(session: Session) -> None:
    """tar x stops at the archive's own end mark."""
    result = session(input=sh("echo 123456789; sleep 1"), remote=["head", "-c", "10"])
    assert (result.kind, result["stdout"]) == ("ok", "123456789\n"), result.msg
    assert "warnings" not in result


def test_a_status_is_accepted_when_it_is_listed(session: Session, gate: CommitGate) -> None:
    result = session(input=sh("echo x; exit 1"), remote=gate.argv, accept_rc={"input": [0, 1]})
    assert result.kind == "ok", result.msg
    assert result["input"]["rc"] == 1
    assert gate.whole.read_text(encoding="ascii") == "x\n"


def test_zero_is_not_accepted_when_it_is_not_listed(session: Session) -> None:
    result = session(input=["true"], remote=["cat"], accept_rc={"remote": [7]})
    assert result.kind == "failed"
    assert "exited 0" in result.msg


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["no-such-command"], "no executable 'no-such-command' was found in PATH"),
        (["/no/such/file"], "there is no file '/no/such/file'"),
        (["/etc/passwd"], "'/etc/passwd' is not executable"),
    ],
)
@pytest.mark.parametrize("role", ["input", "remote", "output"])
def test_a_missing_executable_starts_and_connects_nothing(
    session: Session, target: Target, tmp_path: Path, role: str, command: list[str], complaint: str
) -> None:
    touch = ["touch", str(tmp_path / "ran")]
    options = {"input": touch, "remote": touch, "output": touch, role: command}
    result = session(**options)
    host = target.name if role == "remote" else "controller"
    assert result.kind == "failed"
    assert result.msg.startswith(f"{role} command '{command[0]}' on {host}: {complaint}")
    assert result["changed"] is False
    assert "path" not in result
    assert not (tmp_path / "ran").exists()


def test_a_file_that_only_looks_executable_starts_nothing_else(session: Session, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n", encoding="ascii")
    broken.chmod(0o755)
    result = session(input=["touch", str(tmp_path / "ran")], remote=[str(broken)])
    assert result.kind == "failed"
    assert "could not be started: No such file or directory" in result.msg
    assert not (tmp_path / "ran").exists()


def test_a_login_that_fails_is_unreachable_at_once(ansible: Ansible, target: Target) -> None:
    wrong = target.inventory(ansible_user="nobody", ansible_ssh_private_key_file="/dev/null")
    results = ansible.play({target.name: wrong}, [{MODULE: {"input": "true", "remote": "true"}}])
    assert results[-1].kind == "unreachable"
    assert "Permission denied" in results[-1].msg


def test_a_machine_that_is_not_there_is_unreachable(ansible: Ansible, target: Target) -> None:
    nobody = target.inventory(ansible_host=target.address.replace(".2", ".77"), ansible_timeout=3)
    results = ansible.play({target.name: nobody}, [{MODULE: {"input": "true", "remote": "true"}}])
    assert results[-1].kind == "unreachable"
