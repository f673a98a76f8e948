# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local endpoint as a child, and who conducts its session: neither keeps the other from its end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import KEY_SIZE
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.result import Outcome
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import (
    Specification,
)
from ansible_collections.dds.socketpipe.plugins.plugin_utils._detached import conduct
from ansible_collections.dds.socketpipe.plugins.plugin_utils._local_endpoint import LocalEndpoint
from harness.network import kill
from harness.processes import children_of, is_running
from harness.sessions import side_of
from harness.waiting import wait_until


class Child:
    """A local endpoint that waits for its peer."""

    def __init__(self) -> None:
        before = set(children_of(os.getpid()))
        side = side_of("local", {"input": ["true"], "remote": ["true"]}, timeout=60, detached=True)
        spec = Specification.load({**side, "listener": None}, bytes(KEY_SIZE), None)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.endpoint = LocalEndpoint(spec, listener, lambda event: None)
        (self.pid,) = set(children_of(os.getpid())) - before

    def kill(self) -> None:
        kill(self.pid)
        wait_until(lambda: not is_running(self.pid), "it has ended")


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.kill()


def test_one_that_was_killed_can_be_told_of_the_outcome_and_closed(child: Child) -> None:
    """What is to be removed after that is removed."""
    child.kill()
    child.endpoint.tell_outcome(Outcome()._asdict())
    child.endpoint.close()


def test_one_that_was_given_up_can_be_told_of_the_outcome(child: Child) -> None:
    child.endpoint.give_up()
    child.endpoint.tell_outcome(Outcome()._asdict())


@pytest.mark.parametrize(("meeting", "limit"), [(0.1, 60), (60, 0.1)])
def test_it_is_given_up_at_the_first_limit(child: Child, meeting: float, limit: float) -> None:
    began = time.monotonic()
    conduct(child.endpoint, lambda view: Outcome(), meeting=meeting, limit=limit)
    assert not is_running(child.pid)
    assert time.monotonic() - began < 30
