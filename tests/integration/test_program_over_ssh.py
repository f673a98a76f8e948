# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program socketpipe does what its users type, from machine to machine over ssh.

pair       here ---- link ---- remotehost

triangle        .---- b ----.
           a ---+           +--- c
                '-----------'
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from harness.machines import (
    Machines,
    add_door,
    connections_of,
    listening_port,
    login_process,
    logins_to,
    process_on,
    retransmissions,
    wait_for_listener,
)
from harness.network import Host, kill, processes_in
from harness.processes import parent_of, state_of
from harness.program import Ended, Program, Running
from harness.sockets import read_to_the_end
from harness.streams import ENDLESS, CommitGate
from harness.topology import Link, Network
from harness.waiting import wait_until

#: The protocols, by the option that asks for each.
CLASSIC, PROVEN, ENCRYPTED = "", "-k", "-e"
PLAIN = pytest.mark.parametrize("option", [CLASSIC, PROVEN], ids=["classic", "proven"])
ALL = pytest.mark.parametrize("option", [CLASSIC, PROVEN, ENCRYPTED], ids=["classic", "proven", "encrypted"])
#: Data connections, and a control connection if there is one, of a session with an input command.
CONNECTIONS = {CLASSIC: 1, PROVEN: 3, ENCRYPTED: 3}
ENOUGH = 8_000_000
#: Bytes of a login that carries no payload.
LITTLE = 100_000
#: Seconds until a session has ended that has lost one of its processes, and until the others have.
SOON = 8.0
C_PROGRAM = os.environ.get("SOCKETPIPE_C")


@pytest.fixture
def machines(network: Network, tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(network, tmp_path)
    yield machines
    machines.expect_nobody_logged_in()


class Pair(NamedTuple):
    here: Host
    remote: Host
    link: Link


@pytest.fixture
def make_pair(machines: Machines) -> Callable[..., Pair]:
    """Two machines. *local* is installed on the one, *remote* on the other, which has that *shell* and
    those *sshd_options*; by default all machines have the same program."""

    def make(
        *,
        local: Program | None = None,
        remote: Program | None = None,
        shell: str = "/bin/bash",
        sshd_options: str = "",
        ipv4: bool = True,
        ipv6: bool = True,
    ) -> Pair:
        here = machines.add("here", program=local)
        there = machines.add("remotehost", program=remote, shell=shell, sshd_options=sshd_options)
        return Pair(here, there, machines.link(here, there, ipv4=ipv4, ipv6=ipv6))

    return make


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()


class Triangle(NamedTuple):
    a: Host
    b: Host
    c: Host


@pytest.fixture
def triangle(machines: Machines) -> Triangle:
    a, b, c = (machines.add(name) for name in "abc")
    for one, other in ((a, b), (b, c), (c, a)):
        machines.link(one, other)
    return Triangle(a, b, c)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small directory, with what is hard to copy: names, modes, links, and some bytes."""
    tree = tmp_path / "tree"
    (tree / "a folder" / "empty").mkdir(parents=True)
    (tree / "bytes").write_bytes(os.urandom(300_001))
    (tree / "a folder" / "it's").write_text("x\n")
    (tree / "a folder" / "it's").chmod(0o640)
    (tree / "link").symlink_to("bytes")
    return tree


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "payload"
    path.write_bytes(os.urandom(1_000_003))
    return path


def expect_success(ended: Ended) -> None:
    """And not a word of the program's own."""
    assert ended.status == 0, ended.errors
    assert "socketpipe:" not in ended.errors


def snapshot(folder: Path) -> dict[str, tuple[int, str, bytes]]:
    """Mode, target if it is a link, and content if it is a file, of all that is in *folder*."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            os.readlink(path) if path.is_symlink() else "",
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


def unpacked(folder: Path, archive: bytes) -> dict[str, tuple[int, str, bytes]]:
    folder.mkdir()
    pipe(["tar", "xpf", "-", "-C", str(folder)], archive)
    return snapshot(folder / "tree")


def pipe(words: list[str], data: bytes) -> bytes:
    return subprocess.run(words, input=data, stdout=subprocess.PIPE, check=True, timeout=60).stdout


# The examples of the original's page


@ALL
def test_a_directory_to_a_tape_on_another_machine(
    pair: Pair, machines: Machines, tree: Path, tmp_path: Path, option: str
) -> None:
    tape = tmp_path / "tape"
    expect_success(
        machines.run(
            pair.here,
            f"socketpipe {option} -i {{ tar cf - tree }} -l {{ ssh remotehost }} "
            f"-r {{ dd of={tape} bs=32k }}",
        )
    )
    assert unpacked(tmp_path / "unpacked", tape.read_bytes()) == snapshot(tree)


@ALL
def test_a_directory_from_a_tape_on_another_machine(
    pair: Pair, machines: Machines, tree: Path, tmp_path: Path, option: str
) -> None:
    tape, folder = tmp_path / "tape", tmp_path / "unpacked"
    tape.write_bytes(pipe(["tar", "cf", "-", "-C", str(tmp_path), "tree"], b""))
    folder.mkdir()
    expect_success(
        machines.run(
            pair.here,
            f"socketpipe {option} -l {{ ssh remotehost }} -r {{ dd if={tape} bs=32k }} "
            f"-o {{ tar xpf - -C {folder} }}",
        )
    )
    assert snapshot(folder / "tree") == snapshot(tree)


@ALL
def test_a_compression_on_another_machine(
    pair: Pair, machines: Machines, tree: Path, tmp_path: Path, option: str
) -> None:
    """The original's page has bzip2, which not every machine has."""
    tape = tmp_path / "tape"
    expect_success(
        machines.run(
            pair.here,
            f"socketpipe {option} -i {{ tar cf - tree }} -l {{ ssh remotehost }} -r {{ gzip -c }} "
            f"-o {{ dd of={tape} bs=32k }}",
        )
    )
    archive = pipe(["gzip", "-dc"], tape.read_bytes())
    assert unpacked(tmp_path / "unpacked", archive) == snapshot(tree)


# This machine's address


@contextmanager
def streaming(machines: Machines, here: Host, words: str) -> Iterator[None]:
    """A session between two machines that has begun, and that ends well after this."""
    door, copy = machines.folder / "door", machines.folder / "copy"
    script = f"echo begun; while ! [ -e {door} ]; do sleep 0.02; done; echo ended"
    line = f"socketpipe -i {{ sh -c '{script}' }} {words} -r {{ dd of={copy} bs=32k }}"
    program = machines.start(here, line)

    def has_begun() -> bool:
        assert program.process.poll() is None, program.errors
        return copy.exists() and copy.read_bytes() == b"begun\n"

    try:
        wait_until(has_begun, "the stream has begun")
        yield
    finally:
        door.touch()
    expect_success(program.wait())
    assert copy.read_bytes() == b"begun\nended\n"


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@PLAIN
def test_the_login_shows_the_address_of_this_machine(
    make_pair: Callable[..., Pair], machines: Machines, option: str, family: str
) -> None:
    """Nobody else tells it, and there is one login only."""
    pair = make_pair(ipv4=family == "ipv4", ipv6=family == "ipv6")
    end = pair.link[pair.here]
    with streaming(machines, pair.here, f"{option} -l {{ ssh remotehost }}"):
        addresses = [connection.address for connection in connections_of(pair.here)]
        assert addresses == [end.address or end.address6] * (CONNECTIONS[option] + 1)
    assert logins_to(pair.remote) == 1


@PLAIN
def test_an_address_of_this_machine_that_the_login_does_not_show(
    pair: Pair, machines: Machines, network: Network, option: str
) -> None:
    """-h has the data go over another link than the login."""
    login, data = pair.link[pair.here].address, network.link(pair.here, pair.remote)[pair.here].address
    with streaming(machines, pair.here, f"{option} -h {data} -l {{ ssh remotehost }}"):
        found = connections_of(pair.here)
        assert [connection.address for connection in found if connection.peer_port == 22] == [login]
        assert data_addresses(pair.here) == [data] * CONNECTIONS[option]
    assert logins_to(pair.remote) == 1


def data_addresses(host: Host) -> list[str]:
    """Those of *host* at which it is connected, but for a login to another one."""
    return [connection.address for connection in connections_of(host) if connection.peer_port != 22]


class Jump(NamedTuple):
    """The login leads through the jump host; the link between the two others is for the data."""

    here: Host
    remote: Host
    data: Link


@pytest.fixture
def jump(machines: Machines, network: Network) -> Jump:
    here, middle, remote = (machines.add(name) for name in ("here", "jump", "remotehost"))
    machines.link(here, middle)
    back = machines.link(middle, remote)
    machines.tell_name(here, "remotehost", back[remote].address)
    return Jump(here, remote, network.link(here, remote))


@ALL
def test_a_login_through_a_jump_host(jump: Jump, machines: Machines, option: str) -> None:
    address = jump.data[jump.here].address
    with streaming(machines, jump.here, f"{option} -h {address} -l {{ ssh -J jump remotehost }}"):
        assert data_addresses(jump.here) == [address] * CONNECTIONS[option]


def test_a_login_through_a_jump_host_whose_address_it_shows(jump: Jump, machines: Machines) -> None:
    """The jump host's, not this machine's: who was called there says so."""
    ended = machines.run(
        jump.here, "socketpipe -i { echo x } -l { ssh -J jump remotehost } -r { cat } -o { cat }"
    )
    assert ended.status == 2
    assert ended.stdout == b""
    assert "the login did not connect back" in ended.errors
    assert "Connection refused" in ended.errors


def test_a_proven_session_finds_its_own_way_past_a_jump_host(jump: Jump, machines: Machines) -> None:
    ended = machines.run(
        jump.here, "socketpipe -k -i { echo x } -l { ssh -J jump remotehost } -r { cat } -o { cat }"
    )
    expect_success(ended)
    assert ended.stdout == b"x\n"


#: An sshd whose logins show nothing of their connection.
SHOWS_NOTHING = 'ForceCommand exec env -u SSH_CONNECTION -u SSH_CLIENT sh -c "$SSH_ORIGINAL_COMMAND"\n'


def test_a_login_that_shows_nothing(make_pair: Callable[..., Pair], machines: Machines) -> None:
    pair = make_pair(sshd_options=SHOWS_NOTHING)
    ended = machines.run(pair.here, "socketpipe -i { echo x } -l { ssh remotehost } -r { cat } -o { cat }")
    assert ended.status == 2
    assert ended.stdout == b""
    assert "shows no address of this machine (no SSH_CONNECTION): give it with -h" in ended.errors


@pytest.mark.parametrize("option", ["-h {address}", "-k", "-k -h {address}"])
def test_a_login_that_shows_nothing_and_a_user_who_knows(
    make_pair: Callable[..., Pair], machines: Machines, option: str
) -> None:
    pair = make_pair(sshd_options=SHOWS_NOTHING)
    words = option.format(address=pair.link[pair.here].address)
    ended = machines.run(
        pair.here, f"socketpipe {words} -i {{ echo x }} -l {{ ssh remotehost }} -r {{ cat }} -o {{ cat }}"
    )
    expect_success(ended)
    assert ended.stdout == b"x\n"


@PLAIN
def test_a_login_that_cleans_the_environment(pair: Pair, machines: Machines, option: str) -> None:
    """As sudo does."""
    line = f"""socketpipe {option} -i {{ echo x }} -l {{ ssh remotehost env -i PATH="$PATH" }} -r {{ cat }}"""
    ended = machines.run(pair.here, line)
    expect_success(ended)
    assert ended.stdout == b"x\n"


@PLAIN
def test_a_login_by_a_link_local_address(pair: Pair, machines: Machines, option: str) -> None:
    """Each machine has its own name for the link."""
    end = pair.link[pair.remote].name
    shown = pair.remote.run("ip", "-6", "-brief", "address", "show", "dev", end, "scope", "link").stdout
    address = shown.split()[2].partition("/")[0]
    machines.tell_name(pair.here, "neighbour", f"{address}%%{pair.link[pair.here].name}")
    ended = machines.run(
        pair.here, f"socketpipe {option} -i {{ echo x }} -l {{ ssh neighbour }} -r {{ cat }}"
    )
    expect_success(ended)
    assert ended.stdout == b"x\n"


@pytest.mark.parametrize("name", ["localhost", "::1", "own"])
@PLAIN
def test_a_login_to_this_machine_itself(pair: Pair, machines: Machines, option: str, name: str) -> None:
    machines.tell_name(pair.here, "own", pair.link[pair.here].address)
    ended = machines.run(pair.here, f"socketpipe {option} -i {{ echo x }} -l {{ ssh {name} }} -r {{ cat }}")
    expect_success(ended)
    assert ended.stdout == b"x\n"


# What a login prints, and how it ends

#: What shells print where nobody sits in front of them, too: a greeting, and the title of a window.
NOISE = {"greeting": r"Welcome\n", "title": r"\033]0;title\007"}


@pytest.mark.parametrize("noise", NOISE)
@PLAIN
def test_a_login_whose_shell_prints_something(
    make_pair: Callable[..., Pair], machines: Machines, option: str, noise: str
) -> None:
    command = f"""ForceCommand printf '{NOISE[noise]}'; exec sh -c "$SSH_ORIGINAL_COMMAND"\n"""
    pair = make_pair(sshd_options=command)
    line = f"socketpipe {option} -t 10 -i {{ echo x }} -l {{ ssh remotehost }} -r {{ cat }}"
    ended = machines.run(pair.here, line)
    assert (ended.status, ended.stdout) == (0, b"x\n"), ended.errors


@PLAIN
def test_a_login_with_a_terminal_of_its_own(pair: Pair, machines: Machines, option: str) -> None:
    line = f"socketpipe {option} -i {{ echo x }} -l {{ ssh -tt remotehost }} -r {{ cat }}"
    ended = machines.run(pair.here, line)
    assert (ended.status, ended.stdout) == (0, b"x\n"), ended.errors


def test_the_key_is_not_shown_by_a_login_with_a_terminal(pair: Pair, machines: Machines) -> None:
    ended = machines.run(pair.here, "socketpipe -k -i { echo x } -l { ssh -tt remotehost } -r { cat }")
    assert re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", ended.errors) == []


#: What ssh makes of a command that was killed, and what our remote side does.
STATUS_OF_KILLED = {CLASSIC: 255, PROVEN: 137}


@pytest.mark.parametrize("failure", ["cat; exit 9", "cat; kill -9 $$"])
@PLAIN
def test_the_status_of_the_remote_command_is_that_of_the_program(
    pair: Pair, machines: Machines, option: str, failure: str
) -> None:
    remote = f"{{ sh -c '{failure}' }}"
    line = f"socketpipe {option} -i {{ echo x }} -l {{ ssh remotehost }} -r {remote} -o {{ cat }}"
    ended = machines.run(pair.here, line)
    assert ended.status == (STATUS_OF_KILLED[option] if "kill" in failure else 9)
    assert f"remote command 'sh -c '{failure}'' on 'ssh remotehost'" in ended.errors


def test_a_login_that_has_ended_before_the_program_looks(pair: Pair, machines: Machines) -> None:
    """And its command, whose words wait in a connection that nobody has accepted yet."""
    program = machines.start(pair.here, "socketpipe -l { ssh remotehost } -r { echo x } -o { cat }")
    ssh = process_on(pair.here, "ssh ")
    program.signal(signal.SIGSTOP)
    wait_until(lambda: state_of(ssh) == "Z", "the login has ended")
    program.signal(signal.SIGCONT)
    ended = program.wait()
    expect_success(ended)
    assert ended.stdout == b"x\n"


@PLAIN
def test_a_machine_that_does_not_exist(pair: Pair, machines: Machines, option: str) -> None:
    ended = machines.run(pair.here, f"socketpipe {option} -i {{ echo x }} -l {{ ssh nowhere }} -r {{ cat }}")
    assert ended.status == 255
    assert "hostname nowhere" in ended.errors  # in the words of ssh
    assert "the login did not connect back: it ended with status 255" in ended.errors


@PLAIN
def test_a_machine_without_the_program(
    make_pair: Callable[..., Pair], machines: Machines, tmp_path: Path, option: str
) -> None:
    nothing = Program(tmp_path / "nothing")
    nothing.path.unlink()
    pair = make_pair(remote=nothing)
    ended = machines.run(
        pair.here, f"socketpipe {option} -i {{ echo x }} -l {{ ssh remotehost }} -r {{ cat }}"
    )
    assert ended.status == 127
    assert "the login did not connect back: it ended with status 127" in ended.errors


# Words


HARD = [
    *(b"two words", b"it's", b'"quoted"', b"$HOME", b"$(id)", b"`id`", b"*", b"~", b"line\nbreak\n", b""),
    *(b"\\", b"\\n", b"!x", b"#", b";", b"&", b"|", b">x", b"{", b"}", b"-l", b"a=b", b"tab\t", b" "),
    *(b"%s", b"%self", b"=ls", b"=", b"\xff\xfe", b"caf\xe9", "caf\u00e9".encode(), b"'", b"''", b"\x01\x7f"),
]


@pytest.mark.parametrize("shell", ["bash", "sh", "zsh", "fish", "ksh"])
@pytest.mark.parametrize("option", ["", "-h {address}", "-k"])
def test_words_arrive_as_they_were_typed(
    make_pair: Callable[..., Pair], machines: Machines, option: str, shell: str
) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"this machine has no {shell}")
    pair = make_pair(shell=path)
    words = option.format(address=pair.link[pair.here].address)
    line = f"""socketpipe {words} -l {{ ssh remotehost }} -r {{ printf '<%s>\\0' "$@" }} -o {{ cat }}"""
    ended = machines.run(pair.here, line, *HARD)
    expect_success(ended)
    assert ended.stdout.split(b"\0")[:-1] == [b"<" + word + b">" for word in HARD]


@PLAIN
def test_local_commands_get_the_words_that_were_typed(pair: Pair, machines: Machines, option: str) -> None:
    line = f"""socketpipe {option} -i {{ printf '<%s>\\0' "$@" }} -l {{ ssh remotehost }} -r {{ cat }}"""
    ended = machines.run(pair.here, line, *HARD)
    expect_success(ended)
    assert ended.stdout.split(b"\0")[:-1] == [b"<" + word + b">" for word in HARD]


# Strangers


@pytest.fixture
def third(machines: Machines, pair: Pair) -> Third:
    host = machines.add("third")
    return Third(host, machines.link(pair.here, host)[pair.here].address)


class Third(NamedTuple):
    """A machine that knows an address of the one that the program runs on."""

    host: Host
    address: str

    def connect(self, port: int) -> socket.socket:
        with self.host.entered():
            return socket.create_connection((self.address, port), 5)


@PLAIN
def test_a_stranger_who_is_there_before_the_login(
    pair: Pair,
    third: Third,
    machines: Machines,
    payload: Path,
    tmp_path: Path,
    strangers: list[socket.socket],
    option: str,
) -> None:
    door, copy = tmp_path / "door", tmp_path / "copy"
    add_door(machines.program, "late", door, "")
    program = machines.start(
        pair.here,
        f"socketpipe {option} -i {{ cat {payload} }} -l {{ late ssh remotehost }} -r {{ dd of={copy} }}",
    )
    strangers.append(third.connect(wait_for_listener(pair.here)))
    door.touch()
    expect_success(program.wait())
    assert read_to_the_end(strangers[0])[0] == b""
    assert copy.read_bytes() == payload.read_bytes()


def test_a_stranger_who_comes_between_the_login_and_its_connection(
    make_pair: Callable[..., Pair],
    machines: Machines,
    payload: Path,
    tmp_path: Path,
) -> None:
    """He is turned away at once, and nobody waits for that."""
    door, copy = tmp_path / "door", tmp_path / "copy"
    late = Program(tmp_path / "late")
    real = machines.program.path
    add_door(late, "socketpipe", door, str(real))
    pair = make_pair(remote=late)
    host = machines.add("third")
    third = Third(host, machines.link(pair.here, host)[pair.here].address)
    program = machines.start(
        pair.here, f"socketpipe -i {{ cat {payload} }} -l {{ ssh remotehost }} -r {{ dd of={copy} }}"
    )
    for _stranger in range(2):
        port = wait_for_listener(pair.here)
        with suppress(ConnectionResetError), third.connect(port) as stranger:
            assert read_to_the_end(stranger)[0] == b""
    door.touch()
    expect_success(program.wait())
    assert copy.read_bytes() == payload.read_bytes()


@pytest.mark.parametrize(
    "garbage", [b"", b"GET / HTTP/1.0\r\n\r\n", bytes(48), b"socketpipe\1cr" + bytes(35)]
)
def test_twenty_strangers_at_a_proven_session(
    pair: Pair,
    third: Third,
    machines: Machines,
    payload: Path,
    tmp_path: Path,
    strangers: list[socket.socket],
    garbage: bytes,
) -> None:
    """Not even from the right machine."""
    door, copy = tmp_path / "door", tmp_path / "copy"
    add_door(machines.program, "late", door, "")
    program = machines.start(
        pair.here, f"socketpipe -k -i {{ cat {payload} }} -l {{ late ssh remotehost }} -r {{ dd of={copy} }}"
    )
    port = wait_for_listener(pair.here)
    near = Third(pair.remote, pair.link[pair.here].address)
    strangers += [stranger.connect(port) for stranger in (third, near) for number in range(10)]
    for stranger in strangers:
        stranger.sendall(garbage)
    door.touch()
    expect_success(program.wait())
    said = {read_to_the_end(stranger)[0] for stranger in strangers}
    assert not any(payload.read_bytes()[:16] in words for words in said)
    assert copy.read_bytes() == payload.read_bytes()


@PLAIN
def test_the_listener_is_gone_when_the_stream_begins(
    pair: Pair, third: Third, machines: Machines, tmp_path: Path, option: str
) -> None:
    door = tmp_path / "door"
    add_door(machines.program, "late", door, "")
    program = machines.start(
        pair.here,
        f"socketpipe {option} -i {{ sh -c 'echo; touch begun; while [ -e {door} ]; do sleep 0.02; done' }} "
        "-l { late ssh remotehost } -r { cat }",
    )
    port = wait_for_listener(pair.here)
    door.touch()
    wait_until((tmp_path / "begun").exists, "the stream has begun")
    assert listening_port(pair.here) is None
    with pytest.raises(ConnectionRefusedError):
        third.connect(port)
    door.unlink()
    expect_success(program.wait())


# What goes through ssh


@ALL
def test_no_payload_passes_through_the_login(
    pair: Pair, machines: Machines, tmp_path: Path, option: str
) -> None:
    """As the kernel counts the bytes of the login's connection, in both directions, at the end of it."""
    counts = tmp_path / "counts"
    ended = machines.run(
        pair.here,
        f"socketpipe {option} -i {{ head -c {ENOUGH} /dev/zero }} -l {{ ssh remotehost }} "
        f"-r {{ sh -c 'cat && ss -Htin state established sport = :22 >{counts}' }} -o {{ wc -c }}",
    )
    expect_success(ended)
    assert int(ended.stdout) == ENOUGH
    text = counts.read_text()
    sent, arrived = (
        [int(count) for count in re.findall(rf"\b{name}:(\d+)", text)]
        for name in ("bytes_sent", "bytes_received")
    )
    assert (len(sent), len(arrived)) == (1, 1), text
    assert 0 < sent[0] < LITTLE
    assert 0 < arrived[0] < LITTLE


@ALL
def test_nobody_is_connected_but_the_two_machines(
    make_pair: Callable[..., Pair], machines: Machines, option: str
) -> None:
    """By the login, and by what the protocol needs."""
    pair = make_pair(ipv6=False)
    with streaming(machines, pair.here, f"{option} -l {{ ssh remotehost }}"):
        found = connections_of(pair.here)
        assert {connection.peer for connection in found} == {pair.link[pair.remote].address}
        assert sum(connection.peer_port == 22 for connection in found) == 1
        assert len(found) == 1 + CONNECTIONS[option]


# Deaths

#: As `ENDLESS`, until nobody reads it any more.
STOPPABLE = "while head -c 100000 /dev/zero; do sleep 0.02; done"


def start_stream(
    machines: Machines, here: Host, option: str, gate: CommitGate, script: str = ENDLESS
) -> Running:
    """To a commit gate on the remote host, where it has begun to arrive."""
    local, remote = (f"{{ sh -c '{words}' }}" for words in (script, gate.script))
    program = machines.start(here, f"socketpipe {option} -i {local} -l {{ ssh remotehost }} -r {remote}")
    wait_until(gate.has_bytes, "the stream has begun")
    return program


def expect_nothing_left_soon(*hosts: Host) -> None:
    def left() -> list[str]:
        return [words for host in hosts for words in host.processes().values()]

    try:
        wait_until(lambda: not left(), "no process is left", SOON)
    except AssertionError as error:
        raise AssertionError(f"{error}: {left()}") from None


def kill_ssh(pair: Pair) -> None:
    kill(process_on(pair.here, "ssh "))


def kill_sshd(pair: Pair) -> None:
    kill(login_process(pair.remote))


@pytest.mark.parametrize("end", [kill_ssh, kill_sshd])
@PLAIN
def test_a_login_that_is_killed(
    pair: Pair, machines: Machines, tmp_path: Path, option: str, end: Callable[[Pair], None]
) -> None:
    gate = CommitGate(tmp_path)
    program = start_stream(machines, pair.here, option, gate)
    end(pair)
    ended = program.wait(SOON)
    assert ended.status != 0
    assert "socketpipe: " in ended.errors
    expect_nothing_left_soon(pair.here, pair.remote)
    assert not gate.whole.exists()


@PLAIN
def test_a_login_that_is_killed_while_data_comes(
    pair: Pair, machines: Machines, tmp_path: Path, option: str
) -> None:
    program = machines.start(
        pair.here,
        f"socketpipe {option} -l {{ ssh remotehost }} -r {{ sh -c '{STOPPABLE}' }} -o {{ dd of=copy }}",
    )
    wait_until(CommitGate(tmp_path, "copy").whole.exists, "the stream has begun")
    kill_ssh(pair)
    assert program.wait(SOON).status != 0
    expect_nothing_left_soon(pair.here, pair.remote)


@PLAIN
def test_the_program_is_killed(pair: Pair, machines: Machines, tmp_path: Path, option: str) -> None:
    gate = CommitGate(tmp_path)
    program = start_stream(machines, pair.here, option, gate)
    program.signal(signal.SIGKILL)
    assert program.wait().status == -signal.SIGKILL
    expect_nothing_left_soon(pair.here, pair.remote)
    assert not gate.whole.exists()


def test_all_ends_of_a_killed_program_are_seen_in_one_moment(
    pair: Pair, machines: Machines, tmp_path: Path
) -> None:
    """Its login's and its connections'."""
    gate = CommitGate(tmp_path)
    program = start_stream(machines, pair.here, PROVEN, gate)
    endpoint = parent_of(process_on(pair.remote, "sh -c cat"))
    stdin = os.readlink(f"/proc/{endpoint}/fd/0")
    os.kill(endpoint, signal.SIGSTOP)
    try:
        program.signal(signal.SIGKILL)
        wait_until(lambda: stdin not in descriptors_of_sshd(pair.remote), "its standard input has ended")
    finally:
        os.kill(endpoint, signal.SIGCONT)
    program.wait()
    expect_nothing_left_soon(pair.here, pair.remote)
    assert not gate.whole.exists()


def descriptors_of_sshd(host: Host) -> set[str]:
    found = set()
    for pid, words in processes_in(host.network).items():
        if "sshd" in words:
            for link in Path(f"/proc/{pid}/fd").glob("*"):
                with suppress(FileNotFoundError):  # closed meanwhile
                    found.add(os.readlink(link))
    return found


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@PLAIN
def test_the_program_is_told_to_stop(
    pair: Pair, machines: Machines, tmp_path: Path, option: str, signum: signal.Signals
) -> None:
    gate = CommitGate(tmp_path)
    program = start_stream(machines, pair.here, option, gate, STOPPABLE)
    program.signal(signum)
    ended = program.wait(SOON)
    assert ended.status == 128 + signum
    assert signum.name in ended.errors
    expect_nothing_left_soon(pair.here, pair.remote)
    assert not gate.whole.exists()


# The network


def cut(pair: Pair) -> None:
    pair.remote.run("ip", "link", "set", pair.link[pair.remote].name, "down")


def mend(pair: Pair) -> None:
    pair.remote.run("ip", "link", "set", pair.link[pair.remote].name, "up")


#: So often in a row has the sender sent in vain after 3 seconds.
IN_VAIN = 4


@PLAIN
def test_a_link_that_is_down_for_seconds(pair: Pair, machines: Machines, tmp_path: Path, option: str) -> None:
    gate, door, sent = CommitGate(tmp_path), tmp_path / "door", tmp_path / "sent"
    script = f"while ! [ -e {door} ]; do head -c 10000 /dev/urandom; sleep 0.02; done | tee {sent}"
    program = start_stream(machines, pair.here, option, gate, script)
    cut(pair)
    wait_until(lambda: retransmissions(pair.here) >= IN_VAIN, "the link was down for seconds")
    arrived = gate.part.stat().st_size
    mend(pair)
    wait_until(lambda: gate.has_bytes(arrived + 1), "the stream goes on")
    door.touch()
    expect_success(program.wait())
    assert gate.whole.read_bytes() == sent.read_bytes()


#: For ever is 2 seconds.
IMPATIENT: dict[str, Any] = {
    "data._KEEPALIVE": {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 2},
    "classic.SILENCE": 2,
    "classic._LOOK_AT_SILENCE": 0.2,
    "classic_connection.ANSWER_TIME": 0.5,
    "login.HANG_UP_GRACE": 0.5,
    "caller.LOGIN_GRACE": 0.5,
    "peer.SILENCE": 2,
    "peer.HEARTBEAT": 0.5,
}
IMPATIENT_SSHD = "ClientAliveInterval 1\nClientAliveCountMax 2\n"
SILENT = {CLASSIC: "nothing was heard of its machine for 2 s", PROVEN: "it has been silent for 2 s"}


@PLAIN
def test_a_link_that_is_down_for_ever(
    make_pair: Callable[..., Pair],
    machines: Machines,
    network: Network,
    tmp_path: Path,
    option: str,
) -> None:
    """Both sides give up, each by itself."""
    gate = CommitGate(tmp_path)
    program = Program(tmp_path / "impatient", patience=IMPATIENT)
    pair = make_pair(local=program, remote=program, sshd_options=IMPATIENT_SSHD)
    running = start_stream(machines, pair.here, option, gate)
    cut(pair)
    ended = running.wait()
    assert ended.status == 2
    assert SILENT[option] in ended.errors
    network.expect_nothing_left()
    assert not gate.whole.exists()


def test_a_machine_that_is_gone_while_its_command_does_not_read(
    make_pair: Callable[..., Pair], machines: Machines, network: Network, tmp_path: Path
) -> None:
    """As during the change of a tape: until it is gone, it answers whenever it is asked."""
    program = Program(tmp_path / "impatient", patience=IMPATIENT)
    pair = make_pair(local=program, remote=program, sshd_options=IMPATIENT_SSHD)
    words = "socketpipe -i { cat /dev/zero } -l { ssh remotehost } -r { sleep 1000 }"
    running = machines.start(pair.here, words)
    wait_until(lambda: retransmissions(pair.here) >= IN_VAIN - 1, "it is asked ever more rarely")
    assert running.process.poll() is None
    cut(pair)
    ended = running.wait()
    assert ended.status == 2
    assert "nothing was heard of its machine for " in ended.errors
    # That the command is still there nobody here can know: it neither reads nor writes.
    kill(process_on(pair.remote, "sleep 1000"))
    network.expect_nothing_left()


# More than two machines


def nested(option: str, line: str) -> str:
    """The documented command, with *option* at every level."""
    return line.replace("socketpipe", f"socketpipe {option}")


@PLAIN
def test_a_chain_whose_middle_compresses(
    triangle: Triangle, machines: Machines, tree: Path, tmp_path: Path, option: str
) -> None:
    line = "socketpipe -i { tar cf - tree } -l { ssh b } -r { CHAIN }".replace(
        "CHAIN", f"socketpipe -i {{ gzip -c }} -l {{ ssh c }} -r {{ dd of={tmp_path}/tape }}"
    )
    expect_success(machines.run(triangle.a, nested(option, line)))
    archive = pipe(["gzip", "-dc"], (tmp_path / "tape").read_bytes())
    assert unpacked(tmp_path / "unpacked", archive) == snapshot(tree)
    assert [logins_to(host) for host in triangle] == [0, 1, 1]


@PLAIN
def test_one_source_and_two_sinks(
    triangle: Triangle, machines: Machines, tree: Path, tmp_path: Path, option: str
) -> None:
    """The second gets what the first has taken."""
    one, other = tmp_path / "one", tmp_path / "other"
    line = "socketpipe -i { tar cf - tree } -l { ssh b } -r { CHAIN }".replace(
        "CHAIN", f"socketpipe -i {{ tee {one} }} -l {{ ssh c }} -r {{ dd of={other} }}"
    )
    expect_success(machines.run(triangle.a, nested(option, line)))
    assert one.read_bytes() == other.read_bytes()
    assert unpacked(tmp_path / "unpacked", one.read_bytes()) == snapshot(tree)


RING = (
    "socketpipe -i {{ cat {payload} }} -l {{ ssh b }} -r {{ "
    "socketpipe -i {{ tee {folder}/copy }} -l {{ ssh c }} -r {{ "
    "socketpipe -i {{ md5sum }} -l {{ ssh a }} -r {{ dd of={folder}/sum }} }} }}"
)
CHECKED_RING = (
    "socketpipe -i {{ cat {payload} }} -l {{ ssh b }} -r {{ "
    "socketpipe -i {{ gzip -c }} -l {{ ssh c }} -r {{ "
    "socketpipe -i {{ gzip -dc }} -l {{ ssh a }} -r {{ cmp - {payload} }} }} }}"
)


@PLAIN
def test_a_ring_that_brings_a_checksum_back(
    triangle: Triangle, machines: Machines, payload: Path, tmp_path: Path, option: str
) -> None:
    line = RING.format(payload=payload, folder=tmp_path)
    expect_success(machines.run(triangle.a, nested(option, line)))
    assert (tmp_path / "copy").read_bytes() == payload.read_bytes()
    assert (tmp_path / "sum").read_bytes() == pipe(["md5sum"], payload.read_bytes())
    assert [logins_to(host) for host in triangle] == [1, 1, 1]


@PLAIN
def test_a_ring_that_compares_what_comes_back(
    triangle: Triangle, machines: Machines, payload: Path, option: str
) -> None:
    expect_success(machines.run(triangle.a, nested(option, CHECKED_RING.format(payload=payload))))


@PLAIN
def test_a_ring_in_which_something_else_comes_back(
    triangle: Triangle, machines: Machines, network: Network, payload: Path, option: str
) -> None:
    line = CHECKED_RING.format(payload=payload).replace("gzip -dc", "tr a b")
    ended = machines.run(triangle.a, nested(option, line))
    assert ended.status == 1
    assert f"remote command 'cmp - {payload}' on 'ssh a' exited 1" in ended.errors
    network.expect_nothing_left()


#: How the last command of a chain fails.
FAILURES = ["exit 9", "cat >/dev/null; kill -9 $$"]
CHAINS = {
    "chain": "socketpipe -i {{ {source} }} -l {{ ssh b }} -r {{ "
    "socketpipe -i {{ gzip -c }} -l {{ ssh c }} -r {{ sh -c '{sink}' }} }}",
    "two sinks": "socketpipe -i {{ {source} }} -l {{ ssh b }} -r {{ "
    "socketpipe -i {{ tee {folder}/copy }} -l {{ ssh c }} -r {{ sh -c '{sink}' }} }}",
    "ring": "socketpipe -i {{ {source} }} -l {{ ssh b }} -r {{ "
    "socketpipe -i {{ cat }} -l {{ ssh c }} -r {{ "
    "socketpipe -i {{ cat }} -l {{ ssh a }} -r {{ sh -c '{sink}' }} }} }}",
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("chain", CHAINS)
@PLAIN
def test_a_failure_at_the_far_end_is_one_of_the_whole(
    triangle: Triangle,
    machines: Machines,
    network: Network,
    payload: Path,
    tmp_path: Path,
    option: str,
    chain: str,
    failure: str,
) -> None:
    line = CHAINS[chain].format(source=f"cat {payload}", sink=failure, folder=tmp_path)
    ended = machines.run(triangle.a, nested(option, line))
    assert ended.status == (STATUS_OF_KILLED[option] if "kill" in failure else 9), ended.errors
    assert f"remote command 'sh -c '{failure}''" in ended.errors
    network.expect_nothing_left()


@pytest.mark.parametrize("chain", ["chain", "ring"])
@PLAIN
def test_the_program_in_the_middle_is_killed(
    triangle: Triangle, machines: Machines, tmp_path: Path, option: str, chain: str
) -> None:
    """The last reader of the chain does not take what it has for all."""
    gate = CommitGate(tmp_path)
    source = f'sh -c "{ENDLESS}"'.replace("zero", "urandom")  # what gzip does not keep for long
    line = CHAINS[chain].format(source=source, sink=gate.script, folder=tmp_path)
    program = machines.start(triangle.a, nested(option, line))
    wait_until(gate.has_bytes, "the stream has begun")
    kill(parent_of(process_on(triangle.b, "ssh ")))
    assert program.wait().status != 0
    expect_nothing_left_soon(*triangle)
    assert not gate.whole.exists()


# The original program


@pytest.fixture
def original(tmp_path: Path) -> Program:
    """An installation of it."""
    if C_PROGRAM is None:
        pytest.skip("SOCKETPIPE_C does not name an executable of socketpipe 1.10, the C program")
    program = Program(tmp_path / "original")
    program.path.unlink()
    program.path.symlink_to(C_PROGRAM)
    return program


#: Push, pull and filter. The C program takes the end of its own filter for an error.
WAYS = {
    "push": "-i {{ cat {payload} }} {login} -r {{ dd of={copy} }}",
    "pull": "{login} -r {{ dd if={payload} }} -o {{ dd of={copy} }}",
    "filter": "-i {{ cat {payload} }} {login} -r {{ cat }} -o {{ dd of={copy} }}",
}


def original_line(pair: Pair, way: str, address: str, payload: Path, copy: Path) -> str:
    """The command line for one of `WAYS`; *address* is the option that names this machine, or empty."""
    host = f"-h {pair.link[pair.here].address} " if address else ""
    return f"socketpipe {host}" + WAYS[way].format(payload=payload, login="-l { ssh remotehost }", copy=copy)


@pytest.mark.parametrize("address", ["", "-h"])
@pytest.mark.parametrize("way", WAYS)
def test_the_original_is_the_remote_side(
    make_pair: Callable[..., Pair],
    machines: Machines,
    original: Program,
    payload: Path,
    tmp_path: Path,
    way: str,
    address: str,
) -> None:
    pair = make_pair(remote=original)
    copy = tmp_path / "copy"
    line = original_line(pair, way, address, payload, copy)
    expect_success(machines.run(pair.here, line))
    assert copy.read_bytes() == payload.read_bytes()


@pytest.mark.parametrize("address", ["", "-h"])
@pytest.mark.parametrize("way", WAYS)
def test_the_original_is_the_local_side(
    make_pair: Callable[..., Pair],
    machines: Machines,
    original: Program,
    payload: Path,
    tmp_path: Path,
    way: str,
    address: str,
) -> None:
    """It ends its own filter, and no other, with an error: the socket that it shuts down is closed."""
    pair = make_pair(local=original)
    copy = tmp_path / "copy"
    line = original_line(pair, way, address, payload, copy)
    ended = machines.run(pair.here, line)
    assert copy.read_bytes() == payload.read_bytes()
    if way == "filter":
        assert "shutdown(SHUT_RD) failed" in ended.errors
    else:
        assert ended.status == 0, ended.errors


def test_the_original_gets_its_words_as_they_were_typed(
    make_pair: Callable[..., Pair], machines: Machines, original: Program
) -> None:
    pair = make_pair(remote=original)
    line = """socketpipe -l { ssh remotehost } -r { printf '<%s>\\0' "$@" } -o { cat }"""
    ended = machines.run(pair.here, line, *HARD)
    expect_success(ended)
    assert ended.stdout.split(b"\0")[:-1] == [b"<" + word + b">" for word in HARD]
