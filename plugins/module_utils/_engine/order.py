# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order: the one line that an endpoint's process gets from whoever asks for the session."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional

from .specification import Specification


class Classic(NamedTuple):
    """That the session is one in the classic protocol. *sources* are the addresses from which the
    remote side may connect, None for all; *accept_rc* are statuses of the remote command."""

    sources: Optional[List[str]]
    accept_rc: List[int]


class Order(NamedTuple):
    """*uses_login_address*: whether the address that the login came from is a candidate too.
    *progress* are the seconds between two events that tell what has moved; None for no such event."""

    spec: Specification
    classic: Optional[Classic] = None
    uses_login_address: bool = False
    progress: Optional[float] = None


def dump_order(order: Order) -> bytes:
    spec = order.spec
    data = {
        "key": spec.key.hex(),
        "identity": spec.identity and spec.identity._asdict(),
        "spec": spec.dump(),
        "classic": order.classic and order.classic._asdict(),
        "uses_login_address": order.uses_login_address,
        "progress": order.progress,
    }
    return json.dumps(data).encode() + b"\n"


def load_order(line: bytes) -> Order:
    """The inverse. Raises ValueError for anything else, as another version's order may be."""
    try:
        data: Dict[str, Any] = json.loads(line)
        spec = Specification.load(data["spec"], bytes.fromhex(data["key"]), data.get("identity"))
        classic = data.get("classic")
        uses_login_address = data.get("uses_login_address", False)
        return Order(spec, classic and Classic(**classic), uses_login_address, data.get("progress"))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is not what this version expects: {error!r}") from None
