# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the engine of a library what its bundle says, and prints the names of the files that it changed.

The role runs it on the host with Python 3.7 or later: `python -IS - LIBRARY < put_engine.py`.
"""

import compileall
import os
import re
import stat
import sys
from pathlib import Path
from typing import Dict, List

MODE = 0o644


def read_bundle(path: Path) -> Dict[str, bytes]:
    """The content of each file. A newline more follows it, so that a name always begins a line."""
    parts = re.split(rb"^==> (\w+\.py) <==\n", path.read_bytes(), flags=re.MULTILINE)
    return {name.decode(): content[:-1] for name, content in zip(parts[1::2], parts[2::2])}


def is_right(path: Path, content: bytes) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    is_file = stat.S_ISREG(status.st_mode)
    return is_file and stat.S_IMODE(status.st_mode) == MODE and path.read_bytes() == content


def write(path: Path, content: bytes) -> None:
    """At once, for whoever runs the program meanwhile."""
    new = path.with_name(f"{path.name}.new")
    if new.is_symlink():
        new.unlink()
    new.write_bytes(content)
    new.chmod(MODE)
    os.replace(new, path)


def is_of(compiled: Path, names: List[str]) -> bool:
    return f"{compiled.name.split('.')[0]}.py" in names


def remove_others(engine: Path, names: List[str]) -> List[str]:
    """Removes what another version left there, and returns the names of its files."""
    others = [path for path in engine.iterdir() if not path.is_dir() and path.name not in names]
    cache = engine / "__pycache__"
    compiled = [] if cache.is_symlink() else [path for path in cache.glob("*.pyc") if not is_of(path, names)]
    for path in others + compiled:
        path.unlink()
    return [path.name for path in others]


def put(library: Path) -> List[str]:
    engine = library / "_engine"
    files = read_bundle(library / "engine.txt")
    wrong = [name for name, content in files.items() if not is_right(engine / name, content)]
    for name in wrong:
        write(engine / name, files[name])
    changed = wrong + remove_others(engine, list(files))
    # Whoever runs the program may not be allowed to write there what Python compiles. It tells an old
    # file by its size and its second, and both may be those of the new one.
    if not compileall.compile_dir(str(engine), quiet=1, force=bool(changed)):
        sys.exit(f"Python can not compile {engine}")
    return changed


if __name__ == "__main__":
    os.umask(0o022)
    try:
        print("\n".join(put(Path(sys.argv[1]))))
    except OSError as error:
        sys.exit(f"The engine can not be put in place: {error}")
