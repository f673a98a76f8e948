# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endpoint as a process: ``python -m _engine.process``.

The first line of standard input is the order. What follows is silence, or one line of JSON: in the
classic protocol, when the login has ended, ``{"rc": status, "stderr": its words}``; of a detached
session, after the event ``reported``, its outcome. The end of standard input is the end of whoever
asked for the session, and aborts it. Standard output gets events as JSON lines; the last is
``{"event": "ended", "view": ...}``. If the order asks for progress, ``{"event": "progress", "moved": bytes by
direction, "seconds": since the commands run}`` comes again and again before.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Union

from .command import UNATTENDED, Surroundings
from .endpoint import Endpoint
from .errors import AbandonedError
from .file import remove_temporaries
from .interrupts import take_signals
from .loop import READ
from .order import Order, load_order
from .progress import ProgressEvents

if TYPE_CHECKING:
    from .classic import ClassicEndpoint

Event = Dict[str, Any]


def main() -> None:
    play(read_order())


def read_order() -> Order:
    """Raises ValueError for what is none."""
    # Unbuffered: what follows the first line is the loop's to see.
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        return load_order(stdin.readline())


def play(order: Order, surroundings: Surroundings = UNATTENDED) -> None:
    def on_event(event: Event) -> None:
        say(event)
        if event["event"] == "started" and order.progress is not None:
            events = ProgressEvents(endpoint.loop, endpoint.moved, say_if_read, order.progress)
            events.begin(order.spec.directions)

    endpoint = _classic_endpoint(order, surroundings, on_event) or Endpoint(
        order.spec, on_event, surroundings
    )
    take_signals(endpoint)
    parent = _Parent(endpoint)
    endpoint.loop.watch(0, READ, lambda events: parent.read())
    view = endpoint.run()
    say({"event": "ended", "view": view})
    if view["own"]["reason"] is not None:
        # Whoever asked for the session does it too, if that process still lives.
        remove_temporaries(order.spec)


def say(event: Event) -> None:
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # nobody listens any more, and standard input has ended too


def say_if_read(event: Event) -> None:
    """Leave it out unless standard output takes a line at once, as a pipe does that somebody empties:
    an endpoint that waits for its reader would be taken for a lost one by its peer."""
    writable = select.poll()
    writable.register(sys.stdout.fileno(), select.POLLOUT)
    if writable.poll(0):
        say(event)


def _classic_endpoint(
    order: Order, surroundings: Surroundings, on_event: Callable[[Event], None]
) -> Optional[ClassicEndpoint]:
    if order.classic is None:
        return None
    # Few sessions need it.
    from .classic import ClassicEndpoint

    endpoint = ClassicEndpoint(order.spec, on_event, surroundings, order.classic.accept_rc)
    endpoint.accept_from(order.classic.sources)
    return endpoint


class _Parent:
    """Standard input after the order."""

    def __init__(self, endpoint: Union[Endpoint, ClassicEndpoint]) -> None:
        self._endpoint = endpoint
        self._line = b""

    def read(self) -> None:
        data = os.read(0, 1 << 16)
        if not data:
            self._endpoint.loop.unwatch(0)
            if not isinstance(self._endpoint, Endpoint):
                self._endpoint.login_lost()
            text = "whoever asked for the session has ended or has given it up"
            self._endpoint.loop.fail(AbandonedError(text))
        line, is_whole, _rest = (self._line + data).partition(b"\n")
        self._line = line
        if is_whole:
            self._tell(json.loads(line))

    def _tell(self, word: Event) -> None:
        if isinstance(self._endpoint, Endpoint):
            self._endpoint.conclude(word)
        else:
            self._endpoint.login_ended(word["rc"], word["stderr"])


if __name__ == "__main__":
    main()
