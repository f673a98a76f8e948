# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that is written: nothing of it is seen before it is whole, and then it is as it was asked for."""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
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
from harness.users import ROOT_ONLY, SOMEBODY, as_user

NOTHING = {"mode": None, "owner": None, "group": None, "backup": False}
NOBODY = 65534
ACCESS_LIST = "system.posix_acl_access"
#: Version 2: the owner rw, user NOBODY rw, the group nothing, the mask rw, others nothing.
NOBODY_MAY_WRITE = struct.pack(
    "<I" + 5 * "HHI",
    *(2, 0x01, 6, 0xFFFFFFFF, 0x02, 6, NOBODY, 0x04, 0, 0xFFFFFFFF, 0x10, 6, 0xFFFFFFFF, 0x20, 0, 0xFFFFFFFF),
)
#: As setcap writes cap_setuid, permitted and effective.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 7, 0, 0, 0)


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


def set_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"there is no {name} here: {error}")


def hidden_in(folder: Path) -> Path:
    (path,) = folder.glob(".socketpipe-*")
    return path


@pytest.fixture
def unlinkable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that can not be linked, so that it is copied: of another user, or on such a file system."""
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))


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


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("name", "value"), [("user.note", b"kept"), (ACCESS_LIST, NOBODY_MAY_WRITE)], ids=["note", "access list"]
)
def test_notes_and_the_access_list_of_an_old_file_are_kept(folder: Path, name: str, value: bytes) -> None:
    (folder / "f").touch()
    set_attribute(folder / "f", name, value)
    before = mode_of(folder / "f")
    write(folder / "f")
    assert os.getxattr(folder / "f", name) == value
    assert mode_of(folder / "f") == before


@pytest.mark.usefixtures("way")
def test_the_folders_default_access_list_grants_no_more_than_the_old_file_did(folder: Path) -> None:
    (folder / "f").touch()
    (folder / "f").chmod(0o660)
    set_attribute(folder, "system.posix_acl_default", NOBODY_MAY_WRITE)
    write(folder / "f")
    assert ACCESS_LIST not in os.listxattr(folder / "f")
    assert mode_of(folder / "f") == 0o660


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EPERM, errno.ENODATA, errno.EINVAL, errno.EACCES])
@pytest.mark.parametrize("call", ["listxattr", "getxattr", "setxattr", "removexattr"])
def test_an_attribute_that_can_not_be_kept_is_not_missed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    (folder / "f").touch()
    set_attribute(folder / "f", "user.note", b"kept")
    monkeypatch.setattr(os, call, refuse(number))
    write(folder / "f")
    assert (folder / "f").read_bytes() == b"new"


def test_an_attribute_for_which_there_is_no_space_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "f").touch()
    set_attribute(folder / "f", "user.note", b"kept")
    monkeypatch.setattr(os, "setxattr", refuse(errno.ENOSPC))
    with pytest.raises(FileError, match="could not be given its mode and owner: No space left on device"):
        write(folder / "f")


def test_a_system_without_such_attributes_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "listxattr")
    (folder / "f").touch()
    write(folder / "f")
    assert (folder / "f").read_bytes() == b"new"


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_of_an_old_file_that_may_not_be_read_the_mode_is_kept(folder: Path) -> None:
    (folder / "f").touch()
    os.chown(folder / "f", SOMEBODY, SOMEBODY)
    (folder / "f").chmod(0o200)
    folder.chmod(0o777)
    with as_user(SOMEBODY):
        write(folder / "f")
    assert (mode_of(folder / "f"), (folder / "f").read_bytes()) == (0o200, b"new")


@ROOT_ONLY
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("bit", [stat.S_ISUID, stat.S_ISGID, stat.S_ISVTX])
@pytest.mark.parametrize("options", [{}, {"owner": "root"}, {"group": "root"}, {"mode": "g+w"}])
def test_what_was_received_does_not_get_the_old_files_set_id_bits(
    folder: Path, bit: int, options: dict[str, Any]
) -> None:
    """With an owner that was asked for it was a set-id file of that user, with another's content."""
    (folder / "f").touch()
    os.chown(folder / "f", SOMEBODY, SOMEBODY)
    (folder / "f").chmod(0o775 | bit)
    write(folder / "f", attributes=parse_attributes({**NOTHING, **options}))
    assert mode_of(folder / "f") == 0o775


@ROOT_ONLY
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("mode", "expected"), [("4755", 0o4755), ("u+s", 0o4755), ("g+s", 0o2755)])
def test_a_set_id_bit_that_was_asked_for_is_set(folder: Path, mode: str, expected: int) -> None:
    (folder / "f").touch()
    os.chown(folder / "f", SOMEBODY, SOMEBODY)
    (folder / "f").chmod(0o755)
    write(folder / "f", attributes=parse_attributes({**NOTHING, "mode": mode}))
    assert mode_of(folder / "f") == expected


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_what_was_received_does_not_get_the_old_files_capabilities(folder: Path) -> None:
    (folder / "f").touch()
    set_attribute(folder / "f", "security.capability", CAPABILITY)
    write(folder / "f")
    assert "security.capability" not in os.listxattr(folder / "f")


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_an_old_files_owner_and_group_are_kept(folder: Path) -> None:
    (folder / "f").touch()
    os.chown(folder / "f", SOMEBODY, SOMEBODY + 1)
    (folder / "f").chmod(0o750)
    write(folder / "f")
    status = (folder / "f").stat()
    assert (status.st_uid, status.st_gid, mode_of(folder / "f")) == (SOMEBODY, SOMEBODY + 1, 0o750)


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
    assert (status.st_uid, status.st_gid, mode_of(folder / "f")) == (SOMEBODY, SOMEBODY, 0o704)


@ROOT_ONLY
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("attributes", "mode"),
    [
        (Attributes(), 0o604),
        (Attributes(mode="g+r"), 0o644),
        (Attributes(mode=0o660), 0o660),
        (Attributes(group=SOMEBODY), 0o664),
    ],
)
def test_another_group_gets_nothing_of_what_the_old_one_had_unless_that_was_asked_for(
    folder: Path, attributes: Attributes, mode: int
) -> None:
    folder.chmod(0o777)
    (folder / "f").touch()
    (folder / "f").chmod(0o664)
    with as_user(SOMEBODY):
        write(folder / "f", attributes=attributes)
    assert ((folder / "f").stat().st_gid, mode_of(folder / "f")) == (SOMEBODY, mode)


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_a_group_that_may_be_kept_is_kept_without_the_owner(folder: Path) -> None:
    folder.chmod(0o777)
    (folder / "f").touch()
    (folder / "f").chmod(0o664)
    os.chown(folder / "f", 0, NOBODY)
    before = os.getgroups()
    os.setgroups([NOBODY])
    try:
        with as_user(SOMEBODY):
            write(folder / "f")
    finally:
        os.setgroups(before)
    status = (folder / "f").stat()
    assert (status.st_uid, status.st_gid, mode_of(folder / "f")) == (SOMEBODY, NOBODY, 0o664)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.EACCES])
def test_an_owner_that_can_not_be_kept_is_not_missed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """EINVAL is said of one who has no number in this user namespace."""
    (folder / "f").touch()
    monkeypatch.setattr(os, "fchown", refuse(number))
    write(folder / "f")
    assert (folder / "f").read_bytes() == b"new"


def test_an_owner_for_whom_there_is_no_space_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "f").touch()
    monkeypatch.setattr(os, "fchown", refuse(errno.EDQUOT))
    with pytest.raises(FileError, match="could not be given its mode and owner: Disk quota exceeded"):
        write(folder / "f")


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


@ROOT_ONLY
@pytest.mark.usefixtures("unlinkable")
def test_a_copy_of_an_old_file_is_as_that_was_but_for_its_set_id_bits(folder: Path) -> None:
    old = folder / "f"
    old.write_bytes(b"old")
    os.chown(old, SOMEBODY, NOBODY)
    old.chmod(0o6754)
    os.utime(old, ns=(1_000_000_001, 2_000_000_002))
    status = Path(os.fsdecode(write(old, attributes=Attributes(backup=True)) or b"")).stat()
    assert (status.st_uid, status.st_gid) == (SOMEBODY, NOBODY)
    assert stat.S_IMODE(status.st_mode) == 0o754
    assert status.st_mtime_ns == 2_000_000_002


@pytest.mark.usefixtures("unlinkable")
def test_a_copy_of_an_old_file_has_its_access_list(folder: Path) -> None:
    (folder / "f").touch()
    set_attribute(folder / "f", ACCESS_LIST, NOBODY_MAY_WRITE)
    backup = write(folder / "f", attributes=Attributes(backup=True))
    assert os.getxattr(backup or b"", ACCESS_LIST) == NOBODY_MAY_WRITE


@ROOT_ONLY
@pytest.mark.usefixtures("unlinkable")
def test_a_copy_of_another_users_file_is_private(folder: Path) -> None:
    """His group would be granted what the old one's was."""
    folder.chmod(0o777)
    (folder / "f").write_bytes(b"old")
    (folder / "f").chmod(0o664)
    with as_user(SOMEBODY):
        backup = Path(os.fsdecode(write(folder / "f", attributes=Attributes(backup=True)) or b""))
    assert (mode_of(backup), backup.read_bytes()) == (0o600, b"old")


@pytest.mark.usefixtures("unlinkable")
def test_a_copy_is_never_open_to_more_than_the_old_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    copy = _output_file.shutil.copyfileobj

    def look_and_copy(source: Any, target: Any) -> None:
        copy(source, target)
        seen.append(stat.S_IMODE(os.fstat(target.fileno()).st_mode))

    monkeypatch.setattr(_output_file.shutil, "copyfileobj", look_and_copy)
    os.umask(0)
    (folder / "f").write_bytes(b"secret")
    (folder / "f").chmod(0o600)
    write(folder / "f", attributes=Attributes(backup=True))
    assert seen == [0o600]


def test_a_link_in_the_place_of_a_copy_is_not_written_through(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name can be foretold. What is there under that name stays, too."""
    victim = folder / "victim"
    victim.write_bytes(b"untouched")

    def plant(source: bytes, name: bytes, **options: Any) -> None:
        os.symlink("victim", name, dir_fd=options["dst_dir_fd"])
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    monkeypatch.setattr(os, "link", plant)
    (folder / "f").write_bytes(b"old")
    monkeypatch.setattr(_output_file, "_BACKUPS_OF_A_SECOND", 3)
    with pytest.raises(FileError, match="the old file could not be kept: File exists"):
        write(folder / "f", attributes=Attributes(backup=True))
    assert (victim.read_bytes(), (folder / "f").read_bytes()) == (b"untouched", b"old")
    assert len(os.listdir(folder)) == 2 + 3


def test_too_many_links_are_no_reason_to_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody who may write in the folder can make them."""
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    monkeypatch.setattr(os, "link", refuse(errno.EMLINK))
    (folder / "f").write_bytes(b"old")
    with pytest.raises(FileError, match="could not be kept: Too many links"):
        write(folder / "f", attributes=Attributes(backup=True))


@pytest.mark.usefixtures("unlinkable")
@pytest.mark.parametrize(
    ("swap", "words"),
    [
        (lambda path: path.symlink_to("secret"), "Too many levels of symbolic links"),
        (os.mkfifo, "it is not a regular file"),
    ],
    ids=["link", "FIFO"],
)
def test_what_took_the_old_files_name_is_neither_followed_nor_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, swap: Callable[[Path], None], words: str
) -> None:
    (folder / "secret").write_bytes(b"secret")
    (folder / "f").write_bytes(b"old")

    def strftime(form: str) -> str:
        (folder / "f").unlink()
        swap(folder / "f")
        return "now"

    monkeypatch.setattr(_output_file.time, "strftime", strftime)
    with pytest.raises(FileError, match=f"could not be kept: {words}"):
        write(folder / "f", attributes=Attributes(backup=True))
    assert sorted(os.listdir(folder)) == ["f", "secret"]


@pytest.mark.usefixtures("unlinkable")
def test_a_link_that_can_not_be_linked_is_copied_as_a_link(folder: Path) -> None:
    (folder / "f").symlink_to("other")
    backup = write(folder / "f", attributes=Attributes(backup=True))
    assert os.readlink(backup or b"") == b"other"
    assert (folder / "f").read_bytes() == b"new"


def test_a_copy_that_got_no_further_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(_output_file.shutil, "copyfileobj", refuse(errno.ENOSPC))
    (folder / "f").write_bytes(b"old")
    with pytest.raises(FileError, match="could not be kept: No space left on device"):
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


# Somebody else who may write in the folder


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("is_link", [False, True], ids=["renamed", "link"])
def test_a_folder_that_was_replaced_meanwhile_is_told(folder: Path, is_link: bool) -> None:
    """The file got its name where nobody looks for it, and all was well."""
    (folder / "first").mkdir()
    (folder / "second").mkdir()
    place = folder / "place"
    if is_link:
        place.symlink_to("first")
    else:
        (folder / "first").rename(place)
    output = OutputFile(os.fsencode(place / "f"), Attributes())
    if is_link:
        place.unlink()
        place.symlink_to("second")
    else:
        place.rename(folder / "first")
        (folder / "second").rename(place)
    with pytest.raises(FileError, match=r"^was written, but could not be given its name: its directory was "):
        output.commit()
    output.close()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("way")
def test_a_folder_may_be_renamed_and_get_its_name_back(folder: Path) -> None:
    place = folder / "place"
    place.mkdir()
    output = OutputFile(os.fsencode(place / "f"), Attributes())
    place.rename(folder / "other")
    (folder / "other").rename(place)
    output.commit()
    output.close()
    assert os.listdir(place) == ["f"]


def test_a_link_in_the_place_of_the_hidden_name_lets_nobody_change_another_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root took the mode and the attributes of the old file to what the link led to."""
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    shadow = folder / "shadow"
    shadow.write_bytes(b"secret")
    shadow.chmod(0o600)
    (folder / "f").touch()
    (folder / "f").chmod(0o666)
    set_attribute(folder / "f", "user.note", b"planted")
    before = shadow.stat()
    output = OutputFile(os.fsencode(folder / "f"), Attributes())
    hidden = hidden_in(folder)
    hidden.unlink()
    hidden.symlink_to("shadow")
    words = f"^was written, but could not be given its name: '{hidden.name}', .*, was replaced$"
    with pytest.raises(FileError, match=words):
        output.commit()
    output.close()
    assert shadow.stat() == before
    assert os.listxattr(shadow) == []
    assert (shadow.read_bytes(), (folder / "f").read_bytes()) == (b"secret", b"")
    assert sorted(os.listdir(folder)) == ["f", "shadow"]


def test_another_file_in_the_place_of_the_hidden_name_is_not_taken_for_what_was_received(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
    output = OutputFile(os.fsencode(folder / "f"), Attributes())
    hidden = hidden_in(folder)
    hidden.rename(folder / "received")
    hidden.write_bytes(b"forged")
    with pytest.raises(FileError, match="was replaced"):
        output.commit()
    output.close()
    assert os.listdir(folder) == ["received"]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("is_link", [True, False], ids=["link", "file"])
def test_what_took_the_old_files_name_gives_no_attributes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_link: bool
) -> None:
    """After the old file was seen, before it was opened."""
    (folder / "f").touch()
    (folder / "other").touch()
    set_attribute(folder / "other", "user.note", b"another's")
    real_fchown = os.fchown

    def swap(descriptor: int, owner: int, group: int) -> None:
        real_fchown(descriptor, owner, group)
        (folder / "f").unlink()
        if is_link:
            (folder / "f").symlink_to("other")
        else:
            (folder / "other").rename(folder / "f")

    monkeypatch.setattr(os, "fchown", swap)
    write(folder / "f")
    assert ((folder / "f").read_bytes(), os.listxattr(folder / "f")) == (b"new", [])


# What goes wrong at the end


@pytest.mark.usefixtures("way")
def test_a_file_that_can_not_be_removed_is_closed_without_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task has failed by then, and what is told has to be why."""
    before = os.listdir("/proc/self/fd")
    output = OutputFile(os.fsencode(folder / "f"), Attributes())
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse(errno.EROFS))
        output.close()
    assert os.listdir("/proc/self/fd") == before


def test_an_error_of_closing_one_descriptor_leaves_none_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS tells of a full disk."""
    before = os.listdir("/proc/self/fd")
    output = OutputFile(os.fsencode(folder / "f"), Attributes())
    real_close = os.close

    def close(descriptor: int) -> None:
        real_close(descriptor)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        output.close()
    assert os.listdir("/proc/self/fd") == before


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
def test_why_a_name_can_not_be_taken_is_told_though_the_backup_can_not_be_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "f").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse(errno.EPERM))
        patch.setattr(os, "unlink", refuse(errno.EROFS))
        with pytest.raises(FileError, match="Operation not permitted"):
            write(folder / "f", attributes=Attributes(backup=True))


@pytest.mark.usefixtures("way")
def test_an_old_file_that_can_not_be_kept_is_not_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "f").write_bytes(b"old")
    monkeypatch.setattr(_output_file.time, "strftime", lambda form: "now")
    monkeypatch.setattr(_output_file, "_BACKUPS_OF_A_SECOND", 2)
    for end in ("~", ".2~"):
        (folder / f"f.{os.getpid()}.now{end}").write_bytes(b"older")
    with pytest.raises(FileError, match=r"^was written, but the old file could not be kept: File exists$"):
        write(folder / "f", attributes=Attributes(backup=True))
    assert (folder / "f").read_bytes() == b"old"
    assert len(os.listdir(folder)) == 3


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("is_linked", [True, False], ids=["linked", "copied"])
def test_each_of_several_backups_within_a_second_has_a_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_linked: bool
) -> None:
    """As of a loop over one file."""
    monkeypatch.setattr(_output_file.time, "strftime", lambda form: "now")
    if not is_linked:
        monkeypatch.setattr(_output_file, "_O_TMPFILE", None)
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    contents = [b"1", b"2", b"3", b"4"]
    backups = [write(folder / "f", content, Attributes(backup=True)) for content in contents]
    assert [os.path.basename(path or b"") for path in backups[1:]] == [
        b"f.%d.now%b" % (os.getpid(), end) for end in (b"~", b".2~", b".3~")
    ]
    assert [Path(os.fsdecode(path or b"")).read_bytes() for path in backups[1:]] == contents[:-1]
    assert (folder / "f").read_bytes() == b"4"


def test_an_error_that_comes_with_the_last_fsync_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    words = "^was written, but could not be brought onto the disk: Input/output error$"
    with pytest.raises(FileError, match=words):
        write(folder / "f")
    assert os.listdir(folder) == []


def folders_that_refuse_fsync(number: int) -> Callable[[int], None]:
    real_fsync = os.fsync

    def call(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real_fsync(descriptor)

    return call


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_has_no_fsync_for_folders_will_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The file has its name by then."""
    monkeypatch.setattr(os, "fsync", folders_that_refuse_fsync(number))
    write(folder / "f")
    assert (folder / "f").read_bytes() == b"new"


def test_an_error_of_the_disk_below_the_folder_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", folders_that_refuse_fsync(errno.EIO))
    with pytest.raises(FileError, match="could not be given its name: Input/output error"):
        write(folder / "f")


@ROOT_ONLY
@pytest.mark.usefixtures("way")
def test_a_folder_that_may_be_written_but_not_listed_will_do(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub").chmod(0o733)
    with as_user(SOMEBODY):
        write(folder / "sub" / "f")
    assert (folder / "sub" / "f").read_bytes() == b"new"
