# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one connection of the classic protocol, over loopback, with the other machine as a bare socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.classic_connection import (
    ClassicConnection,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
from harness.sockets import read_to_the_end, reset, run_until, tcp_pair
from harness.waiting import wait_until


class Ends(NamedTuple):
    own: ClassicConnection
    peer: socket.socket
    resets: list[str]


@pytest.fixture
def ends(loop: Loop) -> Iterator[Ends]:
    peer, sock = tcp_pair()
    resets: list[str] = []
    own = ClassicConnection(loop, sock, lambda: resets.append("reset"))
    own.descriptor()
    yield Ends(own, peer, resets)
    own.close(whole=False)
    peer.close()


def read(ends: Ends, count: int) -> None:
    """As an output command does."""
    wait_until(lambda: ends.own.unread == count, "it is here")
    assert len(ends.own.sock.recv(count)) == count


def test_after_a_reset_whose_error_a_command_took_no_byte_is_taken_for_a_fin(loop: Loop, ends: Ends) -> None:
    ends.own.finish()
    ends.peer.sendall(bytes(1000))
    read(ends, 1000)
    reset(ends.peer)
    assert isinstance(read_to_the_end(ends.own.sock)[1], ConnectionResetError)
    assert not ends.own.fin_arrived
    assert ends.own.count_received() == 1000
    run_until(loop, lambda: ends.resets, "it is known to be a reset")
    assert ends.own.was_reset


def test_a_fin_is_no_byte(loop: Loop, ends: Ends) -> None:
    ends.own.finish()
    ends.peer.sendall(bytes(1000))
    ends.peer.shutdown(socket.SHUT_WR)
    wait_until(lambda: ends.own.fin_arrived, "the FIN is here")
    assert ends.own.count_received() == 0
    assert read_to_the_end(ends.own.sock) == (bytes(1000), None)
    assert ends.own.count_received() == 1000
    whole: list[bool] = []
    ends.own.look_for_end(whole.append)
    assert (whole, ends.resets) == ([True], [])


def test_an_end_of_file_after_the_error_of_a_reset_is_none(ends: Ends) -> None:
    ends.own.finish()
    reset(ends.peer)
    assert isinstance(read_to_the_end(ends.own.sock)[1], ConnectionResetError)
    whole: list[bool] = []
    ends.own.look_for_end(whole.append)
    assert (whole, ends.resets) == ([], ["reset"])
