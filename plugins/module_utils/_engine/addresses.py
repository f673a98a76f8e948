# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of this machine, and of the login that a process runs under."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple, Union

Address = Tuple[str, int]


class Login(NamedTuple):
    """The two ends of the login's connection, as the machine logged in to sees them."""

    client: str
    server: str


def plain_address(address: Tuple[Any, ...]) -> Address:
    """(address, port) of what a socket call gives, with IPv4 as IPv4, and link-local addresses
    with their link."""
    host = _plain(str(address[0]))
    if len(address) > 3 and address[3] and "%" not in host:
        host += "%" + socket.if_indextoname(address[3])
    return host, int(address[1])


def socket_address(host: str, port: int) -> Tuple[socket.AddressFamily, Tuple[Any, ...]]:
    """Family and socket address of a numeric *host*. Raises OSError or ValueError for any other."""
    # As bytes: a str goes through the idna codec, whose first use takes milliseconds.
    entry = socket.getaddrinfo(
        host.encode("ascii"), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    return entry[0], entry[4]


def parse_login(ssh_connection: str) -> Optional[Login]:
    """What sshd says in SSH_CONNECTION; None for anything else."""
    words = ssh_connection.split()
    if len(words) != 4:
        return None
    login = Login(_plain(words[0]), _plain(words[2]))
    return login if all(map(_parse, login)) else None


def login(besides: Optional[Login] = None) -> Optional[Login]:
    """The login that this process runs under; None for one that is not sshd's, or is *besides*.

    sudo and its like clean the environment of what they run, but they have it themselves, and
    so has the shell that they were called from. /proc shows it to whoever may see it, root for one.
    """
    for environment in _environments():
        found = parse_login(environment)
        if found is not None and found != besides:
            return found
    return None


def own_addresses() -> List[str]:
    """All that the kernel lists and `is_public`."""
    return [address for address in dict.fromkeys((*_own_ipv4(), *_own_ipv6())) if is_public(address)]


def is_public(address: str) -> bool:
    """Whether *address* is one, and is the same machine to every machine."""
    parsed = _parse(address)
    return parsed is not None and not (parsed.is_loopback or parsed.is_link_local)


def is_loopback(address: str) -> bool:
    parsed = _parse(address)
    return parsed is not None and parsed.is_loopback


def route_to(address: str) -> Optional[str]:
    """This machine's address on the route to *address*; None without one. No packet is sent."""
    for family, kind, protocol, _name, sockaddr in socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM):
        with socket.socket(family, kind, protocol) as sock:
            try:
                sock.connect(sockaddr)
            except OSError:
                continue
            return str(sock.getsockname()[0])
    return None


def _plain(host: str) -> str:
    mapped = "::ffff:"
    return host[len(mapped) :] if host.startswith(mapped) else host


def _environments() -> Iterator[str]:
    """SSH_CONNECTION of this process and of its ancestors, the nearest first."""
    yield os.environ.get("SSH_CONNECTION", "")
    pid = os.getppid()
    while pid > 1:
        for variable in _read(f"/proc/{pid}/environ").split("\0"):
            if variable.startswith("SSH_CONNECTION="):
                yield variable.partition("=")[2]
        pid = _parent(pid)


def _parent(pid: int) -> int:
    """0 where it can not be seen."""
    # The name of the program, in parentheses, may hold anything.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _own_ipv4() -> Iterator[str]:
    leaf = ""
    for line in _read("/proc/net/fib_trie").splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words == ["/32", "host", "LOCAL"]:
            yield leaf


def _own_ipv6() -> Iterator[str]:
    for line in _read("/proc/net/if_inet6").splitlines():
        yield str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))


def _read(path: str) -> str:
    """Empty where there is no such file, as on other systems, or it is not for us."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _parse(address: str) -> Union[ipaddress.IPv4Address, ipaddress.IPv6Address, None]:
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
