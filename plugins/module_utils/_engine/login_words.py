# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows the words of a login command, and what comes back through it.

ssh makes one text of all words, and the shell of the other machine takes it apart again; other
logins pass the words on as they are. docs/protocol.md, "The classic protocol", has the rules.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import List, NamedTuple, Optional, Sequence

#: The remote side of a session that proves itself.
PROVEN = ["socketpipe", "-k", "-s"]
#: The line in which a script shows the login.
MARK = "socketpipe-login:"

#: Where it is not Linux's, hostname may take its argument for the machine's new name.
_ADDRESSES = "$(test -e /proc/net/tcp && hostname -I 2>/dev/null)"
#: Prints the two ends of the login, and the addresses of the machine.
ASK = f'echo "{MARK} $SSH_CONNECTION ; {_ADDRESSES}"'
#: Prints the two ends of the login ($1, which sudo would have taken from the environment) and the
#: addresses of the machine, and becomes the remote side. No quote and no ! is in it, for csh.
_SCRIPT = (
    f'login=${{1:-$SSH_CLIENT}}; echo "{MARK} $login ; {_ADDRESSES}"; '
    'host=${2:-${login%% *}}; port=$3; shift 3; exec socketpipe -s "$host" "$port" "$@"'
)


class Shown(NamedTuple):
    """What a login shows: this machine's address, and all of the other one's."""

    client: Optional[str]
    addresses: List[str]


def goes_through_a_shell(login: Sequence[str]) -> bool:
    """Whether it is known that the words of this login do."""
    return any(os.path.basename(word) == "ssh" for word in login)


def quote(word: str) -> str:
    """*word* for a shell that takes one level of quotes away: sh, and csh and fish, which make something
    of ! and of backslashes inside quotes; zsh takes =ls for a path, and fish %self for a process."""
    if re.fullmatch(r"(?!=|%self$)[\w@%+=:,./-]+", word, re.ASCII):
        return word
    return "'" + re.sub(r"([\\'!])", r"'\\\1'", word) + "'"


def plain_words(host: str, port: int, remote: Sequence[str]) -> List[str]:
    """The command line of the classic protocol. Where a word needs quotes, the port has them too:
    whoever still finds them there knows that no shell took any away."""
    words = [host, *remote]
    quoted = [quote(word) for word in words]
    shown_port = str(port) if quoted == words else f"'{port}'"
    return ["socketpipe", "-s", quoted[0], shown_port, *quoted[1:]]


def asking_words(host: Optional[str], port: int, remote: Sequence[str]) -> List[str]:
    """A script that shows the login before it becomes the remote side, which connects to *host*;
    None: to where the login comes from. For a shell that takes the quotes away."""
    words = [host or "", str(port), *remote]
    return ["sh", "-c", quote(_SCRIPT), "socketpipe", '"$SSH_CONNECTION"', *map(quote, words)]


def unquoted_words(words: Sequence[str]) -> List[str]:
    """Of the host, the port and the remote command, as they came, without the quotes that no shell
    has taken away."""
    if not re.fullmatch(r"'\d+'", words[1]):
        return list(words)
    return ["".join(shlex.split(word)) for word in words]


def parse_shown(line: str) -> Optional[Shown]:
    """What a line that the login has printed shows, perhaps after noise; None for any other line."""
    _noise, is_marked, rest = line.partition(MARK)
    if not is_marked:
        return None
    ends, _separator, addresses = rest.partition(";")
    words = ends.split()  # client, its port, then server and its port, or the latter alone
    server = words[2:3] if len(words) == 4 else []
    return Shown(words[0] if words else None, [*server, *addresses.split()])
