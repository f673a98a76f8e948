# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of faults share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# The collection can be imported only after the conftest files were.
if TYPE_CHECKING:
    from harness.memory import SmallMemory
    from harness.moments import Held
    from harness.sessions import Sessions


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    """Sessions that end, whatever happens, and leave no process behind."""
    from harness.sessions import Sessions  # noqa: PLC0415

    sessions = Sessions(tmp_path, {})
    yield sessions
    sessions.close()


@pytest.fixture
def hold(sessions: Sessions, tmp_path: Path) -> Iterator[Callable[..., Held]]:
    """Starts a filter session that waits at a moment of its life: see `Held`."""
    from harness.moments import Held  # noqa: PLC0415

    started: list[Held] = []

    def hold(moment: str, waiter: str = "output", **options: Any) -> Held:
        started.append(Held(sessions, tmp_path, moment, waiter, **options))
        return started[-1]

    yield hold
    for held in started:
        held.close()


@pytest.fixture
def memory() -> Iterator[SmallMemory]:
    """Where nothing but the kernel decides who has to go."""
    from harness.memory import small_memory  # noqa: PLC0415

    with small_memory() as memory:
        if memory is None:
            pytest.skip("no memory cgroup can be made here; test_kills.py has the SIGKILL alone")
        yield memory
