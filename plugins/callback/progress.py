# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback plugin that draws the progress of socketpipe tasks as bars."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: aggregate
short_description: Draws the progress of socketpipe tasks as bars on a terminal
version_added: 0.1.0
description:
  - Draws a bar for each running M(dds.socketpipe.socketpipe) task, of all hosts at once, below
    everything else that Ansible writes. When a task is over, one line of it stays.
  - Each bar has what the lines of the task's option C(progress) have, and is drawn twice a second. Tasks
    with C(progress=0) have no bar.
  - Where standard output is no terminal, under ansible-runner (and so in AWX), and without the
    library rich there are no bars, and the tasks write their lines.
requirements:
  - the Python library rich on the controller
  - to be enabled, with C(callbacks_enabled = dds.socketpipe.progress) in C(ansible.cfg)
author:
  - The dds.socketpipe contributors (@dds-socketpipe)
"""

import atexit
import os
import sys
from typing import TYPE_CHECKING, Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

if TYPE_CHECKING:
    from ansible_collections.dds.socketpipe.plugins.plugin_utils._bars import Bars

#: Terminals that can not go back a line.
_DUMB = ("dumb", "unknown")
#: ansible-runner has its Ansible write to a terminal that nobody looks at, and sets this.
_OF_RUNNER = "AWX_ISOLATED_DATA_DIR"


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """The bars, from the start of a playbook to its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "dds.socketpipe.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._bars: Bars | None = None
        # A playbook that is interrupted has no end.
        atexit.register(self._close)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        if self._bars is None and _is_watched():
            try:
                self._bars = _new_bars()
            except ImportError as error:
                self._display.warning(
                    f"the callback plugin {self.CALLBACK_NAME} draws no bars, and progress is told in lines: "
                    f"it needs the Python library rich ({error}); install it with "
                    f"'{sys.executable} -m pip install rich'"
                )

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._close()

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.close()
            self._bars = None


def _is_watched() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") not in _DUMB and _OF_RUNNER not in os.environ


def _new_bars() -> Bars:
    # Not before it is known that it is needed.
    from ansible_collections.dds.socketpipe.plugins.plugin_utils._bars import Bars  # noqa: PLC0415

    return Bars(has_colour=not constants.ANSIBLE_NOCOLOR)
