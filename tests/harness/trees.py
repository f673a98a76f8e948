# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory tree of all that is hard to keep, and what a tree is, for comparing it with another.

Paths are bytes, for not every name is text. What is made here takes root.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from harness.network import run

#: 1000 in each folder.
SMALL_FILES = 100_000
#: Of the largest file, which is all but empty: more than 32 bits.
LARGEST = 5 << 30
#: Of the other sparse files.
LARGE = 100 << 20
ODD_NAMES = [
    b"new\nline",
    b"-n",
    b"--checkpoint-action=exec=false",
    b" spaces around ",
    b'it\'s "quoted" $(id) `id`',
    b"back\\slash\\n",
    b"\x01\t\r\x7f",
    b"\xff is no \xfe text",
    "Grüße 漢字 🙂".encode(),
    b"*",
    b"...",
    b"x" * 255,
]
_SECOND = 1_000_000_000
#: The last nanosecond of a second, one before 1970, and one that takes more than 32 bits.
_TIMES = [1_700_000_000_999_999_999, -1_500_000_001, 5_000_000_000 * _SECOND + 1]
_MODES = [0, 0o400, 0o4755, 0o2711, 0o6510, 0o1644, 0o7777]
#: The second pair takes more than tar's fields have digits for.
_OWNERS = [(12345, 54321), (4_000_000_001, 4_000_000_002), (0, 12345)]
_BLOCK = 4096
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class Entry(NamedTuple):
    """All of one path that another tree has to have, too."""

    kind: str
    mode: int
    uid: int
    gid: int
    #: In nanoseconds.
    modified: int
    #: The first path of the same file, if it has several.
    first_name: bytes
    attributes: tuple[tuple[str, bytes], ...]
    #: Of files only, as what follows.
    size: int = 0
    digest: str = ""
    #: Whether most of it is holes.
    is_sparse: bool = False
    #: Of links only.
    leads_to: bytes = b""
    #: Of devices only.
    device: int = 0


Tree = dict[bytes, Entry]


@contextmanager
def folder_for_trees() -> Iterator[Path]:
    """In memory, for a disk can take minutes to remove so many files. But on the disk where memory does
    not take attributes of users, before Linux 6.6. Only hosts that are made afterwards see what is there."""
    with tempfile.TemporaryDirectory(prefix="socketpipe-") as name:
        run("mount", "-t", "tmpfs", "-o", "size=3g,nr_inodes=0,mode=755", "tmpfs", name)
        try:
            if _takes_attributes(name):
                yield Path(name)
                return
        finally:
            run("umount", name)
        yield Path(name)


def _takes_attributes(path: str) -> bool:
    try:
        os.setxattr(path, "user.name", b"value")
    except OSError:
        return False
    os.removexattr(path, "user.name")
    return True


# What a tree is


def describe(folder: Path) -> Tree:
    """What is in *folder* by its path there, and *folder* itself."""
    top = os.fsencode(folder)
    found = {b".": os.lstat(top), **dict(_walk(top, b""))}
    names = defaultdict(list)
    for path, status in found.items():
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            names[status.st_dev, status.st_ino].append(path)
    first_names = {path: min(paths) for paths in names.values() for path in paths if len(paths) > 1}
    return {
        path: _entry(os.path.join(top, path), status, first_names.get(path, b""))
        for path, status in found.items()
    }


def _walk(top: bytes, beneath: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    for entry in os.scandir(os.path.join(top, beneath)):
        path, status = os.path.join(beneath, entry.name), entry.stat(follow_symlinks=False)
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(top, path)


def _entry(path: bytes, status: os.stat_result, first_name: bytes) -> Entry:
    attributes = sorted(os.listxattr(path, follow_symlinks=False))
    entry = Entry(
        kind=_KINDS[stat.S_IFMT(status.st_mode)],
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        modified=status.st_mtime_ns,
        first_name=first_name,
        attributes=tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in attributes),
    )
    if entry.kind == "file":
        is_sparse = status.st_blocks * 512 < status.st_size / 2
        return entry._replace(size=status.st_size, digest=_digest(path, status.st_size), is_sparse=is_sparse)
    if entry.kind == "link":
        return entry._replace(leads_to=os.readlink(path))
    return entry._replace(device=status.st_rdev)


def _digest(path: bytes, size: int) -> str:
    """Of what is in the file, whether its zeros are holes or not."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        for offset in _blocks(descriptor, size):
            block = os.pread(descriptor, _BLOCK, offset)
            if block.strip(b"\0"):
                digest.update(b"%d:%b" % (offset, block))
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _blocks(descriptor: int, size: int) -> Iterator[int]:
    """Where the blocks begin that may have data."""
    offset = 0
    while offset < size:
        if size > _BLOCK:
            try:
                offset = max(offset, os.lseek(descriptor, offset, os.SEEK_DATA) // _BLOCK * _BLOCK)
            except OSError:
                return  # the rest is a hole
        yield offset
        offset += _BLOCK


def differences(before: Tree, after: Tree) -> Iterator[str]:
    """A line for each path that is not the same in both."""
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            yield f"{path!r} is missing"
        elif path not in before:
            yield f"{path!r} was not there before"
        elif before[path] != after[path]:
            pairs = {
                field: (getattr(before[path], field), getattr(after[path], field)) for field in Entry._fields
            }
            changes = [f"{field} {old!r} became {new!r}" for field, (old, new) in pairs.items() if old != new]
            yield f"{path!r}: {', '.join(changes)}"


def expect_same(before: Tree, after: Tree) -> None:
    """Fail with the first paths that differ."""
    first = list(islice(differences(before, after), 20))
    assert not first, "the trees differ; first of all:\n" + "\n".join(first)


# A tree of all that is hard to keep


def make_tree(folder: Path, small_files: int = SMALL_FILES) -> None:
    """Make *folder*, with all that is hard to keep and many small files in it."""
    top = os.fsencode(folder)
    os.mkdir(top, 0o751)
    _make_small_files(_folder(top, b"small"), small_files)
    _make_odd_names(_folder(top, b"names"))
    _make_sparse_files(_folder(top, b"sparse"))
    _make_attributes(_folder(top, b"attributes"))
    _make_owners_and_modes(_folder(top, b"modes"))
    _make_links_and_special_files(top)
    _make_times(_folder(top, b"times"))
    os.utime(top, ns=(0, _TIMES[0]))


def _folder(*parts: bytes) -> bytes:
    path = os.path.join(*parts)
    os.mkdir(path)
    return path


def _file(*parts: bytes, content: bytes = b"content") -> bytes:
    path = os.path.join(*parts)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, content)
    os.close(descriptor)
    return path


def _make_small_files(top: bytes, count: int) -> None:
    for start in range(0, count, 1000):
        beneath = _folder(top, b"%d" % (start // 1000))
        for number in range(start, min(start + 1000, count)):
            _file(beneath, b"%d" % number, content=b"%d\n" % number * (number % 50))


def _make_odd_names(top: bytes) -> None:
    for name in ODD_NAMES:
        _file(top, name)
        _file(_folder(top, b"in " + name[:250]), name)
        os.symlink(name, os.path.join(top, b"to " + name[:250]))
    deep = top
    for _level in range(12):
        deep = _folder(deep, b"d" * 250)
    _file(deep, b"deep")
    os.symlink(b"x/" * 2000, os.path.join(top, b"a long way"))


def _make_sparse_files(top: bytes) -> None:
    _sparse_file(top, b"all hole", LARGE, {})
    _sparse_file(top, b"hole at the beginning", LARGE, {LARGE - 3: b"end"})
    _sparse_file(top, b"hole in the middle", LARGEST, {0: b"begin", LARGEST - 3: b"end"})
    _sparse_file(top, b"hole at the end", LARGE, {0: b"begin"})
    _sparse_file(top, b"many holes", LARGE, {number << 16: b"%d" % number for number in range(1000)})
    _file(top, b"zeros", content=bytes(100_000))


def _sparse_file(top: bytes, name: bytes, size: int, pieces: dict[int, bytes]) -> None:
    descriptor = os.open(os.path.join(top, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.truncate(descriptor, size)
    for offset, content in pieces.items():
        os.pwrite(descriptor, content, offset)
    os.close(descriptor)


def _make_attributes(top: bytes) -> None:
    path = _file(top, b"user")
    values = {"bytes": b"\0\n=\xff", "empty": b"", "long": b"x" * 2000, "ü": b"text", "a=b %3D\n": b"odd"}
    for name, value in values.items():
        os.setxattr(path, f"user.{name}", value)
    os.setxattr(_file(top, b"empty", content=b""), "user.name", b"value")
    os.setxattr(_file(top, b"trusted"), "trusted.name", b"value")
    os.setxattr(_folder(top, b"folder"), "user.name", b"value")
    # cap_net_raw, permitted and effective. A change of owner takes it away.
    capable = _file(top, b"capable")
    os.chown(capable, 12345, 12345)
    os.chmod(capable, 0o755)
    os.setxattr(capable, "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
    os.setxattr(_file(top, b"access"), "system.posix_acl_access", _access_list())
    os.setxattr(_folder(top, b"default"), "system.posix_acl_default", _access_list())


def _access_list() -> bytes:
    """Entries for two users and a group that have no names, as the kernel takes them."""
    nobody = 0xFFFFFFFF
    owner, user, owning_group, group, mask, others = 1, 2, 4, 8, 16, 32
    entries = [
        (owner, 6, nobody),
        (user, 4, 12345),
        (user, 7, 4_000_000_001),
        (owning_group, 4, nobody),
        (group, 2, 54321),
        (mask, 6, nobody),
        (others, 0, nobody),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _make_owners_and_modes(top: bytes) -> None:
    for mode in _MODES:
        for uid, gid in _OWNERS:
            for path in (_file(top, b"f%o-%d" % (mode, uid)), _folder(top, b"d%o-%d" % (mode, uid))):
                os.chown(path, uid, gid)
                os.chmod(path, mode)
    _folder(top, b"empty folder")
    os.chmod(_file(_folder(top, b"read only"), b"f"), 0o444)
    os.chmod(os.path.join(top, b"read only"), 0o555)


def _make_links_and_special_files(top: bytes) -> None:
    one, other = _folder(top, b"links"), _folder(top, b"other links")
    for name, leads_to in {b"dangling": b"nowhere\n", b"outside": b"/", b"folder": b"../names"}.items():
        os.symlink(leads_to, os.path.join(one, name))
    os.lchown(os.path.join(one, b"dangling"), 12345, 54321)
    for name in (b"p", b"q"):
        os.mkfifo(os.path.join(one, name), 0o640)
    os.mknod(os.path.join(one, b"null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(os.path.join(one, b"loop"), stat.S_IFBLK | 0o660, os.makedev(7, 7))
    # FIFOs and devices have one name each: of several, tar makes as many FIFOs.
    dangling, file, empty = (
        os.path.join(one, b"dangling"),
        _file(one, b"f"),
        _file(one, b"empty", content=b""),
    )
    sparse, capable = (
        os.path.join(top, b"sparse", b"many holes"),
        os.path.join(top, b"attributes", b"capable"),
    )
    for path in (dangling, file, empty, sparse, capable):
        for number in range(3):
            name = b"%d %b" % (number, os.path.basename(path))
            os.link(path, os.path.join(other, name), follow_symlinks=False)


def _make_times(top: bytes) -> None:
    for number, modified in enumerate(_TIMES):
        paths = [
            _file(top, b"f%d" % number),
            _folder(top, b"d%d" % number),
            os.path.join(top, b"l%d" % number),
        ]
        os.symlink(b"nowhere", paths[-1])
        for path in paths:
            os.utime(path, ns=(0, modified), follow_symlinks=False)
