# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks restore is what was backed up, with all that is hard to keep of a tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.ansible import Ansible
from harness.backups import Vault
from harness.network import Target, run
from harness.trees import SMALL_FILES, describe, differences, expect_same, folder_for_trees, make_tree


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    with folder_for_trees() as path:
        yield path


@pytest.fixture(scope="module")
def shared_target(room: Path, make_target: Callable[[], Target]) -> Target:
    """One that sees the room."""
    return make_target()


@pytest.fixture
def folder(room: Path) -> Iterator[Path]:
    path = room / "folder"
    path.mkdir()
    yield path
    run("rm", "-rf", path)


@pytest.fixture
def vault(ansible: Ansible, target: Target, folder: Path) -> Vault:
    return Vault(ansible, folder / "vault", {target.name: target.inventory()})


def test_a_tree_of_the_target_comes_back_as_it_was(vault: Vault, folder: Path) -> None:
    tree, back = folder / "tree", folder / "back"
    make_tree(tree)
    before = describe(tree)
    assert len(before) > SMALL_FILES
    vault.play("backup", backup_tree=str(tree), backup_name="hard", backup_compression="zstd")
    vault.play("restore", backup_name="hard", backup_restore_to=str(back))
    expect_same(before, describe(back))


def test_a_tree_of_the_controller_comes_back_as_it_was(vault: Vault, folder: Path) -> None:
    tree, back = folder / "tree", folder / "back"
    make_tree(tree, small_files=1000)
    before = describe(tree)
    vault.play("offload", backup_controller_tree=str(tree), backup_name="hard")
    vault.play("restore", backup_name="hard", backup_restore_to=str(back))
    expect_same(before, describe(back))


# The comparison itself


def _fill_holes(path: bytes) -> None:
    run("cp", "--sparse=never", os.fsdecode(path), os.fsdecode(path) + " filled")
    os.rename(path + b" filled", path)


def _separate(path: bytes) -> None:
    run("cp", "--preserve=all", os.fsdecode(path), os.fsdecode(path) + " alone")
    os.rename(path + b" alone", path)


def _change_last_byte(path: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")


def _lead_elsewhere(path: bytes) -> None:
    os.unlink(path)
    os.symlink(b"elsewhere", path)


def _become_a_file(path: bytes) -> None:
    os.unlink(path)
    Path(os.fsdecode(path)).write_bytes(b"")


def _become_zero(path: bytes) -> None:
    os.unlink(path)
    os.mknod(path, 0o020666, os.makedev(1, 5))


def _lose_a_nanosecond(path: bytes) -> None:
    os.utime(path, ns=(0, os.lstat(path).st_mtime_ns - 1), follow_symlinks=False)


@pytest.mark.parametrize(
    ("path", "lost", "lose"),
    [
        (b"modes/f4755-0", "mode 2541 became 493", lambda path: os.chmod(path, 0o755)),
        (b"modes/d1644-0", "mode 932 became 420", lambda path: os.chmod(path, 0o644)),
        (b"modes/f0-12345", "uid 12345 became 12346", lambda path: os.chown(path, 12346, -1)),
        (b"links/dangling", "gid 54321 became 1", lambda path: os.lchown(path, -1, 1)),
        (b"times/f0", "modified 1700000000999999999 became 1700000000999999998", _lose_a_nanosecond),
        (b"times/d2", "modified 5000000000000000001 became 5000000000000000000", _lose_a_nanosecond),
        (b"times/l1", "modified -1500000001 became -1500000002", _lose_a_nanosecond),
        (b"other links/0 f", "first_name b'links/f' became b''", _separate),
        (b"other links/0 dangling", "first_name b'links/dangling' became b''", _lead_elsewhere),
        (b"attributes/user", "attributes ", lambda path: os.removexattr(path, "user.empty")),
        (b"attributes/capable", "attributes ", lambda path: os.chown(path, 12345, 12345)),
        (b"attributes/access", "attributes ", lambda path: os.removexattr(path, "system.posix_acl_access")),
        (b"attributes/default", "attributes ", lambda path: os.removexattr(path, "system.posix_acl_default")),
        (b"sparse/hole in the middle", "digest ", _change_last_byte),
        (b"sparse/many holes", "is_sparse True became False", _fill_holes),
        (
            b"sparse/hole at the end",
            "size 104857600 became 104857599",
            lambda path: os.truncate(path, 104857599),
        ),
        (b"small/0/7", "digest ", _change_last_byte),
        (b"links/folder", "leads_to b'../names' became b'elsewhere'", _lead_elsewhere),
        (b"links/p", "kind 'fifo' became 'file'", _become_a_file),
        (b"links/null", "device 259 became 261", _become_zero),
        (b"modes/empty folder", "is missing", os.rmdir),
        (b"names/" + b"x" * 255, "is missing", os.unlink),
    ],
)
def test_the_comparison_names_what_was_lost(
    folder: Path, path: bytes, lost: str, lose: Callable[[bytes], None]
) -> None:
    make_tree(folder / "tree", small_files=10)
    before = describe(folder / "tree")
    lose(os.path.join(os.fsencode(folder), b"tree", path))
    (line,) = [line for line in differences(before, describe(folder / "tree")) if line.startswith(repr(path))]
    assert lost in line
    with pytest.raises(AssertionError) as failure:
        expect_same(before, describe(folder / "tree"))
    assert line in str(failure.value)
