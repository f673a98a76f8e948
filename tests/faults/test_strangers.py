# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who comes uninvited for a whole session, and a peer from the future."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict, mirrored
from harness.by_hand import Stage
from harness.sessions import Ended, Sessions, Words
from harness.sockets import read_to_the_end
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

#: As a connector's first message, which has 48 bytes.
HELLO = b"socketpipe\1cr" + bytes(3) + bytes(32)
#: Strangers in a second.
RATE = 20.0
COMMANDS: dict[str, Words] = {"input": ["cat"], "remote": ["cat"]}
LISTENERS = pytest.mark.parametrize("listen", ["local", "remote"])


def sleeping_until(path: Path) -> str:
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.01)"


class Crowd:
    """Strangers at *port*: each does what *behave* does with its connection."""

    def __init__(self, port: int, behave: Callable[[socket.socket, threading.Event], None]) -> None:
        self._port = port
        self._behave = behave
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        #: How many have been let in, and how many have found nobody.
        self.counts = {"in": 0, "out": 0}
        self.heard: set[bytes] = set()

    def come(self) -> None:
        """One."""
        self._threads.append(threading.Thread(target=self._visit))
        self._threads[-1].start()

    def keep_coming(self) -> None:
        """At `RATE`, until `go`."""

        def come() -> None:
            while not self._ended.wait(1 / RATE):
                self._visit()

        self._threads.append(threading.Thread(target=come))
        self._threads[-1].start()

    def _visit(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as stranger:
                self.counts["in"] += 1
                self._behave(stranger, self._ended)
                self.heard.add(read_to_the_end(stranger)[0])
        except OSError:
            self.counts["out"] += 1

    def go(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def crowd(port: int, behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[Crowd]:
    crowd = Crowd(port, behave)
    try:
        yield crowd
    finally:
        crowd.go()


def say_garbage(stranger: socket.socket, ended: threading.Event) -> None:
    stranger.sendall(os.urandom(16))


def dribble(stranger: socket.socket, ended: threading.Event) -> None:
    """A byte in a second, of what a peer would say."""
    for byte in itertools.islice(HELLO, 40):
        stranger.sendall(bytes([byte]))
        if ended.wait(1.0):
            return


@LISTENERS
def test_strangers_come_for_a_whole_session(sessions: Sessions, tmp_path: Path, listen: str) -> None:
    """20 in a second: while the peer is waited for, while data flows, and when all is over."""
    gate = CommitGate(tmp_path)
    peer = "remote" if listen == "local" else "local"
    writes = f"until [ -e {tmp_path}/enough ]; do head -c 1000 /dev/zero; sleep 0.02; done; echo"
    session = sessions.start(
        {"input": sh(writes), "remote": gate.argv},
        listen=listen,
        timeout=60,
        before={peer: sleeping_until(tmp_path / "go")},
    )
    with crowd(session.ports[listen], say_garbage) as strangers:
        strangers.keep_coming()
        wait_until(lambda: strangers.counts["in"] >= 20, "strangers are let in for a second")
        (tmp_path / "go").touch()
        wait_until(gate.has_bytes, "the stream flows")
        before = strangers.counts["out"]
        wait_until(lambda: strangers.counts["out"] >= before + 20, "nobody listens for a second")
        (tmp_path / "enough").touch()
        ended = sessions.end(session)
    assert ended.verdict == Verdict(None, None, [])
    assert ended.reports[listen]["strangers"] >= 20
    assert strangers.heard <= {b""}
    wait_until(lambda: not session.processes(), "nothing of the session is left")


@LISTENERS
def test_slow_strangers_keep_nobody_out(sessions: Sessions, tmp_path: Path, listen: str) -> None:
    """Each is sent away when its time is over, whatever it still has to say."""
    gate = CommitGate(tmp_path)
    peer = "remote" if listen == "local" else "local"
    session = sessions.start(
        {"input": sh("echo x"), "remote": gate.argv},
        listen=listen,
        timeout=60,
        before={peer: sleeping_until(tmp_path / "go")},
        patience={"proving.HANDSHAKE_TIMEOUT": 2.0},
    )
    with crowd(session.ports[listen], dribble) as strangers:
        wait_until(lambda: strangers.come() or strangers.counts["in"] >= 5, "some are let in")
        before = strangers.counts["out"]
        wait_until(lambda: strangers.counts["out"] >= before + 5, "they are sent away")
        strangers.come()
        (tmp_path / "go").touch()
        assert sessions.end(session).verdict == Verdict(None, None, [])
    assert gate.whole.read_bytes() == b"x\n"
    assert strangers.heard <= {b""}


def answer_from_the_future(server: socket.socket) -> None:
    """To everybody who comes, until *server* is closed."""
    while True:
        try:
            visitor = server.accept()[0]
        except OSError:
            return
        with visitor:
            visitor.sendall(b"socketpipe\2cl" + bytes(67))
            read_to_the_end(visitor)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """One endpoint, a process, and its peer played by hand."""
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def test_a_peer_that_speaks_a_newer_protocol_is_told(stage: Stage) -> None:
    """The two machines have not got the same version of the collection."""
    future = threading.Thread(target=answer_from_the_future, args=[stage.server])
    future.start()
    view = stage.start("remote", COMMANDS, "local", timeout=0.5).wait_ended()
    stage.server.shutdown(socket.SHUT_RDWR)
    future.join()
    failure = str(Ended(mirrored(view), view, COMMANDS).verdict.failure)
    assert "there tried to connect" in failure
    assert "it speaks version 2 of the protocol, this side version 1" in failure


@LISTENERS
def test_two_endpoints_of_different_versions_say_so(sessions: Sessions, listen: str) -> None:
    newer = "import importlib; importlib.import_module('_engine.handshake').VERSION = 2"
    ended = sessions.run(COMMANDS, listen=listen, timeout=1, before={"remote": newer})
    versions = (2, 1) if listen == "local" else (1, 2)
    failure = str(ended.verdict.failure)
    assert "it speaks version {} of the protocol, this side version {}".format(*versions) in failure
    assert "install the same version on both" in failure
