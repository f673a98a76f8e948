# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local endpoint as a process: ``python -m _engine``.

The first line of standard input is JSON, ``{"key": hex, "identity": null or the fields of Identity,
"spec": Specification.dump()}``.
The rest of standard input stays silent; its end is the end of whoever asked for
the session, and aborts it. Standard output gets events as JSON lines; the last is
``{"event": "ended", "view": ...}``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict

from .endpoint import Endpoint
from .file import remove_temporaries
from .interrupts import take_signals
from .loop import READ
from .specification import Specification


def say(event: Dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # nobody listens any more, and standard input has ended too


def main() -> None:
    # Unbuffered: what follows the first line, its end, is the loop's to see.
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        order = json.loads(stdin.readline())
    spec = Specification.load(order["spec"], bytes.fromhex(order["key"]), order.get("identity"))
    endpoint = Endpoint(spec, say)
    take_signals(endpoint)
    endpoint.loop.watch(0, READ, lambda events: on_parent(endpoint))
    view = endpoint.run()
    if view["own"]["reason"] is not None:
        # Whoever asked for the session does it too, if that process still lives.
        remove_temporaries(spec)
    say({"event": "ended", "view": view})


def on_parent(endpoint: Endpoint) -> None:
    if not os.read(0, 4096):
        endpoint.loop.unwatch(0)
        endpoint.interrupt("whoever asked for the session has ended or has given it up")


if __name__ == "__main__":
    main()
