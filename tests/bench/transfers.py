# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's own ways to move a file or a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.ansible import ROOT

from bench.rig import BOUND, Outcome, Rig
from bench.streams import Peer, Stream


@dataclass
class Module(Peer):
    """A task with a module that takes `src` and `dest`. *keywords* are the task's, *user* logs in."""

    module: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    keywords: Mapping[str, Any] = field(default_factory=dict)
    user: str = "root"

    def shown(self) -> str:
        options = "".join(f", {name}: {value}" for name, value in self.options.items())
        keywords = "".join(f", {name}: {value}" for name, value in self.keywords.items())
        return f"{self.module}: {{src: SOURCE, dest: DEST{options}}}{keywords}"

    def run(self, rig: Rig, stream: Stream, bound: float = BOUND) -> Outcome:
        assert stream.source is not None
        end = "/" if stream.source.is_dir() else ""
        options = {"src": f"{stream.source}{end}", "dest": f"{stream.dest}{end}", **self.options}
        if stream.pull and self.module == "ansible.posix.synchronize":
            options["mode"] = "pull"
        return rig.run({self.module: options, **self.keywords}, rig.inventory(rig.target, self.user), bound)


@dataclass
class Synchronize(Module):
    def missing(self) -> str | None:
        collection = ROOT / ".cache/posix/ansible_collections/ansible/posix"
        return super().missing() if collection.is_dir() else "the collection ansible.posix is not there"


MODULES: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Module("copy", module="ansible.builtin.copy"),
        Module("fetch", module="ansible.builtin.fetch", options={"flat": True}),
        Module(
            "fetch, become",
            "sudo",
            module="ansible.builtin.fetch",
            options={"flat": True},
            keywords={"become": True},
            user="free",
        ),
        Synchronize("synchronize", "rsync", module="ansible.posix.synchronize"),
    )
}
