# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody but the peer gets a byte of payload, and strangers do not keep the peer out."""

from __future__ import annotations

import os
import re
import socket
import threading
from pathlib import Path

import pytest
from harness.ansible import MODULE, Ansible, Run
from harness.network import Target, run
from harness.sockets import read_to_the_end
from harness.streams import sh
from harness.waiting import wait_until

SECRET = "PAYLOAD" * 1000
HELLO_SIZE = 48
ANSWER_SIZE = 80


class WaitingSession:
    """A push whose target can not connect before `open`: its Python waits for a file."""

    def __init__(self, ansible: Ansible, target: Target, folder: Path) -> None:
        self._door = folder / "door"
        python = folder / "python"
        python.write_text(
            f'#!/bin/sh\nwhile ! [ -e {self._door} ]; do sleep 0.05; done\nexec {os.sys.executable} "$@"\n',
            encoding="utf-8",
        )
        python.chmod(0o755)
        self._run: Run = ansible.start(
            {target.name: target.inventory(ansible_python_interpreter=str(python))},
            [{MODULE: {"input": ["printf", "%s", SECRET], "remote": sh("cat; echo; echo whole")}}],
        )
        self.address = (target.controller_address, wait_until(_listening_port, "it listens", 60))

    def open(self) -> None:
        self._door.touch()

    def expect_success(self) -> None:
        self.open()
        result = self._run.wait()[-1]
        assert result.kind == "ok", result.msg
        assert result["stdout"] == f"{SECRET}\nwhole\n"


def _listening_port() -> int | None:
    """The port of the local endpoint: the only one that listens on the controller."""
    found = re.findall(r"[*\]]:(\d+) ", run("ss", "-Hltn").stdout)
    return int(found[0]) if found else None


@pytest.fixture
def waiting(ansible: Ansible, target: Target, tmp_path: Path) -> WaitingSession:
    return WaitingSession(ansible, target, tmp_path)


def test_a_stranger_that_is_first_and_silent(waiting: WaitingSession, strangers: list[socket.socket]) -> None:
    strangers.append(socket.create_connection(waiting.address))
    waiting.expect_success()
    assert read_to_the_end(strangers[0])[0] == b""


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\0" * 48, b"socketpipe\1x", b"socketpipe\1cl" + bytes(35)]
)
def test_a_stranger_that_sends_garbage(
    waiting: WaitingSession, strangers: list[socket.socket], garbage: bytes
) -> None:
    strangers.append(socket.create_connection(waiting.address))
    strangers[0].sendall(garbage)
    assert read_to_the_end(strangers[0])[0] == b""  # dropped at once, while the listener goes on
    waiting.expect_success()


def test_a_stranger_that_replays_an_earlier_handshake(
    waiting: WaitingSession, strangers: list[socket.socket]
) -> None:
    """Word for word what a connector said to another listener; only the answers differ."""
    hello = b"socketpipe\1cr" + bytes(3) + os.urandom(32)
    for proof in (bytes(32), os.urandom(32)):
        stranger = socket.create_connection(waiting.address)
        strangers.append(stranger)
        stranger.sendall(hello)
        assert len(stranger.recv(ANSWER_SIZE, socket.MSG_WAITALL)) == ANSWER_SIZE
        stranger.sendall(proof)
        assert read_to_the_end(stranger)[0] == b""
    waiting.expect_success()


def test_a_stranger_that_reflects_what_it_is_told(
    waiting: WaitingSession, strangers: list[socket.socket]
) -> None:
    first, second = (socket.create_connection(waiting.address) for number in range(2))
    strangers += [first, second]
    first.sendall(b"socketpipe\1cr" + bytes(3) + os.urandom(32))
    answer = first.recv(ANSWER_SIZE, socket.MSG_WAITALL)
    second.sendall(answer)  # the listener's own words as a HELLO
    assert read_to_the_end(second)[0] == b""
    first.sendall(answer[HELLO_SIZE:])  # the listener's own proof as ours
    assert read_to_the_end(first)[0] == b""
    waiting.expect_success()


def test_a_data_connection_without_the_key_gets_nothing(
    waiting: WaitingSession, strangers: list[socket.socket]
) -> None:
    stranger = socket.create_connection(waiting.address)
    strangers.append(stranger)
    stranger.sendall(b"socketpipe\1ir" + bytes(3) + os.urandom(32))
    assert len(stranger.recv(ANSWER_SIZE, socket.MSG_WAITALL)) == ANSWER_SIZE
    waiting.expect_success()
    assert read_to_the_end(stranger)[0] == b""


def test_500_strangers_that_hold_on(waiting: WaitingSession, strangers: list[socket.socket]) -> None:
    strangers += [socket.create_connection(waiting.address) for number in range(500)]
    waiting.expect_success()
    assert {read_to_the_end(stranger)[0] for stranger in strangers} == {b""}


def test_strangers_that_keep_coming(waiting: WaitingSession) -> None:
    ended = threading.Event()
    got: list[bytes] = []

    def come() -> None:
        while not ended.is_set():
            try:
                with socket.create_connection(waiting.address, timeout=5) as stranger:
                    stranger.sendall(b"x")
                    got.append(read_to_the_end(stranger)[0])
            except OSError:
                ended.wait(0.01)  # the listener has closed

    crowd = [threading.Thread(target=come) for number in range(4)]
    for thread in crowd:
        thread.start()
    try:
        waiting.expect_success()
    finally:
        ended.set()
        for thread in crowd:
            thread.join()
    assert set(got) == {b""}


def test_the_listener_is_gone_when_the_stream_begins(
    ansible: Ansible, target: Target, tmp_path: Path
) -> None:
    """Nobody can even knock while the payload flows."""
    door = tmp_path / "door"
    started = ansible.start(
        {target.name: target.inventory()},
        [
            {
                MODULE: {
                    "input": sh(f"touch {door}.in; while ! [ -e {door} ]; do sleep 0.05; done"),
                    "remote": "cat",
                }
            }
        ],
    )
    wait_until(Path(f"{door}.in").exists, "the stream has begun", timeout=60)
    assert _listening_port() is None
    door.touch()
    assert started.wait()[-1].kind == "ok"


def test_with_local_connections_only_loopback_is_listened_on(
    ansible: Ansible, target: Target, tmp_path: Path
) -> None:
    listening = tmp_path / "listening"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nss -Hltn > {listening}\nexec {os.sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    results = ansible.play({"here": host}, [{MODULE: {"input": "echo x", "remote": "cat"}}])
    assert results[-1].kind == "ok", results[-1].msg
    addresses = {line.split()[3].rpartition(":")[0] for line in listening.read_text("utf-8").splitlines()}
    assert addresses == {"127.0.0.1"}


def test_the_key_is_in_no_log_result_argument_or_environment(
    ansible: Ansible, target: Target, tmp_path: Path
) -> None:
    """Seen from inside: what the commands and all their ancestors have, and what Ansible prints."""
    dump = f"cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' > {tmp_path}"
    started = ansible.start(
        {target.name: target.inventory()},
        [{MODULE: {"input": f"{dump}/here", "remote": f"cat; {dump}/there", "shell": True}}],
        "-vvvvv",
    )
    result = started.wait()[-1]
    assert result.kind == "ok", result.msg
    keys = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
    for text in (
        (tmp_path / "here").read_text(errors="replace"),
        (tmp_path / "there").read_text(errors="replace"),
        started.output,
        repr(result),
    ):
        assert keys.findall(text) == []
