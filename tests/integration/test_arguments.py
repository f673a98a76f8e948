# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments arrive as they were written, and wrong ones get one clear sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.ansible import MODULE, Ansible, TaskResult
from harness.network import Target

Session = Callable[..., TaskResult]

SHOW = "import os, sys; print([os.fsencode(word) for word in sys.argv[1:]])"
ODD = [
    "a b",
    "it's",
    'say "hi"',
    "$HOME `id` $(id)",
    "two\nlines",
    "tab\there",
    "*",
    "~",
    "back\\slash",
    "",
    "-n",
    "%s|{}",
    "Grüße 漢字 🙂",
]


def as_bytes(words: list[str]) -> list[bytes]:
    return [word.encode("utf-8", "surrogateescape") for word in words]


@pytest.mark.parametrize("role", ["input", "remote", "output"])
def test_odd_words_arrive_unchanged(session: Session, role: str) -> None:
    show = [sys.executable, "-c", SHOW, *ODD]
    commands: dict[str, Any] = {
        "input": {"input": show, "remote": ["cat"]},
        "remote": {"input": ["true"], "remote": show},
        "output": {"remote": ["true"], "output": show},
    }[role]
    result = session(**commands)
    assert result.kind == "ok", result.msg
    assert eval(result["stdout"]) == as_bytes(ODD)


def test_undecodable_words_arrive_unchanged(ansible: Ansible, target: Target) -> None:
    """From the command line of ansible, which may be any bytes."""
    words = b'remote="cat" input=\'%b -c "%b" a\xff\xfeb\'' % (sys.executable.encode(), SHOW.encode())
    done = ansible.adhoc({"h": target.inventory()}, "h", "-m", MODULE, "-a", os.fsdecode(words))
    assert done.returncode == 0, done.stdout + done.stderr
    assert r"[b'a\\xff\\xfeb']" in done.stdout


def test_a_string_is_split_as_a_shell_would_and_not_run_by_one(session: Session) -> None:
    result = session(
        input="true", remote=f"""{sys.executable} -c '{SHOW}' "a b" 'c"d' e\\ f $HOME * > x; ls"""
    )
    assert eval(result["stdout"]) == as_bytes(["a b", 'c"d', "e f", "$HOME", "*", ">", "x;", "ls"])


def test_with_shell_a_string_is_run_by_one(session: Session) -> None:
    result = session(input="echo $((1 + 1)) | cat", remote="cat; echo $((2 + 2))", shell=True)
    assert result["stdout"] == "2\n4\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"remote": "cat"}, "one of the following is required: input, input_file, output, output_file"),
        (
            {"input_file": "/dev/null", "remote": "cat", "mode": "0600"},
            "mode, owner, group and backup are for output_file, and the task has none",
        ),
        (
            {"output_file": "X", "remote": "cat", "mode": "rw"},
            "mode: 'rw' is neither octal, such as '0640', nor symbolic, such as u=rw,g=r",
        ),
        (
            {"output_file": "X", "remote": "cat", "owner": "sponge"},
            "owner: there is no user 'sponge' on the controller",
        ),
        (
            {"output_file": "/no/such/X", "remote": "cat"},
            "output file '/no/such/X' on controller could not be written: there is no directory '/no/such'",
        ),
        ({"input": "cat"}, "missing required arguments: remote"),
        ({"input": "", "remote": "cat"}, "input: the command is empty"),
        ({"input": "  ", "remote": "cat"}, "input: the command is empty"),
        ({"input": [], "remote": "cat"}, "input: the command is empty"),
        ({"input": "cat", "remote": [""]}, "remote: the command is empty"),
        (
            {"input": "echo 'x", "remote": "cat"},
            "input: can not be split into words: No closing quotation in: echo 'x",
        ),
        (
            {"input": "cat", "remote": {"a": "b"}},
            "remote: a command is a string or a list of words, not a dictionary",
        ),
        (
            {"input": ["echo", ["x"]], "remote": "cat"},
            "input: the words of a list are strings or numbers, not a list",
        ),
        (
            {"input": ["echo", "x"], "remote": "cat", "shell": True},
            "input: with 'shell' a command is one string",
        ),
        ({"input": "echo", "remote": "cat", "timeout": "soon"}, "timeout"),
        ({"input": "echo", "remote": "cat", "timeout": 0}, "timeout: must be more than 0 seconds"),
        ({"input": "echo", "remote": "cat", "accept_rc": {"sponge": [1]}}, "accept_rc.sponge"),
        ({"input": "echo", "remote": "cat", "accept_rc": {"input": ["x"]}}, "accept_rc"),
        ({"input": "echo", "remote": "cat", "sponge": 1}, "sponge"),
        (
            {"input": "touch X", "remote": "cat", "chdir": "/no/such"},
            "there is no directory '/no/such' to change to",
        ),
        (
            {"input": "touch X", "remote": "cat", "local_chdir": "/no/such"},
            "there is no directory '/no/such'",
        ),
    ],
)
def test_wrong_use_gets_one_sentence_and_runs_nothing(
    session: Session, ansible: Ansible, options: dict[str, Any], sentence: str
) -> None:
    result = session(**options)
    assert result.kind == "failed"
    assert sentence in result.msg
    assert "\n" not in result.msg
    assert "Traceback" not in str(result)
    assert not (ansible.folder / "X").exists()


EXACT = """
- hosts: all
  gather_facts: false
  tasks:
    - dds.socketpipe.socketpipe: remote="dd of=%s bs=32k" input="tar cf - /etc/ssh"
- hosts: all
  gather_facts: false
  collections: [dds.socketpipe]
  tasks:
    - socketpipe: remote="dd of=%s bs=32k" input="tar cf - /etc/ssh"
"""


def test_tasks_may_be_written_in_one_line(ansible: Ansible, target: Target, tmp_path: Path) -> None:
    plays = yaml.safe_load(EXACT % (tmp_path / "x", tmp_path / "y"))
    results = ansible.play({target.name: target.inventory()}, plays)
    assert [result.kind for result in results] == ["ok", "ok"], results
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert (tmp_path / "x").stat().st_size == results[0]["bytes_sent"] > 0
