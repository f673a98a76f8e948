# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint does with signals, whichever process it runs in."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Callable, Union

from .endpoint import Endpoint

if TYPE_CHECKING:
    from .classic import ClassicEndpoint


def take_signals(
    endpoint: Union[Endpoint, ClassicEndpoint],
    on_signal: Callable[[int], None] = lambda signum: None,
    *,
    keep_ignored: bool = False,
) -> None:
    """Have SIGINT, SIGTERM and SIGHUP abort the session. For the main thread only. *on_signal* is called
    with the number of each, at any moment. With *keep_ignored* those that are ignored stay so: nohup."""

    def interrupt(signum: int, frame: Any) -> None:
        on_signal(signum)
        endpoint.interrupt(f"it was ended by {signal.Signals(signum).name}")

    # Without it, a signal that comes just before the loop waits would be seen after the wait.
    signal.set_wakeup_fd(endpoint.loop.wakeup, warn_on_full_buffer=False)
    # Ignoring it is inherited, and would take the exit status of every command away.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if not (keep_ignored and signal.getsignal(signum) is signal.SIG_IGN):
            signal.signal(signum, interrupt)
