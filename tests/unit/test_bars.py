# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars on a terminal, and what is written there besides."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.ansible import ROOT
from harness.processes import wait_ended
from harness.terminal import Screen, Terminal
from harness.waiting import wait_until

#: A process that has bars, and then does what the test wants; `session` is one that has begun.
BEGIN = """
import os, sys, threading
from ansible_collections.dds.socketpipe.plugins.plugin_utils._bars import Bars
from ansible_collections.dds.socketpipe.plugins.plugin_utils._progress import Progress

def begin(host, size=None):
    session = Progress(host, lambda line: os._exit(9), seconds=30, size=size)
    session.take({"event": "started"})
    return session

def tell(session, seconds=0.5, **moved):
    session.take({"event": "progress", "moved": moved, "seconds": seconds})

def wait():
    "For the test, which has something to look at."
    sys.stdin.readline()

before = sys.stdout, sys.stderr
bars = Bars(has_colour=False)
"""
END = """
bars.close()
assert (sys.stdout, sys.stderr) == before
assert threading.active_count() == 1
"""


class Drawing:
    """A process that has bars on *terminal*, and waits where its script says so."""

    def __init__(self, terminal: Terminal, script: str) -> None:
        self.terminal = terminal
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + textwrap.dedent(script) + END],
            stdin=subprocess.PIPE,
            stdout=terminal.descriptor,
            stderr=terminal.descriptor,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".tree"), "TERM": "xterm"},
        )

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def wait_for(self, *parts: str) -> list[str]:
        """The lines of the terminal, once each of *parts* begins one."""

        def shown() -> bool:
            return all(any(line.startswith(part) for line in self.terminal.lines) for part in parts)

        wait_until(shown, f"{parts} on the terminal")
        return self.terminal.lines

    def end(self) -> Screen:
        """What is left."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        wait_ended(self.process, 15)
        assert self.process.returncode == 0, self.terminal.text
        return self.terminal.screen


@pytest.fixture
def draw() -> Iterator[Callable[[str], Drawing]]:
    """Starts a process with bars that does what a script says."""
    drawings: list[Drawing] = []

    def start(script: str) -> Drawing:
        drawings.append(Drawing(Terminal(), script))
        return drawings[-1]

    yield start
    for drawing in drawings:
        drawing.process.kill()
        drawing.process.wait()
        drawing.terminal.close()


# What is seen


def test_each_session_has_a_bar_while_it_runs(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        one, other = begin("one", size=1000), begin("the other")
        tell(one, input=250)
        tell(other, output=2_000_000)
        wait()
    """)
    drawing.wait_for("one ", "the other ")
    wait_until(lambda: "2 MB" in drawing.terminal.lines[1], "the figures")
    one, other, *rest = drawing.terminal.lines
    assert one == "one       ━━━━━" + " " * 16 + "input 250 B, 500 B/s, 25 %, 0:00:01 left"
    # Nobody knows how far it is, so its bar is one that moves.
    assert re.fullmatch(r"the other [ ━]{20} output 2 MB, 4 MB/s", other)
    assert rest == [""]


def test_a_session_that_is_over_leaves_one_line(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        one, other = begin("one", size=1000), begin("other")
        tell(one, input=250)
        end = {"own": {"directions": {"input": {"bytes": 1000}}}}
        one.take({"event": "ended", "view": end})
        wait()
    """)
    drawing.wait_for("other ")
    wait_until(lambda: "100 %" in drawing.terminal.lines[0], "the last word")
    one, other, *rest = drawing.terminal.lines
    assert "left" not in one
    assert other.startswith("other ")
    assert rest == [""]
    left = drawing.end().lines
    assert left[0] == one
    assert left[1:] == [""]


def test_bars_of_sessions_that_never_end_leave_nothing(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        sessions = [begin(f"host{number}") for number in range(5)]
        print("a line")
        wait()
    """)
    drawing.wait_for("host0 ", "host4 ", "a line")
    assert drawing.end().lines == ["a line", ""]


def test_a_name_is_shown_as_it_is(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        names = ["[red]host[/red]", ":smile:", "two\\nlines", "b\\x1b[2Jad"]
        sessions = [begin(name) for name in names]
        wait()
    """)
    drawing.wait_for("[red]host[/red] ", ":smile: ", "two\\x0alines ", "b\\x1b[2Jad ")


# What else is written


def test_all_that_is_written_meanwhile_stays_as_it_is(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        print("before")
        session = begin("host")
        for number in range(50):
            tell(session, input=number)
            print(f"line {number}:", "[bold]x[/bold] :smile:\\t" + "y" * 300, "\\x1b[31mred\\x1b[0m")
            print(f"word {number}", file=sys.stderr)
        print("with", end=" ")
        sys.stdout.flush()
        print("a break")
        wait()
    """)
    wait_until(lambda: drawing.terminal.lines[-2:][0].startswith("host "), "the bar")
    written = [
        line
        for number in range(50)
        for line in (f"line {number}: [bold]x[/bold] :smile:\t" + "y" * 300 + " red", f"word {number}")
    ]
    assert drawing.terminal.lines[:-2] == ["before", *written, "with a break"]
    assert drawing.end().lines == ["before", *written, "with a break", ""]


def test_bars_wait_for_the_end_of_a_line_that_somebody_has_begun(draw: Callable[[str], Drawing]) -> None:
    """It may be a question."""
    drawing = draw("""
        sys.stdout.write("sure? ")
        session = begin("host")
        short = begin("short")
        short.close()
        wait()
        print("yes")
        tell(session)
        wait()
    """)
    drawing.wait_for("sure?")
    drawing.go_on()
    drawing.wait_for("short ", "host ")
    first, *rest = drawing.end().lines
    assert first == "sure? yes"
    assert [line.split()[0] for line in rest[:-1]] == ["short"]


def test_what_has_no_end_when_the_bars_go_is_written(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        session = begin("host")
        wait()
        print("no end", end="", flush=True)
        session.close()
        wait()
    """)
    drawing.wait_for("host ")
    drawing.go_on()
    drawing.wait_for("no end")
    assert drawing.end().lines[-1] == "no end"


def test_a_standard_error_that_is_elsewhere_is_left_alone(tmp_path: Path) -> None:
    terminal = Terminal()
    script = BEGIN + "session = begin('host'); print('to the file', file=sys.stderr)" + END
    words = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".tree"), "TERM": "xterm"}
    with (tmp_path / "errors").open("wb") as errors:
        subprocess.run(words, stdout=terminal.descriptor, stderr=errors, env=environment, check=True)
    terminal.close()
    assert (tmp_path / "errors").read_text() == "to the file\n"
    assert "to the file" not in terminal.text


# Nothing waits, nothing stays


def test_a_process_that_is_killed_leaves_a_terminal_that_works(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        session = begin("host")
        wait()
    """)
    drawing.wait_for("host ")
    drawing.process.kill()
    drawing.process.wait()
    screen = drawing.terminal.screen
    assert screen.has_cursor
    assert screen.lines[-1] == ""


def test_a_fork_takes_nothing_of_the_bars_along(draw: Callable[[str], Drawing]) -> None:
    """It would draw what was half drawn, wait for locks that nobody holds, or end the bars of all."""
    drawing = draw("""
        import atexit
        atexit.register(bars.close)
        sessions = [begin(f"host{number}") for number in range(3)]
        for number in range(40):
            for session in sessions:
                tell(session, input=number)
            child = os.fork()
            if child == 0:
                sys.stdout.write(f"child {number}\\n")
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            print(f"parent {number}")
    """)
    assert drawing.end().has_cursor
    for writer in ("child", "parent"):
        found = re.findall(rf"{writer} (\d+)\r\n", drawing.terminal.text)
        assert found == [str(number) for number in range(40)]


def test_whoever_keeps_the_stream_may_use_it_for_ever(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        import atexit
        atexit.register(print, "later", file=sys.stdout)
    """)
    assert drawing.end().lines == ["later", ""]


def test_a_terminal_that_goes_away_stops_nobody(draw: Callable[[str], Drawing]) -> None:
    drawing = draw("""
        import signal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        session = begin("host")
        wait()
        for number in range(2000):
            tell(session, input=number)
    """)
    drawing.wait_for("host ")
    drawing.terminal.hang_up()
    assert drawing.process.stdin is not None
    drawing.process.stdin.close()
    wait_ended(drawing.process, 15)
    assert drawing.process.returncode == 0


def test_without_the_library_it_says_so() -> None:
    script = (
        "import sys; sys.modules['rich'] = None\n"
        "from ansible_collections.dds.socketpipe.plugins.plugin_utils._bars import Bars\n"
        "try: Bars(has_colour=True)\n"
        "except ImportError: pass\n"
        "else: sys.exit('it has bars')\n"
        "assert sys.stdout is sys.__stdout__\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".tree")}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
