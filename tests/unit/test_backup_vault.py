# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role backup asks of the folder of a host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

VAULT = Path(__file__).parents[2] / "roles" / "backup" / "files" / "vault.py"
STAMP = "20261123T030000Z"


def start(*words: str | Path) -> subprocess.Popen[str]:
    argv = [sys.executable, str(VAULT), *map(str, words)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ask(*words: str | Path) -> str:
    process = start(*words)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return stdout.strip()


# list


def test_what_is_no_manifest_is_told_apart(tmp_path: Path) -> None:
    manifest = {"host": "web1", "kind": "tree", "side": "target", "source": "/srv", "device": "", "more": 17}
    texts: dict[str, bytes] = {
        "good": json.dumps(manifest).encode(),
        "few": b"{}",
        "cut": b'{"form": ',
        "null": b"null",
        "list": b"[]",
        "bytes": b"\xff",
        "deep": b"[" * 100_000,
    }
    for name, text in texts.items():
        (tmp_path / f"{name}-{STAMP}.tar.json").write_bytes(text)
    (tmp_path / f"folder-{STAMP}.tar.json").mkdir()
    (tmp_path / f"bare-{STAMP}.tar").touch()
    for other in ("notes", f".hidden-{STAMP}", f"-{STAMP}.tar"):
        (tmp_path / other).touch()
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff-20261123T030000Z.tar", os.O_CREAT))

    found: dict[str, Any] = json.loads(ask("list", tmp_path))
    assert {Path(path).name.partition("-")[0] for path in found["files"]} == {*texts, "folder", "bare"}
    assert found["files"] == sorted(found["files"])
    read = {Path(one["path"]).name.partition("-")[0]: one for one in found["manifests"]}
    assert read["good"]["of"] == ["web1", "tree", "target", "/srv", ""]
    assert read["good"]["manifest"] == manifest
    assert read["few"]["of"] == [""] * 5
    assert {Path(path).name.partition("-")[0]: fault for path, fault in found["faults"].items()} == {
        "cut": "it is not JSON",
        "null": "it is not a JSON object",
        "list": "it is not a JSON object",
        "bytes": "it is not JSON",
        "deep": "it is not JSON",
        "folder": "it can not be read: Is a directory",
    }


def test_nothing_is_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    empty = {"files": [], "manifests": [], "faults": {}}
    assert json.loads(ask("list", tmp_path / "not there")) == empty


# reserve


def test_everybody_gets_another_time(tmp_path: Path) -> None:
    processes = [start("reserve", tmp_path, "srv") for _run in range(4)]
    times = {process.communicate()[0].strip() for process in processes}
    assert len(times) == len(processes)
    assert all(re.fullmatch(r"\d{8}T\d{6}Z", one) for one in times)
    assert {path.name for path in tmp_path.iterdir()} == {f".srv-{one}" for one in times}


@pytest.mark.parametrize("name", ["srv-{}.tar", "srv-{}.tar.zst.json", ".srv-{}"])
def test_a_time_that_a_backup_has_is_not_given(tmp_path: Path, name: str) -> None:
    began = time.time()
    soon = [time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(began + after)) for after in range(3)]
    for one in soon:
        (tmp_path / name.format(one)).touch()
    assert ask("reserve", tmp_path, "srv") not in soon
    assert time.time() > began + 1


def test_other_names_and_runs_that_were_killed_are_in_nobodys_way(tmp_path: Path) -> None:
    now = time.time()
    names = [
        name.format(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now + after)))
        for after in range(10)
        for name in ("srv-more-{}.tar", ".more-{}", "more-srv-{}.tar")
    ]
    for name in [*names, f".srv-{STAMP}", ".srv-20261024T030000Z"]:
        (tmp_path / name).touch()
    os.utime(tmp_path / ".srv-20261024T030000Z", (now - 31 * 24 * 3600,) * 2)
    reserved = ask("reserve", tmp_path, "srv")
    assert time.time() < now + 10
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*names, f".srv-{STAMP}", f".srv-{reserved}"}


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    process = start("reserve", tmp_path / "not there", "srv")
    assert process.communicate()[1] == f"{tmp_path}/not there on controller: No such file or directory\n"
    assert process.returncode == 1
