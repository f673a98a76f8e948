# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module on the target does, from its parameters to its result."""

from __future__ import annotations

import glob
import json
import os
from datetime import datetime
from typing import Any, Dict, List, Optional

from ._engine.addresses import Login, login, own_addresses
from ._engine.endpoint import Endpoint
from ._engine.interrupts import take_signals
from ._engine.specification import Specification
from ._engine.text import to_bytes

Params = Dict[str, Any]
Result = Dict[str, Any]


def answer(params: Params) -> Result:
    """The module's result. *params* are its parameters, checked."""
    if params["only_addresses"]:
        return {"changed": False, "addresses": addresses(params)}
    spec = load_specification(params)
    reason = why_skip(params)
    if params["task"]:
        return result_of_task(spec, reason, json.loads(params["task"]))
    if reason:
        return {"changed": False, "skipped_because": reason}
    return {"changed": True, "view": run(spec)}


def addresses(params: Params) -> List[str]:
    found = own_login(params)
    server = [] if found is None else [found.server]
    return server + [address for address in own_addresses() if address not in server]


def load_specification(params: Params) -> Specification:
    """The engine's specification, with what is only known here: the directory, expanded, and
    the address that the login came from, as the first candidate."""
    data = json.loads(params["spec"])
    data["commands"][0]["chdir"] = params["chdir"]
    spec = Specification.load(data, bytes.fromhex(params["key"]), params["identity"])
    client = login_address(params) if params["use_login_address"] else None
    return spec if client is None else spec.trying_first(client)


def login_address(params: Params) -> Optional[str]:
    """Where the login came from; None for one that is not sshd's."""
    found = own_login(params)
    return params["login_address"] or (None if found is None else found.client)


def own_login(params: Params) -> Optional[Login]:
    controllers = params["controller_login"]
    return login(besides=Login(*controllers) if controllers else None)


def why_skip(params: Params) -> Optional[str]:
    """Why nothing has to run, or None. Patterns are relative to chdir, as in command."""
    creates, removes = params["creates"], params["removes"]
    if creates and matches(params["chdir"], creates):
        return f"'{creates}' exists on the target"
    if removes and not matches(params["chdir"], removes):
        return f"'{removes}' does not exist on the target"
    return None


def matches(folder: Optional[str], pattern: str) -> List[bytes]:
    return glob.glob(os.path.join(glob.escape(to_bytes(folder or ".")), to_bytes(pattern)))


def result_of_task(spec: Specification, reason: Optional[str], task: Dict[str, Any]) -> Result:
    """What the action plugin makes of the view, where nobody waits for that. Few tasks need the imports,
    and the target may have to compile them."""
    from ._engine.hidden import CONDITION
    from ._engine.result import build_detached_result, skipped_result

    if reason:
        shown = CONDITION if task["scene"]["is_hidden"] else reason
        return skipped_result(shown, is_check=spec.preflight)
    began = datetime.now()
    return build_detached_result(run(spec), task, began, is_check=spec.preflight)


def run(spec: Specification) -> Dict[str, Any]:
    endpoint = Endpoint(spec, lambda event: None)
    take_signals(endpoint)
    return endpoint.run()
