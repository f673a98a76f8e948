# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text to bytes and back, whatever the locale and whatever the bytes."""

from __future__ import annotations


def to_bytes(text: str) -> bytes:
    """The bytes that a user's text stands for, whatever the locale: UTF-8, undecodable ones too."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    r"""Any bytes as text that every log can take; undecodable ones as \xNN."""
    return data.decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """A user's text in a form that every log can take."""
    return to_text(to_bytes(text))
