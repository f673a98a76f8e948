# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote side, compiled here for all targets whose Python takes the same bytecode.

Ansible sends a module and what it imports as source files, and the target's Python compiles them for
each task anew: of a task that moves nothing, that would be a tenth of the time. The source files go
along, for any other Python.
"""

from __future__ import annotations

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
    code = None if spec is None else cast(InspectLoader, spec.loader).get_code(name)
    if code is None:
        raise ImportError(f"{name} has no source file")
    return code
