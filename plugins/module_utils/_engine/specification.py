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


class Identity(NamedTuple):
    """What one side of an encrypted session shows and what it accepts, as PEM texts."""

    certificate: str
    private_key: str
    peer_certificate: str


class CommandSpec(NamedTuple):
    """What to run. *role* is input, remote or output; *argv* may hold surrogate escapes.

    *file* is the standard input of an input command, the standard output of an output command: a
    descriptor, or an absolute path, which is opened by the command's own process. *temporary* is as in
    `FileSpec`.
    """

    role: str
    argv: List[str]
    accept_rc: List[int]
    chdir: Optional[str] = None
    file: Union[int, str, None] = None
    temporary: Optional[str] = None


#: The status of a file that could not be read or written.
ERROR_STATUS = 1


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
    each direction. *checksum* is the name of a hash, for each direction. *identity* is there if the
    session is encrypted. *stall_timeout* is in seconds without a byte, None for ever.
    *is_detached*: the remote side waits for the outcome that the local side is given.
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
    checksum: Optional[str] = None
    identity: Optional[Identity] = None
    stall_timeout: Optional[float] = None
    is_detached: bool = False

    @property
    def is_pumped(self) -> bool:
        """Whether the payload has to pass through the endpoint."""
        return self.checksum is not None or self.identity is not None

    def trying_first(self, address: str) -> Specification:
        """With *address*, at each port that there is a candidate for, before all other candidates."""
        ports = {candidate[1]: None for candidate in self.candidates}
        others = [candidate for candidate in self.candidates if candidate[0] != address]
        return self._replace(candidates=[(address, port) for port in ports] + others)

    def dump(self) -> Dict[str, Any]:
        """As JSON's types, without the secrets, which travel by themselves."""
        data = self._asdict()
        for secret in ("key", "identity"):
            del data[secret]
        data["side"] = self.side.value
        data["commands"] = [command._asdict() for command in self.commands]
        return dict(data)

    @classmethod
    def load(
        cls, data: Dict[str, Any], key: bytes, identity: Optional[Dict[str, str]] = None
    ) -> Specification:
        """The inverse of `dump`, with the secrets."""
        own_types = {
            "key": key,
            "identity": None if identity is None else Identity(**identity),
            "side": Side(data["side"]),
            "commands": [_load_command(command) for command in data["commands"]],
            "ports": tuple(data["ports"]),
            "candidates": tuple(tuple(candidate) for candidate in data["candidates"]),
        }
        return cls(**dict(data, **own_types))


def _load_command(data: Dict[str, Any]) -> AnySpec:
    return FileSpec(**data) if "descriptor" in data else CommandSpec(**data)
