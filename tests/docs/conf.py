# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx makes a site of what antsibull-docs writes about the plugins and roles.

Nothing is fetched: links into Ansible's own documentation are made here from the names of its labels,
and a label that is neither Ansible's nor ours is a warning.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes

project = "dds.socketpipe"
copyright = "dds.socketpipe contributors"
extensions = ["sphinx_antsibull_ext"]
html_theme = "sphinx_ansible_theme"
html_title = project
html_short_title = project
html_show_sphinx = False
html_copy_source = False
html_use_index = False
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
default_role = "any"

ANSIBLE = "https://docs.ansible.com/ansible/latest/"
#: Pages that the text of antsibull-docs refers to.
PAGES = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "callback_plugins": "plugins/callback.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
BUILTIN = re.compile(r"ansible_collections\.ansible\.builtin\.(\w+)")


def link_to_ansible(_app: object, _env: object, node: Any, contents: nodes.Node) -> nodes.Node | None:
    """Called for each label that is not one of this site."""
    builtin = BUILTIN.fullmatch(node["reftarget"])
    page = f"collections/ansible/builtin/{builtin[1]}.html" if builtin else PAGES.get(node["reftarget"])
    return None if page is None else nodes.reference("", "", contents, refuri=ANSIBLE + page)


def setup(app: Any) -> None:
    app.connect("missing-reference", link_to_ansible)
