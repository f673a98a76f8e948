# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users besides root: on a target op, who becomes another one with a password, and free, who needs none;
here somebody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.network import run

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
#: Of op.
PASSWORD = "pass word"
#: Who has no name, and nothing here is theirs.
SOMEBODY = 12345


@contextmanager
def as_user(number: int) -> Iterator[None]:
    """What this process does meanwhile, it does as that user."""
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def etc_with_users() -> dict[str, str]:
    """The files in /etc of a host with these users, who log in as root does; root becomes anybody."""
    op = run("openssl", "passwd", "-6", PASSWORD).stdout.strip()
    return {
        "passwd": "root:x:0:0::/root:/bin/sh\nop:x:4711:4711::/tmp:/bin/sh\n"
        "free:x:4712:4712::/tmp:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n",
        "group": "root:x:0:\nop:x:4711:\nfree:x:4712:\nnogroup:x:65534:\n",
        "shadow": f"root:*:19000:0:99999:7:::\nop:{op}:19000:0:99999:7:::\nfree:*:19000:0:99999:7:::\n",
        "sudoers": "Defaults env_reset\nop ALL=(ALL) ALL\nfree ALL=(ALL) NOPASSWD: ALL\n"
        "root ALL=(ALL) NOPASSWD: ALL\n",
    }
