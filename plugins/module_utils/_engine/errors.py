# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can end a session, each with the kind that the protocol gives it."""

from __future__ import annotations

from typing import Any, Dict, Optional


class SessionError(Exception):
    """The session can not go on.

    *kind* is one of the reasons of docs/protocol.md; ``str()`` is a sentence
    for an administrator, without the name of the host it happened on.
    """

    kind = "protocol"

    def reason(self) -> Dict[str, Any]:
        """What goes into an ``abort`` message and into the report."""
        return {"kind": self.kind, "text": str(self)}


class CommandError(SessionError):
    """A command could not be started, or ended with a status that is not accepted."""

    kind = "command"

    def __init__(self, role: str, text: str) -> None:
        super().__init__(text)
        self.role = role

    def reason(self) -> Dict[str, Any]:
        return dict(super().reason(), role=self.role)


class LoginError(SessionError):
    """The login ended, with *status*, or shows too little, before the two sides were connected."""

    kind = "login"

    def __init__(self, text: str, status: Optional[int] = None) -> None:
        super().__init__(text)
        self._status = status

    def reason(self) -> Dict[str, Any]:
        return dict(super().reason(), status=self._status)


class NoPathError(SessionError):
    """No candidate led to the peer before the deadline. The report has what was tried."""

    kind = "connect"


class PeerLostError(SessionError):
    """The peer is gone, or silent for too long."""

    kind = "lost"


class NetworkError(SessionError):
    """A data connection was cut by neither endpoint."""

    kind = "network"


class StallError(SessionError):
    """No byte moved for as long as the user allows."""

    kind = "stalled"


class IntegrityError(SessionError):
    """What arrived is not what was sent; *direction* is that of the data, None for a message."""

    kind = "integrity"

    def __init__(self, text: str, direction: Optional[str] = None) -> None:
        super().__init__(text)
        self.direction = direction

    def reason(self) -> Dict[str, Any]:
        return dict(super().reason(), direction=self.direction)


class ProtocolError(SessionError):
    """A proven peer broke the rules of the protocol."""

    kind = "protocol"


class InterruptError(SessionError):
    """This endpoint got a signal."""

    kind = "interrupted"


class AbandonedError(SessionError):
    """Nobody wants the session any more."""

    kind = "abandoned"


class ResourceError(SessionError):
    """The system refused something that should always work: a descriptor, a process."""

    kind = "system"


class PeerAbortError(SessionError):
    """The peer found a reason to abort, and sent it."""

    def __init__(self, reason: Dict[str, Any]) -> None:
        super().__init__(str(reason.get("text", "")))
        self._reason = reason

    def reason(self) -> Dict[str, Any]:
        return dict(self._reason, by="peer")


class HandshakeError(Exception):
    """Whoever is at the other end of a connection has not proved to be the peer.

    It ends that connection, never the session.
    """


class VersionError(HandshakeError):
    """It speaks another version of the protocol, so it is no stranger perhaps."""
