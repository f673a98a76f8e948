# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of the ways between the two machines."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.paths import (
    attempt_line,
    no_path,
    summary,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import Scene

HOSTS = {"local": "controller", "remote": "t1"}
WITHIN = "no path to the other side was found within 30 s"


def scene(listen: str = "auto", ports: str | None = None) -> Scene:
    return Scene(HOSTS, {}, listen=listen, ports=ports)


def attempt(side: str, address: str, port: int = 4000, **fields: Any) -> dict[str, Any]:
    usual = {"purpose": "control", "source": None, "tries": 3, "outcome": "no answer", "seconds": 30.0}
    return {"side": side, "address": address, "port": port, **usual, **fields}


FROM_REMOTE = [
    attempt("remote", "10.0.0.1", source="10.0.0.2"),
    attempt("remote", "fd77::1", outcome="Connection refused", seconds=29.87654, tries=12),
]
FROM_LOCAL = [
    attempt("local", "10.0.0.2", 61000, source="10.0.0.1", outcome="No route to host"),
    attempt("local", "t1.example.org", 61001, outcome="Name or service not known", seconds=0.00123),
]
TRIED_FROM_REMOTE = (
    "t1 tried to connect from 10.0.0.2 to 10.0.0.1 port 4000 (no answer after 30 s), "
    "to fd77::1 port 4000 (Connection refused after 29.9 s)"
)
TRIED_FROM_LOCAL = (
    "controller tried to connect from 10.0.0.1 to 10.0.0.2 port 61000 (No route to host after 30 s), "
    "to t1.example.org port 61001 (Name or service not known after 0.00123 s)"
)


def report(attempts: list[dict[str, Any]] | None = None, cannot_listen: str | None = None) -> dict[str, Any]:
    return {"attempts": attempts or [], "cannot_listen": cannot_listen, "other_version": None}


def reports(**sides: dict[str, Any]) -> dict[str, Any]:
    return {"local": report(FROM_LOCAL), "remote": report(FROM_REMOTE), **sides}


# The path that was found


@pytest.mark.parametrize(
    ("listener", "text"),
    [
        ("local", "t1 connected to controller at 192.0.2.1 port 41234 (IPv4) in 0.012 s"),
        ("remote", "controller connected to t1 at 192.0.2.1 port 41234 (IPv4) in 0.012 s"),
    ],
)
def test_a_path_in_a_line(listener: str, text: str) -> None:
    path = {"listener": listener, "address": "192.0.2.1", "port": 41234, "family": "IPv4", "seconds": 0.0123}
    assert summary(path, scene()) == text
    assert summary({**path, "round_trip": 0.001234}, scene()) == f"{text}, round trip 1.23 ms"


def test_the_line_has_the_address_family() -> None:
    path = {"listener": "local", "address": "fd00::1", "port": 5, "family": "IPv6", "seconds": 12.0}
    assert summary(path, scene()) == "t1 connected to controller at fd00::1 port 5 (IPv6) in 12.000 s"


# One attempt


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            attempt("remote", "10.0.0.1", source="10.0.0.2", outcome="proven", tries=1, seconds=0.004),
            "t1 tried once to connect to controller for control: "
            "from 10.0.0.2 to 10.0.0.1 port 4000 (proven after 0.004 s)",
        ),
        (
            attempt("local", "t1.example.org", purpose="output", tries=12),
            "controller tried 12 times to connect to t1 for output: "
            "to t1.example.org port 4000 (no answer after 30 s)",
        ),
    ],
    ids=["once", "often"],
)
def test_an_attempt_in_a_line(given: dict[str, Any], line: str) -> None:
    assert attempt_line(given, scene()) == line


# No path


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            scene("local"),
            f"t1 could not connect to controller: {WITHIN}; {TRIED_FROM_REMOTE}; "
            "open TCP from t1 to controller, on ports that you name with the option 'ports', "
            "or name an address that can be reached with the option 'host'",
        ),
        (
            scene("remote"),
            f"controller could not connect to t1: {WITHIN}; {TRIED_FROM_LOCAL}; "
            "open TCP from controller to t1, on ports that you name with the option 'ports', "
            "or name an address that can be reached with the option 'remote_host'",
        ),
        (
            scene("auto"),
            f"t1 and controller could not connect to each other: {WITHIN}; "
            f"{TRIED_FROM_REMOTE}; {TRIED_FROM_LOCAL}; "
            "open TCP from t1 to controller or from controller to t1, on ports that you name "
            "with the option 'ports', "
            "or name an address that can be reached with the option 'host' or 'remote_host'",
        ),
        (
            scene("local", "50000-50100"),
            f"t1 could not connect to controller: {WITHIN}; {TRIED_FROM_REMOTE}; "
            "open TCP port 50000-50100 from t1 to controller, "
            "or name an address that can be reached with the option 'host'",
        ),
        (
            scene("auto", "50000"),
            f"t1 and controller could not connect to each other: {WITHIN}; "
            f"{TRIED_FROM_REMOTE}; {TRIED_FROM_LOCAL}; "
            "open TCP port 50000 from t1 to controller or from controller to t1, "
            "or name an address that can be reached with the option 'host' or 'remote_host'",
        ),
    ],
    ids=["local", "remote", "auto", "local with ports", "auto with ports"],
)
def test_the_sentence_says_what_was_tried_and_what_to_open(given: Scene, sentence: str) -> None:
    said = reports()
    before = copy.deepcopy(said)
    assert no_path(WITHIN, said, given) == sentence
    assert said == before


@pytest.mark.parametrize(
    ("listen", "side", "ports", "part"),
    [
        ("local", "local", "50000", "controller could not listen on port 50000: Address already in use"),
        ("remote", "remote", None, "t1 could not listen: Address already in use"),
        ("auto", "local", None, "controller could not listen: Address already in use"),
        ("auto", "remote", "50000-50001", "t1 could not listen on port 50000-50001: Address already in use"),
    ],
)
def test_who_could_not_listen_is_told_of(listen: str, side: str, ports: str | None, part: str) -> None:
    said = reports(**{side: report(cannot_listen="Address already in use")})
    assert f"; {part}; " in no_path(WITHIN, said, scene(listen, ports))


def test_that_both_could_not_listen_is_told_of_both() -> None:
    said = {side: report(cannot_listen="Address already in use") for side in HOSTS}
    sentence = no_path(WITHIN, said, scene("auto", "50000"))
    assert sentence.count("could not listen on port 50000: Address already in use") == 2


@pytest.mark.parametrize(("listen", "connecting"), [("local", "t1"), ("remote", "controller")])
def test_a_visitor_of_another_version_is_told_of(listen: str, connecting: str) -> None:
    said = reports(**{listen: {**report(), "other_version": "it speaks version 2, this side version 1"}})
    assert (
        f"; somebody connected to {HOSTS[listen]}, but it speaks version 2, this side version 1: if that was "
        f"{connecting}, install the same version on both; "
    ) in no_path(WITHIN, said, scene(listen))


@pytest.mark.parametrize(("listen", "other"), [("local", "remote"), ("remote", "local")])
def test_what_was_not_asked_for_is_not_told(listen: str, other: str) -> None:
    """Who does not listen has nothing to say of it, and who does not connect has tried nothing."""
    said = {listen: report(), other: report(cannot_listen="Address already in use")}
    sentence = no_path(WITHIN, said, scene(listen))
    assert "could not listen" not in sentence
    assert f"{HOSTS[listen]} tried" not in sentence


@pytest.mark.parametrize(
    ("listen", "nobody"),
    [
        ("local", "t1 tried to connect to nothing, for it knew no address and port"),
        ("remote", "controller tried to connect to nothing, for it knew no address and port"),
    ],
)
def test_a_side_that_tried_nothing_says_why(listen: str, nobody: str) -> None:
    said = {"local": report(), "remote": report()}
    assert f"; {nobody}; " in no_path(WITHIN, said, scene(listen))


def test_what_went_well_is_not_counted_among_what_failed() -> None:
    """The control connection was there, and the data connections did not come."""
    attempts = [
        attempt("remote", "10.0.0.1", outcome="proven", seconds=0.01),
        attempt("remote", "10.0.0.1", purpose="input"),
    ]
    sentence = no_path(
        "the data connections could not be made", reports(remote=report(attempts)), scene("local")
    )
    assert "; t1 tried to connect to 10.0.0.1 port 4000 (no answer after 30 s); " in sentence


def test_a_side_all_of_whose_tries_went_well_is_not_said_to_have_tried_nothing() -> None:
    """The other one gave up for want of the word that its command runs."""
    attempts = [
        attempt("local", "10.0.0.2", purpose=purpose, outcome="proven") for purpose in ("control", "input")
    ]
    sentence = no_path(
        "the data connections could not be made", reports(local=report(attempts)), scene("remote")
    )
    assert "nothing" not in sentence


# Tries that are told together


def tried(*attempts: dict[str, Any]) -> str:
    sentence = no_path(WITHIN, reports(remote=report(list(attempts))), scene("local"))
    return sentence.split("; ")[1]


def test_tries_at_several_ports_of_an_address_are_told_together() -> None:
    given = [
        attempt("remote", address, port, seconds=seconds)
        for port, seconds in ((61002, 29.0), (61000, 30.0), (61001, 28.0))
        for address in ("10.0.0.1", "10.0.0.9")
    ]
    assert tried(*given) == (
        "t1 tried to connect to 10.0.0.1 ports 61000, 61001, 61002 (no answer after 30 s), "
        "to 10.0.0.9 ports 61000, 61001, 61002 (no answer after 30 s)"
    )


@pytest.mark.parametrize(
    "other", [{"source": "10.0.0.7"}, {"outcome": "Connection refused"}], ids=["source", "outcome"]
)
def test_tries_that_differ_in_more_than_the_port_are_told_apart(other: dict[str, Any]) -> None:
    one = attempt("remote", "10.0.0.1", 61000, source="10.0.0.2")
    words = tried(one, {**one, "port": 61001, **other})
    assert words.startswith(
        "t1 tried to connect from 10.0.0.2 to 10.0.0.1 port 61000 (no answer after 30 s), from "
    )
    assert "to 10.0.0.1 port 61001 (" in words
