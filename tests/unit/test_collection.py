# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files that describe the collection say is the same everywhere, and true."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.version import VERSION
from harness.ansible import ROOT
from harness.shipped import shipped_files, tracked_files

GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
OLDEST_CORE = "2.16"
#: What a name of Galaxy's looks like.
GALAXY_NAME = re.compile(r"(?!.*__)[a-z_][0-9a-z_]*")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def load(name: str) -> Any:
    return yaml.safe_load(read(name))


def make_variable(name: str) -> str:
    found = re.search(rf"^{name} \?= (.*)$", read("Makefile"), re.MULTILINE)
    assert found is not None
    return found[1]


# The tarball


def is_ignored(name: str) -> bool:
    """A pattern of build_ignore that matches a folder goes for all that is in it."""
    paths = [name, *(str(folder) for folder in Path(name).parents)]
    # What ansible-galaxy never takes.
    patterns = [*GALAXY["build_ignore"], "galaxy.yml"]
    return any(fnmatch(path, pattern) for path in paths[: paths.index(".")] for pattern in patterns)


def test_the_tarball_gets_what_belongs_in_it_and_nothing_else() -> None:
    assert {name for name in tracked_files() if not is_ignored(name)} == shipped_files()


def test_the_tarball_gets_nothing_that_git_ignores() -> None:
    names = [line.strip("/") for line in read(".gitignore").splitlines() if not line.startswith("#")]
    # ansible-galaxy leaves these out itself.
    own = {"__pycache__", "*.pyc", "tests/output"}
    assert [name for name in names if name not in own and not is_ignored(name)] == []


def test_galaxy_takes_the_names_of_all_plugins() -> None:
    """It refuses a collection with any other name; it does not look at an __init__."""
    files = [path for path in (ROOT / "plugins").rglob("*.py") if path.stem != "__init__"]
    assert [str(path) for path in files if not GALAXY_NAME.fullmatch(path.stem)] == []


# Versions


def test_the_program_has_the_version_of_the_collection() -> None:
    assert GALAXY["version"] == VERSION


def test_the_oldest_ansible_core_is_the_same_everywhere() -> None:
    assert load("meta/runtime.yml")["requires_ansible"] == f">={OLDEST_CORE}.0"
    assert f"ansible-core {OLDEST_CORE} or later" in read("README.md")
    assert make_variable("CORE") == f"ansible-core>={OLDEST_CORE}"
    assert make_variable("CORES").split()[0] == OLDEST_CORE


@pytest.mark.parametrize("role", sorted((ROOT / "roles").iterdir()), ids=lambda path: path.name)
def test_a_role_needs_no_newer_one(role: Path) -> None:
    assert load(f"roles/{role.name}/meta/main.yml")["galaxy_info"]["min_ansible_version"] == OLDEST_CORE


def test_the_public_host_tests_each_version_of_the_matrix() -> None:
    jobs = load(".github/workflows/ci.yml")["jobs"]
    assert jobs["matrix"]["strategy"]["matrix"]["core"] == make_variable("CORES").split()
