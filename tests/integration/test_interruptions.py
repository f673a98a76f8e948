# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is killed in the middle: within 15 seconds nothing is left, and no reader saw an end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.ansible import MODULE, Ansible, Run
from harness.network import Target, processes_here, run
from harness.streams import ENDLESS, CommitGate
from harness.waiting import wait_until

Start = Callable[..., Run]
BOUND = 15.0


class Middle:
    """A filter session in the middle of its stream; *there* and *here* are its readers."""

    def __init__(self, start: Start, target: Target, folder: Path) -> None:
        self.target = target
        self.here = CommitGate(folder, "here")
        self.there = CommitGate(folder, "there")
        copy = f"tee {self.there.part} && mv {self.there.part} {self.there.whole}"
        self.run = start(input=ENDLESS, remote=copy, output=self.here.script, shell=True)
        wait_until(lambda: self.here.has_bytes(300_000), "the stream flows", timeout=60)

    def remote_endpoint(self) -> int:
        """The process of the module: the target's Python that has children."""
        pids = [pid for pid, words in self.target.processes().items() if _is_python(words)]
        return next(pid for pid in pids if _children(pid) - set(pids))

    def local_endpoint(self) -> int:
        return next(pid for pid, words in processes_here().items() if "_engine" in words and _children(pid))

    def worker(self) -> int:
        return _parent(self.local_endpoint())

    def expect_a_clean_end(self) -> None:
        def session_processes() -> dict[int, str]:
            everything = {**processes_here(), **self.target.processes()}
            marks = ("_engine", "while :;", "tee ", "cat ", "head -c", "ansible-playbook", "ansiballz")
            return {
                pid: words
                for pid, words in everything.items()
                if any(mark in words.lower() for mark in marks) and "[mux]" not in words
            }

        try:
            wait_until(lambda: not session_processes(), "nothing of the session is left", BOUND)
        except AssertionError as error:
            raise AssertionError(f"{error}: {session_processes()}") from None
        assert not self.here.whole.exists()
        assert not self.there.whole.exists()


def _is_python(words: str) -> bool:
    return os.path.basename(words.split(maxsplit=1)[0]).startswith("python")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def _children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return {int(word) for word in text.split()}


@pytest.fixture
def middle(start_session: Start, target: Target, tmp_path: Path) -> Middle:
    return Middle(start_session, target, tmp_path)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_ansible_playbook_is_signalled(middle: Middle, signum: signal.Signals) -> None:
    os.kill(middle.run.process.pid, signum)
    middle.run.process.wait(BOUND)
    middle.expect_a_clean_end()


def test_ctrl_c(middle: Middle) -> None:
    """The terminal sends SIGINT to the whole foreground group."""
    os.killpg(middle.run.process.pid, signal.SIGINT)
    middle.run.process.wait(BOUND)
    middle.expect_a_clean_end()


def test_the_network_goes_away_for_ever(
    ansible: Ansible, make_target: Callable[..., Target], tmp_path: Path
) -> None:
    """The login never notices: the heartbeats do, on both sides, and nobody waits for the login."""
    target = make_target()
    gate = CommitGate(tmp_path)
    task = {MODULE: {"remote": ENDLESS, "output": gate.script, "shell": True}}
    run_ = ansible.start({target.name: target.inventory()}, [task])
    wait_until(gate.has_bytes, "the stream flows", timeout=60)
    run("ip", "link", "set", target.link, "down")
    result = run_.wait(90)[-1]
    assert result.kind == "failed"
    assert f"remote endpoint on {target.name} was lost: it has been silent for 25 s" in result.msg
    assert not gate.whole.exists()
    wait_until(
        lambda: not [words for words in target.processes().values() if "while" in words],
        "the target's side has ended the command",
        timeout=30,
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_worker_is_signalled(middle: Middle, signum: signal.Signals) -> None:
    playbook = middle.run.process.pid
    os.kill(middle.worker(), signum)
    # Ansible itself waits for a worker that was killed, so it is ended too.
    wait_until(lambda: not middle.target.processes(), "the target's side has ended")
    os.kill(playbook, signal.SIGTERM)
    middle.expect_a_clean_end()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_module_on_the_target_is_signalled(middle: Middle, signum: signal.Signals) -> None:
    os.kill(middle.remote_endpoint(), signum)
    result = middle.run.wait(BOUND)[-1]
    assert result.kind == "failed"
    assert f"remote endpoint on {middle.target.name}" in result.msg
    middle.expect_a_clean_end()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_local_endpoint_is_signalled(middle: Middle, signum: signal.Signals) -> None:
    os.kill(middle.local_endpoint(), signum)
    result = middle.run.wait(BOUND)[-1]
    assert result.kind == "failed"
    assert "local endpoint on controller" in result.msg
    middle.expect_a_clean_end()
