# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task over an installed program: for targets on which no module can run."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from harness.ansible import MODULE, Ansible, TaskResult
from harness.network import Target, processes_here
from harness.program import Program
from harness.streams import CommitGate
from harness.waiting import wait_until

WITHOUT_PYTHON = {"ansible_python_interpreter": "/nonexistent/python"}
SIZE = 20_000_000

Session = Callable[..., TaskResult]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program, as the role installs it, somewhere on the target."""
    return Program(tmp_path / "the program", python="/usr/bin/python3").path


@pytest.fixture
def session(target: Target, ansible: Ansible, program: Path) -> Session:
    """Runs one task over the program, on a target without Python, and gives its result."""

    def run(*, vars: dict[str, Any] | None = None, check: bool = False, **options: Any) -> TaskResult:
        host = {**target.inventory(), **WITHOUT_PYTHON, **(vars or {})}
        task = {MODULE: {"helper": str(program), **options}}
        return ansible.play({target.name: host}, [task], *(["--check"] if check else []))[-1]

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_data_goes_to_a_target_without_python(session: Session, data: Path, tmp_path: Path) -> None:
    result = session(input=["cat", str(data)], remote=["tee", str(tmp_path / "copy")], output="wc -c")
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == data.read_bytes()
    assert result["stdout"].split() == [str(SIZE)]
    assert (result["bytes_sent"], result["bytes_received"]) == (SIZE, SIZE)


def test_files_take_the_place_of_commands(session: Session, data: Path, tmp_path: Path) -> None:
    result = session(input_file=str(data), remote="cat", output_file=str(tmp_path / "copy"), mode="0600")
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == data.read_bytes()
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


def test_files_go_together_with_commands(session: Session, data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    result = session(
        input="gzip -c", input_file=str(data), remote="gzip -dc", output="gzip -c", output_file=str(copy)
    )
    assert result.kind == "ok", result.msg
    assert gzip.decompress(copy.read_bytes()) == data.read_bytes()
    assert (result["output"]["cmd"], result["output"]["file"]) == ("gzip -c", str(copy))


def test_the_result_says_what_is_lost(session: Session, program: Path) -> None:
    result = session(input="echo x", remote="cat")
    assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg
    assert result["helper"]["path"] == f"{program}"
    said = " ".join(result["helper"]["lost"])
    for lost in (
        "no report",
        "not fail-safe",
        "cuts what it still had to print",
        "nobody proves who connects",
    ):
        assert lost in said


def test_without_output_what_remote_prints_is_returned(session: Session) -> None:
    result = session(input="seq 100000", remote=["sh", "-c", "cat > /dev/null; seq 30000"])
    assert result.kind == "ok", result.msg
    assert result["stdout"].endswith("\n29999\n30000\n")
    assert result["stdout_lines"][0].endswith("bytes cut]")


def test_words_arrive_as_they_are(session: Session, tmp_path: Path) -> None:
    words = ["a b", "", "it's", '"', "$HOME", "*", "x\ny", "\\"]
    result = session(remote=["printf", "%s|", *words], output_file=str(tmp_path / "words"))
    assert result.kind == "ok", result.msg
    assert (tmp_path / "words").read_text() == "".join(f"{word}|" for word in words)


def test_directory_and_environment_are_the_tasks(
    target: Target, ansible: Ansible, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "a folder").mkdir()
    task = {
        MODULE: {
            "remote": ["sh", "-c", 'pwd; echo "$COLOUR"'],
            "output": "cat",
            "helper": str(program),
            "chdir": str(tmp_path / "a folder"),
        },
        "environment": {"COLOUR": "light blue"},
    }
    result = ansible.play({target.name: {**target.inventory(), **WITHOUT_PYTHON}}, [task])[-1]
    assert result.kind == "ok", result.msg
    assert result["stdout_lines"] == [str(tmp_path / "a folder"), "light blue"]


def test_another_user_runs_it(users_target: Target, ansible: Ansible) -> None:
    """To become one cleans the environment, in which the address would be that the login came from."""
    host = {**users_target.inventory(), **WITHOUT_PYTHON}
    # Not in pytest's own folder, which each run of pytest takes away from other users.
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        program = Program(folder / "the program", python="/usr/bin/python3").path
        task = {
            MODULE: {"remote": "id -u", "output": "cat", "helper": str(program)},
            "become": True,
            "become_user": "free",
        }
        result = ansible.play({users_target.name: host}, [task])[-1]
    assert result.kind == "ok", result.msg
    assert result["stdout"] == "4712\n"


# Failures


def test_a_failed_remote_command_fails_the_task(session: Session) -> None:
    result = session(input="echo x", remote=["sh", "-c", "cat; echo no more tape >&2; exit 9"], output="cat")
    assert (result.kind, result["rc"]) == ("failed", 9)
    assert "exited 9: no more tape" in result.msg
    assert "no more tape" in result["remote"]["stderr"]


def test_an_accepted_status_is_a_success(session: Session) -> None:
    result = session(remote=["sh", "-c", "exit 9"], output="cat", accept_rc={"remote": [0, 9]})
    assert (result.kind, result["remote"]["rc"]) == ("ok", 9), result.msg


def test_a_failed_input_is_no_whole_stream_for_the_target(session: Session, tmp_path: Path) -> None:
    gate = CommitGate(tmp_path)
    result = session(input=["sh", "-c", "head -c 9000000 /dev/zero; exit 7"], remote=gate.argv)
    assert (result.kind, result["rc"]) == ("failed", 7)
    assert not gate.whole.exists()


@pytest.mark.parametrize("beside", [{}, {"output": "cat"}], ids=["alone", "beside a command"])
def test_a_failed_task_leaves_the_output_file_as_it_was(
    session: Session, tmp_path: Path, beside: dict[str, str]
) -> None:
    (tmp_path / "dump").write_text("yesterday")
    options = {"output_file": str(tmp_path / "dump"), **beside}
    result = session(remote=["sh", "-c", "echo today; exit 1"], **options)
    assert (result.kind, (tmp_path / "dump").read_text()) == ("failed", "yesterday")


def test_an_input_may_be_stopped_where_that_is_accepted(session: Session) -> None:
    refused = session(input="yes", remote="head -1")
    assert refused.kind == "failed"
    assert "ended without reading all that was sent to it" in refused.msg
    result = session(input="yes", remote="head -1", accept_rc={"input": [0, 1, 141]})
    assert result.kind == "ok"
    assert "the end of what it printed may be missing in stdout" in " ".join(result["warnings"])


def test_an_input_that_was_read_to_its_end_cuts_nothing(session: Session) -> None:
    """Where it might have been stopped, too: then there is nothing to warn of."""
    result = session(input="echo x", remote="cat", accept_rc={"input": [0, 141]})
    assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg
    assert "warnings" not in result


def test_a_helper_that_is_not_there_is_named(session: Session) -> None:
    result = session(input="echo x", remote="cat", helper="/usr/local/bin/nosuch")
    assert result.kind == "failed"
    assert "did not connect back: it ended with status 127: " in result.msg
    assert "/usr/local/bin/nosuch" in result.msg


def test_a_helper_that_can_not_connect_says_where_it_tried(session: Session, target: Target) -> None:
    result = session(input="echo x", remote="cat", host="127.0.0.1")
    assert result.kind == "failed"
    assert "could not connect to 127.0.0.1 port" in result.msg


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"encrypt": True}, "encrypt"),
        ({"checksum": "sha256"}, "checksum"),
        ({"listen": "remote"}, "listen: remote"),
        ({"creates": "/x", "removes": "/y"}, "creates, removes"),
    ],
)
def test_what_the_program_does_not_have_is_refused(
    session: Session, options: dict[str, Any], named: str
) -> None:
    result = session(input="echo x", remote="cat", **options)
    assert result.kind == "failed"
    assert f"helper: the program's protocol has no {named}; remove that" in result.msg


def test_check_mode_looks_for_the_program(session: Session, program: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    result = session(input="echo x", remote=["touch", str(made)], check=True)
    assert (result.kind, result["changed"]) == ("ok", True)
    assert result.msg.startswith(f"Would run: {program} is on ")
    assert not made.exists()
    missing = session(input="echo x", remote="cat", helper="/nosuch", check=True)
    assert "helper: there is no executable '/nosuch' on " in missing.msg


def test_a_cancelled_playbook_ends_both_sides(
    target: Target, ansible: Ansible, program: Path, tmp_path: Path
) -> None:
    task = {
        MODULE: {
            "input": ["sh", "-c", "echo x; exec sleep 600"],
            "remote": ["tee", str(tmp_path / "begun")],
            "helper": str(program),
        }
    }
    run = ansible.start({target.name: {**target.inventory(), **WITHOUT_PYTHON}}, [task])
    wait_until((tmp_path / "begun").exists, "it runs")
    run.process.terminate()
    run.wait()
    # Well before it would give up waiting for what nobody tells any more.
    wait_until(
        lambda: not [words for words in processes_here().values() if "_engine" in words],
        "the local endpoint has ended",
        timeout=8,
    )


def test_the_c_program_is_a_helper_too(session: Session, data: Path, tmp_path: Path) -> None:
    c_program = os.environ.get("SOCKETPIPE_C")
    if c_program is None:
        pytest.skip("SOCKETPIPE_C does not name a C socketpipe")
    result = session(
        input_file=str(data), remote=["tee", str(tmp_path / "copy")], output="md5sum", helper=c_program
    )
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == data.read_bytes()
