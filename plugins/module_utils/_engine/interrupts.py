# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that end an endpoint in good order, whichever process it runs in."""

from __future__ import annotations

import signal
from typing import Any

from .endpoint import Endpoint


def interrupt_on_signals(endpoint: Endpoint) -> None:
    """Have SIGINT, SIGTERM and SIGHUP abort the session. For the main thread only."""

    def interrupt(signum: int, frame: Any) -> None:
        endpoint.interrupt(f"it was ended by {signal.Signals(signum).name}")

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupt)
