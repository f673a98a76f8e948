# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of a few nodes, drawn by a test in a few lines.

        controller ---- inside ---- router ---- outside ---- target

    router, target = network.router(), network.host()
    inside = network.link(network.controller, router)
    outside = network.link(router, target)
    add_route(network.controller, outside, via=inside[router])
    add_route(target, inside, via=outside[router])
    block_inbound(network.controller, "drop")

The controller of a `Network` is this test process in a network namespace of its own, new and
empty: what a test does to it goes with it. No two links of a test process have the same
addresses, so no login that one test left open can be taken for another's.

    link N     10.(80 + N / 256).(N % 256).1/24  fd80:N::1/64     the node that is named first
               10.(80 + N / 256).(N % 256).2/24  fd80:N::2/64     the other one
"""

from __future__ import annotations

import itertools
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.network import (
    Host,
    Keys,
    Node,
    another_network,
    is_master,
    kill,
    network_of,
    processes_in,
)
from harness.waiting import wait_until

_link_numbers = itertools.count(1)
_chain_numbers = itertools.count(1)

#: Seconds in which a connection is made, if nothing is in its way.
CONNECT_TIMEOUT = 0.3


class Controller(Node):
    """The network that this process is in."""

    def __init__(self) -> None:
        self.name = "controller"

    @property
    def netns(self) -> str:
        return str(os.getpid())

    @property
    def network(self) -> str:
        return network_of("self")

    @contextmanager
    def entered(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        for pid in self.processes():
            kill(pid)


class Interface(NamedTuple):
    """A node's end of a link. An address is empty where the link has not got that family."""

    name: str
    address: str
    address6: str


class Link:
    """A cable between two nodes; `link[node]` is that node's end of it."""

    def __init__(self, one: Node, other: Node, *, ipv4: bool, ipv6: bool) -> None:
        number = next(_link_numbers)
        self._name = f"link{number}"
        self._prefix = f"10.{80 + number // 256}.{number % 256}." if ipv4 else ""
        self._prefix6 = f"fd80:{number:x}::" if ipv6 else ""
        veth = ["type", "veth", "peer", "name", self._name, "netns", other.netns]
        one.run("ip", "link", "add", self._name, *veth)
        self._ends = {one: self._attach(one, 1), other: self._attach(other, 2)}
        wait_until(self._is_up, "the link is up")

    @property
    def subnet(self) -> str:
        return self._prefix and f"{self._prefix}0/24"

    @property
    def subnet6(self) -> str:
        return self._prefix6 and f"{self._prefix6}/64"

    def __getitem__(self, node: Node) -> Interface:
        return self._ends[node]

    def cut(self) -> None:
        """Nothing gets through, and nobody is told; IPv4 addresses stay."""
        self._set_last("down")

    def mend(self) -> None:
        self._set_last("up")

    def slow(self, rate: str) -> None:
        """Let the first node send no faster than *rate*, such as ``256kbit``."""
        node, interface = next(iter(self._ends.items()))
        limit = ["tbf", "rate", rate, "burst", "4k", "latency", "200ms"]
        node.run("tc", "qdisc", "replace", "dev", interface.name, "root", *limit)

    def _set_last(self, state: str) -> None:
        node, interface = list(self._ends.items())[-1]
        node.run("ip", "link", "set", interface.name, state)

    def _attach(self, node: Node, number: int) -> Interface:
        address = self._prefix and f"{self._prefix}{number}"
        address6 = self._prefix6 and f"{self._prefix6}{number}"
        if address:
            node.run("ip", "address", "add", f"{address}/24", "dev", self._name)
        if address6:
            node.run("ip", "address", "add", f"{address6}/64", "dev", self._name, "nodad")
        node.run("ip", "link", "set", self._name, "up")
        return Interface(self._name, address, address6)

    def _is_up(self) -> bool:
        """Until both ends are, neighbours miss each other's first question, and ask again in a second."""
        shown = [node.run("ip", "-brief", "link", "show", self._name).stdout for node in self._ends]
        return all(" UP " in line for line in shown)


class Network:
    """The nodes and links of one test. Its controller is there from the start."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self._folder = folder
        self._keys = keys
        self._nodes: list[Node] = []
        self._servers: list[socket.socket] = []
        self._stack = ExitStack()
        self._stack.enter_context(another_network())
        self.controller = Controller()
        self._adopt(self.controller)

    def _adopt(self, node: Node) -> None:
        self._nodes.append(node)
        self._stack.callback(node.close)

    def host(self, etc: dict[str, str] | None = None, sshd_options: str = "") -> Host:
        host = Host(self._folder, self._keys, etc, sshd_options)
        self._adopt(host)
        return host

    def node(self) -> Node:
        """One without sshd."""
        node = Node()
        self._adopt(node)
        return node

    def router(self) -> Node:
        """A node that passes on what is not for itself."""
        node = self.node()
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            node.run("sh", "-c", f"echo 1 > /proc/sys/net/{switch}")
        return node

    def link(self, one: Node, other: Node, *, ipv4: bool = True, ipv6: bool = True) -> Link:
        return Link(one, other, ipv4=ipv4, ipv6=ipv6)

    def listen(self, node: Node, port: int, address: str = "::") -> socket.socket:
        """A listening socket of this test, on a node; without an address, on all, both families."""
        server = listen(node, port, address)
        self._servers.append(server)
        return server

    def expect_nothing_left(self) -> None:
        """No process on any node but its sshd, and nobody listens but that."""
        for server in self._servers:
            server.close()
        self._wait_for_none(self._processes, "no process of a session is left")
        self._wait_for_none(self._listeners, "nobody listens any more")

    def _wait_for_none(self, find: Callable[[], Sequence[str]], what: str) -> None:
        try:
            wait_until(lambda: not find(), what)
        except AssertionError as error:
            raise AssertionError(f"{error}: {find()}") from None

    def _processes(self) -> list[str]:
        found = processes_in(*(node.network for node in self._nodes)).values()
        return [words for words in found if "sshd" not in words and not _is_kept_login(words)]

    def _listeners(self) -> list[str]:
        lines = [line for node in self._nodes for line in node.run("ss", "-Hltn").stdout.splitlines()]
        return [line for line in lines if ":22 " not in line]

    def close(self) -> None:
        self._stack.close()


def _is_kept_login(words: str) -> bool:
    """A login's master connection outlives a playbook on purpose, with its way through a jump host."""
    return is_master(words) or (words.startswith("ssh ") and " -W " in words)


def add_route(node: Node, link: Link | None, via: Interface) -> None:
    """Have *node* reach the addresses of *link* through a neighbour; None for all others there are."""
    subnets = ("0.0.0.0/0", "::/0") if link is None else (link.subnet, link.subnet6)
    for subnet, neighbour in zip(subnets, (via.address, via.address6), strict=True):
        if subnet and neighbour:
            node.run("ip", "route", "add", subnet, "via", neighbour)


def add_addresses(node: Node, addresses: Sequence[str]) -> None:
    """IPv4 addresses that are the node's own, wherever packets for them come from."""
    for address in addresses:
        node.run("ip", "address", "add", f"{address}/32", "dev", "lo")


def block_inbound(node: Node, verdict: str, *, but: Sequence[str] = (), at: Interface | None = None) -> None:
    """A firewall on *node*: what others open to TCP ports is dropped or rejected, *but* for some.

    It guards one interface, or all of them but loopback.
    """
    guarded = 'iifname != "lo"' if at is None else f'iifname "{at.name}"'
    accepted = f"tcp dport {{ {', '.join(but)} }} accept" if but else ""
    _add_chain(
        node,
        "filter hook input priority filter",
        f"ct state established,related accept\n{accepted}\n{guarded} meta l4proto tcp counter {verdict}",
    )


def blocked_packets(node: Node) -> int:
    """How many the firewalls of *node* have blocked."""
    return sum(map(int, re.findall(r"counter packets (\d+)", node.run("nft", "list", "ruleset").stdout)))


def drop_family(node: Node, family: str) -> None:
    """Let no packet of that family, `ipv4` or `ipv6`, into *node*; loopback has none to lose."""
    _add_chain(node, "filter hook prerouting priority raw", f'iifname != "lo" meta nfproto {family} drop')


def masquerade(router: Node, out: Interface) -> None:
    """What leaves there bears the router's own address."""
    _add_chain(router, "nat hook postrouting priority srcnat", f'oifname "{out.name}" masquerade')


def forward_ports(router: Node, ports: str, to: str, *, at: Interface) -> None:
    """Pass on what comes for *ports* of the router to an IPv4 address, or to an `address:port`."""
    _add_chain(
        router,
        "nat hook prerouting priority dstnat",
        f'iifname "{at.name}" tcp dport {ports} dnat ip to {to}',
    )


def _add_chain(node: Node, hook: str, rules: str) -> None:
    chain = f"chain c{next(_chain_numbers)} {{\ntype {hook}\n{rules}\n}}"
    node.run("nft", "-f", "-", input=f"table inet test {{\n{chain}\n}}\n")


def listen(node: Node, port: int, address: str = "::") -> socket.socket:
    """A listening socket on *node*; without an address, on all, both families."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with node.entered():
        return socket.create_server((address, port), family=family, dualstack_ipv6=address == "::")


def can_connect(node: Node, listener: Node, address: str, port: int = 40000) -> bool:
    """Whether *node* gets through to *listener*, which it calls by that address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with listen(listener, port), node.entered(), socket.socket(family) as sock:
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect((address, port))
        except OSError:
            return False
        return True


def hosts_file(folder: Path, names: dict[str, Sequence[str]]) -> Callable[..., list[str]]:
    """Makes of a command one that knows the addresses of these names, as /etc/hosts tells them."""
    path = folder / "hosts"
    known = {"localhost": ["127.0.0.1"], **names}
    lines = [f"{address} {name}\n" for name, addresses in known.items() for address in addresses]
    path.write_text("".join(lines), encoding="utf-8")
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return lambda *words: ["unshare", "--mount", "sh", "-c", script, str(path), *words]
