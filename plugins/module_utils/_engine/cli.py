# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program socketpipe."""

from __future__ import annotations

import os
import sys

from .arguments import (
    HELP,
    OWN_FAILURE,
    USAGE,
    WRONG_USAGE,
    Call,
    ClassicRemote,
    Show,
    UsageError,
    parse_arguments,
)
from .errors import CommandError, SessionError
from .text import to_bytes
from .version import VERSION


def main() -> int:
    """The exit status."""
    open_standard_descriptors()
    try:
        # The bytes that were typed, whatever the locale makes of them.
        words = [os.fsencode(word).decode("utf-8", "surrogateescape") for word in sys.argv[1:]]
        request = parse_arguments(words)
        if isinstance(request, Show):
            os.write(
                1, (HELP if request.what == "help" else f"socketpipe {VERSION} (dds.socketpipe)\n").encode()
            )
            return 0
        if isinstance(request, Call):
            return call(request)
        if isinstance(request, ClassicRemote):
            become_remote(request)
        return play_remote()
    except UsageError as error:
        say(str(error))
        os.write(2, USAGE.encode())
        return WRONG_USAGE
    except CommandError as error:
        say(f"{error.role} command: {error}")
    except SessionError as error:
        say(str(error))
    except OSError as error:
        say(error.strerror or str(error))
    return OWN_FAILURE


def say(text: str) -> None:
    """On standard error, whatever bytes are in it; where nobody reads that, to nobody."""
    try:
        os.write(2, to_bytes(f"socketpipe: {text}\n"))
    except OSError:
        pass


def open_standard_descriptors() -> None:
    """What is closed would be the number of the next socket, and a command's standard input. Standard input
    can not be read then, nor standard output be written: nothing is lost without an error."""
    for descriptor, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)


def call(request: Call) -> int:
    from .caller import ClassicCall, ProvenCall
    from .command import Surroundings

    is_proven = request.proven or request.encrypted
    around = Surroundings(stdin=0, stdout=1, stderr=2, own_session=not has_terminal())
    kind = ProvenCall if is_proven else ClassicCall
    # Not sys.stderr: there is none if it was closed when Python started.
    with open(2, "w", closefd=False, errors="replace") as terminal:
        outcome = kind(request, around, say, terminal).run()
    for warning in outcome.verdict.warnings:
        say(f"warning: {warning}")
    if outcome.verdict.failure is not None:
        say(outcome.verdict.failure)
    return outcome.status


def has_terminal() -> bool:
    """Whether this process has a terminal that commands may want to ask a question on."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def become_remote(request: ClassicRemote) -> None:
    from .classic_remote import become
    from .login_words import unquoted_words

    host, port, *argv = unquoted_words(request.words)
    become(host, port, argv)


def play_remote() -> int:
    from .addresses import login
    from .command import Surroundings
    from .process import play, read_order

    try:
        order = read_order()
    except ValueError as error:
        say(
            f"no order came through the login ({error}); does it pass standard input on, and is socketpipe "
            f"{VERSION} on both machines?"
        )
        return OWN_FAILURE
    own = login()
    if own is not None and order.uses_login_address:
        order = order._replace(spec=order.spec.trying_first(own.client))
    play(order, Surroundings(stderr=2))
    return 0
