# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the two sides may meet, arranged before either starts."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.addresses import own_addresses
from ansible_collections.dds.socketpipe.plugins.plugin_utils import _rendezvous
from ansible_collections.dds.socketpipe.plugins.plugin_utils._rendezvous import (
    DRAWN,
    DRAWN_OF_RANGE,
    REMOTE_PORTS,
    Rendezvous,
    Target,
    arrange,
    parse_ports,
)
from harness.sockets import LOOPBACK, hold_port
from harness.waiting import wait_until

OTHER = "192.0.2.77"
LISTEN = pytest.mark.parametrize("listen", ["auto", "local", "remote"])


# The option for ports


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        (None, None),
        ("50000", range(50000, 50001)),
        ("50000-50100", range(50000, 50101)),
        ("1", range(1, 2)),
        ("65535", range(65535, 65536)),
        ("1-65535", range(1, 65536)),
        ("5-5", range(5, 6)),
        (" 50000 - 50100 ", range(50000, 50101)),
    ],
)
def test_a_port_or_a_range_of_ports(text: str | None, ports: range | None) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "-", "a", "a-b", "5-a", "http", "0x50", "5.0", "1e3", "50000,50001", "50000:50001"],
        *["0", "0-5", "65536", "70000", "65535-65536", "5-3", "-5", "-5-3", "--5", "1-2-3", "5--3"],
        *["50000-", "50000 50001", "\u0665\u0660", "5_0", "+5", "5\0", "9" * 100],
    ],
)
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a port nor a range of ports, such as 50000-50100"):
        parse_ports(text)


# What each side is told


def nobody_asks() -> list[str]:
    raise AssertionError("the target was asked")


def target(**known: Any) -> Target:
    return Target(**{"host": OTHER, "is_controller": False, "facts": [], "ask": nobody_asks, **known})


@pytest.fixture
def meet() -> Iterator[Callable[..., Rendezvous]]:
    """The rendezvous for options, which are those of a task that has none, and a target."""
    made: list[Rendezvous] = []

    def meet(target: Target, **options: Any) -> Rendezvous:
        task = {
            "listen": "auto",
            "host": None,
            "remote_host": None,
            "ports": None,
            "timeout": 30.0,
            **options,
        }
        made.append(arrange(task, target))
        return made[-1]

    yield meet
    for rendezvous in made:
        if rendezvous.listener is not None:
            rendezvous.listener.close()


Meet = Callable[..., Rendezvous]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the system's resolver says of each name; nothing of all others."""
    names: dict[str, list[str]] = {}
    look_up = _rendezvous._look_up
    monkeypatch.setattr(
        _rendezvous, "_look_up", lambda host: names.get(host, []) if host.endswith(".test") else look_up(host)
    )
    return names


def hosts(candidates: list[tuple[str, int]]) -> list[str]:
    """In their order, each once."""
    return list(dict.fromkeys(host for host, _port in candidates))


def port_of(rendezvous: Rendezvous) -> int:
    assert rendezvous.listener is not None
    port: int = rendezvous.listener.getsockname()[1]
    return port


@LISTEN
def test_who_listens_is_as_the_user_said(meet: Meet, listen: str) -> None:
    found = meet(target(), listen=listen)
    assert (found.listener is not None) == (listen != "remote")
    assert bool(found.remote.candidates) == (listen != "remote")
    assert bool(found.remote.ports) == (listen != "local")
    assert bool(found.local.candidates) == (listen != "local")
    assert found.local.ports == []


def test_the_controller_is_to_be_found_at_its_listeners_port(meet: Meet) -> None:
    found = meet(target())
    assert {port for _host, port in found.remote.candidates} == {port_of(found)}
    socket.create_connection((LOOPBACK, port_of(found)), 5).close()


def test_the_target_is_to_be_found_at_each_of_its_ports(meet: Meet) -> None:
    found = meet(target())
    assert found.local.candidates == [(OTHER, port) for port in found.remote.ports]


def test_what_is_likeliest_comes_first_for_every_port(meet: Meet) -> None:
    found = meet(target(facts=["198.51.100.7"]), ports="50000-50001")
    assert [host for host, _port in found.local.candidates] == [OTHER, "198.51.100.7"] * 2
    assert [port for _host, port in found.local.candidates] == [
        port for port in found.remote.ports for _address in range(2)
    ]


# The target's ports


def test_the_target_draws_its_ports_from_those_that_linux_leaves_alone(meet: Meet) -> None:
    drawn = [meet(target(), listen="remote").remote.ports for _number in range(20)]
    for ports in drawn:
        assert len(set(ports)) == DRAWN == 3
        assert set(ports) <= set(REMOTE_PORTS)
    assert len({tuple(ports) for ports in drawn}) == 20
    assert (REMOTE_PORTS[0], REMOTE_PORTS[-1]) == (61000, 65535)


@pytest.mark.parametrize(
    ("ports", "count"), [("50000", 1), ("50000-50004", 5), ("50000-50015", 16), ("50000-59999", 16)]
)
def test_the_target_draws_more_of_a_range_that_the_user_named(meet: Meet, ports: str, count: int) -> None:
    drawn = meet(target(), listen="remote", ports=ports).remote.ports
    assert len(set(drawn)) == count <= DRAWN_OF_RANGE
    assert set(drawn) <= set(parse_ports(ports) or ())


def test_sessions_side_by_side_do_not_draw_the_same_order(meet: Meet) -> None:
    drawn = [meet(target(), listen="remote", ports="50000-50009").remote.ports for _number in range(20)]
    assert len({tuple(ports) for ports in drawn}) > 10


# The target's addresses


def test_the_address_that_the_login_goes_to_comes_first(meet: Meet) -> None:
    found = meet(target(facts=["198.51.100.7", OTHER, "2001:db8::7"]), listen="remote")
    assert hosts(found.local.candidates) == [OTHER, "198.51.100.7", "2001:db8::7"]


def test_a_name_that_the_login_goes_to_is_each_of_its_addresses(
    meet: Meet, names: dict[str, list[str]]
) -> None:
    names["t1.test"] = [OTHER, "2001:db8::77"]
    assert hosts(meet(target(host="t1.test"), listen="remote").local.candidates) == names["t1.test"]


def test_addresses_that_need_an_interface_are_left_out_of_the_facts(meet: Meet) -> None:
    """They are another machine to another machine."""
    found = meet(target(facts=["fe80::1", "169.254.1.1", "198.51.100.7"]), listen="remote")
    assert hosts(found.local.candidates) == [OTHER, "198.51.100.7"]


@pytest.mark.parametrize("odd", ["", "x", "192.0.2.1/24", "\0", "192.0.2.300"])
def test_facts_that_are_no_addresses_do_no_harm(meet: Meet, odd: str) -> None:
    """They come from the target, or from whoever wrote a fact by hand."""
    found = meet(target(facts=[odd, "198.51.100.7"]), listen="remote")
    assert hosts(found.local.candidates) == [OTHER, "198.51.100.7"]


@pytest.mark.parametrize("host", ["t1.test", None, "docker-container-7.test", "x" * 300, "\0"], ids=ascii)
def test_a_target_of_which_nothing_is_known_is_asked(
    meet: Meet, names: dict[str, list[str]], host: str | None
) -> None:
    """And, being perhaps a part of this machine, is looked for here."""
    asked = []

    def ask() -> list[str]:
        asked.append(True)
        return ["198.51.100.7", "198.51.100.8", "198.51.100.7"]

    found = meet(target(host=host, ask=ask), listen="remote")
    assert hosts(found.local.candidates) == ["198.51.100.7", "198.51.100.8", LOOPBACK]
    assert asked == [True]


@pytest.mark.parametrize("loopback", [LOOPBACK, "::1", "127.0.1.1"])
def test_a_target_that_the_login_finds_on_this_machine_is_asked(meet: Meet, loopback: str) -> None:
    """It may be a virtual machine whose sshd has a port here."""
    found = meet(target(host=loopback, ask=lambda: ["198.51.100.7"]), listen="remote")
    assert hosts(found.local.candidates) == [loopback, "198.51.100.7"]


@pytest.mark.parametrize(
    ("known", "options"),
    [
        ({}, {}),
        ({"host": "t1.test", "facts": ["198.51.100.7"]}, {}),
        ({"host": "t1.test"}, {"remote_host": "gateway.test"}),
        ({"host": "t1.test"}, {"listen": "local"}),
        ({"host": "t1.test", "is_controller": True}, {}),
    ],
    ids=["an address", "facts", "the user's word", "it does not listen", "the controller itself"],
)
def test_nobody_is_asked_for_what_is_known(
    meet: Meet, names: dict[str, list[str]], known: dict[str, Any], options: dict[str, Any]
) -> None:
    meet(target(**known), **options)


def test_the_users_word_for_the_target_is_the_only_one(meet: Meet, names: dict[str, list[str]]) -> None:
    """A name too: the connector resolves it."""
    names["gateway.test"] = ["203.0.113.9"]
    found = meet(target(facts=["198.51.100.7"]), listen="remote", remote_host="gateway.test")
    assert hosts(found.local.candidates) == ["gateway.test"]
    assert found.remote.listen_address == "gateway.test"


def test_the_target_listens_on_all_its_addresses_unless_the_user_names_one(meet: Meet) -> None:
    assert meet(target()).remote.listen_address is None


# The controller's addresses


def test_the_target_tries_all_addresses_of_the_controller(meet: Meet) -> None:
    found = hosts(meet(target(), listen="local").remote.candidates)
    assert set(own_addresses()) <= set(found)
    assert LOOPBACK not in found


def test_the_address_on_the_route_to_the_target_comes_first(
    meet: Meet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rendezvous, "own_addresses", lambda: ["198.51.100.1", "198.51.100.2"])
    routes = {OTHER: "198.51.100.2", "2001:db8::77": "fe80::1", "203.0.113.77": None}
    monkeypatch.setattr(_rendezvous, "_look_up", lambda host: list(routes))
    monkeypatch.setattr(_rendezvous, "route_to", routes.__getitem__)
    found = meet(target(host="t1.test"), listen="local")
    assert hosts(found.remote.candidates) == ["198.51.100.2", "198.51.100.1"]


def test_a_target_without_an_address_may_be_a_part_of_this_machine(
    meet: Meet, names: dict[str, list[str]]
) -> None:
    found = meet(target(host="chroot.test"), listen="local")
    assert hosts(found.remote.candidates) == [*dict.fromkeys(own_addresses()), LOOPBACK]


def test_the_users_word_for_the_controller_is_the_only_one(meet: Meet) -> None:
    found = meet(target(), listen="local", host="gateway.example.org")
    assert found.remote.candidates == [("gateway.example.org", port_of(found))]


def test_an_address_of_its_own_that_the_user_named_is_the_only_one_it_listens_on(meet: Meet) -> None:
    found = meet(target(), listen="local", host="127.0.0.2")
    assert found.listener is not None
    assert found.listener.getsockname()[0] == found.local.listen_address == "127.0.0.2"


def test_a_target_that_is_the_controller_lets_in_no_other_machine(meet: Meet) -> None:
    found = meet(target(is_controller=True, facts=["198.51.100.7"]))
    assert found.listener is not None
    assert found.listener.getsockname()[0] == LOOPBACK
    assert hosts(found.remote.candidates) == hosts(found.local.candidates) == [LOOPBACK]
    assert found.remote.listen_address == LOOPBACK


# A slow resolver


@LISTEN
def test_a_slow_resolver_takes_no_more_than_its_time(
    meet: Meet, monkeypatch: pytest.MonkeyPatch, listen: str
) -> None:
    assert _rendezvous.RESOLVER_TIMEOUT == 1
    monkeypatch.setattr(_rendezvous, "RESOLVER_TIMEOUT", 0.1)
    answer = threading.Event()

    def look_up(host: str) -> list[str]:
        assert answer.wait(30)
        return [OTHER]

    monkeypatch.setattr(_rendezvous, "_look_up", look_up)
    began = time.monotonic()
    found = meet(target(host="t1.test", ask=lambda: ["198.51.100.7"]), listen=listen)
    answer.set()
    assert time.monotonic() - began < 2
    if listen != "local":
        assert hosts(found.local.candidates) == ["198.51.100.7", LOOPBACK]


def test_an_answer_of_the_resolver_that_comes_too_late_changes_nothing(
    meet: Meet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even in the middle of the arrangement."""
    monkeypatch.setattr(_rendezvous, "RESOLVER_TIMEOUT", 0.1)
    answer, given = threading.Event(), threading.Event()

    def look_up(host: str) -> list[str]:
        assert answer.wait(30)
        return [OTHER]

    def ask() -> list[str]:
        answer.set()
        wait_until(lambda: threading.active_count() == before, "the resolver has answered")
        given.set()
        return ["198.51.100.7"]

    monkeypatch.setattr(_rendezvous, "_look_up", look_up)
    before = threading.active_count()
    found = meet(target(host="t1.test", ask=ask), listen="remote")
    assert given.is_set()
    assert hosts(found.local.candidates) == ["198.51.100.7", LOOPBACK]


# The controller's ports


@pytest.fixture
def full() -> Iterator[socket.socket]:
    """A port that is taken."""
    with hold_port() as sock:
        sock.listen()
        yield sock


def test_the_controller_listens_on_one_of_the_ports_that_the_user_named(meet: Meet) -> None:
    with hold_port() as sock:
        port = sock.getsockname()[1]
        assert port_of(meet(target(), ports=str(port))) == port


def test_of_a_range_the_controller_takes_any_that_is_free(meet: Meet) -> None:
    """Not always the same: a connection that failed a moment ago may still hold it on the way."""
    found = {port_of(meet(target(), listen="local", ports="20000-29999")) for _number in range(5)}
    assert len(found) == 5
    assert found <= set(range(20000, 30000))


@pytest.mark.parametrize("listen", ["auto", "local"])
def test_a_controller_without_a_free_port_is_told_to_wait_for_one(
    meet: Meet, full: socket.socket, listen: str
) -> None:
    """Other sessions need theirs only until they are connected, and the login takes its time."""
    port = full.getsockname()[1]
    began = time.monotonic()
    found = meet(target(), listen=listen, host="controller.test", ports=str(port))
    assert time.monotonic() - began < 2
    assert (found.listener, found.local.ports) == (None, [port])
    assert found.local.listen_address == "controller.test"
    assert found.remote.candidates == [("controller.test", port)]


def test_of_many_ports_that_are_taken_the_controller_waits_for_some(
    meet: Meet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the target tries them all."""

    def refuse(address: str | None, ports: Any) -> socket.socket:
        assert sorted(ports) == list(range(50000, 50100))
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    monkeypatch.setattr(_rendezvous, "open_listener", refuse)
    found = meet(target(), listen="local", ports="50000-50099")
    assert len(set(found.local.ports)) == DRAWN_OF_RANGE
    assert set(found.local.ports) <= set(range(50000, 50100))
    assert [port for _host, port in found.remote.candidates][:: len(hosts(found.remote.candidates))] == [
        *found.local.ports
    ]


def test_a_controller_that_can_not_listen_at_all_says_so(meet: Meet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str | None) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(_rendezvous, "open_listener", refuse)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        meet(target(), listen="local")
