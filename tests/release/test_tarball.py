# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as it is published: built here, looked at by Galaxy's importer, installed elsewhere."""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness.ansible import BIN, ROOT
from harness.demo import AS_NOBODY, expect_all_moved, make_home, run_demo, run_well
from harness.shipped import shipped_files

#: What `make release-check` makes it.
IMPORTER = ROOT / ".cache" / "importer" / "bin"
#: What ansible-galaxy adds.
MANIFESTS = {"MANIFEST.json", "FILES.json"}


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the checkout as it lies there, as whoever makes a release builds it."""
    folder = tmp_path_factory.mktemp("built")
    run_well(BIN / "ansible-galaxy", "collection", "build", "--output-path", folder, cwd=ROOT)
    (built,) = folder.iterdir()
    return built


def test_what_is_in_it(tarball: Path) -> None:
    """All that is tracked and belongs there; no dotfile, no cache, nothing that git does not know."""
    with tarfile.open(tarball) as archive:
        names = {member.name for member in archive.getmembers() if not member.isdir()}
    assert names - MANIFESTS == shipped_files()


@pytest.fixture(scope="module")
def imported(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the importer says, and the file with what it found."""
    folder = tmp_path_factory.mktemp("imported")
    environment = {"PATH": f"{IMPORTER}:{os.environ['PATH']}", "HOME": str(folder)}
    # Its exit status says nothing.
    said = run_well(IMPORTER / "python", "-m", "galaxy_importer.main", tarball, cwd=folder, **environment)
    return said, folder / "importer_result.json"


def test_galaxys_importer_has_nothing_against_it(imported: tuple[str, Path]) -> None:
    said, _result = imported
    assert said.endswith("Importer processing completed successfully\n")
    # Ansible-lint's findings come as warnings.
    assert re.findall(r"^[A-Z]+: .*", said, re.MULTILINE) == []
    assert "ansible-lint run complete" in said


def test_galaxys_importer_finds_the_documentation(imported: tuple[str, Path]) -> None:
    _said, result = imported
    documented = {
        (entry["content_type"], entry["content_name"])
        for entry in json.loads(result.read_text(encoding="utf-8"))["docs_blob"]["contents"]
        if entry["doc_strings"] or entry["readme_html"]
    }
    roles = {("role", role.name) for role in (ROOT / "roles").iterdir()}
    assert documented >= roles | {("module", "socketpipe"), ("callback", "progress")}


@pytest.fixture
def home() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield make_home(Path(name))


class Elsewhere:
    """An environment with nothing but ansible-core and the tarball in it."""

    def __init__(self, folder: Path, tarball: Path) -> None:
        self.bin = folder / "venv" / "bin"
        self.collections = folder / "collections"
        self.cwd = folder / "cwd"
        self.cwd.mkdir()
        for path in (folder, self.cwd):
            path.chmod(0o755)
        run_well(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
        core = f"ansible-core=={version('ansible-core')}"
        run_well(self.bin / "pip", "install", "--quiet", core, cwd=folder)
        words = ["collection", "install", "-p", self.collections, tarball]
        with TemporaryDirectory() as home:
            run_well(self.bin / "ansible-galaxy", *words, cwd=self.cwd, HOME=home, **self.environment())

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            # Where the collection of the checkout would be found.
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


@pytest.fixture(scope="module")
def elsewhere(tarball: Path) -> Iterator[Elsewhere]:
    with TemporaryDirectory() as name:
        yield Elsewhere(Path(name), tarball)


@pytest.mark.parametrize("who", ["whoever runs the tests", "nobody"])
def test_the_demo_runs_where_it_was_installed(elsewhere: Elsewhere, home: Path, who: str) -> None:
    if who == "nobody" and os.getuid() != 0:
        pytest.skip("only root can become nobody")
    become = AS_NOBODY if who == "nobody" else ()
    words = [*become, str(elsewhere.bin / "ansible-playbook"), "dds.socketpipe.demo"]
    expect_all_moved(run_demo(words, home, elsewhere.cwd, **elsewhere.environment()), home)


def test_its_documentation_is_there_too(elsewhere: Elsewhere, home: Path) -> None:
    words = [elsewhere.bin / "ansible-doc", "-t", "module", "dds.socketpipe.socketpipe"]
    assert "accept_rc" in run_well(*words, cwd=elsewhere.cwd, HOME=str(home), **elsewhere.environment())
