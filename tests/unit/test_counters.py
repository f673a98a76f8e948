# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel tells of a connection, about real connections over loopback."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import counters
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.counters import (
    has_fin,
    owes_an_answer,
    shows_debt,
    tcp_info,
    unread_bytes,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.data import DataConnection
from harness.sockets import read_to_the_end, reset, tcp_pair
from harness.waiting import wait_until

DATA = pytest.mark.parametrize("data", [b"", b"some data"], ids=["nothing unread", "data unread"])


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """This end of a connection, and the peer's."""
    own, peer = tcp_pair()
    yield own, peer
    own.close()
    peer.close()


Ends = tuple[socket.socket, socket.socket]


def state_is(sock: socket.socket, *names: str) -> Callable[[], bool]:
    states = {"FIN_WAIT2": 5, "CLOSED": 7, "CLOSE_WAIT": 8}

    def look() -> bool:
        info = tcp_info(sock)
        return info is not None and info.state in [states[name] for name in names]

    return look


def take_error(sock: socket.socket) -> int:
    """As a read does that somebody ignores."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def end_by_reset(own: socket.socket, peer: socket.socket, data: bytes = b"") -> None:
    """After this end's FIN."""
    own.shutdown(socket.SHUT_WR)
    wait_until(state_is(own, "FIN_WAIT2"), "the peer has the FIN")
    peer.sendall(data)
    wait_until(lambda: unread_bytes(own) == len(data), "the data is here")
    reset(peer)
    wait_until(state_is(own, "CLOSED"), "the reset is here")


def expect_two_fins(own: socket.socket, data: bytes) -> None:
    """They show before all is read and after."""
    wait_until(state_is(own, "CLOSED"), "both have ended")
    assert has_fin(own) is True
    assert read_to_the_end(own) == (data, None)
    assert has_fin(own) is True


def test_a_connection_that_nobody_has_ended_has_no_fin(ends: Ends) -> None:
    own, peer = ends
    peer.sendall(b"x")
    assert has_fin(own) is False
    own.shutdown(socket.SHUT_WR)
    assert has_fin(own) is False


@DATA
def test_a_fin_shows_before_and_after_this_ends_own(ends: Ends, data: bytes) -> None:
    own, peer = ends
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    wait_until(state_is(own, "CLOSE_WAIT"), "the FIN is here")
    assert has_fin(own) is True
    own.shutdown(socket.SHUT_WR)
    expect_two_fins(own, data)


@DATA
def test_a_fin_that_comes_after_this_ends_own_shows(ends: Ends, data: bytes) -> None:
    own, peer = ends
    own.shutdown(socket.SHUT_WR)
    wait_until(state_is(own, "FIN_WAIT2"), "the peer has the FIN")
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    expect_two_fins(own, data)


@DATA
def test_a_reset_whose_error_somebody_took_is_no_fin(ends: Ends, data: bytes) -> None:
    """All else that can be asked for looks as after two FINs."""
    own, peer = ends
    end_by_reset(own, peer, data)
    assert take_error(own) != 0
    assert has_fin(own) is False
    assert read_to_the_end(own) == (data, None)
    assert has_fin(own) is False


@DATA
def test_to_ask_takes_neither_data_nor_error_away(ends: Ends, data: bytes) -> None:
    own, peer = ends
    end_by_reset(own, peer, data)
    for _time in range(3):
        assert has_fin(own) is False
    got, error = read_to_the_end(own)
    assert got == data
    assert isinstance(error, ConnectionResetError)


def test_what_this_end_broke_has_no_fin(
    make_pair: Callable[[], tuple[DataConnection, DataConnection]],
) -> None:
    _peer, own = make_pair()
    own.disconnect()
    assert has_fin(own.sock) is False
    take_error(own.sock)
    assert has_fin(own.sock) is False


def test_nobody_else_is_told_what_is_left(ends: Ends) -> None:
    """What a command asks for with recvmsg is as if nobody had looked."""
    own, peer = ends
    end_by_reset(own, peer, b"data")
    take_error(own)
    has_fin(own)
    assert own.recvmsg(10, 100)[:3] == (b"data", [], 0)


def test_where_the_system_does_not_tell_that_is_said(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that no system has stands for one that an old one has not."""
    monkeypatch.setattr(counters, "_TCP_INQ", 9999)
    own, peer = ends
    assert has_fin(own) is False
    end_by_reset(own, peer)
    assert has_fin(own) is False
    take_error(own)
    assert has_fin(own) is None


def test_who_is_asked_nothing_or_has_answered_owes_no_answer(ends: Ends) -> None:
    own, peer = ends
    assert not owes_an_answer(own)
    own.sendall(b"data")
    wait_until(lambda: unread_bytes(peer) == 4, "it is there")
    wait_until(lambda: not owes_an_answer(own), "it is acknowledged")


def info(*, probes: int = 0, unacked: int = 0, sent: int, data: int, ack: int) -> bytes:
    """A struct tcp_info; the last three are milliseconds since each."""
    raw = bytearray(256)
    raw[3] = probes
    struct.pack_into("=I", raw, 24, unacked)
    struct.pack_into("=IIII", raw, 44, sent, 0, data, ack)
    return bytes(raw)


def test_one_question_or_its_answer_may_be_lost_on_the_way() -> None:
    assert not shows_debt(info(probes=1, sent=200000, data=300000, ack=120000))
    assert shows_debt(info(probes=2, sent=200000, data=300000, ack=240000))


def test_data_that_was_answered_at_all_is_not_owed() -> None:
    """What finds no room is not acknowledged, but answered; then it is sent again, ever more rarely."""
    assert shows_debt(info(unacked=1, sent=100, data=300000, ack=70000))
    assert not shows_debt(info(unacked=1, sent=70001, data=300000, ack=70000))
    assert not shows_debt(info(unacked=1, sent=70001, data=70000, ack=300000))
    assert not shows_debt(info(sent=100, data=300000, ack=70000))


@pytest.mark.parametrize("look", [1, 2])
def test_a_fin_that_comes_while_bytes_are_counted_is_none_of_them(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    """After the first look at the state or the second one."""
    own, peer = ends
    peer.sendall(b"payload")
    assert own.recv(7, socket.MSG_WAITALL) == b"payload"
    looks = []

    def and_then_fin(sock: socket.socket) -> counters.TcpInfo | None:
        info = tcp_info(sock)
        looks.append(info)
        if len(looks) == look:
            peer.shutdown(socket.SHUT_WR)
            wait_until(state_is(sock, "CLOSE_WAIT"), "FIN")
        return info

    monkeypatch.setattr(counters, "tcp_info", and_then_fin)
    assert counters.taken_bytes(own) == 7
    assert len(looks) >= look
