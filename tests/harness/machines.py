# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines on which the program socketpipe is installed, and whose users log in by ssh and a name.

    machines = Machines(network, folder)
    here, there = machines.add("here"), machines.add("there")
    machines.link(here, there)
    machines.run(here, "socketpipe -i { echo x } -l { ssh there } -r { cat }")

A command line goes through bash, as when it is typed. The machines share one file system: a file
that one of them writes, a test reads.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.network import Host, Node, processes_in
from harness.program import Ended, Program, Running
from harness.topology import Link, Network
from harness.waiting import wait_until

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_CLIENT = """\
IdentityFile {keys.login}
IdentitiesOnly yes
BatchMode yes
StrictHostKeyChecking yes
UserKnownHostsFile /dev/null
GlobalKnownHostsFile {known}
"""


def add_door(program: Program, name: str, door: Path, words: str) -> None:
    """Install *name* beside *program*: it waits until the file *door* is there, and becomes *words* with
    its arguments."""
    program.add(name, f'#!/bin/sh\nwhile ! [ -e {door} ]; do sleep 0.02; done\nexec {words} "$@"\n')


class Connection(NamedTuple):
    """As `ss` shows it on one of its two machines."""

    address: str
    port: int
    peer: str
    peer_port: int


class Machines:
    """Hosts of *network*. Each knows those that it is linked to by their names; *folder* is where
    their command lines run."""

    def __init__(self, network: Network, folder: Path) -> None:
        self._network = network
        self._names: dict[Host, str] = {}
        self._paths: dict[Host, str] = {}
        self.folder = folder
        self._settings = folder / "settings"
        self._settings.mkdir()
        self.program = Program(folder / "program")
        self._started = 0

    def add(
        self, name: str, *, program: Program | None = None, shell: str = "/bin/bash", sshd_options: str = ""
    ) -> Host:
        """A machine with *program*, or the one that all have; *shell* is its user's."""
        path = f"{(program or self.program).path.parent}:{SYSTEM_PATH}"
        host = self._network.host(
            {
                "ssh/ssh_config": f"Include {self._settings / name}\n",
                "passwd": f"root:x:0:0::/root:{shell}\nsshd:x:100:65534::/run/sshd:/bin/false\n",
            },
            f"SetEnv PATH={path}\n{sshd_options}",
        )
        known = self._settings / "known_hosts"
        known.write_text("* " + host.keys.host.with_suffix(".pub").read_text("utf-8"), encoding="utf-8")
        settings = _CLIENT.format(keys=host.keys, known=known)
        (self._settings / name).write_text(settings, encoding="utf-8")
        self._names[host], self._paths[host] = name, path
        return host

    def link(self, one: Host, other: Host, *, ipv4: bool = True, ipv6: bool = True) -> Link:
        """A cable between two machines, which from now on know each other's names."""
        link = self._network.link(one, other, ipv4=ipv4, ipv6=ipv6)
        for knowing, known in ((one, other), (other, one)):
            self.tell_name(knowing, self._names[known], link[known].address or link[known].address6)
        return link

    def tell_name(self, host: Host, name: str, address: str) -> None:
        """Have the users of *host* reach *address* by that name."""
        with (self._settings / self._names[host]).open("a", encoding="utf-8") as settings:
            settings.write(f"Host {name}\nHostName {address}\n")

    def start(self, host: Host, line: str, *arguments: str | bytes) -> Running:
        """Start a command line on *host*; *arguments* are "$@" in it."""
        self._started += 1
        stdout, stderr = (self._settings / f"{self._started}.{name}" for name in ("stdout", "stderr"))
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                [*host.words("bash", "-c", line, "bash"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=self.program.environment({"PATH": self._paths[host]}),
                start_new_session=True,
            )
        return Running(process, stdout, stderr)

    def run(self, host: Host, line: str, *arguments: str | bytes) -> Ended:
        return self.start(host, line, *arguments).wait()

    def expect_nobody_logged_in(self) -> None:
        def logged_in() -> list[str]:
            words = processes_in(*(host.network for host in self._names)).values()
            return [line for line in words if "@notty" in line]

        wait_until(lambda: not logged_in(), "nobody is logged in any more")


def logins_to(host: Host) -> int:
    """How many there have been so far."""
    return host.log.read_text(errors="replace").count("Accepted publickey for ")


def login_process(host: Host) -> int:
    """The sshd that serves the one login to *host*."""

    def find() -> list[int]:
        return [pid for pid, words in processes_in(host.network).items() if "@notty" in words]

    (pid,) = wait_until(find, "somebody is logged in")
    return pid


def process_on(host: Host, beginning: str) -> int:
    """The one process on *host* whose command line begins like that."""

    def find() -> list[int]:
        return [pid for pid, words in host.processes().items() if words.startswith(beginning)]

    (pid,) = wait_until(find, f"'{beginning}' runs")
    return pid


def connections_of(node: Node) -> list[Connection]:
    """The TCP connections of *node* to others that are open in both directions."""
    rows = [line.split() for line in node.run("ss", "-Htn", "state", "established").stdout.splitlines()]
    found = [Connection(*_address(row[2]), *_address(row[3])) for row in rows]
    return [connection for connection in found if connection.address != connection.peer]


def listening_port(node: Node) -> int | None:
    """The only one on *node* but sshd's."""
    found = {int(port) for port in re.findall(r"[*\].\d]:(\d+) ", node.run("ss", "-Hltn").stdout)} - {22}
    return next(iter(found), None)


def wait_for_listener(node: Node) -> int:
    return wait_until(lambda: listening_port(node) or 0, "the program listens")


def _address(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), int(port)


def retransmissions(node: Node) -> int:
    """How often in a row a connection of *node* has sent the same, or asked, again; the most of them all."""
    found: Sequence[str] = re.findall(r"backoff:(\d+)", node.run("ss", "-Htin").stdout)
    return max(map(int, found), default=0)
