# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a line when a task begins for a host, and when it has ended, to the file SOCKETPIPE_STAMPS."""

from __future__ import annotations

import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: stamps
type: aggregate
short_description: When tasks began and ended, for benchmarks
description: Writes whether a task began or ended, the time, its action and its host as a line.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stamps"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, event, host, task):
        with open(os.environ["SOCKETPIPE_STAMPS"], "a", encoding="utf-8") as file:
            file.write(f"{event} {time.time()} {task.action} {host.get_name()}\n")

    def v2_runner_on_start(self, host, task):
        self._write("began", host, task)

    def v2_runner_on_ok(self, result):
        self._write("ended", result._host, result._task)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write("ended", result._host, result._task)

    def v2_runner_on_unreachable(self, result):
        self._write("ended", result._host, result._task)
