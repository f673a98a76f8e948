# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds after which what has not ended hangs. This is no promise of how long anything takes: a whole
#: playbook takes most of a minute at times, and a machine may be several times slower than usual.
HANGS_AFTER = 300.0


def wait_until(condition: Callable[[], T], what: str, timeout: float = 15.0) -> T:
    """The first true value of *condition*; AssertionError with *what* after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain: {what}"
        time.sleep(0.02)


def let_pass(seconds: float, holds: Callable[[], object], what: str) -> None:
    """A time in which *holds* has to be true all along; AssertionError with *what*."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert holds(), f"not for {seconds:g} s: {what}"
        time.sleep(0.02)
