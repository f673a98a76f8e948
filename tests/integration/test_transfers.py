# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What arrives is what was sent, in every shape of session."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.ansible import Run, TaskResult
from harness.network import Target, processes_here
from harness.streams import sh
from harness.waiting import wait_until

Session = Callable[..., TaskResult]
SIZES = [0, 1, 65536, 30_000_001]


@pytest.fixture(params=SIZES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(request.param))
    return path


def test_push(session: Session, tmp_path: Path, source: Path) -> None:
    result = session(input=["cat", str(source)], remote=["dd", f"of={tmp_path}/copy"])
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert (result["bytes_sent"], result["bytes_received"]) == (source.stat().st_size, 0)


def test_pull(session: Session, tmp_path: Path, source: Path) -> None:
    result = session(remote=["cat", str(source)], output=["dd", f"of={tmp_path}/copy"])
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert (result["bytes_sent"], result["bytes_received"]) == (0, source.stat().st_size)


def test_filter(session: Session, tmp_path: Path, source: Path) -> None:
    result = session(input=["cat", str(source)], remote=["cat"], output=["dd", f"of={tmp_path}/copy"])
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert (result["bytes_sent"], result["bytes_received"]) == (source.stat().st_size,) * 2


def test_a_result_tells_all(session: Session, target: Target) -> None:
    result = session(
        input=sh("echo in >&2; printf 1234"),
        remote=sh("echo re >&2; cat; printf 567"),
        output=sh("echo out >&2; cat; echo"),
    )
    assert result["changed"] is True
    assert result["rc"] == 0
    assert result.msg == ""
    assert result["stdout"] == "1234567\n"
    assert result["stdout_lines"] == ["1234567"]
    assert result["stderr"] == "in\nre\nout\n"
    assert (result["bytes_sent"], result["bytes_received"]) == (4, 7)
    assert result["remote"] == {
        "cmd": ["sh", "-c", "echo re >&2; cat; printf 567"],
        "rc": 0,
        "signal": None,
        "stderr": "re\n",
    }
    assert result["path"]["listener"] in ("local", "remote")
    assert result["path"]["address"] in (target.controller_address, target.address)
    assert result["path"]["family"] == "IPv4"
    assert 0 < result["path"]["seconds"] < result.seconds
    assert result["start"] < result["end"]
    assert re.fullmatch(r"0:0\d:\d\d\.\d{6}", result["delta"])


def test_a_remote_that_reads_without_input_sees_the_end_at_once(session: Session) -> None:
    result = session(remote=sh("cat; echo done"), output=["cat"])
    assert (result.kind, result["stdout"]) == ("ok", "done\n")


def test_a_remote_that_prints_100_mb_without_output_is_not_stuck(session: Session) -> None:
    result = session(input=["echo", "x"], remote=sh("cat; head -c 100000000 /dev/zero; echo end"))
    assert result.kind == "ok", result.msg
    assert result["stdout"].startswith("[99934470 bytes cut]\n")
    assert result["stdout"].endswith("end\n")


def test_bytes_that_are_no_text_are_returned_readable(session: Session) -> None:
    result = session(input=["true"], remote=sh(r"printf 'a\377b\000c'; printf '\376' >&2"))
    assert result.kind == "ok", result.msg
    assert result["stdout"] == "a\\xffb\0c"
    assert result["stderr"] == "\\xfe"


def test_5_gb_in_constant_memory(start_session: Callable[..., Run], target: Target, tmp_path: Path) -> None:
    run = start_session(
        input=["head", "-c", str(5 << 30), "/dev/zero"], remote=sh(f"touch {tmp_path}/began; wc -c")
    )
    wait_until((tmp_path / "began").exists, "the stream has begun", timeout=60)
    peaks: dict[int, int] = {}
    while run.process.poll() is None:
        pythons = {**processes_here(), **target.processes()}
        for pid, words in pythons.items():
            if "python" in words and "ansible-playbook" not in words:
                peaks[pid] = max(peaks.get(pid, 0), _resident(pid))
        os.sched_yield()
    result = run.wait()[-1]
    assert result.kind == "ok", result.msg
    assert result["stdout"] == f"{5 << 30}\n"
    assert result["bytes_sent"] == 5 << 30
    assert peaks
    assert max(peaks.values()) < 80 << 20, peaks


def _resident(pid: int) -> int:
    """The largest resident size so far, in bytes; 0 for a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) << 10 if lines else 0
