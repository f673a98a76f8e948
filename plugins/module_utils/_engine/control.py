# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control messages, without I/O: objects to frames and back.

A frame is length (4 bytes), body (JSON, ASCII), MAC (32 bytes) over number, length and
body. The number is not sent: a frame that was dropped, repeated or moved does not verify.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from typing import Any, Dict, Iterable, List, Optional

from .errors import ProtocolError

Message = Dict[str, Any]

#: A report with four full tails, each byte of them escaped to six, stays under this.
MAX_BODY = 4 << 20
#: How deep a body may nest; a report has five levels.
MAX_DEPTH = 16
#: Digits of a whole number: of more, nobody counts as many bytes.
MAX_DIGITS = 20
_LENGTH_SIZE = 4
_MAC_SIZE = 32


class _Numbered:
    """One direction of the control connection: its key, and the number of the next frame."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def mac(self, framed: bytes) -> bytes:
        numbered = self._number.to_bytes(8, "big") + framed
        self._number += 1
        return hmac.new(self._key, numbered, hashlib.sha256).digest()


class ControlWriter:
    """Makes frames under *key*."""

    def __init__(self, key: bytes) -> None:
        self._numbered = _Numbered(key)

    def frame(self, message: Message) -> bytes:
        body = json.dumps(message, separators=(",", ":")).encode("ascii")
        if len(body) > MAX_BODY:
            raise ValueError(f"a control message has at most {MAX_BODY} bytes, not {len(body)}")
        framed = len(body).to_bytes(_LENGTH_SIZE, "big") + body
        return framed + self._numbered.mac(framed)


class ControlReader:
    """Takes frames apart under *key*, in pieces of any size."""

    def __init__(self, key: bytes) -> None:
        self._numbered = _Numbered(key)
        self._buffer = bytearray()

    def receive(self, data: bytes) -> List[Message]:
        """The messages that *data* completes.

        Raises ProtocolError for what no peer that follows the protocol sends.
        """
        self._buffer += data
        messages: List[Message] = []
        while True:
            frame = self._next_frame()
            if frame is None:
                return messages
            messages.append(self._open(frame))

    def _next_frame(self) -> Optional[bytes]:
        if len(self._buffer) < _LENGTH_SIZE:
            return None
        length = int.from_bytes(self._buffer[:_LENGTH_SIZE], "big")
        if length > MAX_BODY:
            raise ProtocolError(f"a control message of {length} bytes was announced")
        size = _LENGTH_SIZE + length + _MAC_SIZE
        if len(self._buffer) < size:
            return None
        frame = bytes(self._buffer[:size])
        del self._buffer[:size]
        return frame

    def _open(self, frame: bytes) -> Message:
        framed, mac = frame[:-_MAC_SIZE], frame[-_MAC_SIZE:]
        if not hmac.compare_digest(mac, self._numbered.mac(framed)):
            raise ProtocolError("a control message does not verify under this session's key")
        try:
            message = _DECODER.decode(framed[_LENGTH_SIZE:].decode("ascii"))
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise ProtocolError("a control message is not a JSON object with a type")
        if not _is_shallow(message, MAX_DEPTH):
            raise ProtocolError("a control message nests too deep")
        return message


def _whole_number(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError
    return int(digits)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


#: Without NaN and the infinities, which Python takes for numbers, and JSON does not.
_DECODER = json.JSONDecoder(
    parse_int=_whole_number, parse_float=_finite_number, parse_constant=_finite_number
)


def _is_shallow(value: Any, levels: int) -> bool:
    """Whether *value* nests no deeper: what reads it, or writes it again, needs a stack."""
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)
