# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses at which a target may reach this machine."""

from __future__ import annotations

import ipaddress
import socket


def addresses_towards(host: str | None) -> list[str]:
    """Numeric addresses of this machine, the likeliest for *host* first."""
    routed = [] if host is None else _routed(host)
    return list(dict.fromkeys(routed + _own()))


def _routed(host: str) -> list[str]:
    """The local address of the route to each address of *host*. No packet is sent."""
    try:
        found = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)
    except OSError:
        return []  # an alias that only the login knows
    addresses = []
    for family, kind, protocol, _name, sockaddr in found:
        with socket.socket(family, kind, protocol) as sock:
            try:
                sock.connect(sockaddr)
            except OSError:
                continue
            addresses.append(str(sock.getsockname()[0]))
    # Loopback is right where *host* is this machine under a name of its own.
    return [address for address in addresses if not _parse(address).is_link_local]


def _own() -> list[str]:
    """All that the kernel lists; nothing where it has no such lists."""
    return [address for address in _own_ipv4() + _own_ipv6() if _is_global(address)]


def _own_ipv4() -> list[str]:
    addresses = []
    leaf = ""
    for line in _lines("/proc/net/fib_trie"):
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words == ["/32", "host", "LOCAL"]:
            addresses.append(leaf)
    return addresses


def _own_ipv6() -> list[str]:
    lines = _lines("/proc/net/if_inet6")
    return [str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))) for line in lines]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _is_global(address: str) -> bool:
    """Not one that is another machine to another machine."""
    return not (_parse(address).is_loopback or _parse(address).is_link_local)


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address.partition("%")[0])
