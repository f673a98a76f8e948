# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The socketpipe engine: one side of a session, without Ansible.

docs/protocol.md is what it does; docs/architecture.md says which file does it.
Standard library only, Python 3.7 or later, relative imports: the same files run on
the controller, inside a module on the target, and from any other package name.
"""
