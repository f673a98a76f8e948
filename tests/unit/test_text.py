# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text and bytes: file names survive, and every log can take the rest."""

from __future__ import annotations

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import to_bytes, to_text
from hypothesis import given
from hypothesis import strategies as st


@given(data=st.binary())
def test_any_file_name_that_python_decoded_becomes_the_same_bytes_again(data: bytes) -> None:
    assert to_bytes(data.decode("utf-8", "surrogateescape")) == data


@given(text=st.text())
def test_text_survives_as_it_is(text: str) -> None:
    assert to_text(to_bytes(text)) == text


@given(data=st.binary())
def test_any_bytes_become_text_that_every_log_can_take(data: bytes) -> None:
    to_text(data).encode("utf-8")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"caf\xc3\xa9\n", "caf\u00e9\n"),
        (b"a\xff\x80z", r"a\xff\x80z"),
        (b"\xc3", r"\xc3"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"\0", "\0"),
    ],
)
def test_bytes_that_are_not_utf8_are_written_as_hexadecimal(data: bytes, text: str) -> None:
    assert to_text(data) == text
