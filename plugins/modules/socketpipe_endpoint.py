#!/usr/bin/python
# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# No annotations and no future imports here: this file has to say something useful when the
# target's Python is too old for the engine.

DOCUMENTATION = r"""
module: socketpipe_endpoint
short_description: The target's half of a socketpipe task
version_added: 0.1.0
description:
  - Runs the remote command of a M(dds.socketpipe.socketpipe) task, whose action plugin calls this module.
  - It is not meant to be called from a playbook.
options:
  spec:
    description: What the remote endpoint is to do, as JSON.
    type: str
  key:
    description: The key of the session, 64 hexadecimal digits.
    type: str
  identity:
    description: The certificate and the private key of this side, and the other side's certificate.
    type: dict
    suboptions:
      certificate:
        description: PEM, as all of them.
        type: str
        required: true
      private_key:
        description: Of O(identity.certificate).
        type: str
        required: true
      peer_certificate:
        description: The only one that is trusted.
        type: str
        required: true
  chdir:
    description: The directory in which the command runs.
    type: path
  creates:
    description: If something matches this glob pattern, nothing runs.
    type: path
  removes:
    description: If nothing matches this glob pattern, nothing runs.
    type: path
  use_login_address:
    description: Whether to try the address that the login came from first.
    type: bool
    default: true
  login_address:
    description: The address that the login came from, if it is known already.
    type: str
  controller_login:
    description:
      - The two ends of the login that the controller itself was used through. A target that is a part
        of the controller, as a container is, may see it instead of its own.
    type: list
    elements: str
  only_addresses:
    description: Only report the target's addresses.
    type: bool
    default: false
  task:
    description: What the result of the task is to say, as JSON, if this module is to give it.
    type: str
  bytecode:
    description: For which bytecode O(compiled) is.
    type: str
  compiled:
    description: What the remote endpoint runs, compiled on the controller; another Python compiles it itself.
    type: str
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
seealso:
  - module: dds.socketpipe.socketpipe
author:
  - The dds.socketpipe contributors (@dds-socketpipe)
"""

EXAMPLES = r"""
- name: Use the task that calls this module
  dds.socketpipe.socketpipe:
    input: tar cf - /
    remote: dd of=/dev/st0 bs=32k
"""

RETURN = r"""
view:
  description: The remote endpoint's view of the session.
  type: dict
  returned: when there was a session
addresses:
  description: The addresses of the target, the one that was logged in to first.
  type: list
  elements: str
  returned: when O(only_addresses)
skipped_because:
  description: Why nothing had to run.
  type: str
  returned: when nothing had to run
"""

import gc
import sys

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec=dict(
            spec=dict(type="str"),
            key=dict(type="str", no_log=True),
            identity=dict(
                type="dict",
                no_log=True,
                options=dict(
                    certificate=dict(type="str", required=True),
                    private_key=dict(type="str", required=True, no_log=True),
                    peer_certificate=dict(type="str", required=True),
                ),
            ),
            chdir=dict(type="path"),
            creates=dict(type="path"),
            removes=dict(type="path"),
            use_login_address=dict(type="bool", default=True),
            login_address=dict(type="str"),
            controller_login=dict(type="list", elements="str"),
            only_addresses=dict(type="bool", default=False),
            # The local commands, which without async never leave the controller.
            task=dict(type="str", no_log=True),
            bytecode=dict(type="str"),
            # Nothing secret, but nothing to fill a log with.
            compiled=dict(type="str", no_log=True),
        ),
        required_if=[("only_addresses", False, ("spec", "key"))],
        supports_check_mode=True,
    )
    if sys.version_info < (3, 7):
        module.fail_json(
            msg="socketpipe needs Python 3.7 or later on the target, and %s is %d.%d: set "
            "ansible_python_interpreter to a later one" % ((sys.executable,) + sys.version_info[:2])
        )
    from ansible_collections.dds.socketpipe.plugins.module_utils._bytecode import use

    use(module.params["bytecode"], module.params["compiled"])
    from ansible_collections.dds.socketpipe.plugins.module_utils._remote_side import answer

    result = answer(module.params)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    # The process ends now: nobody has to look for garbage in all that was imported.
    if hasattr(gc, "freeze"):  # PyPy has not
        gc.freeze()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
