# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as its users have it."""

from __future__ import annotations

import pytest
from harness.ansible import Ansible


@pytest.fixture
def ansible(ansible: Ansible) -> Ansible:
    """It looks for results as often as it does by itself."""
    (ansible.folder / "ansible.cfg").unlink()
    return ansible
