# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote side in the classic protocol: connect, and become the command."""

from __future__ import annotations

import os
import re
import signal
import socket
from typing import Any, List, NoReturn

from .command import find_executable
from .data import LINGER_OFF, LINGER_RESET, keep_alive
from .errors import CommandError, NoPathError
from .specification import CommandSpec
from .text import printable, to_bytes

#: Seconds for each address of the host. The local side is there already.
CONNECT_TIMEOUT = 60.0


def become(host: str, port: str, argv: List[str]) -> NoReturn:
    """Connect to *host* and *port*, and become the command *argv*, whose standard input and output
    the connection is. Raises CommandError and NoPathError."""
    try:
        find_executable(CommandSpec("remote", argv, accept_rc=[0]))
    except CommandError:
        # Whoever waits for the connection, and for nothing else, would do so for ever.
        _connect(host, port).close()
        raise
    sock = _connect(host, port)
    keep_alive(sock)
    # Python ignores it, and what is ignored stays so: the command would not end with its reader.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    for standard in (0, 1):
        os.dup2(sock.fileno(), standard)
        os.set_inheritable(standard, True)  # where it was this descriptor already
    # Until the command is there nothing may end in a way that looks like the end of its data.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
    try:
        os.execvp(to_bytes(argv[0]), [to_bytes(word) for word in argv])
    except OSError as error:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        raise NoPathError(f"'{argv[0]}' could not be started: {error.strerror}") from None


def _connect(host: str, port: str) -> socket.socket:
    """A blocking socket. Its end is a reset until the command has it."""
    problem = "it has no address"
    for family, kind, protocol, _name, address in _look_up(host, port):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(CONNECT_TIMEOUT)
            sock.connect(address)
            sock.settimeout(None)
        except OSError as error:
            problem = error.strerror or str(error)
            sock.close()
            continue
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        return sock
    raise NoPathError(f"{socket.gethostname()} could not connect to {host} port {port}: {problem}")


def _look_up(host: str, port: str) -> List[Any]:
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise NoPathError(f"'{printable(port)}' is no port")
    if not host:
        raise NoPathError("there is no host to connect to")
    try:
        return socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise NoPathError(f"{socket.gethostname()} knows no address of '{host}': {words}") from None
