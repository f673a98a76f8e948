# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local side of a task with async, which has returned when its session begins.

With `poll` the worker stays, to ask the target again and again, so a thread of it is enough, and the
session ends with the worker. Without, the worker goes at once, and the playbook may end before the
session does: so the session gets a process of its own.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Collection
from typing import Any

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import Outcome
from ansible_collections.dds.socketpipe.plugins.plugin_utils._local_endpoint import (
    LocalEndpoint,
    LocalEndpointError,
)

View = dict[str, Any]


def conduct(
    endpoint: LocalEndpoint, conclude: Callable[[View], Outcome], *, meeting: float, limit: float
) -> None:
    """Play the session to its end, and have *conclude* make the outcome of this side's view.

    It is given up when the two have not met after *meeting* seconds, and after *limit* seconds.
    """
    try:
        view = _wait_reported(endpoint, meeting, limit)
        if view is not None:
            endpoint.tell_outcome(conclude(view)._asdict())
            endpoint.wait_ended()
    except LocalEndpointError:
        pass  # the remote side has lost its peer, and says so
    finally:
        endpoint.close()


def _wait_reported(endpoint: LocalEndpoint, meeting: float, limit: float) -> View | None:
    """Its view, when it holds both reports; None if it never does."""
    meeting = min(meeting, limit)
    try:
        return endpoint.wait_reported(meeting)
    except queue.Empty:
        if endpoint.path is None:
            return None
    try:
        return endpoint.wait_reported(limit - meeting)
    except queue.Empty:
        return None


def stay(conduct: Callable[[], None]) -> None:
    """Have a thread *conduct* the session while the worker does something else."""
    threading.Thread(target=conduct).start()


def leave(conduct: Callable[[], None], descriptors: Collection[int]) -> None:
    """Have a process of its own *conduct* the session. It keeps none but these descriptors of the
    worker's. There may be no thread."""
    if os.fork() != 0:
        return
    try:
        _detach(descriptors)
        conduct()
    finally:
        # Whatever stands above on the stack is the worker's business.
        os._exit(0)


def _detach(descriptors: Collection[int]) -> None:
    os.setsid()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(signum, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/dev/fd"):
        # Replaced, not closed: an object of the worker's may still close its number, which by then
        # would be another's.
        number = int(name)
        if number not in (null, *descriptors):
            os.dup2(null, number, inheritable=number <= 2)
