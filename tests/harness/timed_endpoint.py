# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endpoint that says when its steps were done: ``timed_endpoint.py ENGINE'S-FOLDER``.

Standard input as for `_engine/process.py`. Standard output is a JSON line for each step, with
the monotonic time, which all processes of a machine share, and the bytes of memory that this process
has had at its peak so far.
"""

import importlib
import json
import sys
import time

sys.path.insert(0, sys.argv[1])
Endpoint = importlib.import_module("_engine.endpoint").Endpoint
Specification = importlib.import_module("_engine.specification").Specification


def peak():
    with open("/proc/self/status", encoding="ascii") as file:
        (kilobytes,) = [line.split()[1] for line in file if line.startswith("VmHWM")]
    return int(kilobytes) * 1024


def say(event):
    print(json.dumps({"step": event["event"], "time": time.monotonic(), "memory": peak()}), flush=True)


order = json.loads(sys.stdin.readline())
endpoint = Endpoint(Specification.load(order["spec"], bytes.fromhex(order["key"]), order["identity"]), say)
say({"event": "running"})
view = endpoint.run()
say({"event": "ended"})
sys.exit(0 if view["own"]["reason"] is None else str(view["own"]["reason"]))
