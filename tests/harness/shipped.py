# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the repository belongs into the collection's tarball."""

from __future__ import annotations

import subprocess

from harness.ansible import ROOT

#: Files and folders of the root.
SHIPPED = {
    *["CHANGELOG.rst", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "COPYING", "LICENSES", "README.md"],
    *["REUSE.toml", "awx", "bindep.txt", "changelogs", "docs", "meta", "playbooks", "plugins", "roles"],
}
#: What ansible-lint and ansible-test ask for, wherever somebody runs them on the collection, as Galaxy does.
SHIPPED_SETTINGS = {".ansible-lint", "tests/config.yml"}


def tracked_files() -> set[str]:
    """Those of the checkout that git knows, but for removed ones."""
    words = ["git", "ls-files", "-z"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


def belongs_in_the_tarball(name: str) -> bool:
    folders = name.split("/")
    is_hidden = any(folder.startswith(".") for folder in folders)
    return name in SHIPPED_SETTINGS or (folders[0] in SHIPPED and not is_hidden)


def shipped_files() -> set[str]:
    return {name for name in tracked_files() if belongs_in_the_tarball(name)}
