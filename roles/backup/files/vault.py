# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells as JSON what is stored in the folder of a host: `vault.py list FOLDER`.

The role runs it on the controller. `files` are the paths of what has a time in its name. Of each manifest
among them there is an entry in `manifests`, with what its backup is `of`, or a sentence in `faults`.
"""

import json
import os
import re
import sys
from typing import Any, Dict, List

TIME = "[0-9]{8}T[0-9]{6}Z"
#: What two backups have in common if one is a later generation of the other.
SAME = ("host", "kind", "side", "source", "device")


def is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def stored(folder: str) -> List[str]:
    """The paths of what could be backups and manifests."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = [name for name in names if re.match(rf"[^.].*-{TIME}\..", name) and is_text(name)]
    return sorted(os.path.join(folder, name) for name in found)


def read(path: str) -> Dict[str, Any]:
    """A manifest. A ValueError says what it is else."""
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
    except OSError as error:
        raise ValueError(f"it can not be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(manifest, dict):
        raise ValueError("it is not a JSON object")
    return manifest


def listing(folder: str) -> Dict[str, Any]:
    files, manifests, faults = stored(folder), [], {}
    for path in files:
        if path.endswith(".json"):
            try:
                manifest = read(path)
            except ValueError as fault:
                faults[path] = str(fault)
            else:
                of = [manifest.get(field, "") for field in SAME]
                manifests.append({"path": path, "of": of, "manifest": manifest})
    return {"files": files, "manifests": manifests, "faults": faults}


def main() -> None:
    _program, task, folder = sys.argv
    try:
        print(json.dumps({"list": listing}[task](folder)))
    except OSError as error:
        sys.exit(f"{folder} on controller: {error.strerror}")


if __name__ == "__main__":
    main()
