# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote side, compiled here for all targets whose Python takes the same bytecode.

Ansible sends a module and what it imports as source files, and the target's Python compiles them for
each task anew: of a task that moves nothing, that would be a tenth of the time. The source files go
along, for any other Python.

Each task sends it, so it is made small: a third of bytecode is docstrings and the columns at which
expressions begin and end. A trace of what comes this way has its line numbers, and no more.
"""

from __future__ import annotations

import sys
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import CodeType
from typing import cast

from ansible_collections.dds.socketpipe.plugins.module_utils._bytecode import BYTECODE, pack

_PACKAGE = "ansible_collections.dds.socketpipe.plugins.module_utils"
#: What every remote endpoint imports; few import more.
_ENGINE = """
    addresses command congestion connector control counters crew data direction endpoint errors
    guard handshake interrupts listener loop meeting peer proving report scene specification stream
    text
"""
MODULES = ["_remote_side", *(f"_engine.{name}" for name in _ENGINE.split())]


def compile_remote_side() -> dict[str, str]:
    """Parameters of the module on the target."""
    names = [f"{_PACKAGE}.{name}" for name in MODULES]
    return {"bytecode": BYTECODE, "compiled": pack({name: _code_of(name) for name in names})}


def _code_of(name: str) -> CodeType:
    spec = find_spec(name)
    source = None if spec is None else cast(InspectLoader, spec.loader).get_source(name)
    if spec is None or source is None:
        raise ImportError(f"{name} has no source file")
    return without_columns(compile(source, spec.origin or name, "exec", dont_inherit=True, optimize=2))


def without_columns(code: CodeType) -> CodeType:
    """*code*, with a table of positions that has lines alone. Before Python 3.11 it has no others."""
    if sys.version_info < (3, 11):
        return code
    constants = (without_columns(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_consts=tuple(constants), co_linetable=_lines_of(code))


def _lines_of(code: CodeType) -> bytes:
    """The format is that of Objects/locations.md in CPython: an entry for at most 8 units of 2 bytes, of
    kind 13, a line alone, relative to the one before, or of kind 15, none."""
    table = bytearray()
    last = code.co_firstlineno
    for start, end, line in code.co_lines():
        for place in range(start, end, 16):
            units = (min(end, place + 16) - place) // 2
            kind = 15 if line is None else 13
            table.append(0x80 | kind << 3 | units - 1)
            if line is not None:
                table += _signed(line - last)
                last = line
    return bytes(table)


def _signed(number: int) -> bytes:
    """The sign in the lowest bit, then six bits a byte, with a mark in all bytes but the last."""
    rest = -number << 1 | 1 if number < 0 else number << 1
    digits = bytearray()
    while rest > 0x3F:
        digits.append(0x40 | rest & 0x3F)
        rest >>= 6
    digits.append(rest)
    return bytes(digits)
