# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What unit tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness.examples import choose_profile

# The collection can be imported only after the conftest files were.
if TYPE_CHECKING:
    from ansible_collections.dds.socketpipe.plugins.module_utils._engine.data import DataConnection
    from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
    from harness.by_hand import Stage
    from harness.sessions import Sessions

choose_profile()


@pytest.fixture
def loop() -> Loop:
    """Its descriptors go with the process: a thread may still want to wake it."""
    from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop  # noqa: PLC0415

    return Loop()


@pytest.fixture
def make_pair() -> Iterator[Callable[[], tuple[DataConnection, DataConnection]]]:
    """Makes both ends of a proven data connection over loopback, the connector's first."""
    from harness.sockets import data_pair  # noqa: PLC0415

    made: list[DataConnection] = []

    def make() -> tuple[DataConnection, DataConnection]:
        pair = data_pair()
        made.extend(pair)
        return pair

    yield make
    for connection in made:
        connection.close(whole=False)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """One endpoint, a process, and its peer played by hand."""
    from harness.by_hand import Stage  # noqa: PLC0415

    stage = Stage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def listen() -> str:
    """Who listens in `sessions`."""
    return "local"


@pytest.fixture
def session_options(listen: str) -> dict[str, Any]:
    """What all `sessions` have in common."""
    return {"listen": listen}


@pytest.fixture
def sessions(tmp_path: Path, session_options: dict[str, Any]) -> Iterator[Sessions]:
    """Sessions that end, whatever happens, and leave no process behind."""
    from harness.sessions import Sessions  # noqa: PLC0415

    sessions = Sessions(tmp_path, session_options)
    yield sessions
    sessions.close()
