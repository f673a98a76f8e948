# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Appends all that Ansible writes to processes it starts to the file that SOCKETPIPE_RECORD names."""

from __future__ import annotations

import os
import subprocess

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorder
type: aggregate
short_description: What processes are told, for tests
description:
  - Records what is written to the standard input of processes. Modules go to the target that way, with
    pipelining, and a session to its local endpoint.
"""


class _RecordedPipe:
    def __init__(self, pipe):
        self._pipe = pipe

    def __getattr__(self, name):
        return getattr(self._pipe, name)

    def write(self, data):
        with open(os.environ["SOCKETPIPE_RECORD"], "ab") as record:
            record.write(data)
        return self._pipe.write(data)


class _RecordedPopen(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        if self.stdin is not None:
            self.stdin = _RecordedPipe(self.stdin)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        # Tasks run in processes that are forked from this one.
        subprocess.Popen = _RecordedPopen
