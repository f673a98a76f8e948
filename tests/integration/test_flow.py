# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the data flows, where the task says so: in whole blocks, and not too fast."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from harness.ansible import TaskResult
from harness.network import Target
from harness.streams import SHORT_WRITES, SHORT_WRITES_SIZE, copied_by_dd

Session = Callable[..., TaskResult]


def records_in(result: TaskResult, reader: str) -> tuple[int, int]:
    """What dd says of its reads: how many were whole blocks, and how many were not."""
    found = re.search(r"^(\d+)\+(\d+) records in$", result[reader]["stderr"], re.MULTILINE)
    assert found is not None, result.msg
    return int(found[1]), int(found[2])


def through(reader: str, dd: str) -> dict[str, object]:
    """The commands of a session in which *dd* reads what is written in short pieces."""
    if reader == "remote":
        return {"input": SHORT_WRITES, "remote": dd}
    return {"remote": SHORT_WRITES, "output": dd}


@pytest.mark.parametrize("reader", ["remote", "output"])
@pytest.mark.parametrize("size", [512, 10_001, 32 * 1024, 1024 * 1024])
def test_every_read_is_a_whole_block_but_the_last(session: Session, reader: str, size: int) -> None:
    result = session(**through(reader, f"dd of=/dev/null bs={size}"), block_size=str(size))
    assert result.kind == "ok", result.msg
    assert records_in(result, reader) == (SHORT_WRITES_SIZE // size, 1)


def test_without_block_size_reads_are_what_the_network_gives(session: Session) -> None:
    """What the option is for."""
    result = session(**through("remote", "dd of=/dev/null bs=32k"))
    assert records_in(result, "remote")[1] > 1


def test_a_stream_shorter_than_a_block_is_read(session: Session) -> None:
    result = session(input="echo x", remote="dd bs=32k", block_size="32k")
    assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg


def test_a_block_that_the_system_has_no_room_for_is_refused(session: Session) -> None:
    result = session(input="echo x", remote="cat", block_size="1G")
    assert result.kind == "failed"
    assert re.search(
        r"a block_size of 1073741824 bytes is not possible here, but \d+ are; .*tcp_rmem", result.msg
    )


@pytest.mark.parametrize("reader", ["remote", "output"])
def test_no_more_than_the_rate_limit_is_sent_in_a_second(session: Session, reader: str) -> None:
    writer = "dd if=/dev/zero bs=64k count=240"
    commands = {"input": writer, "remote": "dd of=/dev/null bs=64k"}
    if reader == "output":
        commands = {"remote": writer, "output": "dd of=/dev/null bs=64k"}
    result = session(**commands, rate_limit="5M")
    assert result.kind == "ok", result.msg
    assert copied_by_dd(result[reader]["stderr"])[1] == pytest.approx(3, rel=0.05)


def test_each_direction_of_a_filter_has_the_rate_limit(session: Session) -> None:
    result = session(
        input="dd if=/dev/zero bs=64k count=240",
        remote="cat",
        output="dd of=/dev/null bs=64k",
        rate_limit="5M",
    )
    assert copied_by_dd(result["output"]["stderr"])[1] == pytest.approx(3, rel=0.08)


@pytest.mark.parametrize("option", ["block_size", "rate_limit"])
@pytest.mark.parametrize("size", ["0", "-1", "many", "32x", "9999999999999999999"])
def test_sizes_that_are_none_are_refused(session: Session, option: str, size: str) -> None:
    result = session(input="true", remote="true", **{option: size})
    assert result.kind == "failed"
    assert result.msg == f"{option}: '{size}' is not a number of bytes, such as 32k or 50M"


def test_a_session_that_stalls_fails(session: Session, target: Target) -> None:
    """Its reader reads nothing, and both machines are there."""
    result = session(input=["cat", "/dev/zero"], remote=["sleep", "60"], stall_timeout=10)
    assert result.kind == "failed"
    assert result.msg == (
        "no byte has moved for 10 s; see what input command 'cat /dev/zero' on controller and remote "
        f"command 'sleep 60' on {target.name} wait for, or raise stall_timeout"
    )
    assert result.seconds < 30
