# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the action and the seconds of each task as a line to the file SOCKETPIPE_STAMPS."""

from __future__ import annotations

import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: stamps
type: aggregate
short_description: Task durations for benchmarks
description: Writes the action and the seconds of each task as a line.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stamps"

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._action = task.action
        self._began = time.monotonic()

    def v2_runner_on_ok(self, result):
        with open(os.environ["SOCKETPIPE_STAMPS"], "a", encoding="utf-8") as file:
            file.write(f"{self._action} {time.monotonic() - self._began}\n")
