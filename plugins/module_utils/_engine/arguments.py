# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the program socketpipe: what its words ask for.

The letters, the braces and the form after -s are those of socketpipe 1.10.
"""

from __future__ import annotations

import math
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

USAGE = """\
usage: socketpipe [-b] [-e] [-k] [-v] [-h host] [-t timeout]
                  [-i { command [args ...] }] -l { login [args ...] }
                  -r { command [args ...] } [-o { command [args ...] }]
       socketpipe -s host port command [args ...]
       socketpipe --help | --version
"""

HELP = f"""{USAGE}
Connects a command on another machine to an input command and/or an output command
on this one, over a TCP connection of their own; the login only sets it up.

  -i {{ ... }}   the command whose output the remote command reads
  -l {{ ... }}   the login, such as ssh host
  -r {{ ... }}   the remote command
  -o {{ ... }}   the command that reads the remote command's output
  -h host     this machine's address for the other one (else the login shows it)
  -t timeout  seconds for the other side to connect (default 0: no limit)
  -b          discard what the login itself prints
  -k          prove who connects, and break the stream on failure (both sides ours)
  -e          encrypt too (implies -k; needs the Python library cryptography here)
  -v          show progress, if standard error is a terminal
  -s          the remote side, as the login runs it

The exit status is that of the first command that failed, 1 for wrong usage, 2 for
failures of its own. socketpipe(1) has examples.
"""

#: Exit statuses: for words that are no command line, and for what no command did.
WRONG_USAGE = 1
OWN_FAILURE = 2

_BLOCKS = {"-i": "input", "-l": "login", "-r": "remote", "-o": "output"}
_FLAGS = {"-b": "batch", "-k": "proven", "-e": "encrypted", "-v": "progress"}


class UsageError(Exception):
    """The words are no command line; the sentence says why."""


class Call(NamedTuple):
    """A session to be made. The commands are argvs; *timeout* is in seconds, infinite for none."""

    login: List[str]
    remote: List[str]
    input: Optional[List[str]] = None
    output: Optional[List[str]] = None
    host: Optional[str] = None
    timeout: float = math.inf
    batch: bool = False
    proven: bool = False
    encrypted: bool = False
    progress: bool = False


class ClassicRemote(NamedTuple):
    """The remote side in the classic protocol, as the words came: perhaps quoted."""

    words: List[str]


class ProvenRemote(NamedTuple):
    """The remote side of a session with -k, which gets its order from standard input."""


class Show(NamedTuple):
    """--help or --version."""

    what: str


Request = Union[Call, ClassicRemote, ProvenRemote, Show]


def parse_arguments(words: Sequence[str]) -> Request:
    """*words* are those after the program's name. Raises UsageError."""
    if not words:
        raise UsageError("no arguments specified")
    if words[0] in ("--help", "--version"):
        return Show(words[0][2:])
    if list(words) == ["-k", "-s"]:
        return ProvenRemote()
    if words[0] == "-s":
        if len(words) < 4:
            raise UsageError("-s expects a host, a port and a command")
        return ClassicRemote(list(words[1:]))
    return _parse_call(iter(words))


def _parse_call(words: Iterator[str]) -> Call:
    found: Dict[str, Any] = {}
    for word in words:
        if word in _BLOCKS:
            found[_BLOCKS[word]] = _block(word, words)
        elif word in _FLAGS:
            found[_FLAGS[word]] = True
        elif word == "-h":
            found["host"] = _value(word, "a host name or address", words)
        elif word == "-t":
            found["timeout"] = _timeout(_value(word, "a number of seconds", words))
        elif len(word) == 2 and word[0] == "-":
            raise UsageError(f"invalid option: {word}")
        else:
            raise UsageError(f"single character option expected, not: {word}")
    for name in ("remote", "login"):
        if name not in found:
            raise UsageError(f"must specify a {name} command")
    if "input" not in found and "output" not in found:
        raise UsageError("must specify a local input or output command")
    return Call(**found)


def _block(option: str, words: Iterator[str]) -> List[str]:
    """The words up to the brace that closes the one that comes first."""
    if next(words, None) != "{":
        raise UsageError(f"{option}: opening brace expected, as a word of its own")
    block: List[str] = []
    depth = 1
    for word in words:
        depth += {"{": 1, "}": -1}.get(word, 0)
        if depth == 0:
            if not block:
                raise UsageError(f"{option}: the command can not be empty")
            return block
        block.append(word)
    raise UsageError(f"{option}: the closing brace is missing, as a word of its own")


def _value(option: str, what: str, words: Iterator[str]) -> str:
    value = next(words, None)
    if not value:
        raise UsageError(f"{option} expects {what}")
    return value


def _timeout(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text):
        raise UsageError(f"-t expects a number of seconds, not: {text}")
    return float(text) or math.inf
