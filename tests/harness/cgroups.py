# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups for a few processes, within that of the tests."""

from __future__ import annotations

import secrets
from pathlib import Path, PurePosixPath


def own_groups() -> dict[str, str]:
    """Those of this process, by the kind of hierarchy: "" is version 2."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    found = (line.split(":", 2)[1:] for line in lines)
    return {kind: own for kinds, own in found for kind in kinds.split(",")}


def make_group(mount: str, own: str | None, needed: str) -> Path | None:
    """In this process's *own* group, or in the nearest above it that may have groups with the file *needed*.
    None where there is none."""
    for parent in [PurePosixPath(own), *PurePosixPath(own).parents] if own else []:
        folder = Path(f"{mount}{parent}") / f"socketpipe-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / needed).exists():
            return folder
        folder.rmdir()
    return None
