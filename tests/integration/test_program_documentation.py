# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command line of the program that the documentation shows is run here as it stands.

`SUBSTITUTES` is all that is replaced. A line that begins with a machine's name and `$` is typed on
that machine, one with `$` alone on the first.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.ansible import ROOT
from harness.machines import Machines
from harness.pages import PAGES
from harness.topology import Network

#: What the pages name, and what takes its place; folders hold nothing but what the command puts there.
SUBSTITUTES = {
    "/dev/st0": "tape",
    "/srv": "srv",
    "/restored": "restored",
    "/backup": "backup",
    "/archive": "archive",
    "/": "srv",
}
FIRST = "a"
#: The other names of machines in the pages.
ALIASES = {"b": ["tapehost", "fasthost"], "c": ["store"]}
MANUAL = ROOT / "roles" / "helper" / "files" / "socketpipe.1"


def console_lines(page: Path) -> Iterator[str]:
    for block in re.findall(r"^```console\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def examples_of_the_manual() -> Iterator[str]:
    for example in re.findall(r"^\.EX\n(.*?)^\.EE$", MANUAL.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield "$ " + example.replace("\\-", "-").replace("\n", " ").strip()


LINES = [
    pytest.param(line, id=f"{page.stem}-{number}")
    for page, lines in (
        *((page, console_lines(page)) for page in PAGES),
        (MANUAL, examples_of_the_manual()),
    )
    for number, line in enumerate(lines)
]


class World:
    """The three machines of the pages, and their files."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.folder = folder
        self.machines = Machines(network, folder)
        a, b, c = (self.machines.add(name) for name in "abc")
        self.hosts = {"a": a, "b": b, "c": c}
        for one, other in ((a, b), (b, c), (c, a)):
            link = self.machines.link(one, other)
            for host, known in ((one, other), (other, one)):
                for alias in ALIASES.get(self.name_of(known), []):
                    self.machines.tell_name(host, alias, link[known].address)
        for name in ("srv/a folder", "restored", "backup", "archive"):
            (folder / name).mkdir(parents=True)
        (folder / "srv" / "a folder" / "a file").write_bytes(os.urandom(300_000))
        self.archive = folder / "before.tar"
        subprocess.run(["tar", "cf", self.archive, folder / "srv"], check=True, stderr=subprocess.DEVNULL)

    def name_of(self, host: object) -> str:
        return next(name for name, known in self.hosts.items() if known is host)

    def substitute(self, line: str) -> str:
        names = "|".join(map(re.escape, SUBSTITUTES))
        return re.sub(
            rf"(?<![\w.])({names})(?![\w/])(?=[ /])|(?<![\w.])({names})(?=/)",
            lambda found: str(self.folder / SUBSTITUTES[found[1] or found[2]]),
            line,
        )

    def tree(self, name: str) -> dict[str, bytes]:
        """The files below a folder, or in an archive, compressed or not; without the folders above."""
        path = self.folder / name
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.is_file())
            found = {str(file.relative_to(path)): file.read_bytes() for file in files}
        else:
            with tarfile.open(path) as archive:
                members = [member for member in archive.getmembers() if member.isfile()]
                found = {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]
        top = f"{self.folder / 'srv'}/".lstrip("/")
        return {name.removeprefix(top): content for name, content in found.items()}


@pytest.fixture
def world(network: Network, tmp_path: Path) -> World:
    return World(network, tmp_path)


def check_sum(world: World) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}  -\n", (world.folder / "backup" / "srv.sum").read_text())


#: What a line that has these words has to have done.
CHECKS: dict[str, Callable[[World], None]] = {
    "dd if=/dev/st0": lambda world: same(world, "restored"),
    "gzip -c } -o { dd of=/dev/st0": lambda world: compressed(world, "tape"),
    "-r { dd of=/dev/st0": lambda world: same(world, "tape"),
    "-r { dd of=/backup/srv.tar.gz": lambda world: compressed(world, "backup/srv.tar.gz"),
    "tee /backup/srv.tar": lambda world: same(world, "backup/srv.tar", "archive/srv.tar"),
    "sha256sum": check_sum,
}


def same(world: World, *names: str) -> None:
    for name in names:
        assert world.tree(name) == world.tree("srv")


def compressed(world: World, name: str) -> None:
    assert gzip.decompress((world.folder / name).read_bytes())
    same(world, name)


@pytest.mark.parametrize("line", LINES)
def test_command_line(world: World, line: str) -> None:
    name, command = re.fullmatch(r"(\w*)\$ (socketpipe .*)", line).groups()  # type: ignore[union-attr]
    if "dd if=/dev/st0" in command:
        (world.folder / "tape").write_bytes(world.archive.read_bytes())
    ended = world.machines.run(world.hosts[name or FIRST], world.substitute(command))
    assert ended.status == 0, ended.errors
    (check,) = [check for words, check in CHECKS.items() if words in command][:1]
    check(world)


def test_there_are_lines_on_both_pages() -> None:
    pages = {str(line.id).rpartition("-")[0] for line in LINES}
    assert pages == {"program", "socketpipe"}
