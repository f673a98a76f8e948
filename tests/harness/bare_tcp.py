# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The yardstick: a command's standard input or output is a bare TCP socket, and nothing else.

bare_tcp.py listen ADDRESS PORT COMMAND...   prints the port, COMMAND reads from the socket
bare_tcp.py connect ADDRESS PORT COMMAND...  COMMAND writes to the socket

`-C ALGORITHM` before COMMAND is for congestion control, as with iperf3; only who writes has a use for it.
"""

from __future__ import annotations

import os
import socket
import sys

#: This program.
BARE_TCP = __file__


def main() -> None:
    role, host, port, *words = sys.argv[1:]
    address = (host, int(port))
    algorithm = None
    if words[0] == "-C":
        algorithm, *words = words[1:]
    if role == "listen":
        listener = socket.create_server(address)
        print(listener.getsockname()[1], flush=True)
        connection, end = listener.accept()[0], 0
    else:
        connection, end = socket.socket(), 1
        if algorithm is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, algorithm.encode())
        connection.connect(address)
    os.dup2(connection.fileno(), end)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
