# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the program: what its words ask for, and which are none."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.arguments import (
    HELP,
    USAGE,
    Call,
    ClassicRemote,
    ProvenRemote,
    Show,
    UsageError,
    parse_arguments,
)
from hypothesis import given
from hypothesis import strategies as st

#: The least that is a call.
LEAST = "-l { ssh host } -i { tar } -r { dd }"
LETTERS = "bekvhtilors"


def parse(line: str) -> Any:
    """What *line* asks for; its words are what blanks separate."""
    return parse_arguments(line.split())


def refused(words: list[str]) -> str:
    with pytest.raises(UsageError) as error:
        parse_arguments(words)
    return str(error.value)


# A call and its options


def test_the_least_call_has_the_defaults() -> None:
    assert parse(LEAST) == Call(
        login=["ssh", "host"],
        remote=["dd"],
        input=["tar"],
        output=None,
        host=None,
        timeout=math.inf,
        batch=False,
        proven=False,
        encrypted=False,
        progress=False,
    )


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-o { cat -u }", "output", ["cat", "-u"]),
        ("-h 192.0.2.1", "host", "192.0.2.1"),
        ("-h ::1", "host", "::1"),
        ("-h here.example", "host", "here.example"),
        ("-t 30", "timeout", 30.0),
        ("-b", "batch", True),
        ("-k", "proven", True),
        ("-e", "encrypted", True),
        ("-v", "progress", True),
    ],
)
def test_each_option_asks_for_one_thing(words: str, field: str, value: Any) -> None:
    assert parse(f"{LEAST} {words}") == parse(LEAST)._replace(**{field: value})


def test_all_options_together() -> None:
    assert parse("-b -e -k -v -h me -t 2.5 -i { a b } -l { c d } -r { e f } -o { g h }") == Call(
        login=["c", "d"],
        remote=["e", "f"],
        input=["a", "b"],
        output=["g", "h"],
        host="me",
        timeout=2.5,
        batch=True,
        proven=True,
        encrypted=True,
        progress=True,
    )


@pytest.mark.parametrize("output", ["-o { cat }", "-i { tar }", "-o { cat } -i { tar }"])
def test_an_input_or_an_output_is_enough(output: str) -> None:
    call = parse(f"-l {{ ssh }} -r {{ dd }} {output}")
    assert (call.input, call.output) == (
        ["tar"] if "-i" in output else None,
        ["cat"] if "-o" in output else None,
    )


def test_the_order_does_not_matter() -> None:
    parts = ["-l { ssh host }", "-r { dd }", "-i { tar }", "-h me", "-t 5", "-b"]
    assert {str(parse(" ".join(order))) for order in permutations(parts)} == {str(parse(" ".join(parts)))}


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-o { first } -o { last one }", "output", ["last", "one"]),
        ("-r { last }", "remote", ["last"]),
        ("-h first -h last", "host", "last"),
        ("-t 5 -t 0", "timeout", math.inf),
        ("-b -b", "batch", True),
        ("-k -k", "proven", True),
    ],
)
def test_of_a_repeated_option_the_last_counts(words: str, field: str, value: Any) -> None:
    assert getattr(parse(f"{LEAST} {words}"), field) == value


# What is no call


def test_no_words_at_all_are_refused() -> None:
    assert refused([]) == "no arguments specified"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-l { ssh } -i { tar }", "must specify a remote command"),
        ("-r { dd } -i { tar }", "must specify a login command"),
        ("-i { tar }", "must specify a remote command"),
        ("-b", "must specify a remote command"),
        ("-l { ssh } -r { dd }", "must specify a local input or output command"),
    ],
)
def test_a_call_without_its_commands_is_refused(line: str, sentence: str) -> None:
    assert refused(line.split()) == sentence


@pytest.mark.parametrize("letter", sorted(set("abcdefghijklmnopqrstuvwxyzABCKE0?-_") - set(LETTERS)))
def test_unknown_letters_are_refused_by_name(letter: str) -> None:
    assert refused([*LEAST.split(), f"-{letter}"]) == f"invalid option: -{letter}"


def test_the_remote_sides_option_is_none_of_a_call() -> None:
    assert refused([*LEAST.split(), "-s"]) == "invalid option: -s"


@pytest.mark.parametrize(
    "word", ["-bv", "-kb", "-t5", "-hhost", "--batch", "--help", "--version", "-", "ssh", "", "{", "}", "-l{"]
)
def test_combined_letters_and_words_that_are_no_option_are_refused_by_name(word: str) -> None:
    assert refused([*LEAST.split(), word]) == f"single character option expected, not: {word}"


@pytest.mark.parametrize(
    ("option", "sentence"),
    [("-h", "-h expects a host name or address"), ("-t", "-t expects a number of seconds")],
)
def test_a_missing_or_empty_value_is_refused(option: str, sentence: str) -> None:
    assert refused([*LEAST.split(), option]) == sentence
    assert refused([option, "", *LEAST.split()]) == sentence


# The time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", math.inf),
        ("0.0", math.inf),
        ("1", 1.0),
        ("007", 7.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("86400", 86400.0),
    ],
)
def test_the_time_is_a_number_of_seconds_and_zero_is_no_limit(text: str, seconds: float) -> None:
    assert parse(f"{LEAST} -t {text}").timeout == seconds


@pytest.mark.parametrize(
    "text", ["-1", "-0.5", "nan", "-nan", "inf", "infinity", "-inf", "1e999", "abc", "5s", "1,5", "0x10", "{"]
)
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    assert refused([*LEAST.split(), "-t", text]) == f"-t expects a number of seconds, not: {text}"


# Braces


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("{ a }", ["a"]),
        ("{ a b c }", ["a", "b", "c"]),
        ("{ find . -exec { rm } ; }", ["find", ".", "-exec", "{", "rm", "}", ";"]),
        ("{ a { b { c } { d } } e }", [*"a{b{c}{d}}e"]),
        ("{ { } }", ["{", "}"]),
        ("{ find -exec rm {} ; }", ["find", "-exec", "rm", "{}", ";"]),
        ("{ awk {print} a{ b} {x}}", None),
        ("{ awk {print $1} a{ }b }", ["awk", "{print", "$1}", "a{", "}b"]),
        ("{ -r -i -l }", ["-r", "-i", "-l"]),
        ("{ --help -h -t }", ["--help", "-h", "-t"]),
    ],
)
def test_only_braces_that_are_words_of_their_own_count(block: str, words: list[str] | None) -> None:
    line = f"-l {{ ssh }} -i {{ tar }} -r {block}"
    if words is None:
        assert refused(line.split()) == "-r: the closing brace is missing, as a word of its own"
    else:
        assert parse(line).remote == words


def test_empty_words_and_blanks_in_words_are_kept() -> None:
    words = ["", "a b", " { ", "\n", "'", "\udcff"]
    assert parse_arguments([*LEAST.split(), "-o", "{", *words, "}"]) == parse(LEAST)._replace(output=words)


@pytest.mark.parametrize("option", ["-i", "-l", "-r", "-o"])
@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ("{ }", "the command can not be empty"),
        ("", "opening brace expected, as a word of its own"),
        ("cat }", "opening brace expected, as a word of its own"),
        ("{cat }", "opening brace expected, as a word of its own"),
        ("}", "opening brace expected, as a word of its own"),
        ("{", "the closing brace is missing, as a word of its own"),
        ("{ cat", "the closing brace is missing, as a word of its own"),
        ("{ cat }}", "the closing brace is missing, as a word of its own"),
        ("{ cat { }", "the closing brace is missing, as a word of its own"),
    ],
)
def test_a_block_that_is_none_is_refused_with_its_option(option: str, block: str, sentence: str) -> None:
    assert refused([*LEAST.split(), option, *block.split()]) == f"{option}: {sentence}"


def test_a_brace_too_many_is_refused() -> None:
    assert refused([*LEAST.split(), "}"]) == "single character option expected, not: }"


# The remote sides, and the words that only show something


@pytest.mark.parametrize(
    "words",
    [
        ["127.0.0.1", "4000", "cat"],
        ["host", "4000", "dd", "of=/dev/st0", "bs=32k"],
        ["'host'", "'4000'", "'a b'", "''"],
        ["", "", ""],
        ["-h", "-t", "--help"],
        ["host", "1", "{", "}", "}"],
    ],
)
def test_the_classic_remote_side_gets_its_words_as_they_are(words: list[str]) -> None:
    assert parse_arguments(["-s", *words]) == ClassicRemote(words)


@pytest.mark.parametrize("words", [[], ["host"], ["host", "4000"], ["-k"]])
def test_the_classic_remote_side_needs_a_host_a_port_and_a_command(words: list[str]) -> None:
    assert refused(["-s", *words]) == "-s expects a host, a port and a command"


def test_the_proven_remote_side_has_two_words_and_no_more() -> None:
    assert parse("-k -s") == ProvenRemote()
    assert refused(["-k", "-s", "x"]) == "invalid option: -s"
    assert refused(["-s", "-k"]) == "-s expects a host, a port and a command"


@pytest.mark.parametrize("what", ["help", "version"])
def test_the_first_word_may_ask_for_something_to_be_shown(what: str) -> None:
    assert parse(f"--{what}") == Show(what)
    assert parse(f"--{what} {LEAST}") == Show(what)


@pytest.mark.parametrize("letter", LETTERS)
def test_help_names_every_option(letter: str) -> None:
    assert any(line.startswith(f"  -{letter} ") for line in HELP.splitlines())
    assert f"-{letter}" in USAGE


def test_help_begins_with_the_usage() -> None:
    assert HELP.startswith(USAGE)


# Any words

SPECIAL = ["{", "}", "{}", "-s", "--help", "--version", "", "0", "1", *(f"-{letter}" for letter in LETTERS)]
WORDS = st.lists(st.sampled_from(SPECIAL) | st.text(max_size=3), max_size=30)
#: Commands that are written in one block: all their braces have a partner.
COMMANDS = st.recursive(
    st.lists(st.text(max_size=3).filter(lambda word: word not in ("{", "}")), min_size=1, max_size=4),
    lambda inner: st.lists(inner | inner.map(lambda words: ["{", *words, "}"]), min_size=1, max_size=3).map(
        lambda lists: [word for words in lists for word in words]
    ),
    max_leaves=6,
)


@given(WORDS)
def test_any_words_ask_for_something_or_are_refused_with_a_sentence(words: list[str]) -> None:
    try:
        request: object = parse_arguments(words)
    except UsageError as error:
        request = str(error)
    assert request != ""
    assert isinstance(request, (Call, ClassicRemote, ProvenRemote, Show, str))


@given(COMMANDS, COMMANDS, COMMANDS, COMMANDS)
def test_each_command_gets_exactly_the_words_of_its_block(
    login: list[str], remote: list[str], input: list[str], output: list[str]
) -> None:
    words = [
        *["-l", "{", *login, "}", "-r", "{", *remote, "}"],
        *["-i", "{", *input, "}", "-o", "{", *output, "}"],
    ]
    assert parse_arguments(words) == Call(login=login, remote=remote, input=input, output=output)


@given(COMMANDS)
def test_a_call_within_a_call_comes_through_unchanged(command: list[str]) -> None:
    """The remote command may be socketpipe itself, with a machine further on."""
    inner = ["-l", "{", "ssh", "next", "}", "-i", "{", "cat", "}", "-r", "{", *command, "}"]
    outer = parse_arguments([*LEAST.split(), "-r", "{", "socketpipe", *inner, "}"])
    assert isinstance(outer, Call)
    assert outer.remote == ["socketpipe", *inner]
    assert parse_arguments(outer.remote[1:]) == Call(login=["ssh", "next"], input=["cat"], remote=command)
