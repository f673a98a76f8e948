# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is between two machines: a cable that is pulled, a slow one, a router that forgets connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.endpoint import ENDING_TIMEOUT
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from harness.moments import MIDDLE, START, Held
from harness.sessions import Place, Sessions, Words
from harness.streams import sh
from harness.topology import Link, Network, add_route, block_inbound, masquerade
from harness.waiting import let_pass, wait_until

Hold = Callable[..., Held]

#: Seconds that a link may be down, and seconds after which both sides have found it out.
SURVIVED, FOUND = 5.0, 30.0
#: Seconds for which a router remembers a connection: more than between two heartbeats.
REMEMBERED = 7
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


# A slow line


def test_long_reports_take_their_time_on_a_slow_link(sessions: Sessions, line: Line) -> None:
    """All the commands have said as much as is kept of it, which is not there within seconds."""
    line.link.slow("256kbit")
    flood = "yes 'a line of a warning' | head -c 100000"
    commands: dict[str, Words] = {
        "input": sh(f"{flood} >&2; echo x"),
        "remote": ["cat"],
        "output": sh(f"cat > /dev/null; {flood} >&2; {flood}"),
    }
    began = time.monotonic()
    ended = sessions.run(commands, places=line.places)
    assert ended.verdict == Verdict(None, None, [])
    assert time.monotonic() - began > ENDING_TIMEOUT, "the link was not slow"


# A router


@pytest.mark.parametrize("is_silent", [False, True], ids=["reset", "dropped"])
def test_a_router_does_not_forget_a_connection_that_is_idle(
    sessions: Sessions, network: Network, tmp_path: Path, is_silent: bool
) -> None:
    """One that translates addresses remembers a connection for as long as it sees something of it. A
    packet of one that it has forgotten it answers with a reset, or drops."""
    local, remote, router = network.controller, network.node(), network.router()
    home, internet = network.link(local, router, ipv6=False), network.link(router, remote, ipv6=False)
    masquerade(router, internet[router])
    add_route(local, None, via=home[router])
    router.run("sysctl", "-qw", f"net.netfilter.nf_conntrack_tcp_timeout_established={REMEMBERED}")
    if is_silent:
        block_inbound(router, "drop")
    places = {
        "local": Place(home[local].address, local.entered),
        "remote": Place(internet[remote].address, remote.entered),
    }
    often = "import _engine.data as data; data._KEEPALIVE['TCP_KEEPIDLE'] = 1"
    session = sessions.start(
        {"remote": sh(f"sleep {REMEMBERED + 4}; echo late"), "output": sh(f"cat > {tmp_path}/out")},
        listen="remote",
        places=places,
        before=dict.fromkeys(places, often),
    )
    assert session.wait_over().verdict == Verdict(None, None, [])
    assert (tmp_path / "out").read_text() == "late\n"
