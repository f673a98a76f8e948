# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The classic protocol byte by byte: our program at one end, a bare socket or the C program at the other."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from harness.program import Ended, Program, Running, commands
from harness.sockets import LOOPBACK, hold_port, read_to_the_end, reset
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

HERE = ["-h", LOOPBACK]
#: What sshd would set for a login from this machine to itself.
SSH = {"SSH_CONNECTION": "127.0.0.1 50000 127.0.0.1 22", "SSH_CLIENT": "127.0.0.1 50000 22"}
STRANGER = "127.0.0.2"
SIZE = 5_000_000
PATIENCE = {
    "crew.NOTICE_GRACE": 0.1,
    "crew.TERM_GRACE": 0.3,
    "guard.TERM_GRACE": 0.3,
    "login.HANG_UP_GRACE": 0.1,
    "login.TERM_GRACE": 0.3,
    "classic.STATUS_GRACE": 0.5,
}
#: Seconds.
SILENCE = 1.0
#: What begins a login that plays the remote side by itself.
PEER = """
import json, os, socket, struct, sys, time
assert sys.argv[1:3] == ["socketpipe", "-s"], sys.argv
host, port = sys.argv[3], int(sys.argv[4].strip("'"))

def connect(source="127.0.0.1"):
    return socket.create_connection((host, port), 20, (source, 0))

def read_all(sock):
    got = b""
    while True:
        data = sock.recv(1 << 16)
        if not data:
            return got
        got += data

def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()

def what_a_stranger_gets(source, injected=b""):
    try:
        sock = connect(source)
        sock.sendall(injected)
        return sock.recv(1000)
    except ConnectionError:
        return b"reset"

def write(path, data):
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.rename(path + ".part", path)

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.02)
"""

AddPeer = Callable[[str], None]
StartRemote = Callable[..., "tuple[Running, socket.socket]"]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path / "program", patience=PATIENCE)
    yield program
    program.close()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Program]:
    """A machine is lost after `SILENCE`, if it owes an answer."""
    patience = {
        **PATIENCE,
        "classic.SILENCE": SILENCE,
        "classic._LOOK_AT_SILENCE": 0.02,
        "classic_connection.ANSWER_TIME": 0.5,
    }
    program = Program(tmp_path / "impatient", patience=patience)
    yield program
    program.close()


@pytest.fixture
def add_peer(program: Program) -> AddPeer:
    """Installs the login `peer`, which plays the remote side as the given script says."""
    return lambda script: add_peer_to(program, script)


def add_peer_to(program: Program, script: str) -> None:
    program.add("peer", f"#!{sys.executable} -IS\n{PEER}\n{script}\n")


def with_peer(*, input: Sequence[str] | None = ("cat",), output: Sequence[str] | None = None) -> list[str]:
    return [*HERE, *commands(login=["peer"], input=input, remote=["x"], output=output)]


# The remote side is a bare socket


def test_the_remote_side_is_called_by_the_plain_words(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    add_peer(f"write('{tmp_path}/argv', json.dumps(sys.argv[3:]).encode())\nread_all(connect())")
    words = commands(login=["peer"], input=["true"], remote=["dd", "of=/dev/st0", "bs=32k"])
    assert program.run(*HERE, *words) == (0, b"", "")
    host, port, *remote = json.loads((tmp_path / "argv").read_text())
    assert (host, remote) == (LOOPBACK, ["dd", "of=/dev/st0", "bs=32k"])
    assert 0 < int(port) < 65536


def test_the_payload_begins_at_once_and_has_not_one_byte_more(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    """The peer says nothing at all."""
    add_peer(f"write('{tmp_path}/got', read_all(connect()))")
    data = os.urandom(SIZE)
    assert program.run(*with_peer(), input=data) == (0, b"", "")
    assert (tmp_path / "got").read_bytes() == data


@pytest.mark.parametrize("output", [["cat"], None], ids=["output", "none"])
def test_what_the_remote_side_sends_is_all_there_is(
    program: Program, add_peer: AddPeer, output: list[str] | None
) -> None:
    add_peer("sock = connect()\nsock.sendall(read_all(sock)[::-1])")
    data = os.urandom(SIZE)
    assert program.run(*with_peer(output=output), input=data) == (0, data[::-1], "")


def test_a_remote_side_that_ends_its_half_first_still_gets_everything(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    add_peer(
        "sock = connect()\nsock.sendall(b'early')\nsock.shutdown(socket.SHUT_WR)\n"
        f"write('{tmp_path}/ended', b'')\nwrite('{tmp_path}/got', read_all(sock))"
    )
    data = os.urandom(SIZE)
    (tmp_path / "data").write_bytes(data)
    late = sh(f"until [ -e {tmp_path}/ended ]; do sleep 0.02; done; cat {tmp_path}/data")
    assert program.run(*with_peer(input=late, output=["cat"])) == (0, b"early", "")
    assert (tmp_path / "got").read_bytes() == data


def test_the_end_of_the_input_is_told_while_the_output_goes_on(program: Program, add_peer: AddPeer) -> None:
    add_peer("sock = connect()\ngot = read_all(sock)\nsock.sendall(got + b' and more')")
    assert program.run(*with_peer(output=["cat"]), input=b"data") == (0, b"data and more", "")


def test_without_an_input_command_the_end_comes_at_once(program: Program, add_peer: AddPeer) -> None:
    add_peer("sock = connect()\nassert read_all(sock) == b''\nsock.sendall(b'nothing came')")
    assert program.run(*with_peer(input=None, output=["cat"])) == (0, b"nothing came", "")


def test_a_remote_side_that_ends_at_once_has_printed_nothing(program: Program, add_peer: AddPeer) -> None:
    add_peer("connect()")
    assert program.run(*with_peer(input=["true"], output=["cat"])) == (0, b"", "")


@pytest.mark.parametrize("status", [0, 9])
def test_a_reset_is_no_end_of_the_data(
    program: Program, add_peer: AddPeer, tmp_path: Path, status: int
) -> None:
    gate = CommitGate(tmp_path)
    add_peer(
        f"sock = connect()\nsock.sendall(bytes(1000))\nwait_for('{gate.part}')\n"
        f"while os.path.getsize('{gate.part}') < 1000: time.sleep(0.02)\nreset(sock)\nsys.exit({status})"
    )
    ended = program.run(*with_peer(input=["sleep", "1000"], output=gate.argv))
    assert ended.status != 0
    assert status in (0, ended.status), ended.errors
    assert ended.errors.rpartition("socketpipe: ")[2]
    assert gate.part.stat().st_size == 1000
    assert not gate.whole.exists()


def test_a_reset_of_what_was_sent_nothing_is_no_lack_of_reading(program: Program, add_peer: AddPeer) -> None:
    add_peer("sock = connect()\nread_all(sock)\nsock.sendall(bytes(1000))\nreset(sock)")
    ended = program.run(*with_peer(input=None, output=["cat"]))
    assert ended.status == 2
    assert "the data connection was reset, though the remote command ended well" in ended.errors
    assert "without reading" not in ended.errors


def test_a_reset_whose_login_goes_on_is_a_cut(program: Program, add_peer: AddPeer, tmp_path: Path) -> None:
    add_peer(f"reset(connect())\nwait_for('{tmp_path}/never')")
    ended = program.run(*with_peer(input=["sleep", "1000"]))
    assert "cut by something on the way" in ended.errors
    assert ended.status == 2


@pytest.mark.parametrize("goes_on", [False, True], ids=["it ends", "it goes on"])
@pytest.mark.parametrize("input", [None, ["true"]], ids=["no input", "input"])
def test_a_reset_is_no_end_for_an_output_command_that_does_not_care(
    program: Program, add_peer: AddPeer, tmp_path: Path, input: list[str] | None, goes_on: bool
) -> None:
    """It takes the error before the program can see one: that stands still meanwhile."""
    part, cut, ended = (tmp_path / name for name in ("part", "cut", "ended"))
    add_peer(
        f"sock = connect()\nread_all(sock)\nsock.sendall(bytes(1000))\nwait_for('{cut}')\n"
        "reset(sock)\nsys.exit(0)"
    )
    output = sh(f"cat > {part}; touch {ended}" + ("; exec sleep 1000" if goes_on else ""))
    with program.start(*with_peer(input=input, output=output)) as running:
        wait_until(lambda: part.exists() and part.stat().st_size == 1000, "it reads")
        running.signal(signal.SIGSTOP)
        cut.touch()
        wait_until(ended.exists, "it has not cared for the error")
        running.signal(signal.SIGCONT)
        result = running.wait()
    assert result.status != 0
    assert "Connection reset by peer" in result.errors
    program.expect_nothing_left()


def test_a_stream_that_ends_while_the_program_stands_still_is_whole(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    """So that the test above can fail: there is nothing but the FIN that tells the two apart."""
    part, go, ended = (tmp_path / name for name in ("part", "go", "ended"))
    add_peer(f"sock = connect()\nread_all(sock)\nsock.sendall(bytes(1000))\nwait_for('{go}')")
    output = sh(f"cat > {part}; touch {ended}")
    with program.start(*with_peer(input=None, output=output)) as running:
        wait_until(lambda: part.exists() and part.stat().st_size == 1000, "it reads")
        running.signal(signal.SIGSTOP)
        go.touch()
        wait_until(ended.exists, "it has seen the end")
        running.signal(signal.SIGCONT)
        assert running.wait().status == 0
    program.expect_nothing_left()


def test_a_remote_command_that_does_not_read_cuts_its_own_output(program: Program) -> None:
    """It ends with what was sent to it unread: that is a reset, whatever it has still to send."""
    late = sh("sleep 0.2; head -c 3000000 /dev/zero")
    words = commands(input=["echo", "hi"], remote=late, output=sh("cat | wc -c"))
    ended = program.run(*HERE, *words)
    assert ended.status == 2
    assert "it ended without reading all that was sent to it" in ended.errors


def test_a_connection_that_was_reset_before_it_is_looked_at_starts_nothing(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    """As that of a remote command that is not there; the program stands still meanwhile."""
    begun = tmp_path / "begun"
    add_peer(
        "import signal\nos.kill(os.getppid(), signal.SIGSTOP)\nreset(connect())\n"
        "os.kill(os.getppid(), signal.SIGCONT)\nsys.exit(3)"
    )
    assert program.run(*with_peer(input=["touch", str(begun)])).status == 3
    assert not begun.exists()


def test_a_broken_input_is_a_reset_for_the_remote_side(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    add_peer(
        "sock = connect()\n"
        "try:\n    read_all(sock)\n"
        f"except ConnectionResetError:\n    write('{tmp_path}/reset', b'')\n"
        "sys.exit(1)"
    )
    ended = program.run(*with_peer(input=sh("head -c 100000 /dev/zero; exit 7")))
    assert ended.status == 7
    assert (tmp_path / "reset").exists()


def test_a_login_that_connects_nowhere_ends_the_session(program: Program, add_peer: AddPeer) -> None:
    add_peer("")
    ended = program.run(*with_peer())
    assert (ended.status, ended.stdout) == (2, b"")
    assert "the login did not connect back: it ended with status 0" in ended.errors


def test_the_status_of_a_remote_side_is_waited_for_after_its_data(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    """A tape that rewinds, as it were."""
    add_peer(
        f"sock = connect()\nread_all(sock)\nsock.close()\nwrite('{tmp_path}/closed', b'')\n"
        f"wait_for('{tmp_path}/go')\nsys.exit(9)"
    )
    with program.start(*with_peer(input=["true"], output=sh(f"cat; touch {tmp_path}/over"))) as running:
        wait_until((tmp_path / "over").exists, "the output command has ended")
        assert running.process.poll() is None
        (tmp_path / "go").touch()
        assert running.wait().status == 9
    program.expect_nothing_left()


#: An input command: it writes 20 MB, and tells when nothing was heard of their reader for as long as that.
TELLS_SILENCE = """
import os, socket, struct, sys, threading, time
sock = socket.socket(fileno=os.dup(1))

def silence():
    return min(struct.unpack_from("=II", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 52))

def look():
    while silence() < 1400:
        time.sleep(0.02)
    open(sys.argv[1], "w")

threading.Thread(target=look, daemon=True).start()
sock.sendall(bytes(20000000))
"""


def test_a_machine_whose_command_does_not_read_is_not_lost(impatient: Program, tmp_path: Path) -> None:
    """The kernel asks it ever more rarely whether it does: here, until it asks more rarely than a machine
    that owes an answer may be silent."""
    silent, got = tmp_path / "silent", tmp_path / "got"
    add_peer_to(
        impatient,
        f"sock = connect()\nwait_for('{silent}')\nwrite('{got}', str(len(read_all(sock))).encode())",
    )
    input = [sys.executable, "-c", TELLS_SILENCE, str(silent)]
    assert impatient.run(*with_peer(input=input)) == (0, b"", "")
    assert got.read_bytes() == b"20000000"


def test_a_remote_side_that_never_does_anything_is_waited_for_until_a_signal_comes(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    """As with any filter that thinks: its machine is alive."""
    add_peer(f"sock = connect()\nwait_for('{tmp_path}/never')")
    begins = sh(f"touch {tmp_path}/begun; exec sleep 1000")
    with program.start(*with_peer(input=begins, output=["cat"])) as running:
        wait_until((tmp_path / "begun").exists, "the session has begun")
        running.signal(signal.SIGTERM)
        assert running.wait().status == 143
    program.expect_nothing_left()


@pytest.mark.parametrize("status", [0, 9])
def test_a_remote_side_that_connects_and_ends_at_once_is_seen_all_the_same(
    program: Program, add_peer: AddPeer, status: int
) -> None:
    add_peer(f"connect().close()\nos._exit({status})")
    assert program.run(*with_peer(input=None, output=["cat"])).status == status


def test_the_connection_is_kept_alive(program: Program, add_peer: AddPeer) -> None:
    """1.10 asked for it at the listener."""
    add_peer("sock = connect()\nsock.sendall(read_all(sock))")
    asks = (
        "import os, socket; sock = socket.socket(fileno=os.dup(1)); "
        "print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))"
    )
    ended = program.run(*with_peer(input=[sys.executable, "-c", asks], output=["cat"]))
    assert (ended.status, ended.stdout) == (0, b"1\n")


# Strangers


def test_from_another_address_nobody_gets_or_sends_anything(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    add_peer(
        f"got = what_a_stranger_gets('{STRANGER}', b'injected')\n"
        "sock = connect()\n"
        "sock.sendall(read_all(sock))\n"
        "sock.close()\n"
        f"write('{tmp_path}/got', got)"
    )
    assert program.run(*with_peer(output=["cat"]), input=b"payload") == (0, b"payload", "")
    # A good end would be an empty stream for a command.
    assert (tmp_path / "got").read_bytes() == b"reset"


def test_a_refused_address_is_named_when_nobody_else_came(program: Program, add_peer: AddPeer) -> None:
    add_peer(f"sys.exit(0 if what_a_stranger_gets('{STRANGER}') == b'reset' else 99)")
    ended = program.run(*with_peer(), input=b"payload")
    assert ended.status == 2
    assert f"a connection from {STRANGER} was refused" in ended.errors


def test_after_the_first_connection_nobody_can_connect(
    program: Program, add_peer: AddPeer, tmp_path: Path
) -> None:
    add_peer(
        "sock = connect()\n"
        "sock.recv(1)\n"
        "try:\n    connect()\n"
        f"except ConnectionRefusedError:\n    write('{tmp_path}/refused', b'')\n"
        "read_all(sock)"
    )
    assert program.run(*with_peer(), input=b"payload").status == 0
    assert (tmp_path / "refused").exists()


#: A login through a shell, in which somebody else is first to find the port; $3 of the script has it.
ROBBED = f"""#!{sys.executable} -IS
import os, re, socket, subprocess, sys
port = int(re.findall(r"[0-9]+", " ".join(sys.argv))[-1])
stranger = socket.create_connection(("127.0.0.1", port), 20, ("{STRANGER}", 0))
stranger.sendall(b"injected")
os.environ.update({SSH!r})
status = subprocess.call(["sh", "-c", " ".join(sys.argv[1:])])
try:
    got = stranger.recv(1000)
except ConnectionResetError:
    got = b""
sys.exit(99 if got else status)
"""


@pytest.mark.parametrize("options", [[], HERE], ids=["asked", "given"])
def test_a_stranger_who_is_first_gets_nothing_if_the_login_shows_who_it_is(
    program: Program, options: list[str]
) -> None:
    program.add("ssh", ROBBED)
    words = commands(login=["ssh"], input=["cat"], remote=["cat"], output=["cat"])
    assert program.run(*options, *words, input=b"payload") == (0, b"payload", "")


def test_nobody_is_accepted_before_the_login_has_shown_who_it_is(program: Program, tmp_path: Path) -> None:
    """Not even from the right address: the connection waits, and gets nothing."""
    program.add(
        "ssh",
        f"#!{sys.executable} -IS\n"
        "import re, socket, sys\n"
        'port = int(re.findall(r"[0-9]+", " ".join(sys.argv))[-1])\n'
        'sock = socket.create_connection(("127.0.0.1", port), 20)\n'
        "try:\n    got = sock.recv(1000)\nexcept ConnectionResetError:\n    got = b''\n"
        f"open('{tmp_path}/got', 'wb').write(got)\n",
    )
    began = time.monotonic()
    ended = program.run("-t", "1", *commands(login=["ssh"], input=["cat"], remote=["cat"]), input=b"payload")
    assert time.monotonic() - began >= 1
    assert ended.status != 0
    assert "the login did not connect back: its time, 1 s, is over" in ended.errors
    assert not (tmp_path / "got").exists() or (tmp_path / "got").read_bytes() == b""


@pytest.mark.parametrize("ssh", [SSH, {"SSH_CLIENT": SSH["SSH_CLIENT"]}], ids=["connection", "client"])
@pytest.mark.parametrize("name", ["ssh", "shlogin"])
def test_without_a_host_the_login_shows_it(program: Program, name: str, ssh: dict[str, str]) -> None:
    program.add("ssh", '#!/bin/sh\nexec sh -c "$*"\n')
    words = ["a b", "", "$HOME", "it's", "*"]
    ended = program.run(
        *commands(login=[name], input=["true"], remote=["printf", "%s|", *words]), environment=ssh
    )
    assert ended == (0, "".join(f"{word}|" for word in words).encode(), "")


def test_a_login_that_does_not_show_this_machine_is_explained(program: Program) -> None:
    ended = program.run(*commands(login=["shlogin"], input=["cat"], remote=["cat"]))
    assert ended.status == 2
    assert "the login shows no address of this machine (no SSH_CONNECTION): give it with -h" in ended.errors


def test_where_nothing_shows_who_may_connect_there_is_a_warning(program: Program) -> None:
    """A name says nothing about the machine that the login leads to."""
    words = commands(login=["shlogin"], input=["cat"], remote=["cat"])
    ended = program.run("-h", "localhost", *words, input=b"data")
    assert (ended.status, ended.stdout) == (0, b"data")
    assert ended.errors.startswith("socketpipe: warning: nothing shows who may connect")
    assert len(ended.errors.splitlines()) == 1


# The local side is a bare socket


@pytest.fixture(params=[LOOPBACK, "::1"])
def server(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as server:
        server.settimeout(20)
        yield server


@pytest.fixture
def start_remote(program: Program, server: socket.socket) -> Iterator[StartRemote]:
    """Starts the remote side of a command, and accepts its connection."""
    socks: list[socket.socket] = []

    def start(*argv: str) -> tuple[Running, socket.socket]:
        host, port = server.getsockname()[:2]
        running = program.start("-s", host, str(port), *argv)
        sock = server.accept()[0]
        # Without it a small payload waits for the acknowledgement of the handshake, some 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(20)
        socks.append(sock)
        return running, sock

    yield start
    for sock in socks:
        sock.close()


def receive(sock: socket.socket, count: int) -> bytes:
    """That many bytes, and no end before."""
    got = b""
    while len(got) < count:
        data = sock.recv(count - len(got))
        assert data, f"the stream ended after {got!r}"
        got += data
    return got


def test_the_remote_command_writes_to_the_connection_alone(start_remote: StartRemote) -> None:
    running, sock = start_remote("printf", "hello")
    assert read_to_the_end(sock) == (b"hello", None)
    assert running.wait() == (0, b"", "")


def test_the_remote_command_reads_from_the_connection_to_its_end(start_remote: StartRemote) -> None:
    running, sock = start_remote("sh", "-c", "cat; echo end")
    sock.sendall(b"first")
    assert receive(sock, 5) == b"first"
    sock.sendall(b"second")
    sock.shutdown(socket.SHUT_WR)
    assert read_to_the_end(sock) == (b"secondend\n", None)
    assert running.wait().status == 0


def test_the_remote_commands_status_and_words_are_its_own(start_remote: StartRemote) -> None:
    running, sock = start_remote("sh", "-c", "echo sorry >&2; exit 9")
    assert read_to_the_end(sock) == (b"", None)
    assert running.wait() == (9, b"", "sorry\n")


def test_the_remote_command_sees_a_reset_as_an_error(start_remote: StartRemote) -> None:
    running, sock = start_remote("sh", "-c", "echo go; cat >&2 || exit 5")
    assert receive(sock, 3) == b"go\n"
    sock.sendall(b"part")
    wait_until(lambda: running.errors == "part", "it has read that")
    reset(sock)
    ended = running.wait()
    assert ended.status == 5
    assert "Connection reset by peer" in ended.errors


def test_the_program_becomes_the_remote_command(start_remote: StartRemote) -> None:
    """There is no process more than 1.10 had, and no descriptor but the three."""
    running, sock = start_remote("sh", "-c", "echo $$; exec cat")
    assert receive(sock, len(str(running.pid)) + 1) == f"{running.pid}\n".encode()
    wait_until(lambda: Path(f"/proc/{running.pid}/comm").read_text() == "cat\n", "it is cat")
    folder = Path(f"/proc/{running.pid}/fd")
    # While it loads its libraries it has one of them open.
    wait_until(lambda: {entry.name for entry in folder.iterdir()} == {"0", "1", "2"}, "it has the three")
    descriptors = {entry.name: os.readlink(entry) for entry in folder.iterdir()}
    assert descriptors["0"] == descriptors["1"]
    assert descriptors["0"].startswith("socket:")
    assert not descriptors["2"].startswith("socket:")
    sock.shutdown(socket.SHUT_WR)
    assert running.wait().status == 0


def test_the_remote_command_has_no_signal_ignored_or_blocked(start_remote: StartRemote) -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and what is ignored stays so."""
    _running, sock = start_remote("cat", "/proc/self/status")
    status = fields(read_to_the_end(sock)[0].decode())
    pythons_own = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    # Nobody but whoever started these tests ignores others, as nohup does.
    inherited = int(fields(Path("/proc/self/status").read_text())["SigIgn"], 16) & ~pythons_own
    assert int(status["SigIgn"], 16) & ~inherited == 0
    assert int(status["SigBlk"], 16) == 0


def fields(status: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in status.splitlines())


def test_the_connection_waits_and_is_kept_alive(start_remote: StartRemote) -> None:
    asks = (
        "import os, socket; sock = socket.socket(fileno=0); "
        "print(os.get_blocking(0), os.get_blocking(1), "
        "sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), "
        "sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER))"
    )
    _running, sock = start_remote(sys.executable, "-c", asks)
    assert read_to_the_end(sock) == (b"True True 1 0\n", None)


def test_a_command_that_can_not_be_started_after_all_is_a_broken_stream(
    program: Program, start_remote: StartRemote
) -> None:
    """The file looked well, so the connection was made."""
    path = program.add("odd", "\0 this is no program\n")
    running, sock = start_remote(str(path))
    data, error = read_to_the_end(sock)
    assert data == b""
    assert isinstance(error, ConnectionResetError)
    ended = running.wait()
    assert ended.status == 2
    assert ended.errors == f"socketpipe: '{path}' could not be started: Exec format error\n"


def test_the_remote_side_takes_quotes_away_that_no_shell_has_taken(
    program: Program, server: socket.socket
) -> None:
    host, port = server.getsockname()[:2]
    words = [host, f"'{port}'", "printf", "%s|", "'a b'", "''", "'it'\"'\"'s'", "'*'"]
    with program.start("-s", *words) as running:
        sock = server.accept()[0]
        assert read_to_the_end(sock) == (b"a b||it's|*|", None)
        sock.close()
        assert running.wait().status == 0


def test_closed_standard_descriptors_of_the_remote_side_do_not_matter(
    program: Program, server: socket.socket
) -> None:
    host, port = server.getsockname()[:2]
    before = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh"]
    with program.start("-s", host, str(port), "cat", before=before) as running:
        sock = server.accept()[0]
        sock.sendall(b"data")
        sock.shutdown(socket.SHUT_WR)
        assert read_to_the_end(sock) == (b"data", None)
        sock.close()
        assert running.wait().status == 0


def expect_sentence(ended: Ended, words: str) -> None:
    assert (ended.status, ended.stdout) == (2, b"")
    assert ended.errors.startswith("socketpipe: ")
    assert len(ended.errors.splitlines()) == 1, ended.errors
    assert words in ended.errors


def test_a_refused_connection_is_explained(program: Program) -> None:
    with hold_port() as held:
        port = held.getsockname()[1]
        ended = program.run("-s", LOOPBACK, str(port), "cat")
    expect_sentence(ended, f"could not connect to {LOOPBACK} port {port}: Connection refused")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "127.0.0.1.2.3", "\udcff", "a b"])
def test_a_host_without_an_address_is_explained(program: Program, host: str) -> None:
    expect_sentence(program.run("-s", os.fsencode(host), "4000", "cat"), "knows no address of '")


@pytest.mark.parametrize(
    "port",
    ["", "x", "0", "-1", "65536", "9" * 30, "4000x", "1.5", " 4000", "'", "'4000", "''", "\u00b2", "\u0663"],
)
def test_what_is_no_port_is_explained(program: Program, port: str) -> None:
    expect_sentence(program.run("-s", LOOPBACK, port, "cat"), "is no port")


def test_no_host_is_not_this_machine(program: Program, server: socket.socket) -> None:
    with program.start("-s", "", str(server.getsockname()[1]), "true") as running:
        assert running.wait().status == 2
    assert nobody_came(server)


def nobody_came(server: socket.socket) -> bool:
    return not select.select([server], [], [], 0)[0]


@pytest.mark.parametrize("command", ["no-such-command", "/no/such/file", "", "/tmp", "/etc/passwd"])
def test_a_command_that_is_none_is_explained_and_nobody_waits_for_its_connection(
    program: Program, server: socket.socket, command: str
) -> None:
    host, port = server.getsockname()[:2]
    expect_sentence(program.run("-s", host, str(port), command), "remote command: ")
    with pytest.raises(ConnectionError):
        server.accept()[0].recv(1)


# The C program at the other end

C_PROGRAM = os.environ.get("SOCKETPIPE_C")
WITH_C = pytest.mark.skipif(C_PROGRAM is None, reason="SOCKETPIPE_C names no C socketpipe (1.10) to talk to")
#: Without -h each of the two asks the login who it is.
HOSTS = pytest.mark.parametrize("options", [HERE, []], ids=["given", "asked"])


@pytest.fixture
def original(program: Program, tmp_path: Path) -> Path:
    """The C program; the login `clogin` leads to it."""
    folder = tmp_path / "original"
    folder.mkdir()
    (folder / "socketpipe").symlink_to(Path(str(C_PROGRAM)).resolve(strict=True))
    program.add("clogin", f'#!/bin/sh\nPATH={folder}:$PATH\nexport PATH\nexec sh -c "$*"\n')
    program.add("bareclogin", f'#!/bin/sh\nPATH={folder}:$PATH\nexport PATH\nexec "$@"\n')
    return folder / "socketpipe"


@WITH_C
@HOSTS
@pytest.mark.parametrize("caller", ["ours", "original"])
@pytest.mark.parametrize("way", ["file to file", "stdin to file", "file to stdout", "stdin to stdout"])
def test_ours_and_the_original_understand_each_other(
    program: Program, original: Path, tmp_path: Path, caller: str, way: str, options: list[str]
) -> None:
    """The original's status is 2 after any full filter, so there only the data counts."""
    data = os.urandom(SIZE)
    given, got = tmp_path / "given", tmp_path / "got"
    given.write_bytes(data)
    login = ["clogin" if caller == "ours" else "shlogin"]
    words = {
        "file to file": commands(login=login, input=["cat", str(given)], remote=["dd", f"of={got}"]),
        "stdin to file": commands(login=login, input=["cat"], remote=["dd", f"of={got}"]),
        "file to stdout": commands(login=login, remote=["dd", f"if={given}"], output=["cat"]),
        "stdin to stdout": commands(login=login, input=["cat"], remote=["dd"], output=["cat"]),
    }[way]
    path = program.path if caller == "ours" else original
    ended = program.run(
        *options, *words, input=data if way.startswith("stdin") else b"", path=path, environment=SSH
    )
    is_filter = way == "stdin to stdout"
    assert ended.status in ({0, 2} if caller == "original" and is_filter else {0}), ended.errors
    assert (got.read_bytes() if way.endswith("file") else ended.stdout) == data


@WITH_C
@HOSTS
def test_the_original_gets_the_words_that_were_typed_through_a_shell(
    program: Program, original: Path, options: list[str]
) -> None:
    words = ["a b", "", "$HOME", "it's", "*", "\\", "a\nb"]
    call = commands(login=["clogin"], input=["true"], remote=["printf", "%s|", *words])
    ended = program.run(*options, *call, environment=SSH)
    assert ended == (0, "".join(f"{word}|" for word in words).encode(), "")


@WITH_C
def test_the_original_never_gets_a_word_with_quotes_that_no_shell_took_away(
    program: Program, original: Path
) -> None:
    call = commands(login=["bareclogin"], input=["true"], remote=["printf", "%s|", "a b"])
    ended = program.run(*HERE, *call)
    assert (ended.status, ended.stdout) == (2, b"")
    assert "bad port specification" in ended.errors
    plain = commands(login=["bareclogin"], input=["true"], remote=["printf", "%s", "ab"])
    assert program.run(*HERE, *plain) == (0, b"ab", "")


@WITH_C
def test_the_original_does_not_wait_for_a_command_that_is_not_there(program: Program, original: Path) -> None:
    """It waits for the connection, and for that alone, with no limit unless it has one from its user."""
    call = commands(login=["shlogin"], input=["cat"], remote=["no-such-command"])
    ended = program.run(*HERE, *call, path=original)
    assert ended.status == 2
    assert "socketpipe: remote command: no executable 'no-such-command' was found" in ended.errors


@WITH_C
def test_with_the_original_at_the_other_end_failures_are_seen(
    program: Program, original: Path, tmp_path: Path
) -> None:
    gate = CommitGate(tmp_path)
    failing = commands(login=["clogin"], input=sh("head -c 3000000 /dev/zero; exit 7"), remote=gate.argv)
    assert program.run(*HERE, *failing).status == 7
    assert not gate.whole.exists()
    failing = commands(login=["clogin"], remote=sh("echo data; exit 9"), output=["cat"])
    assert program.run(*HERE, *failing).status == 9
