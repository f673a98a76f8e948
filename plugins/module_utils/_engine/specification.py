# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint is to do, and its form in JSON."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from .handshake import Side

#: The commands, in the order in which data flows through them.
ROLES = ("input", "remote", "output")
#: Which command writes a direction, and which reads it.
WRITER = {"input": "input", "output": "remote"}
READER = {"input": "remote", "output": "output"}


class CommandSpec(NamedTuple):
    """What to run. *role* is input, remote or output; *argv* may hold surrogate escapes."""

    role: str
    argv: List[str]
    accept_rc: List[int]
    chdir: Optional[str] = None


class FileSpec(NamedTuple):
    """A local file in the place of a command. *role* is input or output; *descriptor* is open for
    reading or for writing. *accept_rc* is that of a command: only its 141 has a meaning.

    *temporary* is the path of a file that goes when the session is aborted; None if none has to.
    """

    role: str
    descriptor: int
    accept_rc: List[int]
    temporary: Optional[str] = None


AnySpec = Union[CommandSpec, FileSpec]


class Specification(NamedTuple):
    """One side's part of a session.

    *key* is 32 bytes. *commands* are this side's, and files in their place. *directions* are the
    session's: input, output, or both; none for a *preflight*, which runs no command. *timeout*
    is in seconds, for finding a path.

    The side listens if it has *listener*, the descriptor of a listening socket, or *ports*, of
    which it takes the first that is free, on *listen_address* (see `open_listener`). It
    connects to its *candidates*, if there are any.

    *block_size* is in bytes, for every read of a command; *rate_limit* in bytes per second, for
    each direction.
    """

    side: Side
    key: bytes
    commands: List[AnySpec]
    directions: List[str]
    timeout: float
    listener: Optional[int] = None
    listen_address: Optional[str] = None
    ports: Sequence[int] = ()
    candidates: Sequence[Tuple[str, int]] = ()
    preflight: bool = False
    block_size: Optional[int] = None
    rate_limit: Optional[int] = None

    def dump(self) -> Dict[str, Any]:
        """As JSON's types, without the key, which travels by itself."""
        data = self._asdict()
        del data["key"]
        data["side"] = self.side.value
        data["commands"] = [command._asdict() for command in self.commands]
        return dict(data)

    @classmethod
    def load(cls, data: Dict[str, Any], key: bytes) -> Specification:
        """The inverse of `dump`."""
        own_types = {
            "key": key,
            "side": Side(data["side"]),
            "commands": [_load_command(command) for command in data["commands"]],
            "ports": tuple(data["ports"]),
            "candidates": tuple(tuple(candidate) for candidate in data["candidates"]),
        }
        return cls(**dict(data, **own_types))


def _load_command(data: Dict[str, Any]) -> AnySpec:
    return FileSpec(**data) if "descriptor" in data else CommandSpec(**data)
