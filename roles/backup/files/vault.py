# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role asks of the folder of a host, on the controller.

`vault.py list FOLDER` prints as JSON what is stored. `files` are the paths of what has a time in its name. Of
each manifest among them there is an entry in `manifests`, with what its backup is `of`, or a sentence in
`faults`.

`vault.py reserve FOLDER NAME` prints a time that no other backup of that name has, nor gets while the hidden
file `.NAME-TIME` is there.
"""

import json
import os
import re
import sys
import time
from typing import Any, Dict, List

TIME = "[0-9]{8}T[0-9]{6}Z"
#: No backup takes as long, in seconds. What has reserved a time before was killed.
MONTH = 30 * 24 * 3600
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


def reserve(folder: str, name: str) -> str:
    """A run that was killed leaves its hidden file, which is in nobody's way: its second is over."""
    forget(folder, name)
    while True:
        now = time.time()
        taken = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        hidden = os.path.join(folder, f".{name}-{taken}")
        try:
            os.close(os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            pass
        else:
            if not any(entry.startswith(f"{name}-{taken}.") for entry in os.listdir(folder)):
                return taken
            os.unlink(hidden)
        time.sleep(1 - now % 1)


def forget(folder: str, name: str) -> None:
    """What was left a month ago."""
    for entry in os.scandir(folder):
        if re.fullmatch(rf"\.{re.escape(name)}-{TIME}", entry.name):
            try:
                if entry.stat().st_mtime < time.time() - MONTH:
                    os.unlink(entry.path)
            except FileNotFoundError:
                pass  # another run has just ended


def main() -> None:
    task, folder, *names = sys.argv[1:]
    try:
        print(json.dumps(listing(folder)) if task == "list" else reserve(folder, *names))
    except OSError as error:
        sys.exit(f"{folder} on controller: {error.strerror}")


if __name__ == "__main__":
    main()
