# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that come compiled from another machine, for a Python that takes the same bytecode."""

from __future__ import annotations

import base64
import marshal
import sys
import zlib
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER, spec_from_loader
from types import CodeType, ModuleType
from typing import Any, Dict, Optional

#: What this Python takes.
BYTECODE = f"{sys.implementation.name} {MAGIC_NUMBER.hex()}"


def pack(modules: Dict[str, CodeType]) -> str:
    """The code of *modules*, by name, as text."""
    codes = {name: marshal.dumps(code) for name, code in modules.items()}
    return base64.b64encode(zlib.compress(marshal.dumps(codes))).decode()


def use(bytecode: Optional[str], compiled: str) -> None:
    """Have the modules in *compiled*, of `pack`, imported from there if this Python takes *bytecode*."""
    if bytecode == BYTECODE:
        sys.meta_path.insert(0, _Finder(marshal.loads(zlib.decompress(base64.b64decode(compiled)))))


class _Finder:
    """Finds modules among *codes*, which are marshalled, by name."""

    def __init__(self, codes: Dict[str, bytes]) -> None:
        self._codes = codes

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        return spec_from_loader(name, self) if name in self._codes else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """None, for a module like any other."""

    def exec_module(self, module: ModuleType) -> None:
        exec(marshal.loads(self._codes[module.__name__]), vars(module))
