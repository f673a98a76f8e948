# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint does with signals, whichever process it runs in."""

from __future__ import annotations

import signal
from typing import Any

from .endpoint import Endpoint


def take_signals(endpoint: Endpoint) -> None:
    """Have SIGINT, SIGTERM and SIGHUP abort the session. For the main thread only."""

    def interrupt(signum: int, frame: Any) -> None:
        endpoint.interrupt(f"it was ended by {signal.Signals(signum).name}")

    # Without it, a signal that comes just before the loop waits would be seen after the wait.
    signal.set_wakeup_fd(endpoint.loop.wakeup, warn_on_full_buffer=False)
    # Ignoring it is inherited, and would take the exit status of every command away.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupt)
