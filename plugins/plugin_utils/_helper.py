# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task whose remote command runs through a `socketpipe -s` on the target instead of the module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.addresses import (
    is_loopback,
    own_addresses,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.login_words import Shown

#: What the classic protocol does not have: the options that ask for it.
_NOT_POSSIBLE = (
    "encrypt",
    "checksum",
    "block_size",
    "rate_limit",
    "creates",
    "removes",
    "remote_host",
    "stall_timeout",
)
#: What a task with a helper can not promise, and every other does.
LOST = [
    "the target sends no report: the exit status of the login is taken for that of the remote command, and "
    "the bytes are counted on the controller alone",
    "the end of the data is not fail-safe on the target's side: a reader on the controller sees a good end "
    "whatever ended the remote command, and only the task fails",
    "one connection carries both directions: a remote command that ends before it has read everything, "
    "which the status 141 of input may accept, cuts what it still had to print",
    "nobody proves who connects: what comes from an address of the target is taken for the remote command",
]


def why_not(options: Mapping[str, Any], *, is_async: bool) -> str | None:
    """Why a task with these options can have no helper; None if it can."""
    asked = [name for name in _NOT_POSSIBLE if options[name] not in (None, False)]
    if is_async:
        asked.append("async")
    if options["listen"] == "remote":
        asked.append("listen: remote")
    if not asked:
        return None
    return (
        f"helper: the program's protocol has no {', '.join(asked)}; remove that or the helper from the task"
    )


#: Of a session whose input was stopped, which is a success if that is accepted.
_CUT = (
    "the remote command ended before it had read everything, which cut its connection: the end of what it "
    "printed may be missing in stdout"
)


def with_helper(result: Mapping[str, Any], local: Mapping[str, Any], path: str) -> dict[str, Any]:
    """*result*, of a session through the program at *path* with the *local* side's view."""
    input = local["own"]["directions"].get("input", {})
    is_cut = input.get("state") == "stopped" and not result.get("failed")
    warnings = {"warnings": [*result.get("warnings", []), _CUT]} if is_cut else {}
    return {**result, **warnings, "helper": {"path": path, "lost": LOST}}


def sources(shown: Shown, known: Iterable[str]) -> list[str] | None:
    """From where the remote command may connect: the addresses that the target shows, and those
    that the login goes to; None if there is none of either."""
    found = [*shown.addresses, *known]
    own = own_addresses()
    if any(is_loopback(address) or address in own for address in found):
        found += ["127.0.0.1", "::1"]
    return list(dict.fromkeys(found)) or None
