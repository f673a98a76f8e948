# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the endpoints do not know of their session, for sentences."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Dict, FrozenSet, Mapping, NamedTuple, Optional

#: The other side of each.
PEER = {"local": "remote", "remote": "local"}


class Scene(NamedTuple):
    """Hosts by side, and commands by role, as texts; *listen* (auto, local or remote) and
    *ports* as the user gave them. *files* are the roles in which a file has the place of a
    command; its path is in *commands*. *redirected* are the paths of files that commands read or print
    to, by role. *is_task* tells Ansible's users from the program's, who have other options to name.
    With *is_hidden* no sentence names a command or a file but by its role."""

    hosts: Dict[str, str]
    commands: Dict[str, str]
    listen: str = "auto"
    ports: Optional[str] = None
    files: FrozenSet[str] = frozenset()
    redirected: Mapping[str, str] = MappingProxyType({})
    is_task: bool = True
    is_hidden: bool = False

    def dump(self) -> Dict[str, Any]:
        """As JSON's types."""
        return dict(self._asdict(), files=sorted(self.files), redirected=dict(self.redirected))

    @classmethod
    def load(cls, data: Dict[str, Any]) -> Scene:
        """The inverse of `dump`."""
        return cls(**dict(data, files=frozenset(data["files"])))

    def command(self, role: str) -> str:
        kind = "file" if role in self.files else "command"
        return self._named(role, kind, self.commands[role])

    def file(self, role: str) -> str:
        """The one in the place of a command, or the one that a command reads or prints to."""
        return self._named(role, "file", self.redirected.get(role, self.commands[role]))

    def _named(self, role: str, kind: str, words: str) -> str:
        host = self.hosts["remote" if role == "remote" else "local"]
        return f"{role} {kind} on {host}" if self.is_hidden else f"{role} {kind} '{words}' on {host}"

    def endpoint(self, side: str) -> str:
        return f"{side} endpoint on {self.hosts[side]}"

    def connects(self, side: str) -> bool:
        return self.listen in ("auto", PEER[side])
