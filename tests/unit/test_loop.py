# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop: who is called, when, and what ends it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import (
    HANGUP,
    READ,
    WRITE,
    Loop,
    was_reset,
)
from harness.sockets import run_until, tcp_pair


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = tcp_pair()
    yield one, other
    one.close()
    other.close()


def test_timers_fire_in_the_order_of_their_times(loop: Loop) -> None:
    fired: list[str] = []
    for seconds, name in ((0.03, "last"), (0.0, "first"), (0.01, "second"), (0.0, "first again")):
        loop.after(seconds, lambda name=name: fired.append(name))
    run_until(loop, lambda: len(fired) == 4, "all timers")
    assert fired == ["first", "first again", "second", "last"]


def test_a_cancelled_timer_never_fires(loop: Loop) -> None:
    fired: list[str] = []
    timer = loop.after(0.0, lambda: fired.append("cancelled"))
    loop.after(0.01, lambda: fired.append("other"))
    timer.cancel()
    run_until(loop, lambda: fired, "the other timer")
    assert fired == ["other"]


def test_a_far_timer_is_waited_for(loop: Loop) -> None:
    """An Ansible timeout is a number of seconds, and may be any."""
    loop.after(3_000_000, lambda: None)
    threading.Timer(0.01, loop.call_soon, [lambda: loop.fail(KeyError())]).start()
    with pytest.raises(KeyError):
        loop.run_until(lambda: None)


def test_a_thread_wakes_the_loop(loop: Loop) -> None:
    called_in: list[int] = []
    thread = threading.Timer(0.01, loop.call_soon, [lambda: called_in.append(threading.get_ident())])
    thread.start()
    run_until(loop, lambda: called_in, "the call")
    assert called_in == [threading.get_ident()]


def test_a_signal_handler_wakes_the_loop(loop: Loop) -> None:
    called: list[int] = []
    before = signal.signal(
        signal.SIGUSR1, lambda signum, frame: loop.call_soon(lambda: called.append(signum))
    )
    try:
        threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        run_until(loop, lambda: called, "the signal")
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_more_wake_ups_than_the_pipe_holds_are_not_lost(loop: Loop) -> None:
    called: list[int] = []
    for number in range(70_000):
        loop.call_soon(lambda number=number: called.append(number))
    run_until(loop, lambda: len(called) == 70_000, "all calls")
    assert called == list(range(70_000))


def test_the_first_failure_is_raised_once_and_what_came_with_it_is_still_handled(loop: Loop) -> None:
    called: list[str] = []
    loop.call_soon(lambda: loop.fail(KeyError("first")))
    loop.call_soon(lambda: loop.fail(KeyError("second")))
    loop.call_soon(lambda: called.append("handled"))
    with pytest.raises(KeyError, match="first"):
        loop.run_until(lambda: None)
    assert called == ["handled"]
    assert loop.run_until(lambda: called) is called


def test_a_failure_comes_before_the_condition(loop: Loop) -> None:
    loop.fail(KeyError())
    with pytest.raises(KeyError):
        loop.run_until(lambda: True)


def test_the_value_of_the_condition_is_given(loop: Loop) -> None:
    assert loop.run_until(lambda: "value") == "value"


def test_a_handler_that_unwatches_another_keeps_it_from_being_called(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Both had something to say in the same moment."""
    called: list[int] = []

    def take(mine: int, other: int) -> None:
        called.append(mine)
        loop.unwatch(mine)
        loop.unwatch(other)

    one, other = (sock.fileno() for sock in pair)
    loop.watch(one, WRITE, lambda events: take(one, other))
    loop.watch(other, WRITE, lambda events: take(other, one))
    run_until(loop, lambda: called, "one of them")
    loop.after(0.01, lambda: called.append(-1))
    run_until(loop, lambda: -1 in called, "another round")
    assert len(called) == 2


def test_a_hangup_is_heard_without_the_data(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    """The data is a command's: the loop is not to be woken by it, nor to take it."""
    writer, reader = pair
    heard: list[int] = []
    loop.watch(reader.fileno(), HANGUP, heard.append)
    writer.sendall(b"payload")
    loop.after(0.05, lambda: writer.shutdown(socket.SHUT_WR))
    run_until(loop, lambda: heard, "the end of the stream")
    assert not was_reset(heard[0])
    assert not heard[0] & READ
    assert reader.recv(100) == b"payload"


def test_a_reset_is_told_from_an_orderly_end(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    writer, reader = pair
    heard: list[int] = []
    loop.watch(reader.fileno(), HANGUP, heard.append)
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    run_until(loop, lambda: heard, "the reset")
    assert was_reset(heard[0])
    with pytest.raises(ConnectionResetError):
        reader.recv(1)
