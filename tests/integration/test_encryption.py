# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted and checked sessions, over ssh."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import secrets
import signal
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.ansible import MODULE, Ansible, Run, TaskResult
from harness.middle import BOUND, Middle, starter_of
from harness.middlebox import Change, Flip, FlipLast, LoseRest, Tamperer, Way
from harness.network import Target, processes_here
from harness.streams import SHORT_WRITES, SHORT_WRITES_SIZE, CommitGate, copied_by_dd, sh
from harness.topology import Network
from harness.waiting import HANGS_AFTER, wait_until
from harness.wire import (
    Capture,
    ProcessWatch,
    Secrets,
    files_since,
    in_the_way,
    runs,
)

Session = Callable[..., TaskResult]
Start = Callable[..., Run]
Variables = dict[str, object]
Options = dict[str, Any]

DATA = os.urandom(5_000_001)
#: The two reasons for bytes to pass through the endpoints.
PUMPED: dict[str, Options] = {"encrypted": {"encrypt": True}, "checked": {"checksum": "sha256"}}
for_either_reason = pytest.mark.parametrize("pumped", PUMPED.values(), ids=PUMPED)
#: For the sessions that somebody is in the way of.
PORT = 50123


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def gate(tmp_path: Path) -> CommitGate:
    return CommitGate(tmp_path)


@pytest.mark.parametrize("listen", ["local", "remote", "auto"])
@pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("checksum", [None, "sha256", "crc32"])
def test_what_arrives_is_what_was_sent(
    session: Session, tmp_path: Path, source: Path, listen: str, encrypt: bool, checksum: str | None
) -> None:
    options = {} if checksum is None else {"checksum": checksum}
    result = session(
        input=["cat", str(source)],
        remote=["cat"],
        output=["dd", f"of={tmp_path}/copy"],
        listen=listen,
        encrypt=encrypt,
        **options,
    )
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == DATA
    assert (result["bytes_sent"], result["bytes_received"]) == (len(DATA), len(DATA))
    digests = {
        None: None,
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "crc32": f"{zlib.crc32(DATA):08x}",
    }
    for name in ("checksum_sent", "checksum_received"):
        assert result.get(name) == digests[checksum]


# Who reads the wire


class Overheard:
    """A checked session both ways, and all that was on the wire meanwhile."""

    def __init__(self, session: Session, target: Target, folder: Path, *, encrypt: bool) -> None:
        self.payloads = {"there": os.urandom(100_000), "back": os.urandom(100_000)}
        for name, payload in self.payloads.items():
            (folder / name).write_bytes(payload)
        self.words = {role: secrets.token_hex(20) for role in ("input", "remote", "output")}
        say = {role: f"echo {words} >&2" for role, words in self.words.items()}
        with Capture(target.link) as self.capture:
            self.result = session(
                input=f"{say['input']}; cat {folder}/there",
                remote=f"{say['remote']}; cat > {folder}/arrived; cat {folder}/back",
                output=f"{say['output']}; cat > {folder}/returned",
                shell=True,
                encrypt=encrypt,
                checksum="sha256",
            )
        assert self.result.kind == "ok", self.result.msg
        assert (folder / "arrived").read_bytes() == self.payloads["there"]
        assert (folder / "returned").read_bytes() == self.payloads["back"]
        for role, words in self.words.items():
            assert self.result[role]["stderr"] == f"{words}\n"
        # It was this session that was captured, both ways.
        assert min(self.capture.sizes(self.result["path"]["port"])) > 100_000

    @property
    def secrets(self) -> list[bytes]:
        digests = [hashlib.sha256(payload).hexdigest() for payload in self.payloads.values()]
        return [*self.payloads.values(), *map(str.encode, [*self.words.values(), *digests])]


def test_whoever_reads_the_wire_reads_nothing_of_an_encrypted_session(
    session: Session, target: Target, tmp_path: Path
) -> None:
    """Neither data nor reports nor digests, and not even that it is socketpipe's."""
    overheard = Overheard(session, target, tmp_path, encrypt=True)
    assert overheard.capture.runs_of(*overheard.secrets) == set()
    assert not overheard.capture.holds(b"socketpipe")


def test_whoever_reads_the_wire_reads_all_of_a_plain_session(
    session: Session, target: Target, tmp_path: Path
) -> None:
    """What encryption is for."""
    overheard = Overheard(session, target, tmp_path, encrypt=False)
    read = overheard.capture.runs_of(*overheard.secrets)
    for secret in overheard.secrets:
        assert overheard.capture.holds(secret)
        assert read.issuperset(runs(secret))
    assert overheard.capture.holds(b"socketpipe\x01")


# Where the secrets are


class Blocked:
    """An encrypted session whose commands wait for `release`, and a record of what both endpoints
    were told. Its files are in *folder*, the record is in a folder of its own."""

    def __init__(
        self, ansible: Ansible, target: Target, folder: Path, record: Path, pipelining: bool
    ) -> None:
        self.began = time.time()
        self.folder = folder
        self.remote_tmp = folder / "remote_tmp"
        self._record = record / "told"
        self._release = folder / "release"
        os.mkfifo(self._release)
        ansible.environment.update(
            ANSIBLE_CALLBACKS_ENABLED="results,recorder",
            ANSIBLE_LOG_PATH=str(folder / "ansible.log"),
            ANSIBLE_PIPELINING=str(pipelining),
            SOCKETPIPE_RECORD=str(self._record),
        )
        syslog = (
            "import syslog\n"
            "def log(*words):\n"
            f"    with open({str(folder / 'syslog')!r}, 'a') as file: print(*words, file=file)\n"
            "syslog.syslog = log\n"
        )
        python = python_that(folder, syslog)
        host = target.inventory(ansible_python_interpreter=python, ansible_remote_tmp=str(self.remote_tmp))
        self.remote_command = f"touch {folder}/there; cat"
        commands = {"input": f"touch {folder}/here; cat {self._release}", "remote": self.remote_command}
        task = {MODULE: {**commands, "shell": True, "encrypt": True, "checksum": "sha256"}}
        self._run = ansible.start({target.name: host}, [task], "-vvvvv")
        for name in ("here", "there"):
            wait_until((folder / name).exists, "the commands run", timeout=60)

    def told(self) -> bytes:
        """Also by Ansible to the target in a file, which is how it does without pipelining."""
        written = [path.read_bytes() for path in self.remote_tmp.rglob("AnsiballZ_*")]
        return b"\n".join([self._record.read_bytes(), *written])

    def files(self) -> dict[Path, bytes]:
        """All that was written since it began, where anybody might have written anything."""
        places = [*map(Path, ("/tmp", "/var/tmp", "/dev/shm", "/run", "/root/.ansible", "/var/log"))]
        besides = [self._record.parent, *Path("/tmp").glob("pytest-of-*")]
        files = {**files_since(self.began, places, besides), **files_since(self.began, [self.folder])}
        assert self.folder / "ansible" / "log" in files
        return files

    def end(self) -> TaskResult:
        with self._release.open("w") as fifo:
            fifo.write("released\n")
        return self.wait()

    def wait(self) -> TaskResult:
        return self._run.wait()[-1]


@pytest.fixture
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("record")


def python_that(folder: Path, does: str) -> str:
    """A Python for a target that begins with these lines."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(does, encoding="utf-8")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder}/site exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return str(python)


def expect_all_known(told: Secrets) -> None:
    """The search would find them: it does where they are on purpose."""
    assert told.private_keys == 2
    assert {"the session's key, raw", "the session's key, hexadecimal"} < set(told.forms)


def places_of(found: Secrets, files: dict[Path, bytes]) -> dict[Path, set[str]]:
    return {path: names for path, data in files.items() if (names := found.found_in(data))}


def test_the_secrets_are_in_no_log_process_result_or_file(
    ansible: Ansible, target: Target, tmp_path: Path, record: Path
) -> None:
    with ProcessWatch() as processes:
        blocked = Blocked(ansible, target, tmp_path, record, pipelining=True)
        processes.look()
        told = Secrets(blocked.told())
        meanwhile = blocked.files()
        result = blocked.end()
    assert (result.kind, result["stdout"]) == ("ok", "released\n"), result.msg
    expect_all_known(told)
    assert set(told.forms) - told.found_in(blocked.told()) == {
        name for name in told.forms if name.endswith("raw")
    }
    afterwards = blocked.files()
    # -vvvvv and syslog tell what they always tell.
    assert b"socketpipe_endpoint" in afterwards[tmp_path / "ansible.log"]
    assert b"NOT_LOGGING_PARAMETER" in afterwards[tmp_path / "syslog"]
    for words in (b"_engine", blocked.remote_command.encode(), b"SOCKETPIPE_RECORD=", b"SSH_CONNECTION="):
        assert any(words in seen for seen in processes.seen)
    assert told.found_in(b"\0".join(processes.seen)) == set()
    assert told.found_in(repr(result).encode()) == set()
    assert places_of(told, meanwhile) == {}
    assert places_of(told, afterwards) == {}


def test_without_pipelining_the_secrets_are_in_ansibles_own_file_and_only_meanwhile(
    ansible: Ansible, target: Target, tmp_path: Path, record: Path
) -> None:
    """Ansible itself writes a module and its arguments there, for its user alone."""
    with ProcessWatch() as processes:
        blocked = Blocked(ansible, target, tmp_path, record, pipelining=False)
        processes.look()
        told = Secrets(blocked.told())
        meanwhile = blocked.files()
        (path,) = places_of(told, meanwhile)
        modes = [oct(place.stat().st_mode & 0o777) for place in (path, path.parent)]
        result = blocked.end()
    assert result.kind == "ok", result.msg
    expect_all_known(told)
    assert (path.name, path.parent.parent) == ("AnsiballZ_socketpipe_endpoint.py", blocked.remote_tmp)
    # To be run it is executable for its owner.
    assert modes == ["0o700", "0o700"]
    assert told.found_in(b"\0".join(processes.seen)) == set()
    assert told.found_in(repr(result).encode()) == set()
    assert not path.exists()
    assert places_of(told, blocked.files()) == {}


def test_a_target_that_was_killed_leaves_no_secret_behind(
    ansible: Ansible, target: Target, tmp_path: Path, record: Path
) -> None:
    """Ansible's own files for a module are left where they are, for who would remove them is dead."""
    blocked = Blocked(ansible, target, tmp_path, record, pipelining=True)
    told = Secrets(blocked.told())
    os.kill(starter_of(target.processes(), blocked.remote_command), signal.SIGKILL)
    result = blocked.wait()
    assert result.kind == "failed"
    expect_all_known(told)
    left = blocked.files()
    assert any("socketpipe_endpoint_payload" in str(path) for path in left), "the module's own files are left"
    assert told.found_in(repr(result).encode()) == set()
    assert places_of(told, left) == {}


# Who changes what is on the wire


@pytest.fixture
def tampered(session: Session, target: Target) -> Session:
    """A session of whose connection *number* somebody makes a *change*; 0 is the control connection.
    The change is to what the controller sends if *sent*, else to what it gets."""

    def run(change: Change, *, number: int = 1, sent: bool = True, **options: Any) -> TaskResult:
        def relay(port: int) -> Tamperer:
            return Tamperer(port, {Way(number, from_connector=sent): change})

        with in_the_way(target, PORT, relay) as passed:
            result = session(listen="remote", ports=str(PORT), **options)
        assert passed.passed > number
        return result

    return run


def one_way(direction: str, source: Path, reader: list[str]) -> Options:
    if direction == "input":
        return {"input": ["cat", str(source)], "remote": reader, "sent": True}
    return {"remote": ["cat", str(source)], "output": reader, "sent": False}


@pytest.mark.parametrize(
    ("direction", "change"),
    [
        pytest.param("input", lambda: Flip(1_000_000), id="sent"),
        pytest.param("output", lambda: Flip(1_000_000), id="received"),
        pytest.param("input", lambda: FlipLast(after=1_000_000), id="at-the-very-end"),
    ],
)
@for_either_reason
def test_a_bit_that_was_changed_on_the_way_fails_the_task(
    tampered: Session,
    target: Target,
    source: Path,
    gate: CommitGate,
    direction: str,
    change: Callable[[], Change],
    pumped: Options,
) -> None:
    result = tampered(change(), **one_way(direction, source, gate.argv), **pumped)
    assert result.kind == "failed"
    writer, reader = ("controller", target.name) if direction == "input" else (target.name, "controller")
    assert re.match(
        rf"the data from \w+ command 'cat {source}' on {writer} was changed on its way to "
        rf"\w+ command .* on {reader}: ",
        result.msg,
    ), result.msg
    assert not gate.whole.exists()


def test_an_encrypted_stream_that_was_cut_off_on_the_way_fails_the_task(
    tampered: Session, source: Path, gate: CommitGate
) -> None:
    """Though who cut it off gave it a clean end of TCP."""
    result = tampered(LoseRest(1_000_000), **one_way("output", source, gate.argv), encrypt=True)
    assert result.kind == "failed"
    assert re.search(r"cut (by something )?on the way", result.msg), result.msg
    assert gate.has_bytes()
    assert not gate.whole.exists()


def test_a_checked_stream_that_was_cut_off_on_the_way_fails_the_task(
    tampered: Session, source: Path, gate: CommitGate
) -> None:
    result = tampered(LoseRest(1_000_000), **one_way("input", source, gate.argv), checksum="crc32")
    assert result.kind == "failed"
    assert f": its checksum was {zlib.crc32(DATA):08x} when it was sent, and is " in result.msg
    assert gate.has_bytes()
    assert not gate.whole.exists()


def test_a_changed_bit_is_found_though_the_reader_does_not_wait_for_the_end(
    tampered: Session, source: Path
) -> None:
    reader = sh(f"head -c {len(DATA)} | cksum")
    result = tampered(Flip(1_000_000), **one_way("output", source, reader), checksum="sha256")
    assert result.kind == "failed"
    assert hashlib.sha256(DATA).hexdigest() in result.msg
    assert result["checksum_received"] is None


def test_a_changed_report_fails_the_task(tampered: Session, target: Target) -> None:
    noise = "head -c 20000 /dev/zero | tr '\\0' x >&2"
    result = tampered(
        Flip(10_000), number=0, sent=False, input="echo x", remote=noise, shell=True, encrypt=True
    )
    assert result.kind == "failed"
    assert result.msg.startswith(f"what the remote endpoint on {target.name} said was changed on its way: ")


def test_without_encrypt_and_checksum_a_changed_bit_is_not_noticed(
    tampered: Session, source: Path, gate: CommitGate
) -> None:
    """What they are for."""
    result = tampered(Flip(1_000_000), **one_way("output", source, gate.argv))
    assert result.kind == "ok", result.msg
    copy = gate.whole.read_bytes()
    assert len(copy) == len(DATA)
    assert sum(one != other for one, other in zip(copy, DATA, strict=True)) == 1


# Blocks, and the rate


@pytest.mark.parametrize(("reader", "size"), [("remote", 1024 * 1024), ("output", 10_001)])
@for_either_reason
def test_every_read_is_a_whole_block_but_the_last(
    session: Session, reader: str, size: int, pumped: Options
) -> None:
    writer = "input" if reader == "remote" else "remote"
    commands = {writer: SHORT_WRITES, reader: f"dd of=/dev/null bs={size}"}
    result = session(**commands, block_size=str(size), **pumped)
    assert result.kind == "ok", result.msg
    assert f"{SHORT_WRITES_SIZE // size}+1 records in\n" in result[reader]["stderr"]


@pytest.mark.parametrize("reader", ["remote", "output"])
def test_an_encrypted_direction_has_the_rate_limit(session: Session, reader: str) -> None:
    writer = "input" if reader == "remote" else "remote"
    commands = {writer: "dd if=/dev/zero bs=64k count=240", reader: "dd of=/dev/null bs=64k"}
    result = session(**commands, rate_limit="5M", encrypt=True)
    assert result.kind == "ok", result.msg
    assert copied_by_dd(result[reader]["stderr"])[1] == pytest.approx(3, rel=0.05)


# Failures


@pytest.mark.parametrize(
    ("failing", "commands", "words"),
    [
        ("input", {"input": "head -c 5000000 /dev/zero; echo no tape >&2; exit 3"}, "exited 3: no tape"),
        ("remote", {"remote": "head -c 5000000 /dev/zero; kill -9 $$"}, "was ended by SIGKILL"),
        ("output", {"output": "dd of=/dev/full bs=64k"}, "exited 1: dd: error writing '/dev/full': "),
    ],
)
@for_either_reason
def test_a_failing_command_is_named_and_nothing_is_committed(
    session: Session,
    target: Target,
    tmp_path: Path,
    failing: str,
    commands: dict[str, str],
    words: str,
    pumped: Options,
) -> None:
    there, here = CommitGate(tmp_path, "there"), CommitGate(tmp_path, "here")
    copy = f"tee {there.part} && mv {there.part} {there.whole}"
    session_of = {"input": "cat /dev/zero", "remote": copy, "output": here.script, **commands}
    result = session(**session_of, shell=True, **pumped)
    assert result.kind == "failed"
    host = target.name if failing == "remote" else "controller"
    assert result.msg.startswith(f"{failing} command '{commands[failing]}' on {host} {words}"), result.msg
    assert not here.whole.exists()
    assert not there.whole.exists()


@pytest.fixture
def middle(start_session: Start, target: Target, tmp_path: Path, pumped: Options) -> Middle:
    return Middle(start_session, target, tmp_path, **pumped)


@pytest.mark.parametrize("endpoint", ["local", "remote"])
@for_either_reason
def test_an_endpoint_is_killed_in_the_middle(middle: Middle, target: Target, endpoint: str) -> None:
    os.kill(getattr(middle, f"{endpoint}_endpoint"), signal.SIGKILL)
    result = middle.run.wait(BOUND)[-1]
    assert result.kind == "failed"
    host = "controller" if endpoint == "local" else target.name
    assert f"{endpoint} endpoint on {host}" in result.msg
    middle.expect_a_clean_end()


@for_either_reason
def test_ansible_is_killed_in_the_middle(middle: Middle) -> None:
    os.kill(middle.playbook, signal.SIGKILL)
    middle.run.process.wait(BOUND)
    middle.expect_a_clean_end()


@for_either_reason
def test_the_worker_is_killed_in_the_middle(middle: Middle) -> None:
    os.kill(middle.worker, signal.SIGKILL)
    middle.expect_the_target_to_end()
    # Ansible itself waits for a worker that was killed.
    os.kill(middle.playbook, signal.SIGTERM)
    middle.run.process.wait(BOUND)
    middle.expect_a_clean_end()


@pytest.mark.parametrize("reader", ["remote", "output"])
@for_either_reason
def test_a_reader_may_end_early_when_the_writers_status_is_accepted(
    ansible: Ansible, target: Target, reader: str, pumped: Options
) -> None:
    writer = "input" if reader == "remote" else "remote"
    options = {writer: ["cat", "/dev/zero"], reader: sh("head -c 1000 | wc -c"), **pumped}
    tasks = [
        {MODULE: {**options, "accept_rc": {writer: [0, 141]}}},
        {MODULE: options, "ignore_errors": True},
    ]
    accepted, refused = ansible.play({target.name: target.inventory()}, tasks)
    assert (accepted.kind, accepted["stdout"]) == ("ok", "1000\n"), accepted.msg
    assert " ended after " in accepted["warnings"][0]
    assert refused.kind == "failed"
    assert refused.msg.startswith(f"{writer} command 'cat /dev/zero' on "), refused.msg
    assert "had ended without reading it all" in refused.msg


# Machines that can not

NO_SSL = (
    "import sys\n"
    "class Lack:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name == '_ssl':\n"
    "            raise ModuleNotFoundError(\"No module named '_ssl'\", name=name)\n"
    "sys.meta_path.insert(0, Lack())\n"
)
NO_TLS_1_3 = "import ssl\nssl.HAS_TLSv1_3 = False\nssl.OPENSSL_VERSION = 'OpenSSL 1.1.0'\n"
NO_SHA3 = (
    "import hashlib\n"
    "known = hashlib.new\n"
    "def new(name, *data, **options):\n"
    "    if name == 'sha3_256':\n"
    "        raise ValueError(f'unsupported hash type {name}')\n"
    "    return known(name, *data, **options)\n"
    "hashlib.new = new\n"
)


@pytest.mark.parametrize(
    ("lack", "options", "sentence"),
    [
        pytest.param(
            NO_SSL,
            {"encrypt": True},
            "encrypt needs Python's ssl module: No module named '_ssl'",
            id="no-ssl",
        ),
        pytest.param(
            NO_TLS_1_3,
            {"encrypt": True},
            "encrypt needs TLS 1.3, which its Python's OpenSSL 1.1.0 does not have",
            id="no-tls-1.3",
        ),
        pytest.param(
            NO_SHA3,
            {"checksum": "sha3_256"},
            "its Python knows no checksum 'sha3_256'",
            id="no-checksum",
        ),
    ],
)
def test_a_target_that_can_not_says_so_and_gets_nothing(
    ansible: Ansible,
    target: Target,
    tmp_path: Path,
    lack: str,
    options: Options,
    sentence: str,
) -> None:
    ran = tmp_path / "ran"
    words = secrets.token_hex(20)
    command = {"input": f"touch {ran}; echo {words}", "remote": f"touch {ran}; cat", "shell": True}
    host = target.inventory(ansible_python_interpreter=python_that(tmp_path, lack))
    with Capture(target.link) as capture:
        task = {MODULE: {**command, **options, "timeout": 100}}
        result = ansible.play({target.name: host}, [task])[-1]
    assert result.kind == "failed"
    assert result.msg == f"remote endpoint on {target.name} could not go on: {sentence}"
    assert result.seconds < 50
    assert not ran.exists()
    assert not capture.holds(b"socketpipe\x01")
    assert capture.runs_of(words.encode()) == set()


@pytest.mark.parametrize("name", ["sha257", "shake_128"])
def test_a_checksum_that_nobody_knows_is_refused_before_anything_connects(
    session: Session, target: Target, name: str
) -> None:
    with Capture(target.link) as capture:
        result = session(input="true", remote="cat", checksum=name)
    assert result.kind == "failed"
    assert result.msg.startswith(f"checksum: '{name}' is none of those known here: ")
    known = result.msg.rpartition(": ")[2].split(", ")
    assert {"sha256", "crc32", "md5"} < set(known)
    assert not {"shake_128", "shake_256"} & set(known)
    assert capture.streams == {}


def test_without_cryptography_on_the_controller_encrypt_is_refused_in_words(
    session: Session, ansible: Ansible, target: Target, tmp_path: Path
) -> None:
    (tmp_path / "cryptography").mkdir()
    (tmp_path / "cryptography" / "__init__.py").write_text(
        "raise ImportError('No module named cryptography')\n", encoding="ascii"
    )
    ansible.environment["PYTHONPATH"] = str(tmp_path)
    with Capture(target.link) as capture:
        result = session(input="true", remote="cat", encrypt=True)
    assert result.kind == "failed"
    assert result.msg == (
        "encrypt needs the Python library cryptography on the controller: No module named cryptography"
    )
    assert capture.streams == {}
    assert session(input="echo x", remote="cat", checksum="sha256")["stdout"] == "x\n"


# However Ansible is used


@pytest.mark.parametrize(
    ("login", "user", "pipelining"),
    [("root", "free", "true"), ("root", "free", "false"), ("free", "root", "true")],
)
def test_become(ansible: Ansible, users_target: Target, login: str, user: str, pipelining: str) -> None:
    ansible.environment["ANSIBLE_PIPELINING"] = pipelining
    host = users_target.inventory(
        ansible_user=login, ansible_python_interpreter="/usr/bin/python3", ansible_become_user=user
    )
    options = {"input": "id -un", "remote": "cat; id -un", "shell": True, "encrypt": True}
    result = ansible.play({users_target.name: host}, [{MODULE: options, "become": True}])[-1]
    assert (result.kind, result["stdout"]) == ("ok", f"root\n{user}\n"), result.msg


def test_check_mode_meets_encrypted_and_runs_nothing(
    ansible: Ansible, target: Target, tmp_path: Path
) -> None:
    options = {"input": f"touch {tmp_path}/ran", "remote": "cat", "encrypt": True, "checksum": "sha256"}
    with Capture(target.link) as capture:
        result = ansible.play({target.name: target.inventory()}, [{MODULE: options}], "--check")[-1]
    assert (result.kind, result["changed"]) == ("ok", True), result.msg
    assert 0 < result["path"]["round_trip"] < 1
    assert not (tmp_path / "ran").exists()
    assert min(capture.sizes(result["path"]["port"])) > 0
    assert not capture.holds(b"socketpipe")


def test_adhoc(ansible: Ansible, target: Target) -> None:
    words = 'input="echo x" remote="wc -c" encrypt=true checksum=crc32'
    done = ansible.adhoc({"h": target.inventory()}, "h", "-m", MODULE, "-a", words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'"checksum_sent": "{zlib.crc32(b"x" + bytes([10])):08x}"' in done.stdout


#: ansible-core 2.21 has no paramiko any more.
PLUGINS = [
    name
    for name in ("paramiko_ssh", "local")
    if importlib.util.find_spec(f"ansible.plugins.connection.{name}")
]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_other_connection_plugins(ansible: Ansible, target: Target, plugin: str) -> None:
    ansible.allow_paramiko()
    host = target.inventory(ansible_connection=f"ansible.builtin.{plugin}")
    task = {MODULE: {"input": "echo x", "remote": "cat", "encrypt": True, "checksum": "sha256"}}
    result = ansible.play({target.name: host}, [task])[-1]
    assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg


def test_a_link_without_ipv4(ansible: Ansible, network: Network) -> None:
    target = network.host()
    link = network.link(network.controller, target, ipv4=False)
    host = target.inventory(ansible_host=link[target].address6)
    task = {MODULE: {"input": "echo x", "remote": "cat", "encrypt": True, "checksum": "sha256"}}
    with Capture(link[network.controller].name) as capture:
        result = ansible.play({target.name: host}, [task])[-1]
    assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg
    assert result["path"]["family"] == "IPv6"
    assert min(capture.sizes(result["path"]["port"])) > 0
    assert not capture.holds(b"socketpipe")


# Two directions of different length


def test_input_ends_long_before_output(start_session: Start, target: Target, tmp_path: Path) -> None:
    (tmp_path / "back").write_bytes(DATA)
    remote = (
        f"cat > {tmp_path}/there && touch {tmp_path}/ended; "
        f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; cat {tmp_path}/back"
    )
    output = f"cat > {tmp_path}/copy"
    options = {"encrypt": True, "checksum": "sha256"}
    run = start_session(input="echo x", remote=remote, output=output, shell=True, **options)
    wait_until((tmp_path / "ended").exists, "the remote command has seen the end of its input", timeout=60)
    assert (tmp_path / "there").read_text(encoding="ascii") == "x\n"
    assert (tmp_path / "copy").read_bytes() == b""
    (tmp_path / "go").touch()
    result = run.wait()[-1]
    assert result.kind == "ok", result.msg
    assert (tmp_path / "copy").read_bytes() == DATA
    assert result["checksum_sent"] == hashlib.sha256(b"x\n").hexdigest()
    assert result["checksum_received"] == hashlib.sha256(DATA).hexdigest()


#: Writes a line, says itself that there is no more, and then reads all that comes.
SHUTS_DOWN = [
    sys.executable,
    "-c",
    "import os, socket, sys\n"
    "os.write(1, b'x\\n')\n"
    "socket.socket(fileno=1).shutdown(socket.SHUT_WR)\n"
    "sys.stderr.write(f'{len(sys.stdin.buffer.read())} bytes')\n",
]


def test_output_ends_long_before_input(
    start_session: Start, target: Target, tmp_path: Path, source: Path
) -> None:
    """What came before the end is not held back until then."""
    copy, go = tmp_path / "copy", tmp_path / "go"
    run = start_session(
        input=sh(f"until [ -e {go} ]; do sleep 0.05; done; cat {source}"),
        remote=SHUTS_DOWN,
        output=sh(f"cat > {copy}"),
        encrypt=True,
        checksum="sha256",
    )
    wait_until(lambda: copy.exists() and copy.read_bytes() == b"x\n", "the output has come", timeout=60)
    go.touch()
    result = run.wait()[-1]
    assert result.kind == "ok", result.msg
    assert result["remote"]["stderr"] == f"{len(DATA)} bytes"
    assert copy.read_bytes() == b"x\n"
    assert result["checksum_sent"] == hashlib.sha256(DATA).hexdigest()
    assert result["checksum_received"] == hashlib.sha256(b"x\n").hexdigest()


def test_output_is_read_no_further_long_before_input_ends(
    start_session: Start, target: Target, tmp_path: Path, source: Path
) -> None:
    """The reader has ended, and has had all there was; the other direction goes on."""
    go, read = tmp_path / "go", tmp_path / "read"
    run = start_session(
        input=f"until [ -e {go} ]; do sleep 0.05; done; cat {source}",
        remote=f"echo x; cat > {tmp_path}/there",
        output=f"head -c 2; touch {read}",
        shell=True,
        encrypt=True,
        checksum="sha256",
    )
    wait_until(read.exists, "the output was read", timeout=60)
    go.touch()
    result = run.wait()[-1]
    assert (result.kind, result["stdout"]) == ("ok", "x\n"), result.msg
    assert (tmp_path / "there").read_bytes() == DATA


# Memory

SIZE = 1 << 30
MOST_MEMORY = 80 << 20


def test_a_large_session_does_not_make_the_endpoints_large(
    start_session: Start, target: Target, tmp_path: Path
) -> None:
    """As much there as back: each endpoint encrypts a gibibyte, and decrypts another."""
    there, back, go = tmp_path / "there", tmp_path / "back", tmp_path / "go"
    wait = f"until [ -e {go} ]; do sleep 0.1; done"
    remote = f"dd bs=1M of=/dev/null && touch {there}; dd if=/dev/zero bs=1M count={SIZE >> 20}; {wait}"
    output = f"dd bs=1M iflag=fullblock count={SIZE >> 20} of=/dev/null && touch {back}; cat"
    run = start_session(
        input=f"dd if=/dev/zero bs=1M count={SIZE >> 20}",
        remote=remote,
        output=output,
        shell=True,
        encrypt=True,
        checksum="crc32",
    )
    wait_until(there.exists, "all has come there", timeout=HANGS_AFTER)
    wait_until(back.exists, "all has come back", timeout=HANGS_AFTER)
    endpoints = {
        "local": starter_of(processes_here(), output),
        "remote": starter_of(target.processes(), remote),
    }
    most = {side: highest_memory(pid) for side, pid in endpoints.items()}
    go.touch()
    result = run.wait()[-1]
    assert result.kind == "ok", result.msg
    assert (result["bytes_sent"], result["bytes_received"]) == (SIZE, SIZE)
    assert max(most.values()) < MOST_MEMORY, most


def highest_memory(pid: int) -> int:
    """The largest resident set that a process ever had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


def test_a_target_whose_policy_forbids_tls_1_3_says_so(
    ansible: Ansible, target: Target, tmp_path: Path
) -> None:
    policy = tmp_path / "openssl.cnf"
    policy.write_text(
        "openssl_conf = policy\n[policy]\nssl_conf = sections\n[sections]\nsystem_default = tls\n"
        "[tls]\nMaxProtocol = TLSv1.2\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nOPENSSL_CONF={policy} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    host = target.inventory(ansible_python_interpreter=str(python))
    task = {MODULE: {"input": "echo x", "remote": "cat", "encrypt": True, "timeout": 60}}
    result = ansible.play({target.name: host}, [task])[-1]
    assert "could not go on: encrypt needs TLS 1.3, which the system's policy" in result.msg
