# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the two sides of a session may meet: who listens, and which candidates each side has.

All of it is told to both endpoints before they start, so it is arranged here, ahead of time.
Authentication is what makes it safe to try many: a stranger at a candidate gets nothing.
"""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.dds.socketpipe.plugins.module_utils._engine.addresses import (
    Address,
    is_loopback,
    is_public,
    own_addresses,
    plain_address,
    route_to,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.listener import open_listener

#: Where the target listens unless the user says otherwise: above the ports that Linux gives
#: to outgoing connections, so most likely free.
REMOTE_PORTS = range(61000, 65536)
#: How many ports the target may choose from: few, for each is tried at each address ...
DRAWN = 3
#: ... and more of a range that the user named, for other sessions use the same one.
DRAWN_OF_RANGE = 16
#: Seconds for the resolver, before the login: a name that takes longer is as good as unknown.
RESOLVER_TIMEOUT = 1.0
_LOOPBACK = "127.0.0.1"

# Workers are forks of one process, and would all draw the same numbers from its generator.
_random = random.SystemRandom()


class Target(NamedTuple):
    """What is known of the target before the session.

    *host* is what the login connects to, an address or any name. *is_controller* says that it
    is this machine, so that no other has to be let in. *facts* are addresses it was found to have
    before, and *ask* asks it for them.
    """

    host: str | None
    is_controller: bool
    facts: Sequence[str]
    ask: Callable[[], Iterable[str]]


class Place(NamedTuple):
    """What one side's specification says: where it listens, if it has *ports*, and what it tries."""

    listen_address: str | None
    ports: list[int]
    candidates: list[Address]


class Rendezvous(NamedTuple):
    """*listener* is the controller's, open already. It has *ports* instead when all are taken now,
    for other sessions need theirs only until they are connected."""

    listener: socket.socket | None
    local: Place
    remote: Place


def parse_ports(text: str | None) -> range | None:
    """``first-last`` or a single port; None for None. Raises ValueError with a sentence."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", text)
    first, last = found.groups() if found else ("0", "0")
    ports = range(int(first), int(last or first) + 1)
    if not ports or ports[0] < 1 or ports[-1] > 65535:
        raise ValueError(f"ports: '{text}' is neither a port nor a range of ports, such as 50000-50100")
    return ports


def arrange(options: Mapping[str, Any], target: Target) -> Rendezvous:
    """Open the controller's listener, and choose everything else. *options* are the task's.

    Raises OSError if the controller can not listen, whatever the port.
    """
    ports = parse_ports(options["ports"])
    known = resolve(options["remote_host"] or target.host)
    remote_ports, local_candidates = [], []
    if options["listen"] != "local":
        remote_ports = _draw(ports)
        addresses = _target_addresses(options["remote_host"], target, known)
        local_candidates = _product(addresses, remote_ports)
    loopback = _LOOPBACK if target.is_controller else None
    address = options["host"] or loopback
    listener, local_ports, remote_candidates = None, [], []
    if options["listen"] != "remote":
        listener, told = _listen(address, ports)
        remote_candidates = _product(_controller_addresses(options["host"], target, known), told)
        local_ports = told if listener is None else []
    return Rendezvous(
        listener,
        local=Place(address, local_ports, local_candidates),
        remote=Place(options["remote_host"] or loopback, remote_ports, remote_candidates),
    )


def _product(addresses: list[str], ports: list[int]) -> list[Address]:
    """Each address with the first port, for it will most likely be that one, and so on."""
    return [(address, port) for port in ports for address in addresses]


def _listen(address: str | None, ports: range | None) -> tuple[socket.socket | None, list[int]]:
    """The controller's listener and its port; else the ports of which one may become free."""
    if ports is None:
        listener = open_listener(address)
    else:
        try:
            listener = open_listener(address, _random.sample(ports, len(ports)))
        except OSError:
            return None, _draw(ports)
    return listener, [listener.getsockname()[1]]


def _draw(ports: range | None) -> list[int]:
    if ports is None:
        return _random.sample(REMOTE_PORTS, DRAWN)
    return _random.sample(ports, min(len(ports), DRAWN_OF_RANGE))


def resolve(host: str | None) -> list[str]:
    """The numeric addresses of *host*; none for an alias that only the login knows."""
    found: list[str] = []
    if host is not None:
        thread = threading.Thread(target=lambda: found.extend(_look_up(host)), daemon=True)
        thread.start()
        thread.join(RESOLVER_TIMEOUT)
    return list(dict.fromkeys(found))


def _look_up(host: str) -> list[str]:
    try:
        entries = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: it can not be a name at all
        return []
    return [plain_address(entry[4])[0] for entry in entries]


def _target_addresses(remote_host: str | None, target: Target, known: list[str]) -> list[str]:
    """Where the controller may reach the target, the likeliest first."""
    if remote_host is not None:
        return [remote_host]
    if target.is_controller:
        return [_LOOPBACK]
    reported = [address for address in target.facts if is_public(address)]
    if not reported and all(map(is_loopback, known)):
        reported = list(target.ask())
    return _unique([*known, *reported, *_last_resort(known)])


def _controller_addresses(host: str | None, target: Target, known: list[str]) -> list[str]:
    """Where the target may reach the controller, the likeliest first."""
    if host is not None:
        return [host]
    if target.is_controller:
        return [_LOOPBACK]
    # Loopback is right where the target is this machine under an address of its own.
    routes = [route for route in map(route_to, known) if route and (is_loopback(route) or is_public(route))]
    return _unique([*routes, *own_addresses(), *_last_resort(known)])


def _last_resort(known: list[str]) -> list[str]:
    """Without an address of its own, the target may be a part of this machine: a chroot, a jail."""
    return [] if known else [_LOOPBACK]


def _unique(addresses: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(addresses))
