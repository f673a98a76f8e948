# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program as a process, on this machine alone: what it moves, how it ends, what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.arguments import HELP, USAGE
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.version import VERSION
from harness.processes import is_running
from harness.program import Program, block, commands
from harness.pythons import PYTHONS
from harness.streams import ENDLESS, CommitGate, sh
from harness.waiting import wait_until

#: What asks for a session on this machine, by protocol.
PROTOCOLS = {"classic": ["-h", "127.0.0.1"], "proven": ["-k"]}
BOTH = list(PROTOCOLS)
SIZE = 5_000_000
#: Nobody is waited for in vain.
PATIENCE = {
    "endpoint.ABORT_TIMEOUT": 2.0,
    "crew.NOTICE_GRACE": 0.1,
    "crew.TERM_GRACE": 0.3,
    "guard.TERM_GRACE": 0.3,
    "login.HANG_UP_GRACE": 0.1,
    "login.TERM_GRACE": 0.3,
}
#: Seconds for what such a program leaves to end.
LEFT_BOUND = 8.0
FOREVER = ["sleep", "1000"]
DEAF = sh("trap '' TERM; while :; do sleep 0.1; done")

MakeProgram = Callable[..., Program]


@pytest.fixture
def make_program(tmp_path: Path) -> Iterator[MakeProgram]:
    made: list[Program] = []

    def make(**options: Any) -> Program:
        made.append(Program(tmp_path / f"program{len(made)}", **options))
        return made[-1]

    yield make
    for program in made:
        program.close()


@pytest.fixture
def program(make_program: MakeProgram) -> Program:
    return make_program()


@pytest.fixture
def impatient(make_program: MakeProgram) -> Program:
    return make_program(patience=PATIENCE)


@pytest.fixture(params=BOTH)
def protocol(request: pytest.FixtureRequest) -> list[str]:
    """The options of either protocol."""
    return PROTOCOLS[request.param]


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """A file that tells, by being there, that something has begun."""
    return tmp_path / "flag"


# What it moves


@pytest.mark.parametrize("size", [SIZE, 0], ids=["5MB", "empty"])
@pytest.mark.parametrize("way", ["file to file", "stdin to file", "file to stdout", "stdin to stdout"])
def test_what_went_in_comes_out(
    program: Program, protocol: list[str], tmp_path: Path, way: str, size: int
) -> None:
    data = os.urandom(size)
    given, got = tmp_path / "given", tmp_path / "got"
    given.write_bytes(data)
    ways = {
        "file to file": commands(input=["cat", str(given)], remote=["dd", f"of={got}"]),
        "stdin to file": commands(input=["cat"], remote=["dd", f"of={got}"]),
        "file to stdout": commands(remote=["dd", f"if={given}"], output=["cat"]),
        "stdin to stdout": commands(input=["cat"], remote=["dd"], output=["cat"]),
    }
    ended = program.run(*protocol, *ways[way], input=data if way.startswith("stdin") else b"")
    assert ended.status == 0, ended.errors
    assert (got.read_bytes() if way.endswith("file") else ended.stdout) == data
    assert f"{size} bytes" in ended.errors or size == 0


@PYTHONS
def test_every_python_runs_it(make_program: MakeProgram, protocol: list[str], python: str) -> None:
    program = make_program(python=python)
    words = commands(input=["cat"], remote=["printf", "%s", "a b"], output=["cat"])
    assert program.run(*protocol, *words) == (0, b"a b", "")
    assert program.run(*protocol, *commands(input=["cat"], remote=["cat"]), input=b"x") == (0, b"x", "")


def test_without_an_output_command_the_remote_ones_output_is_ours(
    program: Program, protocol: list[str]
) -> None:
    """1.10 left it in a socket that nobody read, and waited for ever."""
    size = 64_000_000
    ended = program.run(
        *protocol,
        *commands(input=["true"], remote=[sys.executable, "-c", f"import os\nprint('x' * {size}, end='')"]),
    )
    assert (ended.status, ended.errors) == (0, "")
    assert ended.stdout == b"x" * size


def test_without_an_input_command_the_remote_ones_input_is_empty(
    program: Program, protocol: list[str]
) -> None:
    """1.10 never sent its end, and waited for ever."""
    ended = program.run(
        *protocol, *commands(remote=sh("cat; echo end"), output=["cat"]), input=b"not for the other machine"
    )
    assert ended == (0, b"end\n", "")


def test_a_full_filter_succeeds(program: Program, protocol: list[str]) -> None:
    """1.10 ended with 2."""
    words = commands(input=["cat"], remote=["tr", "a-z", "A-Z"], output=["rev"])
    assert program.run(*protocol, *words, input=b"hello\n") == (0, b"OLLEH\n", "")


WORDS = [
    "a b",
    "",
    "  ",
    "it's",
    '"',
    "$HOME",
    "*",
    ";",
    "{",
    "}",
    "\n",
    "\\",
    "-n",
    "!",
    "\udcff",
    "f\u00fcr",
]


@pytest.mark.parametrize("login", ["shlogin", "env"])
def test_the_remote_commands_words_are_what_was_typed(
    program: Program, protocol: list[str], login: str
) -> None:
    """Whether the login makes one text of them, for a shell, or passes them on as they are."""
    words = [os.fsencode(word) for word in commands(login=[login], remote=["printf", "%s\\0", *WORDS])]
    ended = program.run(*protocol, *words, *block("-o", "cat"))
    assert (ended.status, ended.errors) == (0, "")
    assert ended.stdout == b"".join(os.fsencode(word) + b"\0" for word in WORDS)


def test_the_local_commands_words_are_what_was_typed(program: Program, protocol: list[str]) -> None:
    words = commands(input=["printf", "%s\\0", *WORDS], remote=["cat"])
    ended = program.run(*protocol, *map(os.fsencode, words))
    assert ended.stdout == b"".join(os.fsencode(word) + b"\0" for word in WORDS)


@pytest.mark.parametrize("options", [["-h", "::1"], ["-k", "-h", "::1"], ["-k", "-h", "127.0.0.1"], ["-e"]])
def test_other_ways_to_connect_do_the_same(program: Program, options: list[str]) -> None:
    data = os.urandom(SIZE)
    ended = program.run(*options, *commands(input=["cat"], remote=["cat"], output=["cat"]), input=data)
    assert (ended.status, ended.errors) == (0, "")
    assert ended.stdout == data


# Whose standard input and output is whose


def test_standard_input_is_the_input_commands_alone(
    program: Program, protocol: list[str], tmp_path: Path
) -> None:
    seen = {name: tmp_path / name for name in ("remote", "output", "login")}
    # With -k the login's standard input is its order.
    reads = f"cat > {seen['login']}; " if "-k" not in protocol else ""
    program.add("curious", f'#!/bin/sh\n{reads}exec sh -c "$*"\n')
    (tmp_path / "stdin").write_bytes(b"for the input command")
    words = commands(
        login=["curious"],
        input=["true"],
        remote=sh(f"cat > {seen['remote']}"),
        output=sh(f"cat > {seen['output']}"),
    )
    with (tmp_path / "stdin").open("rb") as stdin, program.start(*protocol, *words, stdin=stdin) as running:
        assert running.wait().status == 0
        assert os.lseek(stdin.fileno(), 0, os.SEEK_CUR) == 0, "somebody has read it"
    assert [path.read_bytes() for path in seen.values() if path.exists()] == [b""] * (3 if reads else 2)


@pytest.mark.parametrize("output", [["cat"], None], ids=["output", "none"])
def test_what_the_login_prints_is_no_data(
    program: Program, protocol: list[str], output: list[str] | None
) -> None:
    noise = ["Welcome", '{"a": 1}', "[1]", "null", "socketpipe-login", "{"]
    lines = "".join(f"echo '{line}'\n" for line in noise)
    program.add("noisy", f'#!/bin/sh\n{lines}exec sh -c "$*"\n')
    words = commands(login=["noisy"], input=["cat"], remote=["cat"], output=output)
    assert program.run(*protocol, *words, input=b"data") == (
        0,
        b"data",
        "".join(f"socketpipe: {line}\n" for line in noise),
    )
    assert program.run(*protocol, "-b", *words, input=b"data") == (0, b"data", "")


def test_what_the_login_prints_may_be_any_bytes(program: Program, protocol: list[str]) -> None:
    program.add("noisy", '#!/bin/sh\nhead -c 300000 /dev/urandom\nprintf "\\n\\n"\nexec sh -c "$*"\n')
    words = commands(login=["noisy"], input=["cat"], remote=["cat"])
    ended = program.run(*protocol, *words, input=b"data")
    assert (ended.status, ended.stdout) == (0, b"data")


def test_words_of_all_commands_go_to_standard_error(program: Program, protocol: list[str]) -> None:
    def says(who: str) -> list[str]:
        return sh(f"echo {who} >&2; cat")

    program.add("saying", '#!/bin/sh\necho login >&2\nexec sh -c "$*"\n')
    words = commands(login=["saying"], input=says("input"), remote=says("remote"), output=says("output"))
    ended = program.run(*protocol, *words, input=b"data")
    assert (ended.status, ended.stdout) == (0, b"data")
    assert sorted(ended.errors.splitlines()) == ["input", "login", "output", "remote"]


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_descriptors_are_nobodys_connection(
    program: Program, protocol: list[str], tmp_path: Path, closed: str
) -> None:
    """Else a connection would have the number of one of them."""
    gate = CommitGate(tmp_path)
    words = commands(input=["echo", "data"], remote=["cat"], output=gate.argv)
    ended = program.run(*protocol, *words, before=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert (ended.status, ended.stdout, ended.errors) == (0, b"", "")
    assert gate.whole.read_bytes() == b"data\n"


# How it ends


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (commands(input=sh("exit 7"), remote=["cat"]), 7),
        (commands(input=sh("head -c 3000000 /dev/zero; exit 7"), remote=["cat"]), 7),
        (commands(input=sh("exit 7"), remote=["cat"], output=["cat"]), 7),
        (commands(input=sh("kill -KILL $$"), remote=["cat"], output=["cat"]), 137),
        (commands(input=["true"], remote=sh("cat; exit 9")), 9),
        (commands(input=["true"], remote=sh("exit 9"), output=["cat"]), 9),
        (commands(remote=sh("echo data; exit 9"), output=["cat"]), 9),
        (commands(remote=sh("echo data; kill -KILL $$"), output=["cat"]), 137),
        (commands(remote=sh("head -c 3000000 /dev/zero; kill -KILL $$"), output=["cat"]), 137),
        (commands(remote=["echo", "data"], output=sh("cat; exit 3")), 3),
        (commands(input=["cat", "/dev/zero"], remote=["cat"], output=sh("head -c 9; exit 3")), 3),
        (commands(remote=sh("echo data; exit 9"), output=sh("cat; exit 3")), 9),
        (commands(input=sh("exit 7"), remote=sh("cat; exit 9"), output=sh("cat; exit 3")), 7),
        (commands(input=["true"], remote=["cat"], output=["cat"]), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_the_status_is_that_of_the_first_command_that_failed(
    program: Program, protocol: list[str], words: list[str], status: int
) -> None:
    ended = program.run(*protocol, *words)
    assert ended.status == status, ended.errors
    assert ("socketpipe: " in ended.errors) == (status != 0)


@pytest.mark.parametrize("role", ["input", "remote", "output", "login"])
def test_a_missing_executable_is_named_and_the_status_is_2(
    program: Program, protocol: list[str], tmp_path: Path, role: str
) -> None:
    begun = tmp_path / "begun"
    words: dict[str, Any] = {"input": ["touch", str(begun)], "remote": ["cat"], "output": ["cat"]}
    ended = program.run(*protocol, *commands(**{**words, role: ["no-such-command", "x"]}))
    assert ended.status == 2
    assert "socketpipe: " in ended.errors
    assert f"{role} command" in ended.errors
    assert "'no-such-command'" in ended.errors
    # In the classic protocol the end of its connection tells, a moment after its beginning.
    is_told = role != "remote" or protocol == PROTOCOLS["proven"]
    assert not (is_told and begun.exists()), "the input command was started"


@pytest.mark.parametrize(
    ("login", "status"),
    [(["false"], 1), (sh("exit 255"), 255), (sh("kill -KILL $$"), 137), (["true"], 2)],
    ids=["false", "255", "killed", "true"],
)
def test_a_login_that_ends_before_anybody_connected_ends_the_session(
    program: Program, protocol: list[str], login: list[str], status: int
) -> None:
    """1.10 waited for ever."""
    ended = program.run(*protocol, *commands(login=login, input=["cat"], remote=["cat"]))
    assert ended.status == status
    assert "socketpipe: the login did not connect back: it ended with status " in ended.errors


def test_a_login_whose_machine_has_no_socketpipe_ends_the_session(
    program: Program, protocol: list[str]
) -> None:
    program.add("bare", '#!/bin/sh\nPATH=/nowhere exec /bin/sh -c "$*"\n')
    ended = program.run(*protocol, *commands(login=["bare"], input=["cat"], remote=["cat"]))
    assert ended.status == 127
    assert "not found" in ended.errors


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-x"],
        ["file"],
        ["-s", "127.0.0.1"],
        ["-h"],
        ["-t", "soon"],
        block("-i", "cat"),
        commands(remote=["cat"]),
        [*commands(input=["cat"], remote=["cat"]), "}"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_explained_and_the_status_is_1(program: Program, words: list[str]) -> None:
    ended = program.run(*words)
    assert (ended.status, ended.stdout) == (1, b"")
    assert ended.errors.startswith("socketpipe: ")
    assert ended.errors.endswith(USAGE)


def test_help_and_version_are_shown(program: Program) -> None:
    assert program.run("--help") == (0, HELP.encode(), "")
    assert program.run("--version") == (0, f"socketpipe {VERSION} (dds.socketpipe)\n".encode(), "")


def test_a_full_disk_at_standard_output_fails_the_session(program: Program, protocol: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        ended = program.run(*protocol, *commands(input=["echo", "data"], remote=["cat"]), stdout=full)
    assert ended.status == 2
    assert "standard output" in ended.errors
    assert "No space left on device" in ended.errors


def test_a_reader_of_our_output_that_ends_early_ends_the_session(
    program: Program, protocol: list[str]
) -> None:
    reader, writer = os.pipe()
    words = commands(input=["true"], remote=["cat", "/dev/zero"])
    with program.start(*protocol, *words, stdout=writer) as running:
        os.close(writer)
        assert os.read(reader, 1) == b"\0"
        os.close(reader)
        assert running.wait().status != 0
    program.expect_nothing_left()


# A broken stream is never taken for a whole one


def test_what_the_input_command_did_not_finish_is_no_whole_file(
    program: Program, protocol: list[str], tmp_path: Path
) -> None:
    gate = CommitGate(tmp_path)
    ended = program.run(*protocol, *commands(input=sh("head -c 3000000 /dev/zero; exit 7"), remote=gate.argv))
    assert ended.status == 7
    assert gate.part.exists()
    assert not gate.whole.exists()


def test_with_k_what_the_remote_command_did_not_finish_is_no_whole_file_either(
    program: Program, tmp_path: Path
) -> None:
    gate = CommitGate(tmp_path)
    ended = program.run("-k", *commands(remote=sh("head -c 3000000 /dev/zero; exit 9"), output=gate.argv))
    assert ended.status == 9
    assert gate.part.exists()
    assert not gate.whole.exists()


# Readers that end early


@pytest.mark.parametrize(
    "words",
    [
        commands(input=["cat", "/dev/zero"], remote=["head", "-c", "9"]),
        commands(input=["cat", "/dev/zero"], remote=["true"]),
        commands(input=["cat", "/dev/zero"], remote=["head", "-c", "9"], output=["cat"]),
        commands(remote=["cat", "/dev/zero"], output=["head", "-c", "9"]),
        commands(input=["true"], remote=["cat", "/dev/zero"], output=["true"]),
        commands(input=["cat", "/dev/zero"], remote=["cat"], output=["head", "-c", "9"]),
    ],
    ids=" ".join,
)
def test_a_reader_that_leaves_data_unread_fails_the_session(
    program: Program, protocol: list[str], words: list[str]
) -> None:
    ended = program.run(*protocol, *words)
    assert ended.status != 0
    assert "without reading" in ended.errors


@pytest.mark.parametrize(
    "words",
    [
        commands(remote=["printf", "hello"], output=["head", "-c", "5"]),
        commands(input=["true"], remote=["true"], output=["true"]),
        commands(input=["true"], remote=["printf", "hello"]),
    ],
    ids=" ".join,
)
def test_a_reader_that_ends_early_and_missed_nothing_is_none_to_complain_of(
    program: Program, protocol: list[str], words: list[str]
) -> None:
    ended = program.run(*protocol, *words)
    assert (ended.status, ended.errors) == (0, "")


def test_what_a_remote_command_leaves_running_fails_the_session_if_it_holds_the_connection(
    make_program: MakeProgram,
) -> None:
    """Without -k nobody else can say whether its data is over."""
    program = make_program(patience={"classic.LEFTOVER_GRACE": 0.3, **PATIENCE})
    words = commands(remote=sh("echo data; sleep 1000 & exit 0"), output=["cat"])
    ended = program.run(*PROTOCOLS["classic"], *words)
    assert (ended.status != 0, ended.stdout) == (True, b"data\n")
    assert "something that it left running holds its connection open" in ended.errors


def test_with_k_what_a_remote_command_leaves_running_may_stay(program: Program) -> None:
    words = commands(remote=sh("echo data; sleep 1000 & exit 0"), output=["cat"])
    with program.start("-k", *words) as running:
        assert running.wait() == (0, b"data\n", "")
    wait_until(lambda: [*program.processes().values()] == ["sleep"], "only what is meant to stay is left")


def test_a_leftover_that_does_not_hold_the_connection_is_nobodys_business(
    program: Program, protocol: list[str]
) -> None:
    words = commands(remote=sh("echo data; sleep 1000 < /dev/null > /dev/null 2>&1 & exit 0"), output=["cat"])
    with program.start(*protocol, *words) as running:
        assert running.wait() == (0, b"data\n", "")
    wait_until(lambda: [*program.processes().values()] == ["sleep"], "only what is meant to stay is left")


# When it is told to end, or killed

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL]
ANY_SIGNAL = pytest.mark.parametrize("signum", SIGNALS, ids=lambda signum: signum.name)


def status_after(signum: signal.Signals) -> int:
    return -signum if signum == signal.SIGKILL else 128 + signum


@ANY_SIGNAL
def test_a_signal_in_the_middle_leaves_nothing_running_and_no_whole_file(
    impatient: Program, protocol: list[str], tmp_path: Path, signum: signal.Signals
) -> None:
    there, here = CommitGate(tmp_path, "there"), CommitGate(tmp_path, "here")
    remote = sh(f"tee {there.part} && mv {there.part} {there.whole}")
    words = commands(input=sh(ENDLESS), remote=remote, output=here.argv)
    with impatient.start(*protocol, *words) as running:
        wait_until(lambda: there.has_bytes() and here.has_bytes(), "data came through")
        running.signal(signum)
        ended = running.wait()
    assert ended.status == status_after(signum)
    if signum != signal.SIGKILL:
        assert f"it was ended by {signum.name}" in ended.errors
    impatient.expect_nothing_left(LEFT_BOUND)
    assert not there.whole.exists()
    assert not here.whole.exists() or "-k" not in protocol


def expect_ended_by(program: Program, words: list[str], flag: Path, signum: signal.Signals) -> None:
    """A signal that comes when *flag* is there ends the session, and leaves nothing."""
    with program.start(*words) as running:
        wait_until(flag.exists, "it has begun")
        running.signal(signum)
        assert running.wait().status == status_after(signum)
    program.expect_nothing_left(LEFT_BOUND)


@ANY_SIGNAL
def test_a_signal_leaves_no_command_that_neither_reads_nor_writes(
    impatient: Program, protocol: list[str], flag: Path, signum: signal.Signals
) -> None:
    words = commands(input=FOREVER, remote=sh(f"touch {flag}; exec sleep 1000"), output=FOREVER)
    expect_ended_by(impatient, [*protocol, *words], flag, signum)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=lambda signum: signum.name)
def test_a_signal_leaves_no_command_that_ignores_to_be_told_to_end(
    impatient: Program, protocol: list[str], flag: Path, signum: signal.Signals
) -> None:
    words = commands(input=DEAF, remote=sh(f"touch {flag}; {DEAF[-1]}"), output=DEAF)
    expect_ended_by(impatient, [*protocol, *words], flag, signum)


@ANY_SIGNAL
def test_a_signal_leaves_no_login_that_has_not_connected(
    impatient: Program, protocol: list[str], flag: Path, signum: signal.Signals
) -> None:
    login = sh(f"touch {flag}; exec sleep 1000")
    with impatient.start(*protocol, *commands(login=login, input=["cat"], remote=["cat"])) as running:
        wait_until(flag.exists, "the login runs")
        running.signal(signum)
        assert running.wait().status == status_after(signum)
    impatient.expect_nothing_left(LEFT_BOUND)


def test_a_login_that_is_killed_in_the_middle_fails_the_session(
    impatient: Program, protocol: list[str], tmp_path: Path
) -> None:
    gate = CommitGate(tmp_path)
    impatient.add("shown", f'#!/bin/sh\necho $$ > {tmp_path}/login\nexec sh -c "exec $*"\n')
    words = commands(login=["shown"], input=sh(ENDLESS), remote=gate.argv)
    with impatient.start(*protocol, *words) as running:
        wait_until(gate.has_bytes, "data came through")
        os.kill(int((tmp_path / "login").read_text()), signal.SIGKILL)
        ended = running.wait()
    assert ended.status not in (0, 1)
    assert ended.errors
    impatient.expect_nothing_left(LEFT_BOUND)
    assert not gate.whole.exists()


# The time for the other side to connect


def test_a_login_that_takes_longer_than_its_time_is_ended(impatient: Program, protocol: list[str]) -> None:
    began = time.monotonic()
    ended = impatient.run(
        *protocol, "-t", "1", *commands(login=sh("exec sleep 1000"), input=["cat"], remote=["cat"])
    )
    assert time.monotonic() - began >= 1
    assert "socketpipe: the login did not connect back: its time, 1 s, is over" in ended.errors
    assert ended.status == 2


def test_zero_seconds_are_no_limit(program: Program, protocol: list[str], flag: Path) -> None:
    program.add(
        "slow", f'#!/bin/sh\ntouch {flag}.begun\nuntil [ -e {flag} ]; do sleep 0.02; done\nexec sh -c "$*"\n'
    )
    began = flag.with_name("flag.begun")
    words = commands(login=["slow"], input=["cat"], remote=["cat"])
    with program.start(*protocol, "-t", "0", *words) as running:
        wait_until(began.exists, "the login runs")
        assert running.process.poll() is None
        flag.touch()
        assert running.wait().status == 0


def test_the_time_is_for_the_connection_and_not_for_the_session(
    program: Program, protocol: list[str], flag: Path
) -> None:
    limit = 3.0
    deadline = time.monotonic() + limit
    words = commands(input=sh(f"until [ -e {flag} ]; do sleep 0.02; done"), remote=["echo", "late"])
    with program.start(*protocol, "-t", f"{limit:g}", *words) as running:
        wait_until(lambda: time.monotonic() > deadline + 0.2, "its time is over")
        flag.touch()
        assert running.wait() == (0, b"late\n", "")


# With a terminal


class Terminal:
    """One that a program has for its own, with a person in front of it."""

    def __init__(self) -> None:
        self._master, self.slave = os.openpty()
        os.set_blocking(self._master, False)
        self._seen = b""

    @property
    def seen(self) -> str:
        try:
            while True:
                self._seen += os.read(self._master, 1 << 16)
        except OSError:
            return self._seen.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def close(self) -> None:
        os.close(self.slave)
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def on(terminal: Terminal) -> dict[str, Any]:
    """What makes it the controlling terminal."""
    return {
        "before": ["setsid", "--ctty"],
        "start_new_session": False,
        "stdin": terminal.slave,
        "stderr": terminal.slave,
    }


def test_a_login_may_ask_its_question_on_the_terminal(
    program: Program, protocol: list[str], terminal: Terminal
) -> None:
    program.add(
        "asking",
        '#!/bin/sh\nprintf "Password: " > /dev/tty\nread answer < /dev/tty\n'
        '[ "$answer" = secret ] || exit 5\nexec sh -c "$*"\n',
    )
    words = commands(login=["asking"], input=["echo", "data"], remote=["cat"])
    with program.start(*protocol, *words, **on(terminal)) as running:
        wait_until(lambda: "Password: " in terminal.seen, "the question")
        terminal.type("secret\n")
        ended = running.wait()
    assert (ended.status, ended.stdout) == (0, b"data\n"), terminal.seen
    program.expect_nothing_left()


def test_control_c_on_the_terminal_ends_all_of_it(
    impatient: Program, protocol: list[str], terminal: Terminal, tmp_path: Path
) -> None:
    gate = CommitGate(tmp_path)
    with impatient.start(
        *protocol, *commands(input=sh(ENDLESS), remote=gate.argv), **on(terminal)
    ) as running:
        wait_until(gate.has_bytes, "data came through")
        terminal.type("\x03")
        ended = running.wait()
    assert ended.status == 130, terminal.seen
    assert "socketpipe: " in terminal.seen, "it says why"
    impatient.expect_nothing_left(LEFT_BOUND)
    assert not gate.whole.exists()


def test_without_a_terminal_no_command_has_one(program: Program, protocol: list[str], tmp_path: Path) -> None:
    def tries(name: str) -> str:
        return f"(: < /dev/tty) 2> /dev/null && touch {tmp_path}/{name}; cat"

    words = commands(input=sh(tries("input")), remote=sh(tries("remote")), output=sh(tries("output")))
    assert program.run(*protocol, *words).status == 0
    assert not [name for name in ("input", "remote", "output") if (tmp_path / name).exists()]


def test_progress_is_drawn_on_a_terminal(
    program: Program, protocol: list[str], terminal: Terminal, flag: Path
) -> None:
    waits = f"head -c 1500 /dev/zero; until [ -e {flag} ]; do sleep 0.02; done"
    words = commands(input=sh(waits), remote=["cat"], output=["wc", "-c"])
    with program.start(*protocol, "-v", *words, stderr=terminal.slave) as running:
        wait_until(lambda: "\rinput 1.5 kB, " in terminal.seen, "the progress")
        flag.touch()
        ended = running.wait()
    assert (ended.status, ended.stdout.strip()) == (0, b"1500")
    last = terminal.seen.split("\r")[-2:]
    assert last[0].startswith("input 1.5 kB, "), last
    assert "   output 1.5 kB, " in last[0]
    assert last[1] == "\n"


def test_progress_is_silent_on_anything_else(program: Program, protocol: list[str]) -> None:
    words = commands(input=["cat"], remote=["cat"])
    assert program.run(*protocol, "-v", *words, input=b"data") == (0, b"data", "")


def test_progress_does_without_a_standard_error(program: Program, protocol: list[str]) -> None:
    words = commands(input=["cat"], remote=["cat"])
    ended = program.run(*protocol, "-v", *words, input=b"data", before=["sh", "-c", 'exec "$@" 2>&-', "sh"])
    assert (ended.status, ended.stdout) == (0, b"data")


# Sessions that prove themselves


def test_the_key_is_in_no_argument_and_no_environment(program: Program, tmp_path: Path, flag: Path) -> None:
    order = tmp_path / "order"
    program.add(
        "seeing",
        "#!/bin/sh\n"
        "read -r line\n"
        f"printf '%s\\n' \"$line\" > {order}\n"
        '{ printf "%s\\n" "$line"; exec cat; } | sh -c "$*"\n',
    )
    waits = sh(f"touch {flag}.begun; cat")
    words = commands(login=["seeing"], input=FOREVER, remote=waits, output=["cat"])
    with program.start("-k", *words) as running:
        wait_until(flag.with_name("flag.begun").exists, "the remote command runs")
        key: str = json.loads(order.read_text())["key"]
        assert len(key) == 64

        def all_run() -> bool:
            return {"socketpipe", "sleep", "cat"} <= {*program.processes().values()}

        wait_until(all_run, "both sides and their commands run")
        for pid in program.processes():
            for name in ("cmdline", "environ"):
                public = Path(f"/proc/{pid}/{name}").read_bytes()
                assert public
                assert key.encode() not in public
                assert bytes.fromhex(key) not in public
        assert key not in running.errors


def test_a_stranger_with_the_order_but_without_the_key_gets_nothing(program: Program, tmp_path: Path) -> None:
    """Who connects first is nobody: 1.10 sent the payload there."""
    program.add_script(
        "robbed",
        f"""
        import json, os, socket, subprocess, sys
        line = b""
        while not line.endswith(b"\\n"):
            line += os.read(0, 1)
        host, port = json.loads(line)["spec"]["candidates"][-1]
        strangers = [socket.create_connection((host, port)) for hello in range(3)]
        strangers[0].sendall(bytes(48))
        strangers[1].sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        remote = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
        remote.stdin.write(line)
        remote.stdin.flush()
        got = b""
        for stranger in strangers:
            try:
                got += stranger.recv(1000)
            except ConnectionResetError:
                pass
        with open({str(tmp_path / "got")!r}, "wb") as file:
            file.write(got)
        sys.exit(remote.wait())
        """,
    )
    words = commands(login=["robbed"], input=["cat"], remote=["cat"])
    assert program.run("-k", *words, input=b"payload") == (0, b"payload", "")
    assert (tmp_path / "got").read_bytes() == b""


def test_a_login_that_passes_no_standard_input_on_is_explained(program: Program) -> None:
    program.add("deaf", '#!/bin/sh\nexec sh -c "$*" < /dev/null\n')
    ended = program.run("-k", *commands(login=["deaf"], input=["cat"], remote=["cat"]))
    assert ended.status == 2
    assert "no order came through the login" in ended.errors
    assert "does it pass standard input on" in ended.errors
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize(
    "line", ['{"event": "ended"}', '{"event": "started"}', '{"event": 5}', '{"event": null}']
)
def test_a_line_that_looks_like_an_event_is_no_end_of_the_session(program: Program, line: str) -> None:
    program.add("misleading", f"#!/bin/sh\necho '{line}'\nexec sh -c \"$*\"\n")
    words = commands(login=["misleading"], input=["cat"], remote=["cat"])
    ended = program.run("-k", *words, input=b"data")
    assert "Traceback" not in ended.errors
    assert (ended.status, ended.stdout) == (0, b"data")


def test_an_encrypted_session_fails_as_any_other_and_leaves_no_whole_file(
    program: Program, tmp_path: Path
) -> None:
    gate = CommitGate(tmp_path)
    words = commands(input=sh("head -c 3000000 /dev/zero; exit 7"), remote=gate.argv)
    assert program.run("-e", *words).status == 7
    assert not gate.whole.exists()


def test_encryption_without_its_library_is_explained(make_program: MakeProgram, tmp_path: Path) -> None:
    """A Python of its own has only the standard library."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(tmp_path / "bare")
    program = make_program(python=str(tmp_path / "bare" / "bin" / "python"))
    ended = program.run("-e", *commands(input=["cat"], remote=["cat"]))
    assert (ended.status, ended.stdout) == (2, b"")
    assert "socketpipe: -e needs the Python library cryptography on this machine" in ended.errors
    words = commands(input=["cat"], remote=["cat"])
    assert program.run("-k", *words, input=b"data") == (0, b"data", ""), "only -e needs it"


def test_only_the_side_that_asks_needs_the_library_of_encryption(
    make_program: MakeProgram, tmp_path: Path
) -> None:
    venv.EnvBuilder(with_pip=False, symlinks=True).create(tmp_path / "bare")
    there = make_program(python=str(tmp_path / "bare" / "bin" / "python"))
    here = make_program()
    here.add("other", f'#!/bin/sh\nPATH={there.path.parent}:$PATH exec sh -c "$*"\n')
    words = commands(login=["other"], input=["cat"], remote=["cat"])
    assert here.run("-e", *words, input=b"data") == (0, b"data", "")


def test_the_remote_side_without_an_order_is_explained(program: Program) -> None:
    for given in (b"", b"\n", b"nonsense\n", b"{}\n", b"[1]\n", b"5\n", b'{"key": "00"}\n', b"\xff\n"):
        ended = program.run("-k", "-s", input=given)
        assert (ended.status, ended.stdout) == (2, b""), given
        assert ended.errors.startswith("socketpipe: no order came through the login"), given


def test_with_k_nothing_waits_for_a_caller_that_was_killed(make_program: MakeProgram, flag: Path) -> None:
    patience = {name: seconds for name, seconds in PATIENCE.items() if name != "endpoint.ABORT_TIMEOUT"}
    program = make_program(patience=patience)
    words = commands(input=FOREVER, remote=sh(f"touch {flag}; exec sleep 1000"))
    for _again in range(5):
        with program.start("-k", *words) as running:
            wait_until(flag.exists, "the remote command runs")
            flag.unlink()
            running.signal(signal.SIGKILL)
            running.wait()
        program.expect_nothing_left(LEFT_BOUND)


def test_when_its_caller_is_gone_the_remote_side_ends_its_command(program: Program, flag: Path) -> None:
    words = commands(input=FOREVER, remote=sh(f"echo $$ > {flag}; exec sleep 1000"))
    with program.start("-k", *words) as running:
        wait_until(lambda: flag.exists() and flag.read_text().endswith("\n"), "the remote command runs")
        remote = int(flag.read_text())
        assert is_running(remote)
        subprocess.run(["kill", "-KILL", str(running.pid)], check=True)
        wait_until(lambda: not is_running(remote), "the remote command was ended")
    program.expect_nothing_left()
