# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for the tests: one shared target, and more in a line."""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.ansible import MODULE, Ansible, Run, TaskResult
from harness.awx import Awx
from harness.crowd import Crowd
from harness.network import Keys, Target, enter_own_network, leaving_nothing, run
from harness.terminal import Terminal
from harness.topology import Network
from harness.users import etc_with_users


def pytest_configure() -> None:
    """Signals that are ignored here, as those of a terminal are by nohup or in the background, would be
    ignored by all that the tests start. A handler does not outlive exec, even one that does nothing."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    enter_own_network()
    with tempfile.TemporaryDirectory() as folder:
        yield Keys(Path(folder))


@pytest.fixture(scope="session")
def make_target(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Target]]:
    """Makes a target; it goes with the test session."""
    targets: list[Target] = []
    folder = tmp_path_factory.mktemp("targets")

    def make(**options: Any) -> Target:
        targets.append(Target(folder, keys, **options))
        return targets[-1]

    yield make
    for target in targets:
        target.close()


@pytest.fixture(scope="session")
def shared_target(make_target: Callable[..., Target]) -> Target:
    return make_target()


@pytest.fixture(scope="session")
def users_target(make_target: Callable[..., Target]) -> Target:
    """A target with users of its own, those of `harness.users`."""
    return make_target(etc=etc_with_users())


@pytest.fixture
def target(shared_target: Target) -> Iterator[Target]:
    """A target on which, as on the controller, nothing of the test may be left running."""
    with leaving_nothing(shared_target):
        yield shared_target


@pytest.fixture
def ansible(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    folder = tmp_path / "ansible"
    folder.mkdir()
    # It looks for results a thousand times a second, and here many of it do so on few processors.
    (folder / "ansible.cfg").write_text("[defaults]\ninternal_poll_interval = 0.01\n", encoding="ascii")
    return Ansible(folder, ANSIBLE_SSH_CONTROL_PATH_DIR=str(tmp_path_factory.getbasetemp() / "cp"))


@pytest.fixture
def session(target: Target, ansible: Ansible) -> Callable[..., TaskResult]:
    """Runs one socketpipe task on the target, with the task's options, and gives its result."""

    def run(**options: Any) -> TaskResult:
        return ansible.play({target.name: target.inventory()}, [{MODULE: options}])[-1]

    return run


@pytest.fixture
def start_session(target: Target, ansible: Ansible) -> Callable[..., Run]:
    """Starts one socketpipe task on the target, in a playbook of its own."""

    def start(**options: Any) -> Run:
        return ansible.start({target.name: target.inventory()}, [{MODULE: options}])

    return start


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def crowd(ansible: Ansible) -> Iterator[Crowd]:
    """Nothing of the test may be left running on any target of its members."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # other users of a target come here
        crowd = Crowd(ansible, folder)
        yield crowd
        crowd.close()
        crowd.expect_nothing_left()


@pytest.fixture
def network(tmp_path: Path, keys: Keys) -> Iterator[Network]:
    """Nothing of the test may be left running or listening on any of its nodes."""
    network = Network(tmp_path, keys)
    try:
        yield network
        network.expect_nothing_left()
    finally:
        network.close()


@pytest.fixture
def awx(keys: Keys) -> Iterator[Awx]:
    """It listens in the network of the tests, which `keys` has entered."""
    awx = Awx()
    yield awx
    awx.close()


@pytest.fixture
def strangers() -> Iterator[list[socket.socket]]:
    """Sockets that a test leaves open; they are closed with it."""
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
    yield folder
    run("umount", folder)
