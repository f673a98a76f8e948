# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that gets its name only when all of it is there.

General theory of operation. On Linux the file has no name while it is written (O_TMPFILE): it
is gone when the last process that has it is, however that ends. `commit` links it into its
folder under a hidden name, for link does not replace anything, and renames it over whatever has
its name so far. Where the file system has no such files, it has the hidden name from the
beginning, and whoever made it has to remove it.

Others may be able to write in the folder, and put what they like in the place of any name there,
at any time. So no file is read, written or changed by its name: it is opened, without following a
link, and what was opened is used.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import IO, Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.text import printable

_O_TMPFILE: int | None = getattr(os, "O_TMPFILE", None)
#: Who may write in a folder need not be allowed to list it.
_O_FOLDER = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
#: What file systems and kernels without O_TMPFILE say.
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)
#: What is said where there are no hard links, or none to another user's file.
_NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
#: Neither a link nor a FIFO that took the name of the old file is followed or waited for.
_O_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_O_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ACCESS_LIST = "system.posix_acl_access"
#: What is said where there is no such attribute, or owner, or this user may not give it.
_NO_ATTRIBUTE = (errno.ENOTSUP, errno.EPERM, errno.ENODATA, errno.EINVAL, errno.EACCES)
#: What file systems that have no such thing say to fsync of a folder.
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
#: While it is written, and before it has its own.
_PRIVATE = 0o600
#: What a new file takes of an old one's mode. The bits above let whoever runs a file become its
#: owner or group, and that was granted to the old content.
_KEPT_MODE = 0o777
_LARGEST_ID = (1 << 32) - 2
#: Backups of one file that one process may make within a second.
_BACKUPS_OF_A_SECOND = 99
#: Bytes of the name of a file, on all of Linux's usual file systems.
_LONGEST_NAME = 255


class FileError(Exception):
    """The file can not be used. The words are what follows its name in a sentence; *bare* is the same
    without the names of other files and of processes, if there are any."""

    def __init__(self, text: str, bare: str | None = None) -> None:
        super().__init__(text)
        self.bare = text if bare is None else bare


class Attributes(NamedTuple):
    """What the user wants of the file: *mode* as a number or as symbols, *owner* and *group* as
    numbers, *backup* of what it replaces. None is what the file would have without a word."""

    mode: int | str | None = None
    owner: int | None = None
    group: int | None = None
    backup: bool = False


def parse_attributes(options: Mapping[str, Any]) -> Attributes:
    """From the task's options. Raises ValueError with a sentence."""
    return Attributes(
        mode=None if options["mode"] is None else _parse_mode(options["mode"]),
        owner=_parse_id("owner", "user", options["owner"], lambda name: pwd.getpwnam(name).pw_uid),
        group=_parse_id("group", "group", options["group"], lambda name: grp.getgrnam(name).gr_gid),
        backup=options["backup"],
    )


def _parse_mode(given: Any) -> int | str:
    """As copy takes it: a number, the digits of an octal one, or symbols."""
    try:
        mode = given if isinstance(given, int) else int(given, 8)
        is_mode = 0 <= mode <= 0o7777 and not isinstance(given, bool)
    except (TypeError, ValueError):
        mode, is_mode = given, _is_symbolic(given)
    if not is_mode:
        raise ValueError(f"mode: '{given}' is neither octal, such as '0640', nor symbolic, such as u=rw,g=r")
    return mode


def _is_symbolic(given: Any) -> bool:
    try:
        return bool(given) and _from_symbols(given, 0) >= 0
    except (AttributeError, ValueError):
        return False


def _from_symbols(symbols: str, base: int) -> int:
    status = SimpleNamespace(st_mode=stat.S_IFREG | base)
    return int(AnsibleModule._symbolic_mode_to_octal(status, symbols))


def _parse_id(option: str, kind: str, name: str | None, look_up: Callable[[str], int]) -> int | None:
    if name is None:
        return None
    try:
        number = int(name) if name.isdecimal() else look_up(name)
    except KeyError:
        number = -1
    if not 0 <= number <= _LARGEST_ID:
        raise ValueError(f"{option}: there is no {kind} '{name}' on the controller")
    return number


@contextmanager
def _in_words(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{what}: {error.strerror}") from error


def bring_onto_disk(descriptor: int) -> None:
    """All that was written there. Raises FileError."""
    with _in_words("was written, but could not be brought onto the disk"):
        os.fsync(descriptor)


class OutputFile:
    """A new file in the place of *path*, but not yet there: `commit` puts it there, and without
    that it is gone after `close`. Raises FileError.

    *descriptor* is open for writing. *temporary* is the path that has to be removed should this
    process not live to do it; None for a file without a name.
    """

    def __init__(self, path: bytes, attributes: Attributes) -> None:
        self._path = path
        self._attributes = attributes
        folder, self._name = os.path.split(path)
        with _in_words("could not be written"):
            self._folder = os.open(folder or b".", _O_FOLDER)
            try:
                self.descriptor, self._hidden = self._create()
            except OSError:
                os.close(self._folder)
                raise
        self.temporary = None if self._hidden is None else os.path.join(os.path.abspath(folder), self._hidden)
        try:
            self._give_away()
        except FileError:
            self.close()
            raise

    def _create(self) -> tuple[int, bytes | None]:
        """A descriptor, and the name if it has to have one."""
        descriptor = self._create_unnamed()
        if descriptor is not None:
            return descriptor, None
        name = _hidden_name()
        return os.open(name, _O_NEW, _PRIVATE, dir_fd=self._folder), name

    def _create_unnamed(self) -> int | None:
        if _O_TMPFILE is None or not os.path.isdir("/proc/self/fd"):
            return None
        try:
            return os.open(b".", _O_TMPFILE | os.O_WRONLY, _PRIVATE, dir_fd=self._folder)
        except OSError as error:
            if error.errno in _NO_TMPFILE:
                return None
            raise

    def _give_away(self) -> None:
        """Now, so that it is known before anything connects whether this user may do that."""
        owner, group = (-1 if number is None else number for number in self._attributes[1:3])
        if (owner, group) != (-1, -1):
            with _in_words("could not be given to that owner and group"):
                os.fchown(self.descriptor, owner, group)

    def commit(self) -> bytes | None:
        """Put it there, whole and with its mode. Gives the path of the backup, if there is one."""
        with _in_words("was written, but could not be given its mode and owner"):
            old = self._find_old()
            self._set_attributes(old)
        bring_onto_disk(self.descriptor)
        with _in_words("was written, but could not be given its name"):
            self._expect_folder()
            if self._hidden is None:
                self._hidden = self._link()
            else:
                self._expect_own(self._hidden)
        with _in_words("was written, but the old file could not be kept"):
            backup = self._back_up(old) if self._attributes.backup and old is not None else None
        with _in_words("was written, but could not be given its name"):
            self._rename(self._hidden, backup)
            self._hidden = None
            self._sync_folder()
        return None if backup is None else os.path.join(os.path.dirname(self._path), backup)

    @property
    def held(self) -> list[int]:
        return [self.descriptor, self._folder]

    def forget(self) -> None:
        """Have `close` leave a name that it has to another process."""
        self._hidden = None

    def close(self) -> None:
        """Raises nothing: by now there is a result, which no error of this is to hide."""
        if self._hidden is not None:
            self._remove(self._hidden)
        for descriptor in (self.descriptor, self._folder):
            with suppress(OSError):
                os.close(descriptor)

    # Attributes

    def _find_old(self) -> os.stat_result | None:
        try:
            return os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _set_attributes(self, old: os.stat_result | None) -> None:
        """Those of the file that is replaced, as far as this user may give them, but for what
        was asked for. A symbolic link is replaced as if nothing had been there."""
        base = 0o666 & ~_umask()
        if old is not None and stat.S_ISREG(old.st_mode):
            base = old.st_mode & _KEPT_MODE
            if self._take_owner(old):
                if self._attributes.mode is None:
                    self._take_attributes(old)
            elif self._has_another_group(old):
                base &= ~stat.S_IRWXG
        self._set_mode(base)

    def _has_another_group(self, old: os.stat_result) -> bool:
        """One that nobody asked for: what the group of *old* might do was granted to that alone."""
        return self._attributes.group is None and os.fstat(self.descriptor).st_gid != old.st_gid

    def _take_owner(self, old: os.stat_result) -> bool:
        """Whether it got both the owner and the group of *old* where none was asked for."""
        owner = old.st_uid if self._attributes.owner is None else -1
        group = old.st_gid if self._attributes.group is None else -1
        try:
            os.fchown(self.descriptor, owner, group)
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTE:
                raise
            # As with copy, the file is this user's from now on.
            with _as_far_as_possible():
                os.fchown(self.descriptor, -1, group)
            return False
        return True

    def _take_attributes(self, old: os.stat_result) -> None:
        """Those beyond the mode, if *old* may be read and still has its name."""
        try:
            source = self._open_old()
        except OSError:
            return
        try:
            if os.path.samestat(os.fstat(source), old):
                _copy_attributes(source, self.descriptor)
        finally:
            os.close(source)

    def _open_old(self) -> int:
        return os.open(self._name, _O_OLD, dir_fd=self._folder)

    def _set_mode(self, base: int) -> None:
        wanted = self._attributes.mode
        mode = _from_symbols(wanted, base) if isinstance(wanted, str) else base if wanted is None else wanted
        try:
            os.fchmod(self.descriptor, mode)
        except PermissionError:
            # There are file systems without modes; they matter only to who asks for one.
            if wanted is not None:
                raise

    # Names

    def _expect_folder(self) -> None:
        """In one that has another name by now, nobody would find the file under its own."""
        named = os.stat(os.path.dirname(self._path) or b".")
        if not os.path.samestat(named, os.fstat(self._folder)):
            raise FileError(
                "was written, but could not be given its name: its directory was replaced meanwhile"
            )

    def _link(self) -> bytes:
        name = _hidden_name()
        # With descriptors of folders Python calls linkat, which alone can follow this link.
        os.link(
            b"/proc/self/fd/%d" % self.descriptor, name,
            src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=True,
        )  # fmt: skip
        return name

    def _expect_own(self, hidden: bytes) -> None:
        """What somebody put in its place in all that time must not be taken for what was received."""
        found = os.stat(hidden, dir_fd=self._folder, follow_symlinks=False)
        if not os.path.samestat(found, os.fstat(self.descriptor)):
            words = "was written, but could not be given its name: {}, which it had until then, was replaced"
            raise FileError(words.format(f"'{_shown(hidden)}'"), words.format("the hidden one"))

    def _rename(self, hidden: bytes, backup: bytes | None) -> None:
        try:
            os.rename(hidden, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            if backup is not None:
                self._remove(backup)
            raise

    def _back_up(self, old: os.stat_result) -> bytes:
        """Another name for what is replaced: nothing is missing at any time."""
        *others, last = _backup_names(self._name)
        for name in others:
            with suppress(FileExistsError):
                self._keep_old(name, old)
                return name
        self._keep_old(last, old)
        return last

    def _keep_old(self, name: bytes, old: os.stat_result) -> None:
        try:
            os.link(
                self._name, name,
                src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False,
            )  # fmt: skip
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self._copy_old(name, old)

    def _copy_old(self, name: bytes, old: os.stat_result) -> None:
        if stat.S_ISLNK(old.st_mode):
            os.symlink(os.readlink(self._name, dir_fd=self._folder), name, dir_fd=self._folder)
            return
        with os.fdopen(self._open_old(), "rb") as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            with os.fdopen(os.open(name, _O_NEW, _PRIVATE, dir_fd=self._folder), "wb") as target:
                try:
                    _copy(source, target)
                except OSError:
                    self._remove(name)
                    raise

    def _remove(self, name: bytes) -> None:
        """As far as possible: it may be gone, and what led to this is what the user has to know."""
        with suppress(OSError):
            os.unlink(name, dir_fd=self._folder)

    def _sync_folder(self) -> None:
        """The name is to survive a power cut, too."""
        try:
            folder = os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._folder)
        except PermissionError:
            return  # it may be written, but not be listed
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
        finally:
            os.close(folder)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    """All of a file, onto the disk: what it is a copy of will be gone."""
    shutil.copyfileobj(source, target)
    target.flush()
    _copy_status(source.fileno(), target.fileno())
    os.fsync(target.fileno())


def _copy_status(source: int, target: int) -> None:
    """Times, owner, attributes and mode. Where the owner can not be the same, the copy stays
    private: to another owner and group the old mode might grant more."""
    old = os.fstat(source)
    with _as_far_as_possible():
        os.utime(target, ns=(old.st_atime_ns, old.st_mtime_ns))
        os.fchown(target, old.st_uid, old.st_gid)
        _copy_attributes(source, target)
        os.fchmod(target, old.st_mode & _KEPT_MODE)


def _copy_attributes(source: int, target: int) -> None:
    """The access list, the SELinux label, and what users noted. Not security.capability: as with
    set-id bits, its power was granted to other content. The mode has to be set after this, for
    with an access list its bits for the group are the list's mask."""
    if not hasattr(os, "listxattr"):
        return
    names: list[str] = []
    with _as_far_as_possible():
        names = os.listxattr(source)
    for name in names:
        if name in (_ACCESS_LIST, "security.selinux") or name.startswith("user."):
            with _as_far_as_possible():
                os.setxattr(target, name, os.getxattr(source, name))
    if _ACCESS_LIST not in names:
        # The folder's default list might grant more than the old file did.
        with _as_far_as_possible():
            os.removexattr(target, _ACCESS_LIST)


@contextmanager
def _as_far_as_possible() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTE:
            raise


def _backup_names(name: bytes) -> list[bytes]:
    """Names to try for what has *name* so far: the first is like copy's, and a task may want others within
    that second."""
    moment = time.strftime("%Y-%m-%d@%H:%M:%S").encode("ascii")
    first = b"%b.%d.%b" % (name, os.getpid(), moment)
    return [b"%b~" % first, *(b"%b.%d~" % (first, number) for number in range(2, _BACKUPS_OF_A_SECOND + 1))]


def expect_replaceable(path: bytes, *, backup: bool) -> None:
    """Raises FileError for an old file, if there is one, that this user could not replace or keep after
    all had been written."""
    folder, name = os.path.split(path)
    with _in_words("could not be written"):
        try:
            old, around = os.lstat(path), os.stat(folder or b".")
        except FileNotFoundError:
            return
    if around.st_mode & stat.S_ISVTX and os.geteuid() not in (0, old.st_uid, around.st_uid):
        raise FileError(
            "could not be written: in a directory with the sticky bit only its owner may replace a file"
        )
    if backup and len(max(_backup_names(name), key=len)) > _LONGEST_NAME:
        raise FileError("could not be written: its name is too long for the name of a backup")


def _hidden_name() -> bytes:
    """Not made of the file's own name, which may be as long as a name can be."""
    return b".socketpipe-" + secrets.token_hex(8).encode("ascii")


def _shown(name: bytes) -> str:
    return printable(name.decode("utf-8", "surrogateescape"))


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
