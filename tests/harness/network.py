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

Networks with more in them than a cable are drawn with `harness.topology`.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.waiting import wait_until

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_namespaces = itertools.count(1)
_cables = itertools.count(1)


def run(*words: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed."""
    argv = [str(word) for word in words]
    done = subprocess.run(argv, input=input, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done


def enter_own_network() -> None:
    """Give this process, and those it starts, a network namespace of their own."""
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare: the tests need root")
    run("ip", "link", "set", "lo", "up")


@contextmanager
def another_network() -> Iterator[None]:
    """This process in a new, empty network for a while, then back in the one it was in."""
    with open("/proc/thread-self/ns/net", "rb") as former:
        enter_own_network()
        try:
            yield
        finally:
            _enter(former.fileno())


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def network_of(pid: int | str) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def processes_in(*networks: str) -> dict[int, str]:
    """Processes in these namespaces, with their command lines; not this one."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if network_of(entry) in networks:
                    found[int(entry)] = command_line(int(entry))
            except OSError:
                continue  # it has ended meanwhile
    return {pid: words for pid, words in found.items() if words}


def processes_here() -> dict[int, str]:
    """Processes in the controller's namespace, with their command lines; not this one."""
    return processes_in(network_of("self"))


def command_line(pid: int) -> str:
    """Empty for a zombie."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def is_master(words: str) -> bool:
    """Whether it is a login's master connection, which outlives a playbook on purpose."""
    return "[mux]" in words


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended meanwhile


class Keys:
    """An ssh key pair for logging in, and one that all hosts have; *folder* holds them."""

    def __init__(self, folder: Path) -> None:
        # sshd reads what a user may log in with as that user.
        folder.chmod(0o755)
        self.login = folder / "login"
        self.host = folder / "host"
        for key in (self.login, self.host):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)


class Node:
    """A machine: a network namespace, and what runs in it."""

    def __init__(self) -> None:
        number = next(_namespaces)
        self.name = f"t{number}"
        self.namespace = f"sp-{os.getpid()}-{number}"
        run("ip", "netns", "add", self.namespace)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def netns(self) -> str:
        """Its namespace, as `ip link` takes it."""
        return self.namespace

    @property
    def network(self) -> str:
        """As `network_of` tells it of this node's processes."""
        return f"net:[{os.stat(f'/run/netns/{self.namespace}').st_ino}]"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """In here, this thread has the node's network: what it opens and starts belongs to the node."""
        with (
            open("/proc/thread-self/ns/net", "rb") as former,
            open(f"/run/netns/{self.namespace}", "rb") as own,
        ):
            _enter(own.fileno())
            try:
                yield
            finally:
                _enter(former.fileno())

    def run(self, *words: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command on this node; it has to succeed."""
        with self.entered():
            return run(*words, input=input)

    def processes(self) -> dict[int, str]:
        """What runs on this node, but its sshd."""
        return {pid: words for pid, words in processes_in(self.network).items() if "sshd" not in words}

    def close(self) -> None:
        for pid in run("ip", "netns", "pids", self.namespace).stdout.split():
            kill(int(pid))
        run("ip", "netns", "delete", self.namespace)


class Host(Node):
    """A node with sshd. *etc* maps names of files in /etc to contents of its own; *sshd_options* are
    lines for sshd's configuration. What sshd says is in the file *log*."""

    def __init__(
        self, folder: Path, keys: Keys, etc: dict[str, str] | None = None, sshd_options: str = ""
    ) -> None:
        super().__init__()
        self.keys = keys
        self.log = folder / f"{self.namespace}.log"
        self._etc = Path("/etc/netns") / self.namespace
        self._write_etc(etc or {})
        self._sshd = self._start_sshd(folder, sshd_options)

    def _write_etc(self, etc: dict[str, str]) -> None:
        # `ip netns exec` shows these files under /etc to what it runs.
        for name, content in etc.items():
            path = self._etc / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            path.chmod(0o440 if name == "sudoers" else 0o644)

    def _start_sshd(self, folder: Path, options: str) -> subprocess.Popen[bytes]:
        config = folder / f"{self.namespace}.conf"
        config.write_text(
            f"HostKey {self.keys.host}\nAuthorizedKeysFile {self.keys.login}.pub\nStrictModes no\n"
            "PidFile none\nUsePAM no\nPermitRootLogin yes\nMaxStartups 100\nMaxSessions 100\n"
            f"Subsystem sftp internal-sftp\nUseDNS no\n{options}",
            encoding="utf-8",
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        sshd = subprocess.Popen(
            self.words("/usr/sbin/sshd", "-D", "-e", "-f", str(config)),
            stderr=self.log.open("wb"),
        )
        wait_until(lambda: ":22 " in self.run("ss", "-Hltn").stdout, "sshd listens")
        return sshd

    def words(self, *words: str) -> list[str]:
        """A command that runs *words* on this host."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def inventory(self, **variables: object) -> dict[str, object]:
        """Its variables for an inventory; *variables* are added, `ansible_host` among them."""
        return {
            "ansible_user": "root",
            "ansible_python_interpreter": sys.executable,
            "ansible_ssh_private_key_file": str(self.keys.login),
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no "
            "-o LogLevel=ERROR",
            **variables,
        }

    def stop_sshd(self) -> None:
        """Nobody can log in any more; who has, stays."""
        self._sshd.terminate()
        self._sshd.wait()

    def close(self) -> None:
        self.stop_sshd()
        super().close()
        shutil.rmtree(self._etc, ignore_errors=True)


class Target(Host):
    """A host at the end of a cable of its own."""

    def __init__(self, folder: Path, keys: Keys, etc: dict[str, str] | None = None) -> None:
        super().__init__(folder, keys, etc)
        cable = next(_cables)
        self.link = f"sp{cable}"
        self.address = f"10.77.{cable}.2"
        self.address6 = f"fd77:{cable}::2"
        self.controller_address = f"10.77.{cable}.1"
        self.controller_address6 = f"fd77:{cable}::1"
        self._has_cable = True
        run("ip", "link", "add", self.link, "type", "veth", "peer", "eth0", "netns", self.namespace)
        for at, link, end in (([], self.link, 1), (["-n", self.namespace], "eth0", 2)):
            run("ip", *at, "address", "add", f"10.77.{cable}.{end}/24", "dev", link)
            run("ip", *at, "address", "add", f"fd77:{cable}::{end}/64", "dev", link, "nodad")
            run("ip", *at, "link", "set", link, "up")

    def inventory(self, **variables: object) -> dict[str, object]:
        return super().inventory(**{"ansible_host": self.address, **variables})

    def power_off(self) -> None:
        """Nothing here says a last word, and the cable leads nowhere."""
        self._cut_cable()
        for pid in processes_in(self.network):
            kill(pid)

    def _cut_cable(self) -> None:
        if self._has_cable:
            self._has_cable = False
            run("ip", "link", "delete", self.link)

    def close(self) -> None:
        self._cut_cable()
        super().close()


@contextmanager
def leaving_nothing(target: Target) -> Iterator[None]:
    """What starts in here, on *target* or on the controller, has to end."""
    before = {*processes_here(), *target.processes()}

    def leftovers() -> dict[int, str]:
        now = {**processes_here(), **target.processes()}
        # The login's master connection outlives a playbook on purpose, and so does its shell.
        return {pid: words for pid, words in now.items() if pid not in before and not is_master(words)}

    yield
    try:
        wait_until(lambda: not leftovers(), "no process of the session is left")
    except AssertionError as error:
        raise AssertionError(f"{error}: {leftovers()}") from None
