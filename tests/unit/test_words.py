# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which words a user's command is, and what is no command at all."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import CommandError
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.words import split_command
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("dd of=/dev/st0 bs=32k", ["dd", "of=/dev/st0", "bs=32k"]),
        ("  cat \t x  ", ["cat", "x"]),
        ("cat 'a b' \"c d\"", ["cat", "a b", "c d"]),
        ("cat '' x", ["cat", "", "x"]),
        ("cat a\\ b", ["cat", "a b"]),
        ("cat 'a'\"b\"c", ["cat", "abc"]),
        ("cat $HOME ${x} `id` $(id) ~ * ? # ; | && > x", None),
        ("cat \"$HOME\" '$HOME'", ["cat", "$HOME", "$HOME"]),
        ("cat a\nb", ["cat", "a", "b"]),
        ("cat 'a\nb'", ["cat", "a\nb"]),
        ("cat a\r\nb\n", ["cat", "a", "b"]),
        ("cat f\u00fcr \U0001f600 \u65e5\u672c", ["cat", "f\u00fcr", "\U0001f600", "\u65e5\u672c"]),
        ("cat a\u00a0b", ["cat", "a\u00a0b"]),
        ("cat \udcff\udc80", ["cat", "\udcff\udc80"]),
        ("cat # no comment", ["cat", "#", "no", "comment"]),
        ("cat -- --option", ["cat", "--", "--option"]),
    ],
)
def test_a_string_is_split_as_a_shell_would_and_nothing_is_expanded(
    command: str, words: list[str] | None
) -> None:
    assert split_command("input", command, shell=False) == (words or command.split())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["cat"], ["cat"]),
        (("cat", "x"), ["cat", "x"]),
        (["cat", "a b", "", "c'd\"e", "$f", "g\nh", "\\"], ["cat", "a b", "", "c'd\"e", "$f", "g\nh", "\\"]),
        (["sleep", 5, 0.5, -1], ["sleep", "5", "0.5", "-1"]),
        (["cat", "\udcff", "\u00fc"], ["cat", "\udcff", "\u00fc"]),
        (["cat", " "], ["cat", " "]),
    ],
)
def test_a_list_is_argv_as_it_is(command: Any, words: list[str]) -> None:
    assert split_command("input", command, shell=False) == words


@pytest.mark.parametrize(
    "command", ["cat > x && mv x y", "echo $HOME 'unbalanced", " leading; trailing ", "a\nb\n", "echo \udcff"]
)
def test_with_shell_a_string_is_left_to_the_shell(command: str) -> None:
    assert split_command("remote", command, shell=True) == ["/bin/sh", "-c", command]


@pytest.mark.parametrize("shell", [False, True])
@pytest.mark.parametrize("command", ["", " ", "\n\t \r\n"])
def test_an_empty_or_blank_string_is_refused(command: str, shell: bool) -> None:
    with pytest.raises(CommandError, match=r"^input: the command is empty$"):
        split_command("input", command, shell)


@pytest.mark.parametrize("command", [[], (), [""], ["", "x"]])
def test_a_list_without_a_first_word_is_refused(command: Any) -> None:
    with pytest.raises(CommandError, match=r"^input: the command is empty$"):
        split_command("input", command, shell=False)


def test_a_string_whose_first_word_is_empty_is_refused_as_a_list_is() -> None:
    with pytest.raises(CommandError, match="the command is empty"):
        split_command("input", "'' x", shell=False)


@pytest.mark.parametrize("command", ["cat 'x", 'cat "x', "cat x\\", "cat \"a' b"])
def test_unbalanced_quotes_are_refused_with_the_command(command: str) -> None:
    with pytest.raises(CommandError) as refused:
        split_command("output", command, shell=False)
    assert str(refused.value).startswith("output: can not be split into words: ")
    assert str(refused.value).endswith(f" in: {command}")


@pytest.mark.parametrize("command", [None, True, False, 5, 0.5, {"cmd": "cat"}, {"cat"}, b"cat"])
@pytest.mark.parametrize("shell", [False, True])
def test_what_is_neither_a_string_nor_a_list_is_refused(command: Any, shell: bool) -> None:
    with pytest.raises(CommandError, match=r"^remote: a command is a string or a list of words, not ."):
        split_command("remote", command, shell)


@pytest.mark.parametrize("word", [None, True, False, {"a": 1}, ["x"], b"x"])
@pytest.mark.parametrize("place", [0, 1])
def test_words_that_are_no_words_are_refused(word: Any, place: int) -> None:
    words = ["cat", "x"]
    words[place] = word
    with pytest.raises(CommandError, match=r"^remote: the words of a list are strings or numbers, not ."):
        split_command("remote", words, shell=False)


@pytest.mark.parametrize("command", [["cat", "x"], ("cat",), []])
def test_with_shell_a_list_is_refused(command: Any) -> None:
    with pytest.raises(CommandError, match=r"^input: with 'shell' a command is one string, not a list$"):
        split_command("input", command, shell=True)


@pytest.mark.parametrize(
    ("command", "shell"), [("cat \0", False), ("cat \0", True), (["cat", "a\0b"], False), (["\0"], False)]
)
def test_a_null_character_is_refused(command: Any, shell: bool) -> None:
    with pytest.raises(CommandError, match="null character"):
        split_command("input", command, shell)


@pytest.mark.parametrize("command", ["cat \ud800", ["cat", "\udfff"]])
def test_a_character_that_stands_for_no_bytes_is_refused(command: Any) -> None:
    with pytest.raises(CommandError):
        split_command("input", command, shell=False)


@pytest.mark.parametrize("command", [None, "", [], "cat '", [None]])
def test_a_refusal_names_the_role(command: Any) -> None:
    with pytest.raises(CommandError) as refused:
        split_command("output", command, shell=False)
    assert refused.value.role == "output"
    assert refused.value.reason() == {"kind": "command", "text": str(refused.value), "role": "output"}


@given(words=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_a_list_of_texts_is_never_changed(words: list[str]) -> None:
    words[0] = words[0] or "x"
    assert split_command("input", words, shell=False) == words
