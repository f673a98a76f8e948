# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pythons that the engine may meet, as far as this machine has them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def interpreters() -> dict[str, str]:
    """This Python, and every other one from 3.7 to 3.13 that pyenv has, by version."""
    found = {"running": sys.executable}
    for folder in sorted(Path.home().glob(".pyenv/versions/3.*")):
        minor = int(folder.name.split(".")[1])
        if 7 <= minor <= 13:
            found[folder.name] = str(folder / "bin" / "python3")
    return found


PYTHONS = pytest.mark.parametrize("python", interpreters().values(), ids=interpreters().keys())
