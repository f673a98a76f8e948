# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection without a network address, as those into containers and chroots are."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = """
name: netns
short_description: Run things in a network namespace
description:
  - Runs everything in a network namespace of this machine, whatever the host is called.
  - There is one file system, so files are only copied.
options:
  namespace:
    description: The name of the namespace. Without it, things run in the namespace of Ansible itself.
    type: str
    vars:
      - name: ansible_netns
  become_success_timeout:
    description: Seconds to wait for become to succeed.
    type: int
    default: 10
  become_strip_preamble:
    description: Whether to remove what become printed.
    type: bool
    default: true
extends_documentation_fragment:
  - connection_pipelining
"""


class Connection(LocalConnection):  # type: ignore[misc]
    """Become is that of the local connection."""

    transport = "netns"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Any:
        namespace = self.get_option("namespace")
        if namespace is not None:
            cmd = shlex.join(["ip", "netns", "exec", namespace, "sh", "-c", cmd])
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
