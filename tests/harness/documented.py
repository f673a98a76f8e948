# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world that the documentation speaks of: its files and devices, the programs of its hosts, and a home
in which the collection was installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from harness.ansible import BIN, ROOT
from harness.network import Target, run
from harness.program import Program

#: What the documentation names, and what takes its place. The folders hold small trees.
SUBSTITUTES = {
    "/dev/st0": "{world}/tape",  # a file
    "/dev/nst0": "{world}/nst0",  # a link to a file, as `mt` has set it
    "/dev/vg0/data": "{world}/data",  # a file
    "/tmp/x": "{world}/x",
    "/srv": "{world}/srv",
    "/etc": "{world}/etc",  # the machine's own changes while other tests run
    "/var": "{world}/var",
    "/backup": "{world}/backup",
    "/restored": "{world}/restored",
    "backup_name=etc": "backup_name={name}-etc",
    "backup_name=controller-srv": "backup_name=controller-{name}-srv",
    "/usr/local/bin/socketpipe": "{world}/program/bin/socketpipe",
    "192.0.2.1": "{controller}",
    "192.0.2.20": "{target}",
    "ansible_become_user: postgres": "ansible_become_user: root",  # there is no database
    "delay: 30": "delay: 1",  # a test has less patience
    "benchmark_size=1G": "benchmark_size=10M",
    "benchmark_size=10G": "benchmark_size=10M",
    "benchmark_file_size=100M": "benchmark_file_size=1M",
}

#: Programs that the documentation runs and that a test can not have, or not as a real one would be. Each
#: fails if it is called in another way. They run in the folder of the world.
STAND_INS = {
    "docker": """
        case "$*" in
        "save app:1.0") cat image ;;
        load) cat > loaded ;;
        *) exit 9 ;;
        esac""",
    "mt": """
        [ "$1 $3" = "-f asf" ] || exit 9
        ln -sfn "tape.$4" "$2" """,
    "lvcreate": """
        [ "$*" = "--snapshot --name data-backup --size 5G vg0/data" ] || exit 9
        cp data data-backup""",
    "lvremove": """
        [ "$*" = "--yes vg0/data-backup" ] || exit 9
        rm data-backup""",
    "psql": """
        [ "$*" = "--single-transaction --set ON_ERROR_STOP=1 --file=- shop" ] || exit 9
        cat > loaded""",
    "pg_dump": """
        case "$*" in
        --version) echo "pg_dump (PostgreSQL) 15.18" ;;
        *--format=custom*--dbname=shop) cat image ;;
        *) exit 9 ;;
        esac""",
    "pg_restore": """
        case "$*" in
        *--exit-on-error\\ --single-transaction*--dbname=shop_copy) cat > loaded ;;
        --file=/dev/null) exec cmp - image ;;
        *) exit 9 ;;
        esac""",
    "mariadb-dump": """
        [ "$*" = "--single-transaction --routines --events shop" ] || exit 9
        cat image""",
    "mariadb": """
        [ "$*" = shop_copy ] || exit 9
        cat > loaded-too""",
}


def install(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)


class World:
    """Stands in for the files, devices and programs that the documentation names."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.folder = folder
        places = {
            "world": folder,
            "name": self.name,
            "controller": target.controller_address,
            "target": target.address,
        }
        self._names = {name: place.format(**places) for name, place in SUBSTITUTES.items()}
        for name in ("srv", "var", "etc"):
            (folder / name / "a folder").mkdir(parents=True)
            (folder / name / "a folder" / "a file").write_bytes(os.urandom(3_000_000))
            (folder / name / "small").write_bytes(b"small\n")
        # A real /etc has links that lead nowhere.
        (folder / "etc" / "dangling").symlink_to("/nowhere/at/all")
        (folder / "srv" / "disk.img").write_bytes(os.urandom(2_000_000) + bytes(8_000_000))
        (folder / "data").write_bytes(os.urandom(1_000_000) + bytes(4_000_000))
        (folder / "image").write_bytes(os.urandom(1_000_000))
        for name in ("backup", "restored", "unpacked", "bin"):
            (folder / name).mkdir()
        Program(folder / "program")
        for name, script in STAND_INS.items():
            install(self.path / name, f"cd {folder} || exit\n{script}")
        install(folder / "python", f'PATH={self.path}:$PATH exec {sys.executable} "$@"')

    @property
    def path(self) -> Path:
        """Where the stand-ins are."""
        return self.folder / "bin"

    @property
    def python(self) -> str:
        """Python of a target that has the stand-ins."""
        return str(self.folder / "python")

    @property
    def name(self) -> str:
        """As the name of a backup has it, of a tree in this world."""
        return str(self.folder).strip("/").replace("/", "-")

    def manifests(self) -> list[Path]:
        """Of all that is in the place of /backup."""
        return sorted((self.folder / "backup").glob("*/*.json"))

    def substitute(self, text: str) -> str:
        names = "|".join(re.escape(name) for name in sorted(self._names, key=len, reverse=True))
        return re.sub(rf"(?<![\w.])({names})(?!\w)", lambda found: self._names[found[1]], text)

    def fill_tape(self) -> None:
        run("tar", "cf", self.folder / "tape", self.folder / "srv")

    def unpack(self, archive: str) -> Path:
        """Where the absolute names of *archive* end up."""
        run("tar", "xf", self.folder / archive, "-C", self.folder / "unpacked")
        return self.folder / "unpacked" / self.folder.relative_to("/")


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Home:
    """A user's home, in which the collection was installed with these commands, the first of them in the
    root of a checkout."""

    def __init__(self, folder: Path, installation: list[str]) -> None:
        self.folder = folder
        self.collections = folder / ".ansible" / "collections"
        checkout = folder / "checkout"
        # What other tests write meanwhile, and what no collection needs.
        ignored = shutil.ignore_patterns(".*cache", ".git", ".venv", ".ansible", ".hypothesis", "tests")
        shutil.copytree(ROOT, checkout, symlinks=True, ignore=ignored)
        self.said = {command: self._run(command, checkout) for command in installation[:1]}
        self.said.update({command: self._run(command, folder) for command in installation[1:]})

    def _run(self, command: str, folder: Path) -> str:
        environment = {**os.environ, "HOME": str(self.folder), "PATH": f"{BIN}:{os.environ['PATH']}"}
        environment.pop("ANSIBLE_COLLECTIONS_PATH", None)
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout
