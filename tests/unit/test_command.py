# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands: whether they can be started, how they end, and what is kept of them."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine import command as commands
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.command import (
    TAIL_SIZE,
    Command,
    Tail,
    find_executable,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import CommandError
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.loop import Loop
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.specification import CommandSpec
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import to_bytes, to_text
from harness.processes import children_of, is_running
from harness.sockets import run_until
from harness.streams import sh
from harness.users import ROOT_ONLY, SOMEBODY, as_user
from harness.waiting import wait_until

EVERY_BYTE = bytes(range(256))

# Can it be started


def spec(*argv: str, chdir: str | Path | None = None, role: str = "input") -> CommandSpec:
    return CommandSpec(role, list(argv), [0], None if chdir is None else str(chdir))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with bin/tool, which can be run, bin/data, which can not, and no more."""
    (tmp_path / "bin").mkdir()
    for name, mode in (("tool", 0o755), ("data", 0o644)):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(mode)
    (tmp_path / "bin" / "dangling").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize("name", ["tool", "{}/bin/tool", "./bin/tool", "bin/tool", "../{name}/bin/tool"])
def test_an_executable_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PATH", f"/nowhere:{folder}/bin")
    find_executable(spec(name.format(folder, name=folder.name), chdir=folder))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/nowhere/tool", "there is no file '/nowhere/tool'"),
        ("./tool", "there is no file './tool'"),
        ("bin/dangling", "there is no file 'bin/dangling'"),
        ("bin/data", "'bin/data' is not executable"),
        ("./bin", "'./bin' is not executable"),
        ("/", "'/' is not executable"),
        ("bin/tool/", "there is no file 'bin/tool/'"),
    ],
)
def test_a_path_that_can_not_be_run_is_refused(folder: Path, name: str, words: str) -> None:
    with pytest.raises(CommandError) as refused:
        find_executable(spec(name, chdir=folder))
    assert str(refused.value) == words


@pytest.mark.parametrize("name", ["nonexistent", "data", "dangling", "bin", "", "."])
def test_a_name_that_is_not_in_path_is_refused_with_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", f"{folder}:{folder}/bin")
    with pytest.raises(CommandError) as refused:
        find_executable(spec(name))
    assert str(refused.value) == f"no executable '{name}' was found in PATH ({folder}:{folder}/bin)"


@pytest.mark.parametrize("chdir", ["nowhere", "bin/tool", "bin/dangling"])
def test_a_missing_chdir_is_refused(folder: Path, chdir: str) -> None:
    with pytest.raises(CommandError) as refused:
        find_executable(spec("cat", chdir=folder / chdir))
    assert str(refused.value) == f"there is no directory '{folder / chdir}' to change to"


@ROOT_ONLY
@pytest.mark.parametrize("chdir", ["private", "private/inner"])
def test_a_chdir_that_others_may_not_enter_is_told_in_the_words_of_the_system(chdir: str) -> None:
    """Not that it is not there, and nothing of the command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "private" / "inner").mkdir(parents=True)
        (folder / "private").chmod(0o700)
        with as_user(SOMEBODY), pytest.raises(CommandError) as refused:
            find_executable(spec("cat", chdir=folder / chdir))
    assert str(refused.value) == f"could not change to '{folder / chdir}': Permission denied"


def test_a_missing_interpreter_is_not_taken_for_a_missing_script(loop: Loop, folder: Path) -> None:
    script = folder / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    find_executable(spec(str(script)))
    with pytest.raises(CommandError) as refused:
        Command(spec(str(script)), loop, stdin=None, stdout=None, on_exit=lambda: None)
    said = "could not be started: No such file or directory; is the interpreter there that it names?"
    assert str(refused.value) == f"'{script}' {said}"


def test_a_relative_path_is_relative_to_chdir_and_so_is_a_relative_folder_in_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "bin")
    monkeypatch.chdir("/")
    for name in ("bin/tool", "tool"):
        find_executable(spec(name, chdir=folder))
        with pytest.raises(CommandError):
            find_executable(spec(name))


def test_names_of_any_bytes_are_found(folder: Path) -> None:
    name = "f\u00fcr\udcff"
    path = os.path.join(os.fsencode(folder), to_bytes(name))
    Path(os.fsdecode(path)).write_text("#!/bin/sh\n")
    os.chmod(path, 0o755)
    find_executable(spec(f"./{name}", chdir=folder))


# Tails


class Tailed:
    """What a tail keeps of data that another process writes."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self._loop = loop
        self._file = folder / "data"

    def __call__(self, data: bytes) -> str:
        self._file.write_bytes(data)
        with subprocess.Popen(["cat", str(self._file)], stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            tail = Tail(self._loop, cat.stdout)
            run_until(self._loop, lambda: not tail.is_open, "the tail's end")
        return tail.text()


@pytest.fixture
def tailed(loop: Loop, tmp_path: Path) -> Tailed:
    return Tailed(loop, tmp_path)


def numbered(size: int) -> bytes:
    return b"".join(b"%07d\n" % number for number in range(size // 8 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, TAIL_SIZE - 1, TAIL_SIZE])
def test_a_tail_keeps_64_kib_whole(tailed: Tailed, size: int) -> None:
    data = numbered(size)
    assert TAIL_SIZE == 64 * 1024
    assert tailed(data) == data.decode()


@pytest.mark.parametrize("more", [1, 1000, TAIL_SIZE, 3 * TAIL_SIZE + 7])
def test_a_tail_keeps_the_last_64_kib_and_says_what_was_cut(tailed: Tailed, more: int) -> None:
    data = numbered(TAIL_SIZE + more)
    assert tailed(data) == f"[{more} bytes cut]\n" + data[-TAIL_SIZE:].decode()


def test_a_tail_takes_any_bytes(tailed: Tailed) -> None:
    assert tailed(EVERY_BYTE) == to_text(EVERY_BYTE)


# Running commands


class Runner:
    """Runs commands to their end, and leaves none behind."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._commands: list[Command] = []
        self.exits = 0

    def start(self, *argv: str, chdir: Path | None = None, file: str | None = None) -> Command:
        command = Command(
            spec(*argv, chdir=chdir)._replace(file=file),
            self._loop,
            stdin=None,
            stdout=None,
            on_exit=self._count,
        )
        command.watch()
        self._commands.append(command)
        return command

    def _count(self) -> None:
        self.exits += 1

    def settle(self, command: Command) -> Command:
        run_until(self._loop, lambda: command.has_settled, f"the end of {command.spec.argv}")
        return command

    def run(self, *argv: str, chdir: Path | None = None) -> Command:
        return self.settle(self.start(*argv, chdir=chdir))

    def close(self) -> None:
        for command in self._commands:
            command.signal_group(signal.SIGKILL)
        for command in self._commands:
            self.settle(command)
            command.let_go()


@pytest.fixture
def runner(loop: Loop) -> Iterator[Runner]:
    runner = Runner(loop)
    yield runner
    runner.close()


@pytest.mark.parametrize(
    ("script", "rc", "name"),
    [
        ("exit 0", 0, None),
        ("exit 3", 3, None),
        ("exit 255", 255, None),
        ("exit 137", 137, None),
        ("kill -9 $$", 137, "SIGKILL"),
        ("kill -TERM $$", 143, "SIGTERM"),
        ("kill -PIPE $$", 141, "SIGPIPE"),
        ("kill -40 $$", 168, "signal 40"),
    ],
)
def test_the_status_is_reported_as_a_shell_gives_it(
    runner: Runner, script: str, rc: int, name: str | None
) -> None:
    command = runner.run("bash", "-c", script)
    assert (command.rc, command.signal_name, command.is_accepted) == (rc, name, rc == 0)
    assert command.report() == {"stdout": "", "stderr": "", "rc": rc, "signal": name}
    assert runner.exits == 1


def test_a_running_command_has_no_status(runner: Runner) -> None:
    command = runner.start("sleep", "60")
    assert (command.rc, command.signal_name, command.has_ended, command.is_accepted) == (
        None,
        None,
        False,
        False,
    )


def test_both_streams_are_kept_as_tails(runner: Runner) -> None:
    report = runner.run(*sh("echo out; echo err >&2; printf '\\377'; printf '\\376' >&2")).report()
    assert (report["stdout"], report["stderr"]) == ("out\n\\xff", "err\n\\xfe")


def test_output_that_nobody_could_keep_does_not_stop_the_command(runner: Runner) -> None:
    report = runner.run(*sh("head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2")).report()
    for name in ("stdout", "stderr"):
        assert report[name] == f"[{5_000_000 - TAIL_SIZE} bytes cut]\n" + "\0" * TAIL_SIZE


def test_without_a_connection_stdin_is_empty(runner: Runner) -> None:
    assert runner.run("cat").rc == 0


def test_words_reach_the_command_as_they_are(runner: Runner, tmp_path: Path) -> None:
    words = ["a b", "", "'\"", "$HOME", "\n", "f\u00fcr", "\udcff", "*"]
    report = runner.run(*sh('for word; do printf "%s\\0" "$word"; done'), "sh", *words).report()
    assert report["stdout"] == "".join(to_text(to_bytes(word)) + "\0" for word in words)
    assert runner.run("pwd", chdir=tmp_path).report()["stdout"] == f"{tmp_path}\n"


@pytest.mark.parametrize("name", ["a b", "it's", "two\nlines", "$ `id`", "-n", "*", "f\u00fcr", "\udcff"])
def test_a_file_of_any_name_is_opened_for_a_command_whose_words_stay_as_they_are(
    runner: Runner, tmp_path: Path, name: str
) -> None:
    path = f"{tmp_path}/{name}"
    os.mkfifo(to_bytes(path))
    words = ["a b", "", "'\"", "$HOME", "\n", "\udcff"]
    argv = [*sh('cat >&2; for word; do printf "%s\\0" "$word" >&2; done'), "sh", *words]
    command = runner.start(*argv, file=path)
    with open(to_bytes(path), "wb") as fifo:
        fifo.write(b"content ")
    report = runner.settle(command).report()
    assert report["rc"] == 0
    assert report["stderr"] == "content " + "".join(to_text(to_bytes(word)) + "\0" for word in words)


def test_a_command_leads_a_session_and_a_group_of_its_own_without_a_terminal(runner: Runner) -> None:
    command = runner.start("sleep", "60")
    assert os.getsid(command.pid) == os.getpgid(command.pid) == command.pid
    terminal = Path(f"/proc/{command.pid}/stat").read_text().rpartition(")")[2].split()[4]
    assert terminal == "0"


def test_a_command_gets_no_descriptor_but_the_three(runner: Runner) -> None:
    with open("/dev/null") as unrelated:
        os.set_inheritable(unrelated.fileno(), True)
        assert runner.run("ls", "/proc/self/fd").report()["stdout"].split() == ["0", "1", "2", "3"]


def test_a_command_dies_of_a_broken_pipe_as_in_a_shell(runner: Runner) -> None:
    """Python ignores SIGPIPE; its commands must not."""
    assert runner.run(*sh("kill -PIPE $$; echo survived")).signal_name == "SIGPIPE"


def test_the_whole_group_can_be_ended(runner: Runner) -> None:
    command = runner.start(*sh("sleep 60 & sleep 60 & echo started; wait"))
    children = wait_until(
        lambda: len(children_of(command.pid)) == 2 and children_of(command.pid), "two children"
    )
    command.signal_group(signal.SIGTERM)
    assert runner.settle(command).signal_name == "SIGTERM"
    wait_until(lambda: not any(map(is_running, children)), "the end of the children")


def test_a_group_that_is_gone_can_be_signalled_in_vain(runner: Runner) -> None:
    command = runner.run("true")
    command.signal_group(signal.SIGKILL)
    assert command.rc == 0


@pytest.mark.parametrize("stream", [1, 2])
def test_a_grandchild_that_holds_a_stream_open_is_not_waited_for(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, stream: int
) -> None:
    monkeypatch.setattr(commands, "LEFTOVER_GRACE", 0.2)
    quiet = {1: "2>/dev/null", 2: ">/dev/null"}[stream]
    command = runner.start(*sh(f"echo said >&{stream}; sleep 60 {quiet} & exit 5"))
    runner.settle(command)
    assert command.report()[{1: "stdout", 2: "stderr"}[stream]] == "said\n"
    assert command.rc == 5


def test_its_number_is_not_given_to_another_before_it_is_let_go(runner: Runner) -> None:
    command = runner.run("true")
    assert os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    command.let_go()
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere", "could not be started: No such file or directory"),
        (lambda folder: folder, "could not be started: Permission denied"),
    ],
)
def test_a_command_that_vanished_meanwhile_is_a_command_error(
    runner: Runner, tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(CommandError) as refused:
        runner.start(str(path))
    assert str(refused.value) == f"'{path}' {words}"


def test_a_folder_that_vanished_meanwhile_is_not_blamed_on_the_command(loop: Loop, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(CommandError) as refused:
        Command(spec("cat", chdir=nowhere), loop, stdin=None, stdout=None, on_exit=lambda: None)
    assert str(refused.value) == f"could not change to '{nowhere}': No such file or directory"


@pytest.mark.parametrize(
    ("script", "words"),
    [("exit 4", "the input command exited 4"), ("kill -9 $$", "the input command was ended by SIGKILL")],
)
def test_a_failure_says_how_it_ended(runner: Runner, script: str, words: str) -> None:
    assert str(runner.run(*sh(script)).failure()) == words
