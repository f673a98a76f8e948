# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data connections over loopback, a loop with a deadline, and ways to look at a stream's end."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.data import DataConnection
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import (
    ConnectorHandshake,
    Handshake,
    ListenerHandshake,
    Purpose,
    Side,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop

LOOPBACK = "127.0.0.1"
KEY = bytes(range(32))
TIMEOUT = 5.0


def hold_port(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    """A port of *host* that refuses connections, and that nobody gets by chance, until somebody
    listens there: on this socket, or on one of an endpoint's own."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    return sock


def refuses(port: int) -> bool:
    """Whether nobody listens on *port* of loopback."""
    with socket.socket() as sock:
        sock.settimeout(TIMEOUT)
        return sock.connect_ex((LOOPBACK, port)) == errno.ECONNREFUSED


def reset(sock: socket.socket) -> None:
    """Close it, with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def sockets_of(pid: int) -> list[str]:
    """The sockets that a process holds."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:"):
            found.append(target)
    return found


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """The connector's and the listener's end of a connection, with a timeout."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connector = socket.create_connection(server.getsockname(), TIMEOUT)
        listener = server.accept()[0]
    listener.settimeout(TIMEOUT)
    for sock in (connector, listener):
        # Without it a small payload waits for the acknowledgement of the handshake, some 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connector, listener


def shake_hands(connector: socket.socket, listener: socket.socket) -> tuple[Handshake, Handshake]:
    """A whole handshake over two sockets, and its two machines."""
    machines = (
        ConnectorHandshake(KEY, Side.REMOTE, Purpose.INPUT),
        ListenerHandshake(KEY, Side.LOCAL),
    )
    while not all(machine.done for machine in machines):
        for sock, machine in zip((connector, listener), machines, strict=True):
            sock.sendall(machine.take())
        for sock, machine in zip((listener, connector), reversed(machines), strict=True):
            if machine.wanted and select.select([sock], [], [], 0)[0]:
                machine.receive(sock.recv(machine.wanted))
    return machines


def data_pair() -> tuple[DataConnection, DataConnection]:
    """The two ends of a proven data connection, the connector's first."""
    socks = tcp_pair()
    machines = shake_hands(*socks)
    connector, listener = (
        DataConnection(
            sock,
            handshake_sent=machine.bytes_sent,
            handshake_received=machine.bytes_received,
            is_connector=sock is socks[0],
        )
        for sock, machine in zip(socks, machines, strict=True)
    )
    for connection in (connector, listener):
        connection.descriptor()  # from here on it waits, as a command does
    return connector, listener


def read_to_the_end(sock: socket.socket) -> tuple[bytes, OSError | None]:
    """What can be read, and the error that ended it; None for a clean end of file."""
    data = b""
    while True:
        assert select.select([sock], [], [], TIMEOUT)[0], f"neither data nor an end within {TIMEOUT} s"
        try:
            piece = sock.recv(1 << 16)
        except OSError as error:
            return data, error
        if not piece:
            return data, None
        data += piece


def run_until(loop: Loop, condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> None:
    """Run *loop* until *condition* holds; AssertionError with *what* after *timeout* seconds."""
    in_vain = AssertionError(f"waited {timeout:g} s in vain: {what}")
    timer = loop.after(timeout, lambda: loop.fail(in_vain))
    loop.run_until(condition)
    timer.cancel()
