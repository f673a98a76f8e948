# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""However Ansible logs in, the two machines find each other, whoever listens."""

from __future__ import annotations

import importlib.util
import ipaddress
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.ansible import MODULE, Ansible, TaskResult
from harness.names import SilentNameServer
from harness.network import Target, run
from harness.waiting import wait_until

Variables = dict[str, object]

LISTEN = ["local", "remote", "auto"]
whoever_listens = pytest.mark.parametrize("listen", LISTEN)


def task(**options: Any) -> dict[str, Any]:
    return {MODULE: {"input": "echo x", "remote": "cat", **options}}


def play_on(hosts: str, *tasks: dict[str, Any], **keywords: object) -> dict[str, Any]:
    return {"hosts": hosts, "gather_facts": False, "tasks": list(tasks), **keywords}


def expect_x(result: TaskResult, listen: str) -> None:
    """The session worked, and the side that was asked for listened."""
    assert (result.kind, result.get("stdout")) == ("ok", "x\n"), result
    assert listen in (result["path"]["listener"], "auto"), result["path"]


@contextmanager
def nft(rules: str, where: Callable[..., list[str]] = lambda *words: list(words)) -> Iterator[None]:
    """Tables in the network namespace of the commands that *where* makes; here by default.

    Each begins with `table`, its family, its name and `{`.
    """
    tables = [line.split()[:3] for line in rules.splitlines() if line.split()[:1] == ["table"]]
    run(*where("nft", "-f", "-"), input=rules)
    try:
        yield
    finally:
        for table in tables:
            run(*where("nft", "delete", *table))


# Names that only ssh's configuration knows


@pytest.fixture
def alias(target: Target) -> str:
    return f"{target.name}-tape"


@pytest.fixture
def configured(target: Target, alias: str, tmp_path: Path) -> Iterator[Variables]:
    """Only a file of ssh's configuration knows where *alias* is, its port, its user and its key."""
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host {alias}\n"
        f"    HostName {target.address}\n"
        "    Port 2022\n"
        "    User root\n"
        f"    IdentityFile {target.keys.login}\n"
        "    UserKnownHostsFile /dev/null\n"
        "    StrictHostKeyChecking no\n"
        "    LogLevel ERROR\n",
        encoding="utf-8",
    )
    python = target.inventory()["ansible_python_interpreter"]
    with ssh_only_on_port_2022(target):
        yield {"ansible_ssh_common_args": f"-F {config}", "ansible_python_interpreter": python}


@contextmanager
def ssh_only_on_port_2022(target: Target) -> Iterator[None]:
    rules = """
    table inet ssh_port {
        chain prerouting {
            type nat hook prerouting priority -100
            tcp dport 2022 redirect to :22
        }
        chain input {
            type filter hook input priority 0
            tcp dport 22 ct state new ct status & dnat != dnat reject with tcp reset
        }
    }
    """
    with nft(rules, target.words):
        yield


def expect_no_delay(
    ansible: Ansible, target: Target, configured: Variables, named: dict[str, Variables], listen: str
) -> None:
    """The task works on the host *named*, and is hardly slower than where ansible_host is an address."""
    usual = {"usual": {**configured, **target.inventory(ansible_port=2022)}}
    plays = [play_on(host, task(listen=listen)) for host in (*usual, *named)]
    results = ansible.play({**usual, **named}, plays)
    for result in results:
        expect_x(result, listen)
    # Asking the target for its addresses is a module of its own, and takes as long as one.
    assert results[1].seconds < 2 * results[0].seconds + 5


@whoever_listens
def test_an_alias_of_ssh(
    ansible: Ansible, alias: str, configured: Variables, target: Target, listen: str
) -> None:
    """ansible_host may be a name that only ssh's configuration knows."""
    named: dict[str, Variables] = {"h": {**configured, "ansible_host": alias}}
    expect_no_delay(ansible, target, configured, named, listen)


@whoever_listens
def test_an_inventory_name_that_is_an_alias_of_ssh(
    ansible: Ansible, alias: str, configured: Variables, listen: str
) -> None:
    """Without ansible_host, the same goes for the host's name in the inventory."""
    expect_x(ansible.play({alias: configured}, [task(listen=listen)])[-1], listen)


@pytest.fixture
def silent_name_server(ansible: Ansible, alias: str, tmp_path: Path) -> Iterator[None]:
    """The controller's resolver asks a name server that never answers."""
    server = SilentNameServer(tmp_path)
    server.expect_question(alias)
    ansible.within = server.words
    yield
    server.close()


@pytest.mark.usefixtures("silent_name_server")
@whoever_listens
def test_a_silent_name_server_does_not_hold_the_task_up(
    ansible: Ansible, alias: str, configured: Variables, target: Target, listen: str
) -> None:
    """Looking for the addresses of a name never takes seconds, and the task works without them."""
    expect_no_delay(ansible, target, configured, {alias: configured}, listen)


# How the login is made


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"ansible_ssh_args": "-o ControlMaster=no -o ControlPath=none"}, id="every-login-anew"),
        pytest.param(
            {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s"}, id="one-login-kept"
        ),
        pytest.param({"ansible_pipelining": False}, id="no-pipelining"),
    ],
)
@whoever_listens
def test_settings_of_the_ssh_connection(
    ansible: Ansible, target: Target, variables: Variables, listen: str
) -> None:
    """Whether the login is kept, and how modules get to the target, makes no difference."""
    host = target.inventory(**variables)
    expect_x(ansible.play({target.name: host}, [task(listen=listen)])[-1], listen)


@whoever_listens
def test_another_port_of_ssh(ansible: Ansible, target: Target, listen: str) -> None:
    """ansible_port is for the login alone."""
    with ssh_only_on_port_2022(target):
        host = target.inventory(ansible_port=2022)
        expect_x(ansible.play({target.name: host}, [task(listen=listen)])[-1], listen)


#: ansible-core 2.21 has no paramiko any more.
SSH_PLUGINS = [
    name for name in ("ssh", "paramiko_ssh") if importlib.util.find_spec(f"ansible.plugins.connection.{name}")
]


@pytest.mark.parametrize("plugin", SSH_PLUGINS)
@whoever_listens
def test_every_ssh_connection_plugin_of_ansible(
    ansible: Ansible, target: Target, plugin: str, listen: str
) -> None:
    """The login may be made by OpenSSH, or by paramiko where this ansible-core has it."""
    ansible.allow_paramiko()
    host = target.inventory(ansible_connection=f"ansible.builtin.{plugin}")
    expect_x(ansible.play({target.name: host}, [task(listen=listen)])[-1], listen)


@pytest.fixture
def link_local(target: Target) -> str:
    """The target's link-local address, and the link, without which it is none."""

    def address() -> str | None:
        words = ("ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "link", "-tentative")
        found = run(*target.words(*words)).stdout.split()
        return found[found.index("inet6") + 1].partition("/")[0] if found else None

    return f"{wait_until(address, 'the target has a link-local address')}%{target.link}"


@whoever_listens
def test_a_link_local_address(ansible: Ansible, target: Target, link_local: str, listen: str) -> None:
    """An address may be one that is good on one link only, which it names."""
    host = target.inventory(ansible_host=link_local)
    expect_x(ansible.play({target.name: host}, [task(listen=listen, timeout=5)])[-1], listen)


# The controller as its own target


@pytest.fixture
def here(target: Target) -> dict[str, Variables]:
    python = target.inventory()["ansible_python_interpreter"]
    return {"here": {"ansible_connection": "local", "ansible_python_interpreter": python}}


@whoever_listens
def test_connection_local_stays_on_loopback(
    ansible: Ansible, here: dict[str, Variables], listen: str
) -> None:
    """With connection: local, it is a loopback address that is connected to."""
    result = ansible.play(here, [task(listen=listen)])[-1]
    expect_x(result, listen)
    assert ipaddress.ip_address(result["path"]["address"]).is_loopback


@pytest.mark.parametrize(("listen", "listeners"), [("local", 1), ("remote", 1), ("auto", 2)])
def test_connection_local_opens_nothing_to_others(
    ansible: Ansible, here: dict[str, Variables], listen: str, listeners: int
) -> None:
    """With connection: local, all that listens does so on loopback addresses."""
    rules = """
    table inet no_path {
        chain input {
            type filter hook input priority 0
            tcp dport 50000-50009 drop
        }
    }
    """

    def all_listening() -> list[str]:
        found = listening_addresses(50000, 50009)
        return found if len(found) >= listeners else []

    with nft(rules):
        running = ansible.start(here, [task(listen=listen, ports="50000-50009", timeout=2)])
        addresses = wait_until(all_listening, f"{listeners} listen")
        result = running.wait()[-1]
    assert set(addresses) <= {"127.0.0.1", "[::1]"}
    assert result.kind == "failed"
    assert {tried["address"] for tried in result["paths_tried"]} <= {"127.0.0.1", "::1"}


def listening_addresses(first: int, last: int) -> list[str]:
    """On what something of the controller listens, at those ports."""
    listeners = [line.split()[3].rpartition(":") for line in run("ss", "-Hltn").stdout.splitlines()]
    return [address for address, _colon, port in listeners if first <= int(port) <= last]


# Connections without a network address, as those into containers and chroots


@pytest.fixture
def contained(target: Target) -> dict[str, Variables]:
    """The target, to a connection plugin that needs no network; its name is no name of the network."""
    python = target.inventory()["ansible_python_interpreter"]
    return {
        "container": {
            "ansible_connection": "netns",
            "ansible_netns": target.namespace,
            "ansible_python_interpreter": python,
        }
    }


@whoever_listens
def test_a_container(ansible: Ansible, contained: dict[str, Variables], listen: str) -> None:
    """The login may be none at all, into something that only its connection plugin can find."""
    result = ansible.play(contained, [task(listen=listen, remote="sh -c 'cat; ls /sys/class/net'")])[-1]
    assert result.kind == "ok", result
    assert result["stdout"].split() == ["x", "eth0", "lo"]
    assert listen in (result["path"]["listener"], "auto")


def test_a_container_that_can_not_connect_to_the_controller(
    ansible: Ansible, contained: dict[str, Variables], target: Target
) -> None:
    """Where the controller's firewall lets nothing in, the container listens without being told to."""
    rules = f"""
    table inet firewall {{
        chain input {{
            type filter hook input priority 0
            iifname "{target.link}" ct state new meta l4proto tcp drop
        }}
    }}
    """
    with nft(rules):
        result = ansible.play(contained, [task()])[-1]
    expect_x(result, "remote")
    assert result["path"]["address"] in (target.address, target.address6)


@whoever_listens
def test_a_chroot(ansible: Ansible, contained: dict[str, Variables], listen: str) -> None:
    """What has no address of its own may also share those of the controller."""
    del contained["container"]["ansible_netns"]
    expect_x(ansible.play(contained, [task(listen=listen)])[-1], listen)


def test_the_login_to_the_controller_is_not_that_to_the_container(
    ansible: Ansible, contained: dict[str, Variables]
) -> None:
    """What a container inherits of Ansible's own environment is not where its login came from."""
    rules = """
    table inet no_path {
        chain input {
            type filter hook input priority 0
            tcp dport 50000 drop
        }
        chain output {
            type filter hook output priority 0
            tcp dport 50000 drop
        }
    }
    """
    ansible.environment["SSH_CONNECTION"] = "192.0.2.7 40000 192.0.2.8 22"
    with nft(rules):
        result = ansible.play(contained, [task(ports="50000", timeout=0.5)])[-1]
    assert result.kind == "failed"
    tried = {(path["side"], path["address"]) for path in result["paths_tried"]}
    assert {side for side, _address in tried} == {"local", "remote"}
    assert tried.isdisjoint({("remote", "192.0.2.7"), ("local", "192.0.2.8")})


# Become

PASSWORD = "pass word"
ROOT_PASSWORD = "another word"
NAT_ADDRESS = "10.99.0.1"


@pytest.fixture(scope="session")
def natted_target(make_target: Callable[..., Target]) -> Iterator[Target]:
    """A target with users, to which the controller has another address than to itself.

        controller                          target
        10.77.N.1 ---- source 10.99.0.1 ---> ssh
        10.77.N.1 <--- destination 10.99.0.1 --- anything
                  <-X- destination 10.77.N.1 ---

    There is a NAT in between: where a login comes from is the only address that leads back.
    """
    op, root = (
        run("openssl", "passwd", "-6", password).stdout.strip() for password in (PASSWORD, ROOT_PASSWORD)
    )
    target = make_target(
        etc={
            "passwd": "root:x:0:0::/root:/bin/sh\nop:x:4711:4711::/tmp:/bin/sh\n"
            "free:x:4712:4712::/tmp:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n",
            "group": "root:x:0:\nop:x:4711:\nfree:x:4712:\nnogroup:x:65534:\n",
            "shadow": f"root:{root}:19000:0:99999:7:::\nop:{op}:19000:0:99999:7:::\n"
            "free:*:19000:0:99999:7:::\n",
            "sudoers": "Defaults env_reset\nop ALL=(ALL) ALL\nfree ALL=(ALL) NOPASSWD: ALL\n",
        }
    )
    run(*target.words("ip", "route", "add", NAT_ADDRESS, "via", target.controller_address))
    rules = f"""
    table inet nat {{
        chain input {{
            type nat hook input priority 100
            ip saddr {target.controller_address} snat ip to {NAT_ADDRESS}
        }}
        chain output {{
            type nat hook output priority -100
            ip daddr {NAT_ADDRESS} dnat ip to {target.controller_address}
        }}
        chain direct {{
            type filter hook output priority 0
            tcp dport 50000 reject with tcp reset
            oifname eth0 meta l4proto tcp ct state new ct status & dnat != dnat reject with tcp reset
        }}
    }}
    """
    with nft(rules, target.words):
        yield target


become_in_every_way = pytest.mark.parametrize(
    ("user", "variables"),
    [
        pytest.param("root", {"ansible_user": "free"}, id="sudo"),
        pytest.param(
            "root",
            {"ansible_user": "op", "ansible_become_password": PASSWORD},
            id="sudo-password",
        ),
        pytest.param(
            "root",
            {
                "ansible_user": "op",
                "ansible_become_method": "su",
                "ansible_become_flags": "-l",
                "ansible_become_password": ROOT_PASSWORD,
            },
            id="su-password",
        ),
        pytest.param(
            "op",
            {"ansible_become_method": "su", "ansible_become_flags": "-l", "ansible_become_user": "op"},
            id="su-from-root",
        ),
        pytest.param("op", {"ansible_user": "free", "ansible_become_user": "op"}, id="sudo-to-op"),
    ],
)


@pytest.fixture
def play_become(ansible: Ansible, natted_target: Target) -> Callable[..., TaskResult]:
    def play(variables: Variables, **options: Any) -> TaskResult:
        host = natted_target.inventory(ansible_python_interpreter="/usr/bin/python3", **variables)
        become = {**task(listen="local", **options), "become": True}
        return ansible.play({natted_target.name: host}, [become])[-1]

    return play


@become_in_every_way
def test_become_does_not_lose_where_the_login_came_from(
    play_become: Callable[..., TaskResult], user: str, variables: Variables
) -> None:
    """Become cleans the environment; still the target connects to where its login came from."""
    result = play_become(variables, remote="cat; id -un; echo $SSH_CONNECTION.", shell=True)
    assert (result.kind, result.get("stdout")) == ("ok", f"x\n{user}\n.\n"), result
    assert result["path"]["address"] == NAT_ADDRESS


@become_in_every_way
def test_where_the_login_came_from_is_tried_first(
    play_become: Callable[..., TaskResult], user: str, variables: Variables
) -> None:
    """Under become as well, it is the likeliest of all addresses."""
    result = play_become(variables, ports="50000", timeout=0.5)
    assert result.kind == "failed"
    tried = [(path["side"], path["address"]) for path in result["paths_tried"]]
    assert tried[0] == ("remote", NAT_ADDRESS)
    assert len(tried) > 1


# Addresses from elsewhere


def test_delegation_goes_to_the_address_of_the_delegated_host(
    ansible: Ansible, target: Target, make_target: Callable[..., Target]
) -> None:
    """With delegate_to, it is the other host that listens, and its address that is connected to."""
    other = make_target()
    hosts = {target.name: target.inventory(), other.name: other.inventory()}
    delegated = {**task(listen="remote"), "delegate_to": other.name}
    result = ansible.play(hosts, [play_on(target.name, delegated)])[-1]
    expect_x(result, "remote")
    assert result["path"]["address"] == other.address


def test_delegation_to_localhost_stays_on_loopback(ansible: Ansible, target: Target) -> None:
    """With delegate_to: localhost, the target is this machine."""
    result = ansible.play({target.name: target.inventory()}, [{**task(), "delegate_to": "localhost"}])[-1]
    expect_x(result, "auto")
    assert ipaddress.ip_address(result["path"]["address"]).is_loopback


@pytest.fixture
def forwarded_port(target: Target) -> Iterator[int]:
    """A port of the controller's loopback that ssh forwards to the target's sshd."""
    port = 2222
    host = target.inventory()
    words = ["ssh", "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:22", "-i", str(target.keys.login)]
    options = str(host["ansible_ssh_common_args"]).split()
    with subprocess.Popen([*words, *options, f"root@{target.address}"]) as ssh:
        wait_until(lambda: f"127.0.0.1:{port} " in run("ss", "-Hltn").stdout, "ssh forwards")
        yield port
        ssh.terminate()


@pytest.fixture
def tunnelled(target: Target, forwarded_port: int) -> dict[str, Variables]:
    """The target, with an ansible_host that leads only the login there."""
    return {target.name: target.inventory(ansible_host="127.0.0.1", ansible_port=forwarded_port)}


GATHER = {"ansible.builtin.setup": {"gather_subset": ["!all", "!min", "network"]}}


def test_a_tunnel_is_only_for_the_login(
    ansible: Ansible, target: Target, tunnelled: dict[str, Variables]
) -> None:
    """To the target, the login comes from itself; it finds the controller's own addresses."""
    result = ansible.play(tunnelled, [task(listen="local")])[-1]
    expect_x(result, "local")
    assert result["path"]["address"] in (target.controller_address, target.controller_address6)


def test_addresses_from_facts(ansible: Ansible, target: Target, tunnelled: dict[str, Variables]) -> None:
    """Where ansible_host leads into a tunnel, the target listens at an address that its facts tell."""
    result = ansible.play(tunnelled, [GATHER, task(listen="remote")])[-1]
    expect_x(result, "remote")
    assert result["path"]["address"] in (target.address, target.address6)


def test_addresses_from_facts_of_the_delegated_host(
    ansible: Ansible,
    target: Target,
    tunnelled: dict[str, Variables],
    make_target: Callable[..., Target],
) -> None:
    """With delegate_to, it is the facts of the other host that count."""
    other = make_target()
    hosts = {**tunnelled, other.name: other.inventory()}
    delegated = {**task(listen="remote"), "delegate_to": target.name}
    result = ansible.play(hosts, [play_on("all", GATHER), play_on(other.name, delegated)])[-1]
    expect_x(result, "remote")
    assert result["path"]["address"] in (target.address, target.address6)
