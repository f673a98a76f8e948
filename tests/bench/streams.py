# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways from a command on the controller to a command on the target.

Each is started by a task of Ansible, for Ansible's own waiting loop takes its share of a small machine.
What is shown of a way is what is run: the same text, with names in the place of addresses and files.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.ansible import MODULE
from harness.bare_tcp import BARE_TCP
from harness.network import Host
from harness.streams import copied_by_dd

from bench.rig import BOUND, HERE, Outcome, Receiver, Rig

BLOCK = "256k"
C_PROGRAM = os.environ.get("SOCKETPIPE_C")
#: What a login of one's own needs besides the options that make the difference.
_SSH = "ssh -i {key} -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR"
_SSH_SHOWN = "ssh"


@dataclass
class Stream:
    """*writer*'s output goes to *reader*, *size* bytes. Where it is a file or a folder that moves, *source*
    and *dest* say which. With *pull* the writer is on the target. *host* and *address* are the target, if it
    is not the rig's, and *here* is what it calls the controller."""

    writer: str
    reader: str
    size: int
    source: Path | None = None
    dest: Path | None = None
    pull: bool = False
    host: Host | None = None
    address: str | None = None
    here: str | None = None


def zeros(size: int, block: str = BLOCK) -> Stream:
    """*size* bytes, from nothing to nothing."""
    writer = f"dd if=/dev/zero bs={block} count={size} iflag=count_bytes"
    return Stream(writer, f"dd of=/dev/null bs={block} status=none", size)


@dataclass
class Peer:
    """A way. *needs* is the program that it needs on the controller."""

    name: str
    needs: str = "dd"

    def missing(self) -> str | None:
        """Why it cannot be measured."""
        return None if shutil.which(self.needs) else f"{self.needs} is not installed"

    def shown(self) -> str:
        """What is run, for who reads the results."""
        raise NotImplementedError

    def run(self, rig: Rig, stream: Stream, bound: float = BOUND) -> Outcome:
        raise NotImplementedError

    def throughput(self, outcome: Outcome, stream: Stream) -> float:
        """Bytes in a second."""
        size, seconds = copied_by_dd(self._said(outcome))
        assert size == stream.size, f"{self.name}: {size} of {stream.size} bytes"
        return size / seconds

    def _said(self, outcome: Outcome) -> str:
        return str(outcome.result["stderr"])


@dataclass
class Session(Peer):
    """A task of socketpipe."""

    options: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> str:
        options = "".join(f", {name}: {json.dumps(value)}" for name, value in self.options.items())
        return f"{MODULE}: {{input: WRITER, remote: READER{options}}}"

    def run(self, rig: Rig, stream: Stream, bound: float = BOUND) -> Outcome:
        host = stream.host or rig.target
        hosts = rig.inventory(host, **({"ansible_host": stream.address} if stream.address else {}))
        return rig.run({MODULE: {**_commands(stream), **self.options}}, hosts, bound)

    def _said(self, outcome: Outcome) -> str:
        return str(outcome.result["input"]["stderr"])


def _commands(stream: Stream) -> dict[str, str]:
    """A file on the controller needs no command."""
    is_file = stream.source is not None and stream.source.is_file()
    if stream.pull:
        own = {"output_file": str(stream.dest)} if is_file else {"output": stream.reader}
        return {"remote": stream.writer, **own}
    own = {"input_file": str(stream.source)} if is_file else {"input": stream.writer}
    return {"remote": stream.reader, **own}


@dataclass
class Script(Peer):
    """A task with a command line on the controller, *send*; before it, one on the target, *receive*, if the
    peer does not start that by itself. The command line *fetch* is for the other direction."""

    send: str = ""
    receive: str = ""
    fetch: str = ""

    def shown(self) -> str:
        names = {
            **{"writer": "WRITER", "reader": "READER", "target": "TARGET", "here": "CONTROLLER"},
            **{"port": "PORT", "size": "SIZE", "python": "python3", "bare": "bare_tcp.py"},
            **{"ssh": _SSH_SHOWN, "c": "socketpipe", "login": ""},
        }
        send = self.send.format_map(names)
        return f"{send}; on TARGET before: {self.receive.format_map(names)}" if self.receive else send

    def run(self, rig: Rig, stream: Stream, bound: float = BOUND) -> Outcome:
        port = rig.free_port()
        words = {
            "writer": stream.writer,
            "reader": stream.reader,
            "size": stream.size,
            "target": stream.address or rig.target.address,
            "here": stream.here or rig.target.controller_address,
            "port": port,
            "python": sys.executable,
            "bare": BARE_TCP,
            "ssh": _SSH.format(key=rig.keys.login),
            "c": C_PROGRAM,
            "login": f"env PATH={Path(C_PROGRAM or '').parent}:/usr/bin:/bin",
        }
        line = self.fetch if stream.pull else self.send
        script = f"set -o pipefail; {line.format_map(words)}"
        task = {"ansible.builtin.shell": {"cmd": script, "executable": "/bin/bash"}}
        receiver = Receiver(self.receive.format_map(words), port, stream.host) if self.receive else None
        return rig.run(task, HERE, bound, receiver)


@dataclass
class CProgram(Script):
    def missing(self) -> str | None:
        return None if C_PROGRAM else "SOCKETPIPE_C does not name an executable of socketpipe 1.10"


@dataclass
class Iperf(Script):
    """It makes its data itself."""

    def throughput(self, outcome: Outcome, stream: Stream) -> float:
        received = json.loads(outcome.result["stdout"])["end"]["sum_received"]
        return float(received["bits_per_second"]) / 8


def _through_ssh(name: str, options: str) -> Script:
    login = f"{{ssh}} {options} root@{{target}}"
    send, fetch = f"{{writer}} | {login} '{{reader}}'", f"{login} '{{writer}}' | {{reader}}"
    return Script(name, "ssh", send, fetch=fetch)


def _through(name: str, needs: str, to: str, at: str) -> Script:
    return Script(name, needs, f"{{writer}} | {to}", f"{at} | {{reader}}")


#: What a pipe between the same two commands would take, without any network: nothing can be faster.
NO_NETWORK = Script("no network", send="{writer} | {reader}", fetch="{writer} | {reader}")

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Script(
            "bare TCP",
            send="{python} {bare} connect {target} {port} {writer}",
            receive="{python} {bare} listen {target} {port} {reader}",
        ),
        Script(
            "bare TCP, reno",
            send="{python} {bare} connect {target} {port} -C reno {writer}",
            receive="{python} {bare} listen {target} {port} {reader}",
        ),
        Session("socketpipe"),
        Session("socketpipe, encrypt", options={"encrypt": True}),
        Session("socketpipe, checksum", options={"checksum": "sha256"}),
        CProgram(
            "C socketpipe",
            "ssh",
            "{c} -h {here} -i {{ {writer} }} -l {{ {ssh} root@{target} {login} }} -r {{ {reader} }}",
        ),
        Iperf(
            "iperf3",
            "iperf3",
            send="iperf3 -c {target} -p {port} -n {size} -l 256k -J",
            receive="iperf3 -s -1 -p {port}",
        ),
        Iperf(
            "iperf3, reno",
            "iperf3",
            send="iperf3 -c {target} -p {port} -C reno -n {size} -l 256k -J",
            receive="iperf3 -s -1 -p {port}",
        ),
        _through("nc", "nc", "nc -N {target} {port}", "nc -l {port}"),
        _through(
            "socat",
            "socat",
            "socat -u -b 262144 STDIN TCP:{target}:{port}",
            "socat -u -b 262144 TCP-LISTEN:{port} STDOUT",
        ),
        _through(
            "mbuffer",
            "mbuffer",
            "mbuffer -q -s 256k -m 64M -O {target}:{port}",
            "mbuffer -q -s 256k -m 64M -I {port}",
        ),
        _through_ssh("ssh", "-o Compression=no"),
        _through_ssh("ssh aes128-gcm", "-o Compression=no -c aes128-gcm@openssh.com"),
        _through_ssh("ssh -C", "-C"),
        _through_ssh("ssh aes128-gcm -C", "-C -c aes128-gcm@openssh.com"),
    )
}
