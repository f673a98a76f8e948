# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a user wrote to the words of a command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, List, Sequence, Union

from .errors import CommandError
from .text import to_bytes

_SHELL = "/bin/sh"


def split_command(role: str, command: Union[str, Sequence[Any]], shell: bool) -> List[str]:
    """The argv of what a user wrote: a string, or a list that is argv already.

    Raises CommandError for anything that can not be a command.
    """
    if isinstance(command, str):
        words = [_SHELL, "-c", command] if shell else _split(role, command)
        is_empty = not command.strip() or not words[0]
    elif isinstance(command, (list, tuple)):
        if shell:
            raise CommandError(role, f"{role}: with 'shell' a command is one string, not a list")
        words = [_word(role, word) for word in command]
        is_empty = not words or not words[0]
    else:
        raise CommandError(role, f"{role}: a command is a string or a list of words, not {_kind(command)}")
    if is_empty:
        raise CommandError(role, f"{role}: the command is empty")
    if any("\0" in word for word in words):
        raise CommandError(role, f"{role}: a command can not hold a null character")
    for word in words:
        _check_encodable(role, word)
    return words


def _check_encodable(role: str, word: str) -> None:
    try:
        to_bytes(word)
    except UnicodeEncodeError:
        raise CommandError(role, f"{role}: a command holds a character that has no bytes: {word!a}") from None


def _split(role: str, command: str) -> List[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise CommandError(role, f"{role}: can not be split into words: {error} in: {command}") from None


def _word(role: str, word: Any) -> str:
    if isinstance(word, bool) or not isinstance(word, (str, int, float)):
        raise CommandError(role, f"{role}: the words of a list are strings or numbers, not {_kind(word)}")
    return str(word)


def _kind(value: Any) -> str:
    """What a user calls a value of this type; Ansible gives types of its own."""
    kinds = ((bool, "a boolean"), (Mapping, "a dictionary"), ((list, tuple), "a list"))
    names = [name for kind, name in kinds if isinstance(value, kind)]
    return (names or ["nothing" if value is None else f"'{value}'"])[0]
