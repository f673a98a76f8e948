# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of tasks: lines while they run, under ansible-runner too, and bars on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.ansible import BIN, MODULE, Ansible, Run, TaskResult
from harness.network import Target
from harness.program import Program
from harness.terminal import Terminal
from harness.waiting import HANGS_AFTER, wait_until

Hosts = dict[str, dict[str, object]]
CALLBACK = "dds.socketpipe.progress"
SIZE = 10 * 1024 * 1024
#: With the options that each host has.
TASK = {MODULE: {name: f"{{{{ options.{name} | default(omit) }}}}" for name in (
    "input", "input_file", "remote", "output", "helper", "rate_limit", "size", "progress"
)}}  # fmt: skip


@pytest.fixture
def hosts(target: Target) -> Callable[..., Hosts]:
    """Hosts by name, with the options of each; all are the target."""

    def make(**options: dict[str, Any]) -> Hosts:
        return {name: target.inventory(options=own) for name, own in options.items()}

    return make


@pytest.fixture
def until_told(tmp_path: Path) -> Callable[[str], list[str]]:
    """A command that runs another one, and then stays until the test ends it, with `go`."""
    return lambda script: ["sh", "-c", f"{script}; until [ -e {tmp_path}/go ]; do sleep 0.1; done"]


def lines_of(run: Run, host: str) -> list[str]:
    """What was told of that host's progress."""
    return re.findall(rf"^socketpipe: {host}: (.*)$", run.output, re.MULTILINE)


def test_lines_tell_of_each_host_while_it_runs(
    ansible: Ansible, hosts: Callable[..., Hosts], until_told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """The callback for bars is enabled, but there is no terminal."""
    ansible.environment["ANSIBLE_CALLBACKS_ENABLED"] += f",{CALLBACK}"
    with (tmp_path / "image").open("wb") as image:
        image.truncate(SIZE)
    program = Program(tmp_path / "program").path
    quiet: dict[str, Any] = {"input": until_told("head -c 1000000 /dev/zero"), "remote": "md5sum"}
    copying = {"input_file": str(tmp_path / "image"), "remote": "cat", "output": "md5sum"}
    run = ansible.start(
        hosts(
            quiet={**quiet, "size": "2000000", "progress": 0.6},
            helped={**quiet, "helper": str(program), "progress": 0.6},
            copying={**copying, "rate_limit": "5M", "progress": 0.5},
            silent={**quiet, "progress": 0},
            brief={"input": "echo x", "remote": "cat"},
        ),
        [TASK],
        "--forks=5",
    )
    wait_until(lambda: len(lines_of(run, "quiet")) >= 4, "it tells again and again", timeout=60)
    wait_until(lambda: len(lines_of(run, "helped")) >= 2, "it tells with a helper too")
    (tmp_path / "go").touch()
    assert {result.kind for result in run.wait()} == {"ok"}, run.output

    first, *others = lines_of(run, "quiet")
    assert re.fullmatch(r"input 1 MB, 1\.\d+ MB/s, 50 %, 0:00:00 left", first)
    assert set(others) == {"input 1 MB, 0 B/s, 50 %"}
    assert set(lines_of(run, "helped")[1:]) == {"input 1 MB, 0 B/s"}
    assert (lines_of(run, "silent"), lines_of(run, "brief")) == ([], [])
    assert "rich" not in run.output
    # The size is that of the file; what arrives has exactly the rate.
    told = lines_of(run, "copying")
    figures = r"input ([\d.]+) MB, \S+ \S+/s, (\d+) %(?:, 0:00:0\d left)?; output [\d.]+ MB, ([\d.]+) MB/s"
    found = [re.fullmatch(figures, line) for line in told]
    assert len(told) >= 3
    assert all(found), told
    counts, percents, rates = zip(*(match.groups() for match in found if match), strict=True)
    for count, percent in zip(counts, percents, strict=True):
        # Whole percents, rounded down from the bytes; the count that is shown has three digits of them.
        assert -0.5 <= float(count) * 1e6 / SIZE * 100 - int(percent) <= 1.5
    assert sorted(map(float, rates))[len(rates) // 2] == pytest.approx(5.24, rel=0.1)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("progress", -1, "progress: must be a number of seconds, or 0 for none"),
        ("progress", "inf", "progress: must be a number of seconds, or 0 for none"),
        ("size", "many", "size: 'many' is not a number of bytes, such as 32k or 50M"),
    ],
)
def test_what_makes_no_sense_is_refused(
    session: Callable[..., TaskResult], option: str, value: object, sentence: str
) -> None:
    result = session(input="true", remote="true", **{option: value})
    assert (result.kind, result.msg) == ("failed", sentence)


# ansible-runner, and so AWX


class Runner:
    """A playbook of one task, run by ansible-runner, which ends it after *idle* seconds without output."""

    def __init__(self, ansible: Ansible, hosts: Hosts, folder: Path, idle: int) -> None:
        for name in ("env", "inventory", "project"):
            (folder / name).mkdir(parents=True)
        (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        play = [{"hosts": "all", "gather_facts": False, "tasks": [TASK]}]
        (folder / "project" / "play.yml").write_text(yaml.safe_dump(play))
        settings = {"idle_timeout": idle, "pexpect_timeout": 1}
        (folder / "env" / "settings").write_text(yaml.safe_dump(settings))
        words = [str(BIN / "ansible-runner"), "run", str(folder), "-p", "play.yml", "-i", "run"]
        self._artifacts = folder / "artifacts" / "run"
        self._run = Run(words, folder, ansible.environment)

    def told(self) -> list[str]:
        """The lines of progress among its events so far."""
        paths = (self._artifacts / "job_events").glob("*-*[!l].json")
        events = sorted((json.loads(path.read_text()) for path in paths), key=lambda event: event["counter"])
        return [event["stdout"] for event in events if event["stdout"].startswith("socketpipe: ")]

    def status(self) -> str:
        self._run.process.wait(HANGS_AFTER)
        return (self._artifacts / "status").read_text()


def test_lines_keep_quiet_task_limits_from_firing(
    ansible: Ansible, hosts: Callable[..., Hosts], until_told: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """ansible-runner has Ansible write to a terminal, but nobody sits there: no bars."""
    ansible.environment["ANSIBLE_CALLBACKS_ENABLED"] = CALLBACK
    ansible.environment["TERM"] = "xterm"
    task = {"input": until_told("printf 123"), "remote": "cat"}
    telling, silent = (
        Runner(ansible, hosts(quiet={**task, "progress": progress}), tmp_path / f"every {progress}", idle=10)
        for progress in (1, 0)
    )
    # Longer than the limit, and long after the other was ended by it.
    wait_until(lambda: len(telling.told()) >= 12, "it tells again and again", timeout=60)
    assert silent.status() == "timeout"
    (tmp_path / "go").touch()
    assert telling.status() == "successful"
    assert set(telling.told()[1:]) == {"socketpipe: quiet: input 3 B, 0 B/s"}
    assert silent.told() == []


# Bars


def test_bars_on_a_terminal(
    ansible: Ansible,
    hosts: Callable[..., Hosts],
    until_told: Callable[[str], list[str]],
    tmp_path: Path,
    terminal: Terminal,
) -> None:
    ansible.environment["ANSIBLE_CALLBACKS_ENABLED"] += f",{CALLBACK}"
    ansible.environment["TERM"] = "xterm"
    task = {"input": until_told("head -c 500000 /dev/zero"), "remote": "md5sum"}
    long = "y" * 300
    tasks = [TASK, {"debug": {"msg": f"{{{{ '{long}' }}}}"}}]
    run = ansible.start(
        hosts(
            one={**task, "size": "1000000"},
            two={**task, "size": "500000"},
            three={**task},
            failing={**task, "remote": ["sh", "-c", "head -c 1 > /dev/null; exit 3"]},
            silent={**task, "progress": 0},
        ),
        tasks,
        "--forks=5",
        terminal=terminal,
    )

    def bars() -> dict[str, str]:
        """Those that are seen now, by host: after all other lines, but for that of the cursor."""
        found = [re.fullmatch(r"(\w+) +[━╸╺ ]+ (input .*)", line) for line in terminal.lines[-4:-1]]
        return {match[1]: match[2] for match in found if match}

    wait_until(lambda: any(line.startswith("fatal: ") for line in terminal.lines), "one failed", timeout=60)
    wait_until(lambda: set(bars()) == {"one", "two", "three"}, "a bar for each that runs and is to have one")
    wait_until(lambda: all(told.startswith("input 500 kB, ") for told in bars().values()), "what has moved")
    assert re.search(r"/s, 50 %(, 0:00:0\d left)?$", bars()["one"])
    assert re.search(r"/s, 100 %$", bars()["two"])
    assert re.search(r"/s$", bars()["three"])
    (tmp_path / "go").touch()
    run.wait()
    lines = terminal.lines
    assert terminal.screen.has_cursor
    assert [line for line in lines if line.startswith("socketpipe: ")] == []
    # One line of each that ran stays, and Ansible's words are all there.
    left = [line.split()[0] for line in lines if re.match(r"\w+ +━[━╸╺ ]+ \S", line)]
    assert sorted(left) == ["failing", "one", "three", "two"]
    assert [line for line in lines if line.startswith("fatal: [failing]: FAILED!")] != []
    assert lines.count(f'    "msg": "{long}"') == 4
    assert [line for line in lines if line.startswith("changed: ")] != []
    recap = next(number for number, line in enumerate(lines) if line.startswith("PLAY RECAP"))
    assert [line.split()[0] for line in lines[recap + 1 : -2]] == ["failing", "one", "silent", "three", "two"]


def test_without_rich_a_sentence_says_so_and_lines_go_on(
    ansible: Ansible,
    hosts: Callable[..., Hosts],
    until_told: Callable[[str], list[str]],
    tmp_path: Path,
    terminal: Terminal,
) -> None:
    (tmp_path / "without" / "rich").mkdir(parents=True)
    (tmp_path / "without" / "rich" / "__init__.py").write_text("raise ImportError('No module named rich')\n")
    ansible.environment.update(
        ANSIBLE_CALLBACKS_ENABLED=f"results,{CALLBACK}", TERM="xterm", PYTHONPATH=str(tmp_path / "without")
    )
    task = {"input": until_told("printf 123"), "remote": "cat", "progress": 0.5}
    run = ansible.start(hosts(one=task), [TASK], terminal=terminal)
    wait_until(lambda: "socketpipe: one: input 3 B, 0 B/s" in terminal.lines, "the lines", timeout=60)
    (tmp_path / "go").touch()
    assert [result.kind for result in run.wait()] == ["ok"]
    said = " ".join(" ".join(terminal.lines).split())
    assert f"the callback plugin {CALLBACK} draws no bars" in said
    assert "it needs the Python library rich (No module named rich); install it with" in said
    assert said.count("draws no bars") == 1
