# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two machines find each other through what is between them, or say what is in the way.

lan        controller ---- lan ---- target

masked     controller ---- home ---- router ---- internet ---- target
                                     masks the controller with its own address

hidden     controller ---- internet ---- router ---- home ---- target
                                         masks the target with its own address,
                                         and forwards its port 2222 to the login

office                 .---- front ---- jump ---- back ----.
           controller -+                                   +- target
                       '---- left ---- router ---- right --'

                       The jump host passes nothing on but the login. The lower way is only
                       there once it is opened.

split                  .---- management ----.
           controller -+                    +- target
                       '------- data -------'

                       The login goes over the upper link. Nothing else gets through to whoever
                       closes it.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from harness.ansible import MODULE, Ansible, Run, TaskResult
from harness.network import Host, Node
from harness.topology import (
    Link,
    Network,
    add_addresses,
    add_route,
    block_inbound,
    blocked_packets,
    can_connect,
    drop_family,
    forward_ports,
    hosts_file,
    masquerade,
)
from harness.waiting import HANGS_AFTER, wait_until

Session = Callable[..., TaskResult]

#: Who may be the listener.
LISTENERS = {"auto": {"local", "remote"}, "local": {"local"}, "remote": {"remote"}}
PORTS, PORT_NUMBERS = "50000-50002", range(50000, 50003)
PORT = PORT_NUMBERS[0]
#: Seconds in which two machines meet of whose addresses the likelier ones lead nowhere.
SOON = 1.5
TIMEOUT = 3
#: Seconds that a play takes besides its session.
PLAY = 25
HELLO_SIZE = 48
#: What is told of each attempt.
ATTEMPT = {"side", "purpose", "source", "address", "port", "tries", "outcome", "seconds"}
#: Lets a task know all addresses of the target.
FACTS = {"ansible.builtin.setup": {"gather_subset": ["!all", "!min", "network"]}}


@pytest.fixture
def controller(network: Network) -> Node:
    return network.controller


@pytest.fixture
def target(network: Network) -> Host:
    return network.host()


@pytest.fixture
def lan(network: Network, controller: Node, target: Host) -> Link:
    return network.link(controller, target)


@pytest.fixture
def start_session(ansible: Ansible) -> Callable[..., Run]:
    """Starts one task on a host, *after* others. *login* is the host's address, or variables."""

    def start(
        host: Host, login: str | dict[str, object], *, after: Sequence[object] = (), **options: Any
    ) -> Run:
        variables = login if isinstance(login, dict) else {"ansible_host": login}
        hosts = {host.name: host.inventory(**variables)}
        return ansible.start(hosts, [*after, {MODULE: {"input": "echo x", "remote": "cat", **options}}])

    return start


@pytest.fixture
def session(start_session: Callable[..., Run]) -> Session:
    """Runs one task on a host, and gives its result."""

    def run(*arguments: Any, **options: Any) -> TaskResult:
        return result_of(start_session(*arguments, **options))

    return run


def result_of(run: Run) -> TaskResult:
    results = run.wait()
    assert results, run.output
    return results[-1]


def path_of(result: TaskResult, within: float = SOON) -> dict[str, Any]:
    """Of a session that did what it was to do, and soon."""
    assert (result.kind, result.get("stdout")) == ("ok", "x\n"), result.msg
    path: dict[str, Any] = result["path"]
    assert path["seconds"] < within
    return path


def expect_path(result: TaskResult, listener: str, at: Container[str], within: float = SOON) -> None:
    """The session did what it was to do, with that side listening *at* one of these addresses."""
    path = path_of(result, within)
    assert path["listener"] == listener
    assert path["address"] in at


def expect_told(result: TaskResult, target: Host, *sides: str) -> None:
    """It failed for want of a path; all that *sides* tried is told, and what to open for them."""
    assert result.kind == "failed"
    assert {attempt["side"] for attempt in result["paths_tried"]} == set(sides)
    for attempt in result["paths_tried"]:
        assert set(attempt) == ATTEMPT
        assert f"to {attempt['address']} port" in result.msg
        assert str(attempt["port"]) in result.msg
        assert attempt["outcome"] in result.msg
        assert attempt["tries"] >= 1
    directions = {"remote": f"from {target.name} to controller", "local": f"from controller to {target.name}"}
    told = {side for side, direction in directions.items() if direction in result.msg}
    assert told == set(sides), result.msg


# Firewalls


@pytest.mark.parametrize("verdict", ["drop", "reject"])
def test_a_firewall_on_the_controller(
    lan: Link, controller: Node, target: Host, session: Session, verdict: str
) -> None:
    block_inbound(controller, verdict)
    assert not can_connect(target, controller, lan[controller].address)
    expect_path(session(target, lan[target].address), "remote", at=lan[target])


@pytest.mark.parametrize("verdict", ["drop", "reject"])
def test_a_firewall_on_the_target(
    lan: Link, controller: Node, target: Host, session: Session, verdict: str
) -> None:
    block_inbound(target, verdict, but=["22"])
    assert not can_connect(controller, target, lan[target].address)
    expect_path(session(target, lan[target].address), "local", at=lan[controller])


@pytest.mark.parametrize("verdict", ["drop", "reject"])
def test_firewalls_on_both_machines(
    lan: Link, controller: Node, target: Host, session: Session, verdict: str
) -> None:
    block_inbound(controller, verdict)
    block_inbound(target, verdict, but=["22"])
    began = time.monotonic()
    result = session(target, lan[target].address, ports=PORTS, timeout=TIMEOUT)
    assert time.monotonic() - began < TIMEOUT + PLAY
    expect_told(result, target, "remote", "local")
    tried = {(attempt["side"], attempt["address"]) for attempt in result["paths_tried"]}
    assert {("remote", lan[controller].address), ("local", lan[target].address)} <= tried
    assert f"open TCP port {PORTS} " in result.msg


@pytest.mark.parametrize(("listener", "connector"), [("local", "remote"), ("remote", "local")])
def test_a_firewall_around_the_only_one_who_listens(
    lan: Link, controller: Node, target: Host, session: Session, listener: str, connector: str
) -> None:
    block_inbound(controller if listener == "local" else target, "drop", but=["22"])
    began = time.monotonic()
    result = session(target, lan[target].address, listen=listener, timeout=TIMEOUT)
    assert time.monotonic() - began < TIMEOUT + PLAY
    expect_told(result, target, connector)
    assert "'ports'" in result.msg


@pytest.mark.parametrize("listener", ["local", "remote"])
def test_a_firewall_with_the_ports_opened(
    lan: Link, controller: Node, target: Host, session: Session, listener: str
) -> None:
    guarded = controller if listener == "local" else target
    block_inbound(guarded, "drop", but=["22", PORTS])
    assert not can_connect(target if guarded is controller else controller, guarded, lan[guarded].address)
    result = session(target, lan[target].address, listen=listener, ports=PORTS)
    expect_path(result, listener, at=lan[guarded])
    assert result["path"]["port"] in PORT_NUMBERS


# Routers that translate addresses


class Masked(NamedTuple):
    router: Node
    home: Link
    internet: Link


@pytest.fixture
def masked(network: Network, controller: Node, target: Host) -> Masked:
    router = network.router()
    masked = Masked(router, network.link(controller, router), network.link(router, target))
    add_route(controller, masked.internet, via=masked.home[router])
    masquerade(router, masked.internet[router])
    return masked


def test_a_controller_behind_a_router_that_masks_it(
    masked: Masked, controller: Node, target: Host, session: Session
) -> None:
    assert not can_connect(target, controller, masked.home[controller].address)
    assert not can_connect(target, controller, masked.internet[masked.router].address)
    result = session(target, masked.internet[target].address)
    expect_path(result, "remote", at=masked.internet[target])


class Hidden(NamedTuple):
    router: Node
    internet: Link
    home: Link

    @property
    def login(self) -> dict[str, object]:
        return {"ansible_host": self.internet[self.router].address, "ansible_port": 2222}


@pytest.fixture
def hidden(network: Network, controller: Node, target: Host) -> Hidden:
    router = network.router()
    hidden = Hidden(router, network.link(controller, router), network.link(router, target))
    add_route(target, None, via=hidden.home[router])
    masquerade(router, hidden.internet[router])
    forward_ports(router, "2222", f"{hidden.home[target].address}:22", at=hidden.internet[router])
    return hidden


def test_a_target_behind_a_router_that_forwards_ports(
    hidden: Hidden, controller: Node, target: Host, session: Session
) -> None:
    address = hidden.internet[hidden.router].address
    forward_ports(hidden.router, PORTS, hidden.home[target].address, at=hidden.internet[hidden.router])
    block_inbound(controller, "drop")
    assert not can_connect(target, controller, hidden.internet[controller].address)
    assert not can_connect(controller, target, hidden.home[target].address)
    assert can_connect(controller, target, address, PORT)
    expect_path(session(target, hidden.login, ports=PORTS), "remote", at=[address])


def test_a_target_behind_a_router_that_hides_it(
    hidden: Hidden, controller: Node, target: Host, session: Session
) -> None:
    assert not can_connect(controller, target, hidden.internet[hidden.router].address)
    expect_path(session(target, hidden.login), "local", at=hidden.internet[controller])


# Logins that go another way


class Office(NamedTuple):
    jump: Host
    front: Link
    back: Link

    def login(self, target: Host, folder: Path) -> dict[str, object]:
        return {
            "ansible_host": self.back[target].address,
            "ansible_ssh_common_args": f"-F {ssh_config(self.jump, folder)} "
            f"-o ProxyJump=root@{self.front[self.jump].address}",
        }

    def open_the_lower_way(self, network: Network, target: Host) -> Link:
        """The link at the controller's end of it."""
        router = network.router()
        left, right = network.link(network.controller, router), network.link(router, target)
        for link in (right, self.back):
            add_route(network.controller, link, via=left[router])
        for link in (left, self.front):
            add_route(target, link, via=right[router])
        add_route(router, self.back, via=right[target])
        add_route(router, self.front, via=left[network.controller])
        return left


def ssh_config(host: Host, folder: Path, *lines: str) -> Path:
    """What the harness says on the command line, where the logins on the way see it too."""
    path = folder / "ssh_config"
    common = [
        f"IdentityFile {host.keys.login}",
        "UserKnownHostsFile /dev/null",
        "StrictHostKeyChecking no",
        "LogLevel ERROR",
    ]
    path.write_text("\n".join([*lines, "Host *", *common, ""]), encoding="utf-8")
    return path


@pytest.fixture
def office(network: Network, controller: Node, target: Host) -> Office:
    jump = network.host()
    return Office(jump, network.link(controller, jump), network.link(jump, target))


@pytest.mark.parametrize("listener", ["local", "remote"])
def test_a_jump_host_with_a_way_past_it(
    office: Office,
    network: Network,
    controller: Node,
    target: Host,
    session: Session,
    tmp_path: Path,
    listener: str,
) -> None:
    left = office.open_the_lower_way(network, target)
    result = session(target, office.login(target, tmp_path), listen=listener)
    ends = {"local": (*office.front[controller], *left[controller]), "remote": (office.back[target].address,)}
    expect_path(result, listener, at=ends[listener])


def test_a_jump_host_without_a_way_past_it(
    office: Office, target: Host, session: Session, tmp_path: Path
) -> None:
    began = time.monotonic()
    result = session(target, office.login(target, tmp_path), timeout=TIMEOUT)
    assert time.monotonic() - began < TIMEOUT + PLAY
    expect_told(result, target, "remote", "local")


def test_a_name_that_only_the_login_knows(lan: Link, target: Host, session: Session, tmp_path: Path) -> None:
    config = ssh_config(target, tmp_path, "Host alias", f"HostName {lan[target].address}")
    login: dict[str, object] = {"ansible_host": "alias", "ansible_ssh_common_args": f"-F {config}"}
    expect_path(session(target, login, listen="remote"), "remote", at=lan[target])


# The two families


@pytest.mark.parametrize("listen", LISTENERS)
def test_ipv6_alone(network: Network, controller: Node, target: Host, session: Session, listen: str) -> None:
    lan = network.link(controller, target, ipv4=False)
    path = path_of(session(target, lan[target].address6, listen=listen))
    assert path["listener"] in LISTENERS[listen]
    assert path["address"] == lan[target if path["listener"] == "remote" else controller].address6
    assert path["family"] == "IPv6"


@pytest.mark.parametrize("listen", LISTENERS)
@pytest.mark.parametrize(("broken", "whole"), [("ipv4", "IPv6"), ("ipv6", "IPv4")])
def test_one_family_is_broken(
    lan: Link,
    controller: Node,
    target: Host,
    ansible: Ansible,
    session: Session,
    tmp_path: Path,
    listen: str,
    broken: str,
    whole: str,
) -> None:
    """Of a target with a name for both. ssh is told which one to use, for that is not our business."""
    addresses = {"IPv4": lan[target].address, "IPv6": lan[target].address6}
    ansible.within = hosts_file(tmp_path, {"both.example": list(addresses.values())})
    drop_family(target, broken)
    assert [can_connect(controller, target, address) for address in addresses.values()] == [
        family == whole for family in addresses
    ]
    login = {
        "ansible_host": "both.example",
        "ansible_ssh_extra_args": f"-o AddressFamily={'inet6' if whole == 'IPv6' else 'inet'}",
    }
    path = path_of(session(target, login, listen=listen))
    assert path["listener"] in LISTENERS[listen]
    assert path["family"] == whole


# Several addresses, one of which is of use


class Split(NamedTuple):
    management: Link
    data: Link

    @contextmanager
    def closed(self, node: Node, useless: Sequence[str]) -> Iterator[None]:
        """Connections to *useless* addresses are dropped, and each of them has to be tried in vain."""
        block_inbound(node, "drop", but=["22"], at=self.management[node])
        yield
        assert blocked_packets(node) >= len(useless)


@pytest.fixture
def split(network: Network, controller: Node, target: Host) -> Split:
    return Split(*(network.link(controller, target, ipv6=False) for name in Split._fields))


def test_the_likelier_interface_of_the_controller_is_dead(
    split: Split, controller: Node, target: Host, session: Session
) -> None:
    with split.closed(controller, [split.management[controller].address]):
        result = session(target, split.management[target].address, listen="local")
    expect_path(result, "local", at=split.data[controller])


def test_the_likelier_interface_of_the_target_is_dead(split: Split, target: Host, session: Session) -> None:
    """The other one is in the target's facts."""
    with split.closed(target, [split.management[target].address]):
        result = session(target, split.management[target].address, listen="remote", after=[FACTS])
    expect_path(result, "remote", at=split.data[target])


#: They belong to a machine, but the firewall of its management does not let anybody through to them.
USELESS = [f"10.9.8.{number}" for number in range(1, 30)]


def test_a_controller_with_30_addresses(
    split: Split, controller: Node, target: Host, session: Session
) -> None:
    add_addresses(controller, USELESS)
    add_route(target, None, via=split.management[controller])
    with split.closed(controller, USELESS):
        result = session(target, split.management[target].address, listen="local")
    expect_path(result, "local", at=split.data[controller])


def test_a_name_of_the_target_with_30_addresses(
    split: Split, controller: Node, target: Host, ansible: Ansible, session: Session, tmp_path: Path
) -> None:
    useful = "10.9.9.1"
    add_addresses(target, [*USELESS, useful])
    add_route(controller, None, via=split.management[target])
    controller.run("ip", "route", "add", useful, "via", split.data[target].address)
    ansible.within = hosts_file(tmp_path, {"many.example": [*USELESS, useful]})
    with split.closed(target, USELESS):
        result = session(
            target, split.management[target].address, listen="remote", remote_host="many.example"
        )
    expect_path(result, "remote", at=[useful])


# Strangers in the place of the peer


def visitor_of(stranger: socket.socket) -> socket.socket:
    """The first connection to a listener that takes no notice of any."""
    stranger.settimeout(15)
    visitor = stranger.accept()[0]
    visitor.settimeout(15)
    return visitor


def heard_by(stranger: socket.socket) -> bytes:
    """All that its first visitor said, in a session that has ended."""
    with visitor_of(stranger) as visitor:
        return b"".join(iter(lambda: visitor.recv(4096), b""))


def test_a_silent_stranger_where_the_controller_seems_to_be(
    masked: Masked, network: Network, controller: Node, target: Host, session: Session
) -> None:
    """The login comes from the router, where somebody else has the controller's port."""
    add_route(target, masked.home, via=masked.internet[masked.router])
    stranger = network.listen(masked.router, PORT)
    result = session(target, masked.internet[target].address, listen="local", ports=str(PORT))
    expect_path(result, "local", at=masked.home[controller])
    assert len(heard_by(stranger)) == HELLO_SIZE


def test_a_silent_stranger_where_the_target_seems_to_be(
    hidden: Hidden, network: Network, controller: Node, target: Host, session: Session
) -> None:
    """The login goes to the router, where somebody else has the target's port."""
    add_route(controller, hidden.home, via=hidden.internet[hidden.router])
    stranger = network.listen(hidden.router, PORT)
    result = session(target, hidden.login, listen="remote", ports=str(PORT), after=[FACTS])
    expect_path(result, "remote", at=hidden.home[target])
    assert len(heard_by(stranger)) == HELLO_SIZE


# Ports that others have


def occupy_ports(network: Network, node: Node) -> list[socket.socket]:
    return [network.listen(node, port) for port in PORT_NUMBERS]


@pytest.mark.parametrize("listener", ["local", "remote"])
def test_no_port_is_free(
    lan: Link, network: Network, controller: Node, target: Host, session: Session, listener: str
) -> None:
    occupy_ports(network, controller if listener == "local" else target)
    began = time.monotonic()
    result = session(target, lan[target].address, listen=listener, ports=PORTS, timeout=1)
    assert time.monotonic() - began < 1 + PLAY
    assert result.kind == "failed"
    name = "controller" if listener == "local" else target.name
    assert f"{name} could not listen on port {PORTS}: Address already in use" in result.msg


@pytest.mark.parametrize(("full", "listener"), [("local", "remote"), ("remote", "local")])
def test_no_port_is_free_on_one_machine(
    lan: Link, network: Network, controller: Node, target: Host, session: Session, full: str, listener: str
) -> None:
    nodes = {"local": controller, "remote": target}
    occupy_ports(network, nodes[full])
    result = session(target, lan[target].address, ports=PORTS)
    expect_path(result, listener, at=lan[nodes[listener]])


def test_a_port_of_the_target_becomes_free(
    lan: Link, network: Network, controller: Node, target: Host, start_session: Callable[..., Run]
) -> None:
    block_inbound(controller, "drop")
    servers = occupy_ports(network, target)
    run = start_session(target, lan[target].address, ports=PORTS)
    wait_until(lambda: blocked_packets(controller), "the target listens in vain, and connects in vain")
    free(servers)
    expect_path(result_of(run), "remote", at=lan[target], within=PLAY)


def test_a_port_of_the_controller_becomes_free(
    lan: Link, network: Network, controller: Node, target: Host, start_session: Callable[..., Run]
) -> None:
    block_inbound(target, "drop", but=["22"])
    servers = occupy_ports(network, controller)
    run = start_session(target, lan[target].address, ports=PORTS, timeout=10)
    wait_until(lambda: blocked_packets(target), "the controller listens in vain, and connects in vain")
    free(servers)
    expect_path(result_of(run), "local", at=lan[controller], within=PLAY)


def test_a_port_of_the_controller_becomes_free_for_the_only_listener(
    lan: Link, network: Network, controller: Node, target: Host, start_session: Callable[..., Run]
) -> None:
    servers = occupy_ports(network, controller)
    run = start_session(target, lan[target].address, listen="local", ports=PORTS)
    visitor_of(servers[0]).close()  # the target connects, and the controller has long listened in vain
    free(servers)
    expect_path(result_of(run), "local", at=lan[controller], within=PLAY)


def free(servers: list[socket.socket]) -> None:
    for server in servers:
        server.close()


# Many sessions at once


class Gate:
    """Holds up the Pythons of all targets until the last one has come."""

    def __init__(self, folder: Path) -> None:
        self._arrived = folder / "arrived"
        self._arrived.mkdir()
        self._fifo = folder / "fifo"
        os.mkfifo(self._fifo)
        self.python = folder / "python"
        self.python.write_text(
            f'#!/bin/sh\n: > {self._arrived}/$$\n: < {self._fifo}\nexec {sys.executable} "$@"\n', "utf-8"
        )
        self.python.chmod(0o755)

    @contextmanager
    def opened_for(self, count: int) -> Iterator[None]:
        wait_until(lambda: len(list(self._arrived.iterdir())) == count, "all have come", timeout=HANGS_AFTER)
        # A fifo opens to those who read it as long as somebody may write.
        with open(os.open(self._fifo, os.O_RDWR), "wb"):
            yield


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


class Crowd:
    """A session for each host: both of its sides say a word that is its own, and both have to come back."""

    def __init__(self, ansible: Ansible, hosts: dict[str, dict[str, object]], **options: Any) -> None:
        self._words = {name: secrets.token_hex(16) for name in hosts}
        inventory = {name: {**hosts[name], "word": word} for name, word in self._words.items()}
        task = {
            "input": ["printf", "%s", "{{ word }}"],
            "remote": ["sh", "-c", 'printf "%s " "$0"; cat', "{{ word }}"],
            "output": "cat",
            **options,
        }
        self._run = ansible.start(inventory, [{MODULE: task}], "--forks", str(len(hosts)))

    def paths(self) -> list[dict[str, Any]]:
        """Of all, none of which met another's side."""
        results = self._run.wait()
        assert [result.msg for result in results if result.kind != "ok"] == []
        assert {result.host: result["stdout"].split() for result in results} == {
            name: [word, word] for name, word in self._words.items()
        }
        return [result["path"] for result in results]


def test_50_hosts_at_once(network: Network, controller: Node, ansible: Ansible, gate: Gate) -> None:
    hosts = {}
    for _number in range(50):
        host = network.host()
        address = network.link(controller, host)[host].address
        hosts[host.name] = host.inventory(ansible_host=address, ansible_python_interpreter=str(gate.python))
    crowd = Crowd(ansible, hosts, ports="50000-50100")
    with gate.opened_for(len(hosts)):
        paths = crowd.paths()
    assert {path["port"] for path in paths} <= set(range(50000, 50101))


def several_names(host: Host, lan: Link, count: int, **variables: object) -> dict[str, dict[str, object]]:
    inventory = host.inventory(ansible_host=lan[host].address, **variables)
    return {f"name{number}": inventory for number in range(count)}


@pytest.mark.parametrize("listen", LISTENERS)
def test_8_sessions_at_once_with_one_host(
    lan: Link, target: Host, ansible: Ansible, gate: Gate, listen: str
) -> None:
    """Whoever connects to the other's ports meets the listeners of all of them."""
    hosts = several_names(target, lan, 8, ansible_python_interpreter=str(gate.python))
    crowd = Crowd(ansible, hosts, listen=listen, ports="50000-50009")
    with gate.opened_for(len(hosts)):
        paths = crowd.paths()
    assert {path["listener"] for path in paths} <= LISTENERS[listen]


@pytest.mark.parametrize("listen", LISTENERS)
def test_more_sessions_than_ports(lan: Link, target: Host, ansible: Ansible, listen: str) -> None:
    """They take turns."""
    names = several_names(target, lan, 2 * len(PORT_NUMBERS))
    paths = Crowd(ansible, names, listen=listen, ports=PORTS).paths()
    assert {path["port"] for path in paths} <= set(PORT_NUMBERS)
