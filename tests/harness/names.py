# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server that is of no use."""

from __future__ import annotations

import select
import socket
import subprocess
from pathlib import Path

_ADDRESS = "127.0.0.53"
_WITH_RESOLV_CONF = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


class SilentNameServer:
    """Takes every question, and never answers. Its resolv.conf is a file in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._resolv_conf = folder / "resolv.conf"
        self._resolv_conf.write_text(f"nameserver {_ADDRESS}\n", encoding="ascii")
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((_ADDRESS, 53))

    def words(self, *words: str) -> list[str]:
        """A command that runs *words*, in which every name that is not in /etc/hosts is asked here.

        /etc/resolv.conf is the machine's, so this takes a mount namespace of its own.
        """
        return ["unshare", "--mount", "sh", "-c", _WITH_RESOLV_CONF, str(self._resolv_conf), *words]

    def expect_question(self, name: str) -> None:
        """Fail unless who asks for *name* asks here, and is kept waiting."""
        with subprocess.Popen(self.words("getent", "hosts", name), stdout=subprocess.DEVNULL) as asking:
            assert select.select([self._sock], [], [], 10)[0], f"nobody asked for {name}"
            assert name.encode() in self._sock.recv(512)
            assert asking.poll() is None
            asking.kill()

    def close(self) -> None:
        self._sock.close()
