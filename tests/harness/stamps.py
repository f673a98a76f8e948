# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the tasks of a playbook began and ended, as the callback plugin `stamps` writes it down."""

from __future__ import annotations

from typing import NamedTuple

from harness.ansible import Ansible


class Stamp(NamedTuple):
    """A task on a host; *ended* is None if it has not. Times are seconds since 1970."""

    action: str
    host: str
    began: float
    ended: float | None

    @property
    def seconds(self) -> float:
        assert self.ended is not None, f"{self.action} has not ended"
        return self.ended - self.began


class Stamps:
    """Of the playbooks that *ansible* runs from now on."""

    def __init__(self, ansible: Ansible) -> None:
        self._path = ansible.folder / "stamps"
        ansible.environment.update(
            ANSIBLE_CALLBACKS_ENABLED="results,stamps", SOCKETPIPE_STAMPS=str(self._path)
        )

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

    def read(self) -> list[Stamp]:
        """In the order in which they began."""
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        return parse_stamps(text)


def parse_stamps(text: str) -> list[Stamp]:
    """A host has one task at a time."""
    found: list[Stamp] = []
    running: dict[str, int] = {}
    for line in text.splitlines():
        event, when, action, host = line.split()
        if event == "began":
            running[host] = len(found)
            found.append(Stamp(action, host, float(when), None))
        else:
            number = running.pop(host)
            found[number] = found[number]._replace(ended=float(when))
    return found
