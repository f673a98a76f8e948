# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows the words of a login, taken apart by real shells, and what comes back through it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.login_words import (
    MARK,
    PROVEN,
    Shown,
    asking_words,
    goes_through_a_shell,
    parse_shown,
    plain_words,
    unquoted_words,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import to_bytes
from harness.examples import one_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HOST = "192.0.2.1"
PORT = 40000
CONNECTION = "192.0.2.7 50000 192.0.2.9 22"

HARD = {
    "blank": "a b",
    "blanks": "  a   b  ",
    "empty": "",
    "single quote": "it's",
    "only a single quote": "'",
    "in single quotes": "'a b'",
    "double quote": 'say "a"',
    "in double quotes": '"a b"',
    "both quotes": '"\'"\'"',
    "variable": "$HOME",
    "quoted variable": '"$HOME"',
    "positional": "$1$@$*$$",
    "command": "$(echo gone)`echo gone`",
    "star": "*",
    "question mark and class": "/[a-z]??",
    "tilde": "~",
    "newline": "a\nb",
    "trailing newline": "a\n\n",
    "tab and return": "a\tb\r",
    "backslash": "\\",
    "backslashes": "a\\\\b\\n\\",
    "brace": "{",
    "closing brace": "}",
    "both braces": "{a,b}{}",
    "semicolon": "a;b",
    "ends of commands": "; & && || | # ( ) < >",
    "no text": "\udcff\udc80",
    "control characters": "\x01\x7f\x1b",
    "dash": "-n",
    "dashes": "--",
    "bang": "!",
    "history": "!!a!b",
    "equals": "A=b",
    "unicode": "f\u00fcr \u65e5\u672c \U0001f600",
    "no-break space": "a\u00a0b",
    "percent": "%s%%",
    "percent of fish": "%self",
    "path of zsh": "=ls",
    "no path of zsh": "=nosuch=",
    "assignment": "of=/dev/st0",
}
EACH = pytest.mark.parametrize("word", HARD.values(), ids=HARD.keys())
#: Of the kind that a login may find, those that this machine has.
SHELLS = [name for name in ("sh", "dash", "bash", "ksh", "zsh", "fish") if shutil.which(name)]
EVERY_SHELL = pytest.mark.parametrize("shell", SHELLS)
ANY_WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH that leads to a socketpipe that shows its arguments."""
    folder = tmp_path_factory.mktemp("bin")
    fake = folder / "socketpipe"
    fake.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    fake.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def run(path: str, words: list[str], **environment: str) -> bytes:
    """What the process that *words* are prints, in an environment of its own. Its home is the folder that
    *path* begins with, for some shells keep things there."""
    return subprocess.run(
        [to_bytes(word) for word in words],
        env={"PATH": path, "HOME": path.partition(":")[0], **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        cwd="/",
    ).stdout


def through_shell(path: str, words: list[str], shell: str = "sh", **environment: str) -> bytes:
    """As ssh does: one text of all words, for the shell of the other machine."""
    return run(path, [shell, "-c", " ".join(words)], **environment)


def arguments(printed: bytes) -> list[str]:
    assert printed.endswith(b"\0")
    return [word.decode("utf-8", "surrogateescape") for word in printed[:-1].split(b"\0")]


def shown_and_arguments(printed: bytes) -> tuple[Shown | None, list[str]]:
    line, _newline, rest = printed.partition(b"\n")
    return parse_shown(line.decode()), arguments(rest)


def remote_commands(word: str) -> list[list[str]]:
    return [["cat", word], [word], ["cat", "a", word, word, "z"]]


# The plain command line


@EVERY_SHELL
@EACH
def test_through_one_shell_the_plain_words_are_what_was_typed(path: str, shell: str, word: str) -> None:
    for remote in remote_commands(word):
        got = arguments(through_shell(path, plain_words(HOST, PORT, remote), shell))
        assert got == ["-s", HOST, str(PORT), *remote]
        assert unquoted_words(got[1:]) == [HOST, str(PORT), *remote]


@EACH
def test_with_no_shell_the_remote_side_takes_the_quotes_away_itself(path: str, word: str) -> None:
    for remote in remote_commands(word):
        got = arguments(run(path, plain_words(HOST, PORT, remote)))
        assert unquoted_words(got[1:]) == [HOST, str(PORT), *remote]


def test_all_hard_words_together(path: str) -> None:
    remote = [*HARD.values()]
    words = plain_words(HOST, PORT, remote)
    assert arguments(through_shell(path, words))[3:] == remote
    assert unquoted_words(arguments(run(path, words))[1:])[2:] == remote


@settings(one_in(4), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANY_WORD, min_size=1, max_size=5))
def test_any_words_come_through_one_shell_and_through_none(path: str, remote: list[str]) -> None:
    words = plain_words(HOST, PORT, remote)
    assert arguments(through_shell(path, words))[3:] == remote
    assert unquoted_words(arguments(run(path, words))[1:])[2:] == remote


def test_words_that_need_no_quotes_have_none() -> None:
    """So that the C program can have them from a login without a shell, too."""
    words = ["socketpipe", "-s", HOST, "40000", "dd", "of=/dev/st0", "bs=32k", "%s", "%selfish", "a=%self"]
    assert plain_words(HOST, PORT, words[4:]) == words


@pytest.mark.parametrize("word", ["=", "=ls", "==", "%self"])
def test_words_that_only_some_shells_would_change_have_quotes(word: str) -> None:
    """zsh, tcsh or fish, which not every machine has to try it with."""
    assert plain_words(HOST, PORT, ["cat", word])[4:] == ["cat", f"'{word}'"]


@pytest.mark.parametrize("remote", [["cat", "a b"], ["cat", ""], ["*"]])
def test_the_port_tells_that_there_are_quotes(remote: list[str]) -> None:
    assert plain_words(HOST, PORT, remote)[2:4] == [HOST, "'40000'"]
    assert plain_words("a host", PORT, ["cat"])[2:4] == ["'a host'", "'40000'"]


@pytest.mark.parametrize("word", ["'a b'", "''", "'", '"\'"\'"', "\\"])
def test_quotes_that_were_typed_are_no_quotes_where_a_shell_has_been(word: str) -> None:
    assert unquoted_words([HOST, "40000", "cat", word]) == [HOST, "40000", "cat", word]


# The script that shows the login


@EVERY_SHELL
@EACH
def test_the_script_shows_the_login_and_becomes_what_was_typed(path: str, shell: str, word: str) -> None:
    for remote in remote_commands(word):
        words = asking_words(None, PORT, remote)
        shown, got = shown_and_arguments(through_shell(path, words, shell, SSH_CONNECTION=CONNECTION))
        assert shown is not None
        assert (shown.client, shown.addresses[0]) == ("192.0.2.7", "192.0.2.9")
        assert got == ["-s", "192.0.2.7", "40000", *remote]


@EVERY_SHELL
def test_a_given_host_comes_before_that_of_the_login(path: str, shell: str) -> None:
    words = asking_words("my host", PORT, ["cat"])
    shown, got = shown_and_arguments(through_shell(path, words, shell, SSH_CONNECTION=CONNECTION))
    assert shown is not None
    assert shown.client == "192.0.2.7"
    assert got == ["-s", "my host", "40000", "cat"]


@EVERY_SHELL
def test_ipv6_logins_are_shown_too(path: str, shell: str) -> None:
    printed = through_shell(
        path, asking_words(None, PORT, ["cat"]), shell, SSH_CONNECTION="fe80::1%eth0 5 ::1 22"
    )
    shown, got = shown_and_arguments(printed)
    assert shown is not None
    assert (shown.client, shown.addresses[0]) == ("fe80::1%eth0", "::1")
    assert got == ["-s", "fe80::1%eth0", "40000", "cat"]


@EVERY_SHELL
def test_where_only_ssh_client_is_known_it_is_shown(path: str, shell: str) -> None:
    """It has not the other machine's address; `hostname -I` may have."""
    printed = through_shell(
        path, asking_words(None, PORT, ["cat"]), shell, SSH_CLIENT="192.0.2.7 50000 22", SSH_CONNECTION=""
    )
    shown, got = shown_and_arguments(printed)
    assert shown is not None
    assert shown.client == "192.0.2.7"
    assert "22" not in shown.addresses
    assert got == ["-s", "192.0.2.7", "40000", "cat"]


@EVERY_SHELL
def test_what_takes_the_environment_away_does_not_hide_the_login(path: str, shell: str) -> None:
    """As in ``ssh host sudo``."""
    sudo = ["env", "-u", "SSH_CONNECTION", "-u", "SSH_CLIENT"]
    words = [*sudo, *asking_words(None, PORT, ["cat"])]
    shown, got = shown_and_arguments(through_shell(path, words, shell, SSH_CONNECTION=CONNECTION))
    assert shown is not None
    assert shown.client == "192.0.2.7"
    assert got[1] == "192.0.2.7"


@EVERY_SHELL
def test_a_login_that_shows_nothing_shows_nobody(path: str, shell: str) -> None:
    shown, _got = shown_and_arguments(through_shell(path, asking_words(HOST, PORT, ["cat"]), shell))
    assert shown is not None
    assert shown.client is None


@EVERY_SHELL
def test_the_addresses_of_the_machine_are_shown_as_hostname_tells_them(
    path: str, shell: str, tmp_path: Path
) -> None:
    fake = tmp_path / "hostname"
    fake.write_text('#!/bin/sh\n[ "$*" = -I ] && echo "192.0.2.9 2001:db8::9 "\n')
    fake.chmod(0o755)
    printed = through_shell(
        f"{tmp_path}:{path}", asking_words(None, PORT, ["cat"]), shell, SSH_CONNECTION=CONNECTION
    )
    assert shown_and_arguments(printed)[0] == Shown("192.0.2.7", ["192.0.2.9", "192.0.2.9", "2001:db8::9"])


@EVERY_SHELL
def test_a_machine_without_hostname_still_shows_its_login(path: str, shell: str, tmp_path: Path) -> None:
    fake = tmp_path / "hostname"
    fake.write_text("#!/bin/sh\necho 'hostname: invalid option' >&2\nexit 1\n")
    fake.chmod(0o755)
    printed = through_shell(
        f"{tmp_path}:{path}", asking_words(None, PORT, ["cat"]), shell, SSH_CONNECTION=CONNECTION
    )
    assert shown_and_arguments(printed)[0] == Shown("192.0.2.7", ["192.0.2.9"])


@EVERY_SHELL
def test_the_remote_side_that_proves_itself_needs_no_quotes(path: str, shell: str) -> None:
    assert arguments(through_shell(path, PROVEN, shell)) == ["-k", "-s"]


# What is known of a login, and what it shows


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ("ssh host", True),
        ("/usr/bin/ssh -C host", True),
        ("sudo -u backup ssh host", True),
        ("sshpass -e ssh host", True),
        ("ssh host sudo", True),
        ("docker exec -i box", False),
        ("sshpass -e plink host", False),
        ("./myssh host", False),
        ("env", False),
    ],
)
def test_a_login_with_ssh_in_it_goes_through_a_shell(login: str, expected: bool) -> None:
    assert goes_through_a_shell(login.split()) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            f"{MARK} 192.0.2.7 50000 192.0.2.9 22 ; 192.0.2.9 10.0.0.1 ",
            ("192.0.2.7", "192.0.2.9 192.0.2.9 10.0.0.1"),
        ),
        (
            f"{MARK} 2001:db8::7 50000 2001:db8::9 22 ; 2001:db8::9",
            ("2001:db8::7", "2001:db8::9 2001:db8::9"),
        ),
        (f"{MARK} 192.0.2.7 50000 192.0.2.9 22 ; ", ("192.0.2.7", "192.0.2.9")),
        (f"{MARK} 192.0.2.7 50000 22 ; 192.0.2.9", ("192.0.2.7", "192.0.2.9")),
        (f"{MARK} 192.0.2.7 50000 22 ;", ("192.0.2.7", "")),
        (f"{MARK}  ; 192.0.2.9", (None, "192.0.2.9")),
        (f"{MARK}  ; ", (None, "")),
        (f"{MARK}", (None, "")),
        ("", None),
        ("Welcome to this machine", None),
        (f"Welcome {MARK} 192.0.2.7 50000 192.0.2.9 22 ; ", ("192.0.2.7", "192.0.2.9")),
        (f"\x1b]0;title\a{MARK} 192.0.2.7 50000 192.0.2.9 22 ; ", ("192.0.2.7", "192.0.2.9")),
        ("socketpipe-login", None),
        ("socketpipe: it was ended", None),
    ],
)
def test_only_the_line_of_the_script_shows_something(
    line: str, expected: tuple[str | None, str] | None
) -> None:
    assert parse_shown(line) == (expected and Shown(expected[0], expected[1].split()))
