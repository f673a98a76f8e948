# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in the place of the local commands: whole or not there at all, whatever is killed."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from harness.ansible import MODULE, Ansible, Run, TaskResult
from harness.network import Target, is_master, processes_here, run
from harness.processes import children_of, parent_of
from harness.streams import CommitGate, sh
from harness.waiting import wait_until

Session = Callable[..., TaskResult]
BOUND = 15.0
LARGE = 300 << 20
ODD_NAMES = ["a b", "it's", "two\nlines", "$ `id`", "-n", "*", "Grüße 漢字 🙂"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where files are written; it has nothing else in it."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture(params=["without a name", "with a hidden name"])
def way(request: pytest.FixtureRequest, ansible: Ansible, tmp_path: Path) -> str:
    """Files that have no name while they are written, and a system that does not have such files."""
    if request.param == "with a hidden name":
        (tmp_path / "python").mkdir()
        (tmp_path / "python" / "sitecustomize.py").write_text("import os\ndel os.O_TMPFILE\n")
        ansible.environment["PYTHONPATH"] = str(tmp_path / "python")
    return str(request.param)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def random_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        subprocess.run(["head", "-c", str(size), "/dev/urandom"], stdout=file, check=True)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# What arrives is what was sent


@pytest.mark.parametrize("size", [0, 1, 65536, LARGE])
def test_a_file_is_pushed(session: Session, tmp_path: Path, folder: Path, size: int) -> None:
    source = random_file(tmp_path / "source", size)
    result = session(input_file=str(source), remote=["dd", f"of={folder}/copy", "bs=1M"])
    assert result.kind == "ok", result.msg
    assert digest(folder / "copy") == digest(source)
    assert (result["bytes_sent"], result["bytes_received"]) == (size, 0)
    assert result["input"] == {"file": str(source), "rc": 0, "signal": None, "stderr": ""}


@pytest.mark.parametrize("size", [0, 1, 65536, LARGE])
def test_a_file_is_pulled(session: Session, tmp_path: Path, folder: Path, size: int) -> None:
    source = random_file(tmp_path / "source", size)
    result = session(remote=["cat", str(source)], output_file=str(folder / "copy"))
    assert result.kind == "ok", result.msg
    assert digest(folder / "copy") == digest(source)
    assert (result["bytes_sent"], result["bytes_received"]) == (0, size)
    assert result["output"] == {"file": f"{folder}/copy", "rc": 0, "signal": None, "stderr": ""}
    assert (result["rc"], result["stdout"], result["changed"]) == (0, "", True)


@pytest.mark.usefixtures("way")
def test_a_file_goes_through_a_filter_into_its_own_place(session: Session, folder: Path) -> None:
    source = random_file(folder / "x", 3_000_000)
    expected = source.read_bytes() + b"more"
    result = session(input_file="x", remote=sh("cat; printf more"), output_file="x", local_chdir=str(folder))
    assert result.kind == "ok", result.msg
    assert source.read_bytes() == expected
    assert os.listdir(folder) == ["x"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_may_have_any_name(session: Session, folder: Path, name: str) -> None:
    (folder / "in").mkdir()
    (folder / "in" / name).write_bytes(b"content")
    result = session(input_file=f"{folder}/in/{name}", remote="cat", output_file=f"{folder}/{name}")
    assert result.kind == "ok", result.msg
    assert (folder / name).read_bytes() == b"content"
    assert result["output"]["file"] == f"{folder}/{name}"


def test_a_file_may_have_a_name_that_is_no_text(ansible: Ansible, target: Target, folder: Path) -> None:
    source, copy = os.fsencode(folder) + b"/s\xff", os.fsencode(folder) + b"/c\xfe"
    Path(os.fsdecode(source)).write_bytes(b"content")
    words = b"input_file='%b' remote=cat output_file='%b'" % (source, copy)
    done = ansible.adhoc({"h": target.inventory()}, "h", "-m", MODULE, "-a", os.fsdecode(words))
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(os.fsdecode(copy)).read_bytes() == b"content"
    assert r"c\\xfe" in done.stdout


def test_home_and_variables_are_expanded(session: Session, ansible: Ansible, folder: Path) -> None:
    ansible.environment.update(HOME=str(folder), FOLDER=str(folder))
    (folder / "source").write_bytes(b"content")
    result = session(input_file="~/source", remote="cat", output_file="$FOLDER/copy")
    assert result.kind == "ok", result.msg
    assert (folder / "copy").read_bytes() == b"content"


def test_a_file_and_a_command_go_together(session: Session, folder: Path) -> None:
    (folder / "source").write_bytes(b"content")
    result = session(input_file=str(folder / "source"), remote="cat", output="wc -c")
    assert (result.kind, result["stdout"].strip()) == ("ok", "7"), result.msg
    assert result["output"]["cmd"] == "wc -c"


def test_with_become_the_files_are_those_of_who_runs_ansible(
    ansible: Ansible, target: Target, folder: Path
) -> None:
    (folder / "source").write_bytes(b"content\n")
    for path in (folder, folder / "source"):
        path.chmod(0o700)
    task = {
        MODULE: {
            "input_file": str(folder / "source"),
            "remote": "cat; id -un",
            "output_file": str(folder / "copy"),
            "shell": True,
        },
        "become": True,
        "become_user": "nobody",
    }
    host = target.inventory(ansible_python_interpreter="/usr/bin/python3")
    result = ansible.play({target.name: host}, [task])[-1]
    assert result.kind == "ok", result.msg
    assert (folder / "copy").read_bytes() == b"content\nnobody\n"
    assert (folder / "copy").stat().st_uid == os.getuid()


def test_a_block_size_does_not_hinder_a_file(session: Session, tmp_path: Path, folder: Path) -> None:
    source = random_file(tmp_path / "source", 2_000_003)
    result = session(
        input_file=str(source), remote="dd bs=32k", output_file=str(folder / "copy"), block_size="32k"
    )
    assert result.kind == "ok", result.msg
    assert digest(folder / "copy") == digest(source)
    assert "61+1 records in" in result["remote"]["stderr"]


# Commands beside the files


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("options", [{}, {"encrypt": True, "checksum": "sha256"}], ids=["direct", "pumped"])
def test_what_is_pulled_is_compressed_here(
    session: Session, tmp_path: Path, folder: Path, options: dict[str, Any]
) -> None:
    source = random_file(tmp_path / "source", 3_000_000)
    copy = folder / "copy.gz"
    copy.write_bytes(b"old")
    result = session(
        remote=["cat", str(source)],
        output="gzip -c",
        output_file=str(copy),
        mode="0640",
        backup=True,
        **options,
    )
    assert result.kind == "ok", result.msg
    assert gzip.decompress(copy.read_bytes()) == source.read_bytes()
    assert mode_of(copy) == 0o640
    assert Path(result["backup_file"]).read_bytes() == b"old"
    own = {"cmd": "gzip -c", "file": str(copy), "rc": 0, "signal": None, "stderr": ""}
    assert result["output"] == own
    assert (result["rc"], result["stdout"], result["bytes_received"]) == (0, "", 3_000_000)
    assert len(os.listdir(folder)) == 2


@pytest.mark.parametrize("options", [{}, {"encrypt": True, "checksum": "sha256"}], ids=["direct", "pumped"])
def test_what_is_pushed_is_decompressed_here(
    session: Session, tmp_path: Path, folder: Path, options: dict[str, Any]
) -> None:
    source = random_file(tmp_path / "source", 3_000_000)
    packed = tmp_path / "source.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    result = session(
        input=["gzip", "-dc"], input_file=str(packed), remote=["dd", f"of={folder}/copy"], **options
    )
    assert result.kind == "ok", result.msg
    assert digest(folder / "copy") == digest(source)
    own = {"cmd": ["gzip", "-dc"], "file": str(packed), "rc": 0, "signal": None, "stderr": ""}
    assert result["input"] == own
    assert result["bytes_sent"] == 3_000_000


def test_both_go_through_commands_and_the_paths_are_relative_to_local_chdir(
    session: Session, folder: Path
) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "x").write_bytes(b"content\n")
    result = session(
        input="cat; pwd",
        input_file="in/x",
        remote="cat",
        output="cat; pwd",
        output_file="in/x",
        local_chdir=str(folder),
        shell=True,
    )
    assert result.kind == "ok", result.msg
    assert (folder / "in" / "x").read_text() == f"content\n{folder}\n{folder}\n"


#: A filter behind a FIFO, as shells make one of >(gzip -c): the command does not wait for it.
BEHIND = "mkfifo {0}/fifo; ({1}exec gzip -c) < {0}/fifo & cat > {0}/fifo; rm {0}/fifo"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("job", [{}, {"async": 60, "poll": 1}], ids=["at once", "async"])
def test_what_the_command_left_running_is_waited_for(
    ansible: Ansible, target: Target, tmp_path: Path, folder: Path, job: dict[str, int]
) -> None:
    script = BEHIND.format(tmp_path, "sleep 0.5; ")
    options = {"remote": "seq 5000", "output": script, "output_file": str(folder / "f"), "shell": True}
    result = ansible.play({target.name: target.inventory()}, [{MODULE: options, **job}])[-1]
    assert result.kind == "ok", result.msg
    assert gzip.decompress((folder / "f").read_bytes()).endswith(b"\n5000\n")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("job", [{}, {"async": 60, "poll": 1}], ids=["at once", "async"])
def test_a_file_to_which_something_still_writes_gets_no_name(
    ansible: Ansible, target: Target, tmp_path: Path, folder: Path, job: dict[str, int]
) -> None:
    """It was taken for whole, and got longer under its name."""
    (folder / "f").write_bytes(b"old")
    door = tmp_path / "door"
    script = BEHIND.format(tmp_path, f"while [ -d {tmp_path} ] && ! [ -e {door} ]; do sleep 0.1; done; ")
    options = {"remote": "seq 5000", "output": script, "output_file": str(folder / "f"), "shell": True}
    result = ansible.play({target.name: target.inventory()}, [{MODULE: options, **job}])[-1]
    door.touch()
    assert result.kind == "failed"
    assert re.search(
        rf"^output file '{folder}/f' on controller could not be given its name: process \d+ \(\w+\), which "
        "the command left running, still writes to it; have the command wait for all that it starts$",
        result.msg,
    )
    assert (result["rc"], result["output"]["rc"]) == (1, 0)
    assert os.listdir(folder) == ["f"]
    assert (folder / "f").read_bytes() == b"old"


@contextmanager
def numbers_through_fifos(folder: Path) -> Iterator[None]:
    """Numbers come out of the FIFO `in` there, and have to come out of the FIFO `out`."""
    for name in ("in", "out"):
        os.mkfifo(folder / name)
    with (
        (folder / "read").open("wb") as read,
        subprocess.Popen(["sh", "-c", f"seq 100000 > {folder}/in"]),
        subprocess.Popen(["cat", str(folder / "out")], stdout=read),
    ):
        yield
    assert (folder / "read").read_bytes() == b"".join(b"%d\n" % number for number in range(1, 100001))


def test_fifos_beside_commands_are_read_and_written_in_their_place(session: Session, folder: Path) -> None:
    with numbers_through_fifos(folder):
        options = {"input_file": "in", "output_file": "out", "local_chdir": str(folder)}
        result = session(input="gzip -c", remote="cat", output="gzip -dc", **options)
        assert result.kind == "ok", result.msg
    assert result["output"]["file"] == f"{folder}/out"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"output": "nonexistent", "output_file": "f"},
            "output command 'nonexistent' on controller: no executable 'nonexistent' was found",
        ),
        (
            {"output": "nonexistent", "output_file": "/dev/null"},
            "output command 'nonexistent' on controller: no executable 'nonexistent' was found",
        ),
        (
            {"output": "cat", "output_file": "nowhere/f"},
            "output file '{}/nowhere/f' on controller could not be written: there is no directory",
        ),
        (
            {"input": "cat", "input_file": "nowhere"},
            "input file '{}/nowhere' on controller could not be read: there is no such file",
        ),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--check"]], ids=["run", "check mode"])
def test_neither_a_missing_command_nor_a_missing_file_starts_or_connects_anything(
    ansible: Ansible, target: Target, folder: Path, options: dict[str, str], words: str, flags: list[str]
) -> None:
    task = {MODULE: {"remote": ["touch", f"{folder}/ran"], "local_chdir": str(folder), **options}}
    result = ansible.play({target.name: target.inventory()}, [task], *flags)[-1]
    assert result.kind == "failed"
    assert result.msg.startswith(words.format(folder))
    assert "path" not in result
    assert os.listdir(folder) == []


def test_check_mode_writes_nothing_and_runs_no_command_beside_a_file(
    ansible: Ansible, target: Target, folder: Path
) -> None:
    (folder / "in").write_bytes(b"content")
    options = {"input": "touch ran", "input_file": "in", "output": "touch ran", "output_file": "out"}
    task = {MODULE: {"remote": "cat", "local_chdir": str(folder), **options}}
    result = ansible.play({target.name: target.inventory()}, [task], "--check")[-1]
    assert result.kind == "ok", result.msg
    assert os.listdir(folder) == ["in"]


# Mode, owner, group, and what was there before


@pytest.mark.usefixtures("way")
def test_a_file_gets_what_was_asked_for(session: Session, folder: Path) -> None:
    result = session(
        remote="echo x", output_file=str(folder / "f"), mode="u=rw,g=r,o=", owner="nobody", group="12345"
    )
    assert result.kind == "ok", result.msg
    status = (folder / "f").stat()
    assert (mode_of(folder / "f"), status.st_uid, status.st_gid) == (0o640, 65534, 12345)


@pytest.mark.usefixtures("way")
def test_a_file_takes_over_what_the_old_one_had_and_the_old_one_is_kept(
    session: Session, folder: Path
) -> None:
    old = folder / "f"
    old.write_bytes(b"old")
    os.chown(old, 12345, 12346)
    old.chmod(0o604)
    inode = old.stat().st_ino
    result = session(remote="printf new", output_file=str(old), backup=True)
    assert result.kind == "ok", result.msg
    status = old.stat()
    assert (mode_of(old), status.st_uid, status.st_gid, old.read_bytes()) == (0o604, 12345, 12346, b"new")
    kept = Path(result["backup_file"])
    assert re.fullmatch(rf"{folder}/f\.\d+\.\d{{4}}-\d\d-\d\d@\d\d:\d\d:\d\d~", str(kept))
    assert (kept.stat().st_ino, kept.read_bytes()) == (inode, b"old")


def test_a_new_file_is_what_copy_would_make_of_it(ansible: Ansible, target: Target, folder: Path) -> None:
    """The umask is that of Ansible; a mode may be a number, too."""
    copy = {"ansible.builtin.copy": {"content": "x", "dest": f"{folder}/copied"}, "delegate_to": "localhost"}
    ours = [
        {MODULE: {"remote": "printf x", "output_file": f"{folder}/ours"}},
        {MODULE: {"remote": "printf x", "output_file": f"{folder}/numbered", "mode": 0o751}},
    ]
    before = os.umask(0o027)
    try:
        results = ansible.play({target.name: target.inventory()}, [copy, *ours])
    finally:
        os.umask(before)
    assert [result.kind for result in results] == ["ok"] * 3, results
    assert mode_of(folder / "ours") == mode_of(folder / "copied") == 0o640
    assert mode_of(folder / "numbered") == 0o751


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(session: Session, folder: Path) -> None:
    (folder / "other").write_bytes(b"old")
    (folder / "f").symlink_to("other")
    result = session(remote="printf new", output_file=str(folder / "f"))
    assert result.kind == "ok", result.msg
    assert not (folder / "f").is_symlink()
    assert ((folder / "f").read_bytes(), (folder / "other").read_bytes()) == (b"new", b"old")


def test_a_name_that_became_a_directory_fails_the_task_in_words(session: Session, folder: Path) -> None:
    """The transfer was well; only the name could not be given."""
    result = session(remote=["mkdir", str(folder / "f")], output_file=str(folder / "f"))
    assert result.kind == "failed"
    words = "was written, but could not be given its name: Is a directory"
    assert result.msg == f"output file '{folder}/f' on controller {words}"
    assert (result["rc"], result["output"]["rc"], result["output"]["stderr"]) == (1, 1, words)
    assert os.listdir(folder) == ["f"]


# Devices and FIFOs


def test_a_fifo_is_read_and_written_in_its_place(session: Session, folder: Path) -> None:
    with numbers_through_fifos(folder):
        result = session(
            input_file=str(folder / "in"), remote="cat", output_file=str(folder / "out"), block_size="10k"
        )
        assert result.kind == "ok", result.msg
    assert result["input"]["file"] == f"{folder}/in"
    assert stat.S_ISFIFO((folder / "out").stat().st_mode)


def test_a_character_device_is_written_in_its_place(session: Session, folder: Path) -> None:
    (folder / "null").symlink_to("/dev/null")
    result = session(remote="seq 1000", output_file=str(folder / "null"))
    assert result.kind == "ok", result.msg
    assert result["bytes_received"] > 0
    assert (folder / "null").is_symlink()


def test_a_device_that_can_not_be_written_is_named(session: Session) -> None:
    result = session(remote=["cat", "/dev/zero"], output_file="/dev/full")
    assert result.kind == "failed"
    assert result.msg == (
        "output file '/dev/full' on controller could not be written: "
        "dd: error writing '/dev/full': No space left on device"
    )


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "image").write_bytes(bytes(8 << 20))
    yield from attached(tmp_path / "image")


def attached(image: Path) -> Iterator[Path]:
    """As a block device."""
    made = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no loop device here: {made.stderr}")
    yield Path(made.stdout.strip())
    run("losetup", "--detach", made.stdout.strip())


def test_a_block_device_is_written_and_read_in_its_place(
    session: Session, loop_device: Path, tmp_path: Path, folder: Path
) -> None:
    source = random_file(tmp_path / "source", 8 << 20)
    pulled = session(remote=["cat", str(source)], output_file=str(loop_device))
    assert pulled.kind == "ok", pulled.msg
    assert digest(tmp_path / "image") == digest(source)
    pushed = session(input_file=str(loop_device), remote=["dd", f"of={folder}/copy"])
    assert pushed.kind == "ok", pushed.msg
    assert digest(folder / "copy") == digest(source)


def test_a_block_device_that_is_too_small_is_named(session: Session, loop_device: Path) -> None:
    result = session(remote=["head", "-c", "9000000", "/dev/zero"], output_file=str(loop_device))
    assert result.kind == "failed"
    assert result.msg == (
        f"output file '{loop_device}' on controller could not be written: No space left on device"
    )


def test_what_a_command_printed_to_a_block_device_is_on_it(
    session: Session, loop_device: Path, tmp_path: Path, folder: Path
) -> None:
    """Not by the last one's closing it: somebody else has it open, too."""
    source = random_file(tmp_path / "source", 8 << 20)
    with loop_device.open("rb"):
        pulled = session(remote=["gzip", "-c", str(source)], output="gzip -dc", output_file=str(loop_device))
        assert pulled.kind == "ok", pulled.msg
        assert digest(tmp_path / "image") == digest(source)
    pushed = session(input="gzip -c", input_file=str(loop_device), remote=sh(f"gzip -dc > {folder}/copy"))
    assert pushed.kind == "ok", pushed.msg
    assert digest(folder / "copy") == digest(source)


@pytest.fixture
def leaky_device(small_disk: Path) -> Iterator[Path]:
    """A device that takes more into memory than there is room for below it."""
    image = small_disk / "image"
    image.touch()
    os.truncate(image, 8 << 20)
    yield from attached(image)


def test_a_block_device_that_fails_only_with_fsync_fails_the_task(
    session: Session, leaky_device: Path
) -> None:
    result = session(
        remote=["head", "-c", "4000000", "/dev/urandom"], output="cat", output_file=str(leaky_device)
    )
    assert result.kind == "failed"
    assert result.msg.startswith(
        f"output file '{leaky_device}' on controller was written, but could not be brought onto the disk: "
    )
    assert (result["rc"], result["output"]["rc"], result["output"]["cmd"]) == (1, 0, "cat")


# What is refused before anything connects


@pytest.mark.parametrize("check", [False, True], ids=["run", "check mode"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input_file": "nowhere"}, "could not be read: there is no such file"),
        ({"input_file": "directory"}, "is a directory: name a file, or use tar in a command"),
        ({"output_file": "directory"}, "is a directory: name a file, or use tar in a command"),
        ({"output_file": "nowhere/f"}, "could not be written: there is no directory '{}/nowhere'"),
        (
            {"output_file": "/dev/null", "mode": "0600"},
            "is a character device or a FIFO: mode, owner, group and backup are for regular files",
        ),
        ({"output_file": "/proc/f"}, None),
    ],
)
def test_what_can_not_be_read_or_written_starts_and_connects_nothing(
    ansible: Ansible, target: Target, folder: Path, options: dict[str, str], words: str | None, check: bool
) -> None:
    (folder / "directory").mkdir()
    task = {MODULE: {"remote": ["touch", f"{folder}/ran"], "local_chdir": str(folder), **options}}
    flags = ["--check"] if check and words else []
    result = ansible.play({target.name: target.inventory()}, [task], *flags)[-1]
    (role, path), *_more = options.items()
    assert result.kind == "failed"
    assert result.msg.startswith(f"{role[:-5]} file '{folder / path}' on controller ")
    assert result.msg.endswith((words or "").format(folder))
    assert "path" not in result
    assert os.listdir(folder) == ["directory"]


def test_check_mode_writes_nothing(ansible: Ansible, target: Target, folder: Path) -> None:
    (folder / "old").write_bytes(b"old")
    for name in ("old", "new"):
        options = {"input_file": "old", "remote": "cat", "output_file": name, "local_chdir": str(folder)}
        result = ansible.play({target.name: target.inventory()}, [{MODULE: options}], "--check")[-1]
        assert result.kind == "ok", result.msg
        assert result.msg.startswith("Would run: ")
    assert (os.listdir(folder), (folder / "old").read_bytes()) == (["old"], b"old")


# A reader that ends early


def test_a_file_that_is_not_read_to_its_end_fails_the_task(
    session: Session, target: Target, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "source", 30_000_000)
    result = session(input_file=str(source), remote=["head", "-c", "10"])
    assert result.kind == "failed"
    assert result.msg.startswith(
        f"input file '{source}' on controller could not be sent to its end, "
        f"after remote command 'head -c 10' on {target.name} had ended without reading it all: "
    )
    assert (result["rc"], result["input"]["rc"]) == (141, 141)


@pytest.mark.parametrize("count", ["10", "30000000"])
def test_a_file_need_not_be_read_to_its_end_when_141_is_accepted(
    session: Session, tmp_path: Path, count: str
) -> None:
    source = random_file(tmp_path / "source", 30_000_000)
    result = session(
        input_file=str(source), remote=sh(f"head -c {count} | wc -c"), accept_rc={"input": [0, 141]}
    )
    assert (result.kind, result["stdout"].strip()) == ("ok", count), result.msg
    assert ("warnings" in result) == (count == "10")


def test_no_accepted_status_makes_an_error_of_a_file_a_success(session: Session, target: Target) -> None:
    result = session(input_file="/proc/self/mem", remote="cat", accept_rc={"input": [0, 1, 141]})
    assert result.kind == "failed"
    assert result.msg == "input file '/proc/self/mem' on controller could not be read: Input/output error"


# Whatever fails or is killed, the old file is untouched and nothing is beside it


class OldFile:
    """What must stay as it is; *path* is what is to be written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "f"
        self.path.write_bytes(b"old")
        self._before = self.path.stat()

    def expect_untouched(self) -> None:
        after = self.path.stat()
        assert os.listdir(self._folder) == ["f"]
        assert (after.st_ino, after.st_mtime_ns) == (self._before.st_ino, self._before.st_mtime_ns)
        assert self.path.read_bytes() == b"old"


@pytest.fixture
def old(folder: Path) -> OldFile:
    return OldFile(folder)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("end", "words"),
    [("exit 3", "exited 3"), ("kill -9 $$", "was ended by SIGKILL")],
)
def test_a_remote_that_fails_leaves_the_old_file(
    session: Session, old: OldFile, end: str, words: str
) -> None:
    result = session(remote=sh(f"head -c 5000000 /dev/zero; {end}"), output_file=str(old.path), backup=True)
    assert result.kind == "failed"
    assert result.msg.endswith(words)
    assert "backup_file" not in result
    old.expect_untouched()


@pytest.mark.usefixtures("way")
def test_a_target_that_can_not_be_reached_leaves_the_old_file(
    ansible: Ansible, target: Target, old: OldFile
) -> None:
    host = target.inventory(ansible_host="192.0.2.77", ansible_timeout=2)
    task = {MODULE: {"remote": "echo x", "output_file": str(old.path)}}
    assert ansible.play({target.name: host}, [task])[-1].kind == "unreachable"
    old.expect_untouched()


@pytest.mark.usefixtures("way")
def test_a_full_disk_leaves_the_old_file(session: Session, small_disk: Path) -> None:
    old = OldFile(small_disk)
    result = session(remote=["head", "-c", "20000000", "/dev/zero"], output_file=str(old.path))
    assert result.kind == "failed"
    assert result.msg == (
        f"output file '{old.path}' on controller could not be written: No space left on device"
    )
    old.expect_untouched()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("end", "words"), [("exit 3", "exited 3"), ("kill -9 $$", "was ended by SIGKILL")])
def test_an_output_command_that_fails_leaves_the_old_file(
    session: Session, old: OldFile, end: str, words: str
) -> None:
    options = {"output": f"cat; {end}", "output_file": str(old.path), "backup": True}
    result = session(remote="seq 100000", shell=True, **options)
    assert result.kind == "failed"
    assert result.msg == f"output command 'cat; {end}' on controller {words}"
    assert "backup_file" not in result
    old.expect_untouched()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("options", [{}, {"encrypt": True, "checksum": "sha256"}], ids=["direct", "pumped"])
def test_a_remote_that_fails_leaves_the_old_file_whatever_the_output_command_makes_of_it(
    session: Session, old: OldFile, options: dict[str, Any]
) -> None:
    result = session(
        remote=sh("head -c 5000000 /dev/zero; exit 3"),
        output=sh("cat; exit 0"),
        output_file=str(old.path),
        **options,
    )
    assert result.kind == "failed"
    assert result.msg.endswith("exited 3")
    assert result.msg.startswith("remote command ")
    old.expect_untouched()


@pytest.mark.usefixtures("way")
def test_a_disk_that_is_full_is_in_the_words_of_the_output_command(
    session: Session, small_disk: Path
) -> None:
    old = OldFile(small_disk)
    remote = ["head", "-c", "20000000", "/dev/zero"]
    result = session(remote=remote, output="cat", output_file=str(old.path))
    assert result.kind == "failed"
    assert re.fullmatch(
        "output command 'cat' on controller exited 1: cat: .*: No space left on device", result.msg
    )
    old.expect_untouched()


class Middle:
    """A session in the middle of its stream, from an endless file through the target to *old*, by way of
    *commands* or without any."""

    def __init__(
        self,
        start: Callable[..., Run],
        target: Target,
        old: OldFile,
        folder: Path,
        commands: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.target = target
        self._before = set(processes_here())
        self.there = CommitGate(folder, "there")
        source = folder / "endless"
        source.touch()
        os.truncate(source, 1 << 40)
        copy = f"tee {self.there.part} && mv {self.there.part} {self.there.whole}"
        files = {"input_file": str(source), "output_file": str(old.path)}
        self.run = start(**commands, **files, remote=copy, shell=True, rate_limit="2M")
        wait_until(lambda: self.there.has_bytes(300_000), "the stream flows", timeout=60)

    def remote_endpoint(self) -> int:
        """The process of the module: the target's Python whose command runs."""
        processes = self.target.processes()
        (command,) = [pid for pid, words in processes.items() if words.startswith("/bin/sh -c tee ")]
        return parent_of(command)

    def local_endpoint(self) -> int:
        """Its guard looks like it, but has started nothing."""
        return next(pid for pid, words in processes_here().items() if "_engine" in words and children_of(pid))

    def worker(self) -> int:
        return parent_of(self.local_endpoint())

    def playbook(self) -> int:
        return self.run.process.pid

    def expect_nothing_left(self) -> None:
        def session_processes() -> dict[int, str]:
            everything = {**processes_here(), **self.target.processes()}
            return {
                pid: words
                for pid, words in everything.items()
                if pid not in self._before and not is_master(words)
            }

        try:
            wait_until(lambda: not session_processes(), "nothing of the session is left", BOUND)
        except AssertionError as error:
            raise AssertionError(f"{error}: {session_processes()}") from None
        assert not self.there.whole.exists()


@pytest.mark.parametrize("victim", ["local_endpoint", "remote_endpoint", "worker", "playbook"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_is_killed_the_old_file_is_untouched_and_nothing_is_left(
    start_session: Callable[..., Run],
    target: Target,
    tmp_path: Path,
    old: OldFile,
    way: str,
    victim: str,
    signum: signal.Signals,
) -> None:
    middle = Middle(start_session, target, old, tmp_path)
    assert len(os.listdir(old.path.parent)) == (1 if way == "without a name" else 2)
    os.kill(getattr(middle, victim)(), signum)
    if victim == "worker":
        # Ansible itself waits for a worker that was killed, so it is ended too.
        wait_until(lambda: not middle.target.processes(), "the target's side has ended")
        os.kill(middle.playbook(), signal.SIGTERM)
    middle.expect_nothing_left()
    old.expect_untouched()


@pytest.mark.parametrize("victim", ["local_endpoint", "remote_endpoint", "worker", "playbook"])
def test_whoever_is_killed_a_command_beside_a_file_leaves_nothing_either(
    start_session: Callable[..., Run], target: Target, tmp_path: Path, old: OldFile, way: str, victim: str
) -> None:
    middle = Middle(start_session, target, old, tmp_path, {"input": "cat", "output": "cat"})
    assert len(os.listdir(old.path.parent)) == (1 if way == "without a name" else 2)
    os.kill(getattr(middle, victim)(), signal.SIGKILL)
    if victim == "worker":
        # Ansible itself waits for a worker that was killed, so it is ended too.
        wait_until(lambda: not middle.target.processes(), "the target's side has ended")
        os.kill(middle.playbook(), signal.SIGTERM)
    middle.expect_nothing_left()
    old.expect_untouched()


def test_killed_at_once_worker_and_endpoint_leave_nothing(
    start_session: Callable[..., Run], target: Target, tmp_path: Path, old: OldFile
) -> None:
    """A file without a name goes with the last process that has it."""
    middle = Middle(start_session, target, old, tmp_path)
    victims = [middle.worker(), middle.local_endpoint()]
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not middle.target.processes(), "the target's side has ended")
    os.kill(middle.playbook(), signal.SIGTERM)
    middle.expect_nothing_left()
    old.expect_untouched()


def test_an_input_file_is_let_go_when_the_session_ends_in_the_middle(
    start_session: Callable[..., Run], target: Target, tmp_path: Path
) -> None:
    """While nobody reads what was sent."""
    source = random_file(tmp_path / "source", 30_000_000)
    started = start_session(input_file=str(source), remote=sh(f"touch {tmp_path}/began; sleep 60"))
    wait_until((tmp_path / "began").exists, "the remote command runs", timeout=60)
    os.kill(started.process.pid, signal.SIGTERM)
    started.process.wait(BOUND)


def test_a_remote_that_pauses_is_waited_for(
    start_session: Callable[..., Run], target: Target, tmp_path: Path, folder: Path
) -> None:
    """The thread waits in the kernel, and the session says what it has to say meanwhile."""
    script = f"echo one; touch {tmp_path}/began; while ! test -e {tmp_path}/go; do sleep 0.1; done; echo two"
    started = start_session(remote=sh(script), output_file=str(folder / "f"))
    wait_until((tmp_path / "began").exists, "the remote command runs", timeout=60)
    assert os.listdir(folder) == []
    (tmp_path / "go").touch()
    result: Any = started.wait()[-1]
    assert result.kind == "ok", result.msg
    assert (folder / "f").read_bytes() == b"one\ntwo\n"
