# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a plain checkout importable as the collection: pytest-ansible reads this variable."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(Path(__file__).parent / ".tree")
