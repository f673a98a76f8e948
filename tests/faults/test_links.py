# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cable between two machines is pulled: for seconds, and for ever. Nobody is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import pytest
from harness.moments import MIDDLE, START, Held
from harness.sessions import Place
from harness.topology import Link, Network
from harness.waiting import let_pass, wait_until

Hold = Callable[..., Held]

#: Seconds that a link may be down, and seconds after which both sides have found it out.
SURVIVED, FOUND = 5.0, 30.0
#: The data connections are full, or nothing was ever written to them.
FLOW = pytest.mark.parametrize("moment", [MIDDLE, START], ids=["busy", "idle"])


class Line(NamedTuple):
    link: Link
    places: dict[str, Place]


@pytest.fixture
def line(network: Network) -> Line:
    """Two machines, with nothing but a cable between them."""
    machines = {"local": network.controller, "remote": network.node()}
    link = network.link(*machines.values(), ipv6=False)
    return Line(link, {side: Place(link[node].address, node.entered) for side, node in machines.items()})


@FLOW
def test_a_link_is_down_for_seconds(hold: Hold, line: Line, moment: str) -> None:
    held = hold(moment, places=line.places)
    held.wait()
    line.link.cut()
    endpoints = held.session.endpoints.values()
    let_pass(SURVIVED, lambda: not any(end.has_said("ended") for end in endpoints), "the session lives")
    line.link.mend()
    if moment == MIDDLE:
        before = held.here.part.stat().st_size
        wait_until(lambda: held.here.has_bytes(before + 1), "the stream flows again")
    held.go_on()
    held.expect_whole()


@FLOW
def test_a_link_is_down_for_ever(hold: Hold, line: Line, moment: str) -> None:
    """Neither side can be told by the other, so each has to find it out."""
    held = hold(moment, places=line.places)
    held.wait()
    line.link.cut()
    began = time.monotonic()
    views = [end.wait_ended(FOUND + 5) for end in held.session.endpoints.values()]
    assert time.monotonic() - began < FOUND
    for view in views:
        reason = view["own"]["reason"]
        assert (reason["kind"], reason["text"]) == ("lost", "it has been silent for 25 s")
    held.expect_broken(time.monotonic())
