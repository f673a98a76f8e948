# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file may import which: the arrows of docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
ENGINE = PLUGINS / "module_utils" / "_engine"

#: The layers from the bottom up. A file imports from layers below its own, and from earlier
#: files of its own layer.
LAYERS = [
    # pure: no socket, no process, no clock
    [
        *["errors", "text", "words", "checksum", "handshake", "specification", "control"],
        *["scene", "report", "paths", "judge", "hidden", "result", "identities", "version", "order"],
        *["arguments", "login_words"],
    ],
    # I/O: one thing each
    [
        *["loop", "counters", "congestion", "data", "direction", "command", "file", "guard", "crew"],
        *["addresses", "stream", "tls", "proving", "peer", "listener", "connector", "meeting", "pump"],
        *["stall", "login", "progress", "classic_connection", "classic_remote"],
    ],
    # one side of a session
    ["endpoint", "classic"],
    # its adapters
    ["interrupts", "process"],
    # the program
    ["caller", "cli"],
]
ORDER = [name for layer in LAYERS for name in layer]
IMPURE = {"ctypes", "fcntl", "select", "signal", "socket", "subprocess", "threading", "time"}

FILES = {path.stem: path for path in ENGINE.glob("*.py") if path.stem != "__init__"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """The level (0 for an absolute import) and the module of each import, wherever it stands."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.module is None:
                for alias in node.names:
                    yield node.level, alias.name
            else:
                yield node.level, node.module


def own_imports_of(name: str) -> set[str]:
    return {module for level, module in imports_of(FILES[name]) if level == 1}


def test_every_file_of_the_engine_has_its_layer() -> None:
    assert sorted(FILES) == sorted(ORDER)


#: What a file may import besides, and has to do without where it is not installed.
LIBRARIES = {"identities": {"cryptography"}}


@pytest.mark.parametrize("name", ["__init__", *FILES])
def test_the_engine_imports_only_the_standard_library_and_itself(name: str) -> None:
    allowed = sys.stdlib_module_names | LIBRARIES.get(name, set())
    for level, module in imports_of(ENGINE / f"{name}.py"):
        if level == 0:
            assert module.partition(".")[0] in allowed, f"{name} imports {module}"
        else:
            assert level == 1
            assert module in FILES, f"{name} imports {module}"


@pytest.mark.parametrize("name", FILES)
def test_imports_point_one_way(name: str) -> None:
    for module in own_imports_of(name):
        assert ORDER.index(module) < ORDER.index(name), f"{name} imports {module}"


@pytest.mark.parametrize("name", LAYERS[0])
def test_the_pure_parts_do_no_io(name: str) -> None:
    modules = {module.partition(".")[0] for level, module in imports_of(FILES[name]) if level == 0}
    assert modules & IMPURE == set()
    assert own_imports_of(name) <= set(LAYERS[0])


@pytest.mark.parametrize("name", ["__init__", *FILES])
def test_the_engine_never_prints(name: str) -> None:
    """Its words go through events and reports; only a program owns a standard output."""
    for node in ast.walk(tree_of(ENGINE / f"{name}.py")):
        assert not (isinstance(node, ast.Name) and node.id == "print")
        is_stream = isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr", "stdin")
        owner = node.value.id if is_stream and isinstance(node.value, ast.Name) else ""  # type: ignore[attr-defined]
        assert owner != "sys" or name in ("process", "cli")


@pytest.mark.parametrize(
    "path", sorted(PLUGINS.rglob("*.py")), ids=lambda path: str(path.relative_to(PLUGINS))
)
def test_only_plugins_import_ansible(path: Path) -> None:
    imports = {module.partition(".")[0] for level, module in imports_of(path) if level == 0}
    if path.relative_to(PLUGINS).parts[0] not in ("action", "callback", "modules", "plugin_utils"):
        assert not any(module.startswith("ansible") for module in imports)


def test_a_task_loads_nothing_of_the_program() -> None:
    """The target compiles all that it loads, for each task anew."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import _engine.process; "
        "print(*(name for name in sys.modules if name.startswith('_engine.')))"
    )
    words = [sys.executable, "-I", "-S", "-c", script, str(ENGINE.parent)]
    loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    unneeded = {"classic", "classic_connection", "classic_remote", "login", "caller", "cli", "arguments"}
    assert "_engine.endpoint" in loaded
    assert unneeded & {name.partition(".")[2] for name in loaded} == set()


def test_the_parts_that_do_import_ansible_are_found() -> None:
    """So that the test above can fail."""
    assert (0, "ansible.plugins.action") in set(imports_of(PLUGINS / "action" / "socketpipe.py"))
