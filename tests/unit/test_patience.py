# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody waits for ever, and nobody is interrupted later than that."""

from __future__ import annotations

import signal
import subprocess
import threading

import pytest
from ansible_collections.dds.socketpipe.plugins.plugin_utils._patience import UnansweredError, patience


def wait_for_ever() -> None:
    try:
        threading.Event().wait(30)
    except Exception:  # as connection plugins do
        pytest.fail("it can be taken for an error of the connection")


def ask_for_ever() -> None:
    with patience() as end_after:
        threading.Timer(0, end_after, (0.05,)).start()
        wait_for_ever()


def test_a_wait_that_does_not_end_is_ended() -> None:
    with pytest.raises(UnansweredError):
        ask_for_ever()


def test_what_was_started_meanwhile_is_ended_with_the_wait() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start_and_wait() -> None:
        with patience() as end_after:
            started.append(subprocess.Popen(["sleep", "30"]))
            end_after(0.05)
            wait_for_ever()

    with subprocess.Popen(["sleep", "30"]) as before:
        with pytest.raises(UnansweredError):
            start_and_wait()
        assert started[0].wait(10) == -signal.SIGTERM
        assert before.poll() is None
        before.kill()


def test_a_wait_that_ends_in_time_is_not_disturbed() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    with patience() as end_after:
        end_after(0.05)
    assert not threading.Event().wait(0.2)
    assert signal.getsignal(signal.SIGUSR2) == before


def test_who_asks_when_it_is_over_asks_in_vain() -> None:
    with patience() as end_after:
        pass
    end_after(0)
    assert not threading.Event().wait(0.2)
