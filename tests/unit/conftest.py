# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What unit tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import configuration, settings

# The collection can be imported only after the conftest files were.
if TYPE_CHECKING:
    from ansible_collections.dds.socketpipe.plugins.module_utils._engine.data import DataConnection
    from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop

settings.register_profile("unit", deadline=None, database=None, max_examples=200)
settings.load_profile("unit")


@pytest.fixture(scope="session", autouse=True)
def _no_files_in_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> None:
    configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


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
