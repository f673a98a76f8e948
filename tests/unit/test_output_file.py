# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that is written: nothing of it is seen before it is whole, and then it is as it was asked for."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.plugin_utils import _output_file
from ansible_collections.dds.socketpipe.plugins.plugin_utils._output_file import (
    Attributes,
    FileError,
    OutputFile,
    parse_attributes,
)

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
NOTHING = {"mode": None, "owner": None, "group": None, "backup": False}
NOBODY = 65534
SOMEBODY = 12345


@pytest.fixture(params=["without a name", "with a hidden name"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With O_TMPFILE, and as on a file system that does not have it."""
    if request.param == "with a hidden name":
        monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    return str(request.param)


@pytest.fixture(autouse=True)
def umask() -> Iterator[int]:
    """Not the usual one."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that any user can get to."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextmanager
def as_user(number: int) -> Iterator[None]:
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def write(path: Path | bytes, content: bytes = b"new", attributes: Attributes | None = None) -> bytes | None:
    """A file written at *path*, from the beginning to the end; the path of the backup."""
    output = OutputFile(os.fsencode(path), attributes or Attributes())
    try:
        os.write(output.descriptor, content)
        return output.commit()
    finally:
        output.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refuse(number: int) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


def open_with_names_only(number: int) -> Callable[..., int]:
    """As on a system that gives the error *number* for O_TMPFILE."""
    real_open = os.open

    def call(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, os.strerror(number))
        return real_open(path, flags, *arguments, **options)

    return call


# What is seen, and when


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", [b"f", b"a b", b"two\nlines", b"\xff", b".f", b"n" * 255])
def test_a_file_is_there_when_it_is_committed(folder: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(folder), name)
    assert write(path) is None
    assert os.listdir(os.fsencode(folder)) == [name]
    assert Path(os.fsdecode(path)).read_bytes() == b"new"


@pytest.mark.usefixtures("way")
def test_a_file_may_be_named_without_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    write(Path("f"))
    assert (folder / "f").read_bytes() == b"new"


def test_nothing_is_seen_of_a_file_that_is_being_written(folder: Path) -> None:
    (folder / "f").write_bytes(b"old")
    output = OutputFile(os.fsencode(folder / "f"), Attributes())
    os.write(output.descriptor, b"new")
    assert output.temporary is None
    assert os.listdir(folder) == ["f"]
    assert (folder / "f").read_bytes() == b"old"
    output.close()


@pytest.mark.usefixtures("way")
def test_an_old_file_stays_what_it_is_without_a_commit(folder: Path) -> None:
    (folder / "f").write_bytes(b"old")
    before = (folder / "f").stat()
    output = OutputFile(os.fsencode(folder / "f"), Attributes(mode=0o600, backup=True))
    os.write(output.descriptor, b"new")
    output.close()
    assert os.listdir(folder) == ["f"]
    assert (folder / "f").read_bytes() == b"old"
    after = (folder / "f").stat()
    assert (after.st_ino, after.st_mode, after.st_mtime) == (before.st_ino, before.st_mode, before.st_mtime)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL])
def test_without_unnamed_files_it_has_a_hidden_name_that_only_its_owner_may_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "open", open_with_names_only(number))
    output = OutputFile(os.fsencode(folder / "f"), Attributes(mode=0o666))
    (name,) = os.listdir(folder)
    assert name.startswith(".socketpipe-")
    assert output.temporary == os.fsencode(folder / name)
    assert mode_of(folder / name) == 0o600
    output.commit()
    output.close()
    assert os.listdir(folder) == ["f"]
    assert mode_of(folder / "f") == 0o666


def test_another_error_is_not_taken_for_a_file_system_without_unnamed_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", open_with_names_only(errno.EROFS))
    with pytest.raises(FileError, match="could not be written: Read-only file system"):
        OutputFile(os.fsencode(folder / "f"), Attributes())


def test_a_file_whose_hidden_name_somebody_else_removed_is_closed_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the local endpoint does, when it aborts."""
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    output = OutputFile(os.fsencode(folder / "f"), Attributes())
    os.unlink(output.temporary or b"")
    output.close()
    assert os.listdir(folder) == []


@pytest.mark.usefixtures("way")
def test_no_descriptor_is_left(folder: Path) -> None:
    before = os.listdir("/proc/self/fd")
    write(folder / "f")
    with pytest.raises(FileError):
        OutputFile(os.fsencode(folder / "nowhere" / "f"), Attributes())
    assert os.listdir("/proc/self/fd") == before


# Mode, owner and group


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, 0o640),
        (0o604, 0o604),
        ("0604", 0o604),
        ("604", 0o604),
        (0, 0),
        ("04755", 0o4755),
        ("u=rwx,g=r,o=", 0o740),
        ("a+x", 0o751),
        ("g-r", 0o600),
    ],
)
def test_a_new_file_has_the_mode_that_was_asked_for(folder: Path, wanted: Any, expected: int) -> None:
    write(folder / "f", attributes=parse_attributes({**NOTHING, "mode": wanted}))
    assert mode_of(folder / "f") == expected


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("wanted", "expected"), [(None, 0o754), ("0600", 0o600), ("g+w", 0o774)])
def test_an_old_files_mode_is_kept_but_for_what_was_asked_for(
    folder: Path, wanted: Any, expected: int
) -> None:
    (folder / "f").touch()
    (folder / "f").chmod(0o754)
    write(folder / "f", attributes=parse_attributes({**NOTHING, "mode": wanted}))
    assert (mode_of(folder / "f"), (folder / "f").read_bytes()) == (expected, b"new")


def test_the_time_of_a_file_is_that_of_its_own_content(folder: Path) -> None:
    (folder / "f").touch()
    os.utime(folder / "f", (1, 1))
    write(folder / "f")
    assert (folder / "f").stat().st_mtime > 1


def test_extended_attributes_of_an_old_file_are_kept(folder: Path) -> None:
    (folder / "f").touch()
    try:
        os.setxattr(folder / "f", "user.note", b"kept")
    except OSError:
        pytest.skip("this file system has none")
    write(folder / "f")
    assert os.getxattr(folder / "f", "user.note") == b"kept"


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_an_old_files_owner_and_group_are_kept(folder: Path) -> None:
    (folder / "f").touch()
    os.chown(folder / "f", SOMEBODY, SOMEBODY + 1)
    (folder / "f").chmod(0o4750)
    write(folder / "f")
    status = (folder / "f").stat()
    assert (status.st_uid, status.st_gid, mode_of(folder / "f")) == (SOMEBODY, SOMEBODY + 1, 0o4750)


@ROOT_ONLY
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("options", "owner", "group"),
    [
        ({"owner": str(NOBODY)}, NOBODY, SOMEBODY + 1),
        ({"group": str(NOBODY)}, SOMEBODY, NOBODY),
        ({"owner": "root", "group": "root"}, 0, 0),
    ],
)
def test_a_file_is_given_to_whom_it_was_asked_for(
    folder: Path, options: dict[str, Any], owner: int, group: int
) -> None:
    (folder / "f").touch()
    os.chown(folder / "f", SOMEBODY, SOMEBODY + 1)
    write(folder / "f", attributes=parse_attributes({**NOTHING, **options}))
    status = (folder / "f").stat()
    assert (status.st_uid, status.st_gid) == (owner, group)


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_a_user_who_may_not_keep_the_owner_gets_a_file_of_his_own_without_a_set_id_bit(folder: Path) -> None:
    folder.chmod(0o777)
    (folder / "f").touch()
    (folder / "f").chmod(0o6754)
    with as_user(SOMEBODY):
        write(folder / "f")
    status = (folder / "f").stat()
    assert (status.st_uid, status.st_gid, mode_of(folder / "f")) == (SOMEBODY, SOMEBODY, 0o754)


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_a_group_that_may_be_kept_is_kept_without_the_owner(folder: Path) -> None:
    folder.chmod(0o777)
    (folder / "f").touch()
    os.chown(folder / "f", 0, NOBODY)
    before = os.getgroups()
    os.setgroups([NOBODY])
    try:
        with as_user(SOMEBODY):
            write(folder / "f")
    finally:
        os.setgroups(before)
    status = (folder / "f").stat()
    assert (status.st_uid, status.st_gid) == (SOMEBODY, NOBODY)


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_a_user_who_may_not_give_a_file_away_learns_it_before_anything_was_written(folder: Path) -> None:
    folder.chmod(0o777)
    with (
        as_user(SOMEBODY),
        pytest.raises(FileError, match=r"^could not be given to that owner and group: Operation not perm"),
    ):
        OutputFile(os.fsencode(folder / "f"), Attributes(owner=NOBODY))
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "rw"}, "mode: 'rw' is neither octal, such as '0640', nor symbolic, such as u=rw,g=r"),
        ({"mode": "preserve"}, "mode: 'preserve' is neither octal"),
        ({"mode": ""}, "mode: '' is neither octal"),
        ({"mode": "u=q"}, "mode: 'u=q' is neither octal"),
        ({"mode": "0888"}, "mode: '0888' is neither octal"),
        ({"mode": "10000"}, "mode: '10000' is neither octal"),
        ({"mode": 0o10000}, "mode: '4096' is neither octal"),
        ({"mode": -1}, "mode: '-1' is neither octal"),
        ({"mode": True}, "mode: 'True' is neither octal"),
        ({"mode": ["0600"]}, "mode: '['0600']' is neither octal"),
        ({"owner": "no such user"}, "owner: there is no user 'no such user' on the controller"),
        ({"group": "no such group"}, "group: there is no group 'no such group' on the controller"),
        ({"owner": "-1"}, "owner: there is no user '-1' on the controller"),
        ({"owner": ""}, "owner: there is no user '' on the controller"),
        ({"group": "99999999999"}, "group: there is no group '99999999999' on the controller"),
    ],
)
def test_a_wrong_attribute_is_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        parse_attributes({**NOTHING, **options})


def test_a_file_system_without_modes_matters_only_to_who_asks_for_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fchmod", refuse(errno.EPERM))
    write(folder / "f")
    with pytest.raises(FileError, match="could not be given its mode and owner: Operation not permitted"):
        write(folder / "g", attributes=Attributes(mode=0o640))
    assert os.listdir(folder) == ["f"]


# What was there before


@pytest.mark.usefixtures("way")
def test_an_old_file_is_kept_as_it_was(folder: Path) -> None:
    (folder / "f").write_bytes(b"old")
    before = (folder / "f").stat()
    backup = write(folder / "f", attributes=Attributes(backup=True, mode=0o600))
    assert backup is not None
    kept = Path(os.fsdecode(backup))
    assert re.fullmatch(r"f\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~", kept.name)
    assert sorted(os.listdir(folder)) == ["f", kept.name]
    assert (kept.stat().st_ino, kept.stat().st_mode) == (before.st_ino, before.st_mode)
    assert kept.read_bytes() == b"old"


@pytest.mark.usefixtures("way")
def test_where_nothing_was_there_is_no_backup(folder: Path) -> None:
    assert write(folder / "f", attributes=Attributes(backup=True)) is None
    assert os.listdir(folder) == ["f"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_an_old_file_can_not_be_linked_it_is_copied(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A file system without hard links, or a file of another user."""
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    monkeypatch.setattr(os, "link", refuse(number))
    (folder / "f").write_bytes(b"old")
    backup = write(folder / "f", attributes=Attributes(backup=True))
    assert Path(os.fsdecode(backup or b"")).read_bytes() == b"old"


def test_a_copy_that_got_no_further_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(_output_file.shutil, "copystat", refuse(errno.ENOSPC))
    (folder / "f").write_bytes(b"old")
    with pytest.raises(FileError, match=r"could not be kept as '.*': No space left on device"):
        write(folder / "f", attributes=Attributes(backup=True, mode=0o600))
    assert os.listdir(folder) == ["f"]
    assert (folder / "f").read_bytes() == b"old"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(folder: Path, dangling: bool) -> None:
    if not dangling:
        (folder / "other").write_bytes(b"old")
        (folder / "other").chmod(0o777)
    (folder / "f").symlink_to("other")
    backup = write(folder / "f", attributes=Attributes(backup=True))
    assert not (folder / "f").is_symlink()
    assert (folder / "f").read_bytes() == b"new"
    assert mode_of(folder / "f") == 0o640
    assert os.readlink(backup or b"") == b"other"
    assert (folder / "other").exists() != dangling


# What goes wrong at the end


@pytest.mark.usefixtures("way")
def test_a_folder_that_vanished_is_told(folder: Path) -> None:
    (folder / "sub").mkdir()
    output = OutputFile(os.fsencode(folder / "sub" / "f"), Attributes())
    for path in (folder / "sub").iterdir():
        path.unlink()
    (folder / "sub").rmdir()
    with pytest.raises(FileError, match=r"^was written, but could not be given its name: No such file or"):
        output.commit()
    output.close()


@pytest.mark.usefixtures("way")
def test_a_directory_that_took_the_name_is_not_replaced(folder: Path) -> None:
    output = OutputFile(os.fsencode(folder / "f"), Attributes(backup=False))
    (folder / "f").mkdir()
    with pytest.raises(FileError, match="could not be given its name: Is a directory"):
        output.commit()
    output.close()
    assert os.listdir(folder) == ["f"]


@pytest.mark.usefixtures("way")
def test_a_name_that_can_not_be_taken_leaves_the_old_file_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "f").write_bytes(b"old")
    monkeypatch.setattr(os, "rename", refuse(errno.EPERM))
    with pytest.raises(FileError, match="could not be given its name: Operation not permitted"):
        write(folder / "f", attributes=Attributes(backup=True))
    assert os.listdir(folder) == ["f"]
    assert (folder / "f").read_bytes() == b"old"


@pytest.mark.usefixtures("way")
def test_an_old_file_that_can_not_be_kept_is_not_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commits within a second want the same name for a backup."""
    (folder / "f").write_bytes(b"old")
    monkeypatch.setattr(_output_file.time, "strftime", lambda form: "now~")
    (folder / f"f.{os.getpid()}.now~").write_bytes(b"older")
    with pytest.raises(FileError, match=r"the old file could not be kept as 'f\.\d+\.now~': File exists"):
        write(folder / "f", attributes=Attributes(backup=True))
    assert (folder / "f").read_bytes() == b"old"
    assert len(os.listdir(folder)) == 2


def test_an_error_that_comes_with_the_last_fsync_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(FileError, match="Input/output error"):
        write(folder / "f")
    assert os.listdir(folder) == []


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_a_folder_that_may_be_written_but_not_listed_will_do(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub").chmod(0o733)
    with as_user(SOMEBODY):
        write(folder / "sub" / "f")
    assert (folder / "sub" / "f").read_bytes() == b"new"
