# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sockets get another congestion control, and which way is short."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import congestion
from harness.sockets import LOOPBACK

AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text(encoding="ascii").split()


def algorithm_of(sock: socket.socket) -> str:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


@pytest.mark.parametrize("algorithm", AVAILABLE)
def test_only_what_paces_is_replaced(sock: socket.socket, algorithm: str) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, algorithm.encode())
    congestion.do_not_pace(sock)
    assert algorithm_of(sock) == ("reno" if algorithm.startswith("bbr") else algorithm)


def test_whatever_paces_is_replaced(sock: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system has no algorithm that does."""
    monkeypatch.setattr(congestion, "PACED", algorithm_of(sock).encode())
    congestion.do_not_pace(sock)
    assert algorithm_of(sock) == "reno"


def test_a_connection_inside_the_machine_is_short() -> None:
    with (
        socket.create_server((LOOPBACK, 0)) as listener,
        socket.create_connection(listener.getsockname()) as one,
    ):
        other = listener.accept()[0]
        with other:
            assert congestion.is_short(one)
            assert congestion.is_short(other)


def test_without_a_connection_nothing_is_known(sock: socket.socket) -> None:
    assert not congestion.is_short(sock)
