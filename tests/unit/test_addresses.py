# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of this machine, and of the login."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import addresses
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.addresses import (
    Login,
    is_loopback,
    is_public,
    login,
    own_addresses,
    parse_login,
    plain_address,
    route_to,
    socket_address,
)
from harness.sessions import ENGINE

# Addresses as texts


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (("192.0.2.1", 5), ("192.0.2.1", 5)),
        (("::1", 5, 0, 0), ("::1", 5)),
        (("::ffff:192.0.2.1", 5, 0, 0), ("192.0.2.1", 5)),
        (("2001:db8::ffff:1", 65535, 0, 0), ("2001:db8::ffff:1", 65535)),
    ],
)
def test_what_a_socket_call_gives_is_made_plain(given: tuple[Any, ...], plain: tuple[str, int]) -> None:
    """IPv4 as IPv4, though one socket is for both."""
    assert plain_address(given) == plain


def test_an_address_that_needs_its_interface_keeps_it() -> None:
    """Without it nothing can be sent there: a data connection goes where the control connection went."""
    name = socket.if_indextoname(1)
    found = socket.getaddrinfo(f"fe80::1%{name}", 5, flags=socket.AI_NUMERICHOST)[0][4]
    host, port = plain_address(found)
    assert socket_address(host, port)[1] == found


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("192.0.2.1", socket.AF_INET)],
)
def test_a_numeric_address_is_a_socket_address(host: str, family: int) -> None:
    assert socket_address(host, 5) == (family, (host, 5) if family == socket.AF_INET else (host, 5, 0, 0))


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "a b", "1.2.3.4.5", "::1%nonexistent", "[::1]", "\0", "x" * 300, "\u00fc", "\udcff"],
    ids=ascii,
)
def test_anything_else_is_none(host: str) -> None:
    with pytest.raises((OSError, ValueError)):
        socket_address(host, 5)


LOCAL = ["127.0.0.1", "127.8.9.10", "::1"]
LINKED = ["fe80::1", "fe80::1%eth0", "169.254.1.2"]
PUBLIC = ["192.0.2.1", "10.0.0.1", "fd00::1", "2001:db8::1"]
NONE = ["", "x", "192.0.2.300", "192.0.2.1/24", "t1.example.org", "\0", "\udcff", "%", "%eth0"]


@pytest.mark.parametrize("address", [*LOCAL, *LINKED, *PUBLIC, *NONE], ids=ascii)
def test_which_addresses_mean_what_to_another_machine(address: str) -> None:
    assert (is_loopback(address), is_public(address)) == (address in LOCAL, address in PUBLIC)


# The addresses of this machine

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 0.0.0.0/4 2 0 2
        |-- 0.0.0.0
           /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 169.254.0.0/16 2 0 2
        |-- 169.254.7.8
           /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.2
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
        |-- 198.51.100.7
           /32 link UNICAST
           /32 host LOCAL
Local:
        |-- 203.0.113.5
           /32 link UNICAST
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000002 02 40 00 80     eth0
fd000000000000000000000000000002 02 40 00 80     eth0
fe8000000000000000fc00fffe000001 02 40 20 80     eth0
"""


def test_own_addresses_are_all_that_another_machine_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/net/fib_trie": FIB_TRIE, "/proc/net/if_inet6": IF_INET6}
    monkeypatch.setattr(addresses, "_read", files.__getitem__)
    assert own_addresses() == ["192.0.2.2", "198.51.100.7", "2001:db8::2", "fd00::2"]


def test_own_addresses_are_none_where_the_kernel_lists_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on other systems."""
    monkeypatch.setattr(addresses, "_read", lambda path: "")
    assert own_addresses() == []


def test_own_addresses_are_of_this_machine() -> None:
    """Each can be bound to, and means nothing else to another machine."""
    for address in own_addresses():
        parsed = ipaddress.ip_address(address)
        assert not parsed.is_loopback
        assert not parsed.is_link_local
        with socket.socket(socket.AF_INET6 if parsed.version == 6 else socket.AF_INET) as sock:
            sock.bind((address, 0))


def test_each_own_address_is_listed_once() -> None:
    """The kernel has them in more than one table."""
    found = own_addresses()
    assert sorted(set(found)) == sorted(found)


@pytest.mark.parametrize("destination", ["192.0.2.77", "198.51.100.77", "2001:db8::77"])
def test_a_route_leaves_from_an_own_address(destination: str) -> None:
    """Where there is one. No packet is sent."""
    assert route_to(destination) in [None, *own_addresses()]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_route_to_this_machine_is_its_own(address: str) -> None:
    assert route_to(address) == address


def test_without_a_route_there_is_no_address() -> None:
    """UDP sends no broadcast unless it is asked to."""
    assert route_to("255.255.255.255") is None


# The login


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("192.0.2.1 50000 192.0.2.2 22", Login("192.0.2.1", "192.0.2.2")),
        ("2001:db8::1 50000 2001:db8::2 22\n", Login("2001:db8::1", "2001:db8::2")),
        ("::ffff:192.0.2.1 50000 ::ffff:192.0.2.2 22", Login("192.0.2.1", "192.0.2.2")),
        ("fe80::1%eth0 50000 fe80::2%eth0 22", Login("fe80::1%eth0", "fe80::2%eth0")),
        ("", None),
        ("\n", None),
        ("192.0.2.1 50000 192.0.2.2", None),
        ("192.0.2.1 50000 192.0.2.2 22 x", None),
        # sshd's words for a login without a socket: by inetd over a pipe
        ("UNKNOWN 65535 UNKNOWN 65535", None),
        ("You have new mail.", None),
        ("\udcff \0 \udcff \0", None),
    ],
    ids=ascii,
)
def test_what_sshd_says_of_a_login(said: str, found: Login | None) -> None:
    assert parse_login(said) == found


def test_the_login_is_that_of_the_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    assert login() == Login("192.0.2.1", "192.0.2.2")


def test_a_login_that_is_somebody_elses_is_passed_over() -> None:
    """A container is a part of the controller, and may see the login that the controller is used through."""
    controllers = "198.51.100.1 1 198.51.100.2 22"
    outer = [*CHILD, "env", f"SSH_CONNECTION={controllers}"]
    besides = ["198.51.100.1", "198.51.100.2"]
    assert login_below(*outer, besides=besides, SSH_CONNECTION=SAID) == Login("192.0.2.1", "192.0.2.2")
    assert login_below(*outer, SSH_CONNECTION=SAID) == Login(*besides)


def test_without_a_login_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert login() is None


ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from _engine.addresses import Login, login
print(json.dumps(login(*(Login(*besides) for besides in json.loads(sys.argv[2])))))
"""
SAID = "192.0.2.1 50000 192.0.2.2 22"
#: Run what follows with nothing in its environment, as sudo does.
CLEANED = ["env", "-i"]
#: Run what follows as a child.
CHILD = ["sh", "-c", '"$@"; exit $?', "sh"]


def login_below(*words: str, besides: list[str] | None = None, **environment: str) -> Login | None:
    """What a process finds that is run with *environment*, by way of *words*."""
    others = json.dumps([] if besides is None else [besides])
    ran = subprocess.run(
        [*words, sys.executable, "-I", "-S", "-c", ASK, str(ENGINE.parent), others],
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(ran.stdout)
    return None if found is None else Login(*found)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_login_is_that_of_an_ancestor_if_the_environment_was_cleaned(depth: int) -> None:
    assert login_below(*[*CHILD, *CLEANED] * depth, SSH_CONNECTION=SAID) == Login("192.0.2.1", "192.0.2.2")


def test_of_several_logins_the_nearest_counts() -> None:
    inner = ["env", "SSH_CONNECTION=198.51.100.1 1 198.51.100.2 22"]
    found = login_below(*inner, *CHILD, *CLEANED, SSH_CONNECTION=SAID)
    assert found == Login("198.51.100.1", "198.51.100.2")


@pytest.mark.parametrize("said", ["", "x", "1 2 3", "\udcff"])
def test_what_is_not_a_login_is_passed_over(said: str) -> None:
    outer = [*CHILD, "env", f"SSH_CONNECTION={said}"]
    found = login_below(*outer, *CHILD, *CLEANED, SSH_CONNECTION=SAID)
    assert found == Login("192.0.2.1", "192.0.2.2")


def test_an_ancestor_whose_name_is_odd_hides_nobody(tmp_path: Path) -> None:
    """/proc shows it in parentheses, unescaped."""
    odd = tmp_path / ") S 1 (x"
    odd.symlink_to("/bin/sh")
    found = login_below(*CHILD, *CLEANED, str(odd), *CHILD[1:], SSH_CONNECTION=SAID)
    assert found == Login("192.0.2.1", "192.0.2.2")
