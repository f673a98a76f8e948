# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install pip from the wheel that Python ships, with the options ansible-test gives get-pip."""

from __future__ import annotations

import ensurepip
import glob
import os
import runpy
import sys

_SKIPPED = ("--no-setuptools", "--no-wheel")

bundled = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl")
sys.path.insert(0, glob.glob(bundled)[0])
sys.argv = ["pip", "install"] + [word for word in sys.argv[1:] if word not in _SKIPPED]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
