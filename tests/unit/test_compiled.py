# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target whose Python takes the controller's bytecode compiles nothing, and any other one its files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.dds.socketpipe.plugins.plugin_utils import _compiled as compiled
from harness.ansible import ROOT
from harness.pythons import interpreters

#: Those before have no such tables, and no ansible-core that is supported.
CONTROLLER_PYTHONS = {
    name: path for name, path in interpreters().items() if not name.startswith(("3.7", "3.8", "3.9"))
}
PACKAGE = "ansible_collections.dds.socketpipe.plugins"
REMOTE_SIDE = f"{PACKAGE}.module_utils._remote_side"
TAKE = f"""
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
importlib.import_module("{PACKAGE}.module_utils._bytecode").use(**json.load(sys.stdin))
print(importlib.import_module("{REMOTE_SIDE}").answer({{"only_addresses": True, "controller_login": None}}))
"""


def answer_of(folder: Path, parameters: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Of the remote side on a target that has the collection's files in *folder*."""
    words = [sys.executable, "-c", TAKE, str(folder)]
    return subprocess.run(words, input=json.dumps(parameters), capture_output=True, text=True, check=False)


@pytest.fixture
def without_sources(tmp_path: Path) -> Path:
    """Where nothing of the remote side is but its packages."""
    folder = tmp_path / PACKAGE.replace(".", "/") / "module_utils"
    (folder / "_engine").mkdir(parents=True)
    (folder / "_bytecode.py").write_bytes((ROOT / "plugins" / "module_utils" / "_bytecode.py").read_bytes())
    return tmp_path


def test_all_that_a_remote_endpoint_imports_is_compiled_and_nothing_else() -> None:
    script = (
        f"import sys; sys.path.insert(0, sys.argv[1]); import {REMOTE_SIDE}; "
        f"print(*(name for name in sys.modules if name.startswith('{PACKAGE}.module_utils.')))"
    )
    words = [sys.executable, "-c", script, str(ROOT / ".tree")]
    loaded = set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    loaded.remove(f"{PACKAGE}.module_utils._engine")
    assert loaded == {f"{PACKAGE}.module_utils.{name}" for name in compiled.MODULES}


def test_the_same_bytecode_is_run_as_it_came(without_sources: Path) -> None:
    done = answer_of(without_sources, compiled.compile_remote_side())
    assert "'addresses': [" in done.stdout, done.stderr


def test_another_bytecode_is_not_run(without_sources: Path) -> None:
    """The source files are, where there are any."""
    parameters = {**compiled.compile_remote_side(), "bytecode": "cpython 00000000"}
    done = answer_of(without_sources, parameters)
    assert f"No module named '{REMOTE_SIDE}'" in done.stderr
    done = answer_of(ROOT / ".tree", parameters)
    assert "'addresses': [" in done.stdout, done.stderr


LINES = f"""
import importlib, itertools, pathlib, sys, traceback
sys.path.insert(0, sys.argv[1])
without_columns = importlib.import_module("{PACKAGE}.plugin_utils._compiled").without_columns

def lines(code):
    own = list(itertools.chain(*([line] * (end - start) for start, end, line in code.co_lines())))
    return [own, *(lines(one) for one in code.co_consts if hasattr(one, "co_code"))]

for path in sorted(pathlib.Path(sys.argv[2]).glob("*.py")):
    code = compile(path.read_bytes(), str(path), "exec")
    assert lines(without_columns(code)) == lines(code), path
source = "def fail():" + 3000 * "\\n" + "    return 1 / 0" + 3000 * "\\n" + "fail()"
try:
    exec(without_columns(compile(source, "some.py", "exec")))
except ZeroDivisionError:
    traceback.print_exc()
"""


@pytest.mark.parametrize("python", CONTROLLER_PYTHONS.values(), ids=CONTROLLER_PYTHONS.keys())
def test_a_trace_has_its_line_numbers(python: str) -> None:
    """With each Python that Ansible runs on, for its own table of positions."""
    words = [python, "-c", LINES, str(ROOT / ".tree"), str(ROOT / "plugins" / "module_utils" / "_engine")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert '"some.py", line 6001, in <module>' in done.stderr
    assert '"some.py", line 3001, in fail' in done.stderr
