# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a task's options beyond their types, before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.text.formatters import human_to_bytes
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.checksum import (
    known_checksums,
    new_checksum,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._helper import why_not
from ansible_collections.dds.socketpipe.plugins.plugin_utils._rendezvous import parse_ports

#: The peer's counts come every 5 s with its heartbeat; a stall that is shorter can not be told.
SHORTEST_STALL = 10.0
_LARGEST = (1 << 63) - 1
#: Options that are numbers of bytes, and the most that the kernel takes for each.
_SIZES = {"block_size": (1 << 31) - 1, "rate_limit": _LARGEST, "size": _LARGEST}
_ENDLESS = float("inf")


def checked(options: Mapping[str, Any], *, is_async: bool) -> dict[str, Any]:
    """*options* with numbers of bytes for texts. Raises ValueError with a sentence for the user."""
    _check_seconds(options)
    parse_ports(options["ports"])
    _check_checksum(options["checksum"])
    sizes = {name: _parse_size(name, options[name], largest) for name, largest in _SIZES.items()}
    if options["helper"] is None:
        return {**options, **sizes}
    refused = why_not(options, is_async=is_async)
    if refused is not None:
        raise ValueError(refused)
    return {**options, **sizes, "listen": "local"}


def _check_seconds(options: Mapping[str, Any]) -> None:
    if not 0 < options["timeout"] < _ENDLESS:
        raise ValueError("timeout: must be more than 0 seconds")
    stall_timeout = options["stall_timeout"]
    if stall_timeout != 0 and not SHORTEST_STALL <= stall_timeout < _ENDLESS:
        raise ValueError(f"stall_timeout: must be {SHORTEST_STALL:.0f} seconds or more, or 0 for none")
    if not 0 <= options["progress"] < _ENDLESS:
        raise ValueError("progress: must be a number of seconds, or 0 for none")


def _check_checksum(name: str | None) -> None:
    try:
        if name is not None:
            new_checksum(name)
    except ValueError as error:
        known = ", ".join(known_checksums())
        raise ValueError(f"checksum: '{name}' is none of those known here: {known}") from error


def _parse_size(name: str, text: str | None, largest: int) -> int | None:
    """A number of bytes such as 32k, in Ansible's notation; None for None."""
    if text is None:
        return None
    try:
        size = int(human_to_bytes(text))
    except ValueError:
        size = -1
    # An empty stream may be expected.
    smallest = 0 if name == "size" else 1
    if not smallest <= size <= largest:
        raise ValueError(f"{name}: '{text}' is not a number of bytes, such as 32k or 50M")
    return size
