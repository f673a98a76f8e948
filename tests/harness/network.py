# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts made of network namespaces.

    controller: the network namespace of this test process
       |
       | spN   10.77.N.1/24  fd77:N::1/64      a veth pair for each target
       |
       | eth0  10.77.N.2/24  fd77:N::2/64
    target N: a namespace of its own, with sshd on port 22

The test process leaves the machine's own network for a new, empty one, so nothing here can
meet anything outside, and test processes beside each other do not meet either. All
hosts share one file system and one set of processes; what belongs to a target is
what is in its namespace.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from harness.waiting import wait_until

_CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)


def run(*words: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed."""
    argv = [str(word) for word in words]
    done = subprocess.run(argv, input=input, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done


def enter_own_network() -> None:
    """Give this process, and those it starts, a network namespace of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare: the tests need root")
    run("ip", "link", "set", "lo", "up")


def network_of(pid: int | str) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def processes_here() -> dict[int, str]:
    """Processes in the controller's namespace, with their command lines; not this one."""
    here = network_of("self")
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if network_of(entry) == here:
                    found[int(entry)] = command_line(int(entry))
            except OSError:
                continue  # it has ended meanwhile
    return {pid: words for pid, words in found.items() if words}


def command_line(pid: int) -> str:
    """Empty for a zombie."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


class Keys:
    """An ssh key pair for logging in, and one that all hosts have; *folder* holds them."""

    def __init__(self, folder: Path) -> None:
        # sshd reads what a user may log in with as that user.
        folder.chmod(0o755)
        self.login = folder / "login"
        self.host = folder / "host"
        for key in (self.login, self.host):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)


class Target:
    """A host with sshd. *etc* maps names of files in /etc to contents of its own."""

    def __init__(self, folder: Path, keys: Keys, etc: dict[str, str] | None = None) -> None:
        number = next(_numbers)
        self.name = f"t{number}"
        self.namespace = f"sp-{os.getpid()}-{number}"
        self.link = f"sp{number}"
        self.address = f"10.77.{number}.2"
        self.address6 = f"fd77:{number}::2"
        self.controller_address = f"10.77.{number}.1"
        self.controller_address6 = f"fd77:{number}::1"
        self.keys = keys
        self._etc = Path("/etc/netns") / self.namespace
        self._make_network(number)
        self._write_etc(etc or {})
        self._sshd = self._start_sshd(folder)

    def _make_network(self, number: int) -> None:
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "eth0", "netns", self.namespace)
        for at, link, end in (([], self.link, 1), (["-n", self.namespace], "eth0", 2)):
            run("ip", *at, "address", "add", f"10.77.{number}.{end}/24", "dev", link)
            run("ip", *at, "address", "add", f"fd77:{number}::{end}/64", "dev", link, "nodad")
            run("ip", *at, "link", "set", link, "up")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")

    def _write_etc(self, etc: dict[str, str]) -> None:
        # `ip netns exec` shows these files under /etc to what it runs.
        for name, content in etc.items():
            path = self._etc / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            path.chmod(0o440 if name == "sudoers" else 0o644)

    def _start_sshd(self, folder: Path) -> subprocess.Popen[bytes]:
        config = folder / f"{self.namespace}.conf"
        config.write_text(
            f"HostKey {self.keys.host}\nAuthorizedKeysFile {self.keys.login}.pub\nStrictModes no\n"
            "PidFile none\nUsePAM no\nPermitRootLogin yes\nMaxStartups 100\nMaxSessions 100\n"
            "Subsystem sftp internal-sftp\nUseDNS no\n",
            encoding="utf-8",
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        sshd = subprocess.Popen(
            self.words("/usr/sbin/sshd", "-D", "-e", "-f", str(config)),
            stderr=(folder / f"{self.namespace}.log").open("wb"),
        )
        wait_until(lambda: ":22 " in run(*self.words("ss", "-Hltn")).stdout, "sshd listens")
        return sshd

    def words(self, *words: str) -> list[str]:
        """A command that runs *words* on this host."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def processes(self) -> dict[int, str]:
        """What runs on this host, but its sshd."""
        pids = [int(pid) for pid in run("ip", "netns", "pids", self.namespace).stdout.split()]
        found = {}
        for pid in pids:
            try:
                found[pid] = command_line(pid)
            except OSError:
                continue  # it has ended meanwhile
        return {pid: words for pid, words in found.items() if words and "sshd" not in words}

    def inventory(self, **variables: object) -> dict[str, object]:
        """Its variables for an inventory; *variables* are added."""
        return {
            "ansible_host": self.address,
            "ansible_user": "root",
            "ansible_python_interpreter": sys.executable,
            "ansible_ssh_private_key_file": str(self.keys.login),
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no "
            "-o LogLevel=ERROR",
            **variables,
        }

    def close(self) -> None:
        self._sshd.terminate()
        self._sshd.wait()
        for pid in run("ip", "netns", "pids", self.namespace).stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        run("ip", "link", "delete", self.link)
        run("ip", "netns", "delete", self.namespace)
        shutil.rmtree(self._etc, ignore_errors=True)
