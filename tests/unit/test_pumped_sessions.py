# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole sessions, encrypted or checked, with somebody between the two machines who changes things."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Purpose, Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import Verdict
from harness import by_hand
from harness.by_hand import Played, Stage
from harness.middlebox import Change, CutOff, CutOffAtRecord, Flip, FlipWhenTold, Tamperer, Way
from harness.pythons import interpreters
from harness.sessions import Ended, Sessions, Words
from harness.sockets import read_to_the_end
from harness.streams import CommitGate, sh
from harness.tls import (
    CLOSE_NOTIFY_SIZE,
    FOREIGN,
    IDENTITIES,
    close_notify,
    showing,
)
from harness.waiting import wait_until

SIZE = 300_000
#: Data of the only direction, as the writer sends it, by the side that listens.
DATA: dict[tuple[str, str], Way] = {
    ("input", "local"): Way(1, from_connector=False),
    ("input", "remote"): Way(1, from_connector=True),
    ("output", "local"): Way(1, from_connector=True),
    ("output", "remote"): Way(1, from_connector=False),
}
EITHER_WAY = pytest.mark.parametrize(("direction", "listener"), DATA, ids=lambda value: value)
#: What makes the endpoints see the payload.
PUMPED: dict[str, dict[str, Any]] = {
    "encrypted": {"encrypt": True},
    "checked": {"checksum": "sha256"},
    "both": {"encrypt": True, "checksum": "sha256"},
}
FOR_ANY_REASON = pytest.mark.parametrize("options", PUMPED.values(), ids=PUMPED.keys())
OTHERS = {version: python for version, python in interpreters().items() if version != "running"}
ADVICE = "look for what damages data between the two machines, or for somebody who changes it"
#: Nobody is waited for in vain.
PATIENCE = {"crew.NOTICE_GRACE": 0.05, "endpoint.NETWORK_GRACE": 0.2}

Tampered = Callable[..., Ended]
Changes = Mapping[Way, Change]


@pytest.fixture
def through() -> Iterator[Callable[[Changes], Callable[[str, int], int]]]:
    """What leads a session through a relay that tampers."""
    relays: list[Tamperer] = []

    def through(changes: Changes) -> Callable[[str, int], int]:
        def relay(listener: str, port: int) -> int:
            relays.append(Tamperer(port, changes))
            return relays[-1].port

        return relay

    yield through
    for relay in relays:
        relay.close()


@pytest.fixture
def tampered(sessions: Sessions, through: Callable[[Changes], Callable[[str, int], int]]) -> Tampered:
    """A session through a relay that tampers."""

    def run(commands: dict[str, Words], changes: Changes, **options: Any) -> Ended:
        return sessions.run(commands, through=through(changes), patience=PATIENCE, **options)

    return run


def moving(direction: str, gate: CommitGate) -> dict[str, Words]:
    """A session of that direction alone."""
    writer, reader = ("input", "remote") if direction == "input" else ("remote", "output")
    return {writer: sh(f"head -c {SIZE} /dev/zero"), reader: gate.argv}


# Data that is changed on its way


CHANGED = {
    "input": "the data from input command 'input' on here was changed on its way to "
    "remote command 'remote' on there",
    "output": "the data from remote command 'remote' on there was changed on its way to "
    "output command 'output' on here",
}


@FOR_ANY_REASON
@EITHER_WAY
def test_one_bit_flipped_in_the_data_fails_the_session_with_the_reason(
    tampered: Tampered, tmp_path: Path, direction: str, listener: str, options: dict[str, Any]
) -> None:
    gate = CommitGate(tmp_path)
    changes = {DATA[direction, listener]: Flip(SIZE // 2, bit=5)}
    ended = tampered(moving(direction, gate), changes, listen=listener, **options)
    assert not gate.whole.exists()
    found = ended.reason("remote" if direction == "input" else "local")
    assert (found["kind"], found["direction"]) == ("integrity", direction)
    words = "TLS says '" if "encrypt" in options else "its checksum was "
    assert found["text"].startswith(words)
    assert ended.verdict == Verdict(f"{CHANGED[direction]}: {found['text']}; {ADVICE}", None, [])


@pytest.mark.parametrize("is_last", [True, False], ids=["the last byte", "the first byte"])
def test_a_bit_flipped_at_either_end_of_a_checked_stream_is_found(
    tampered: Tampered, tmp_path: Path, is_last: bool
) -> None:
    """Payload follows a handshake of 112 bytes of the listener's."""
    gate = CommitGate(tmp_path)
    flip = Flip(112 + (SIZE - 1 if is_last else 0))
    ended = tampered(moving("input", gate), {DATA["input", "local"]: flip}, checksum="crc32")
    assert not gate.whole.exists()
    assert ended.reason("remote")["kind"] == "integrity"


ENDLESS = "while head -c 100000 /dev/zero; do sleep 0.01; done"


@FOR_ANY_REASON
@pytest.mark.parametrize(
    ("from_connector", "finder", "speaker"), [(True, "local", "remote"), (False, "remote", "local")]
)
def test_one_bit_flipped_in_a_control_message_ends_the_session_with_the_reason(
    sessions: Sessions,
    through: Callable[[Changes], Callable[[str, int], int]],
    tmp_path: Path,
    options: dict[str, Any],
    from_connector: bool,
    finder: str,
    speaker: str,
) -> None:
    """Without TLS a message that was changed is one that the peer did not authenticate."""
    gate = CommitGate(tmp_path)
    flip = FlipWhenTold()
    patience = {**PATIENCE, "peer.HEARTBEAT": 0.1}
    way = through({Way(0, from_connector): flip})
    commands: dict[str, Words] = {"input": sh(ENDLESS), "remote": gate.argv}
    session = sessions.start(commands, through=way, patience=patience, **options)
    wait_until(gate.has_bytes, "the stream flows")
    flip.now.set()
    session.endpoints[finder].wait_ended(timeout=8)  # it does not wait for a peer it can not hear
    ended = sessions.end(session)
    assert not gate.whole.exists()
    where = {"local": "here", "remote": "there"}[speaker]
    if "encrypt" in options:
        assert ended.reason(finder)["kind"] == "integrity"
        sentence = f"what the {speaker} endpoint on {where} said was changed on its way: TLS says '"
    else:
        assert ended.reason(finder)["kind"] == "protocol"
        sentence = f"{speaker} endpoint on {where} broke the protocol: a control message does not verify"
    assert str(ended.verdict.failure).startswith(sentence)


# Data that is cut off


#: Of a stream of 19 records of payload or more, after those of the handshake.
TRUNCATIONS: dict[str, Callable[[], Change]] = {
    "mid-record": lambda: CutOff(SIZE // 2),
    "in a record's header": lambda: CutOffAtRecord(15, inside=3),
    "at a record's boundary": lambda: CutOffAtRecord(15),
    "before close_notify": lambda: CutOffAtRecord(size=CLOSE_NOTIFY_SIZE),
    "in close_notify": lambda: CutOffAtRecord(size=CLOSE_NOTIFY_SIZE, inside=12),
}


@EITHER_WAY
@pytest.mark.parametrize("truncate", TRUNCATIONS.values(), ids=TRUNCATIONS.keys())
def test_a_truncated_encrypted_stream_is_never_committed(
    tampered: Tampered, tmp_path: Path, truncate: Callable[[], Change], direction: str, listener: str
) -> None:
    gate = CommitGate(tmp_path)
    changes = {DATA[direction, listener]: truncate()}
    ended = tampered(moving(direction, gate), changes, encrypt=True, listen=listener)
    assert not gate.whole.exists()
    assert ended.verdict.failure is not None
    assert ended.verdict.culprit is None


@pytest.mark.parametrize("python", OTHERS.values(), ids=OTHERS.keys())
def test_a_stream_truncated_before_close_notify_is_committed_on_no_python(
    tampered: Tampered, tmp_path: Path, python: str
) -> None:
    gate = CommitGate(tmp_path)
    changes = {DATA["input", "local"]: TRUNCATIONS["before close_notify"]()}
    ended = tampered(moving("input", gate), changes, encrypt=True, pythons={"remote": python})
    assert not gate.whole.exists()
    assert ended.verdict.failure is not None


@EITHER_WAY
def test_a_truncated_checked_stream_is_never_committed(
    tampered: Tampered, tmp_path: Path, direction: str, listener: str
) -> None:
    """FIN is all that a stream without TLS ends with, and anybody can send one."""
    gate = CommitGate(tmp_path)
    changes = {DATA[direction, listener]: CutOff(SIZE // 2)}
    ended = tampered(moving(direction, gate), changes, checksum="sha256", listen=listener)
    assert not gate.whole.exists()
    assert str(ended.verdict.failure).startswith(CHANGED[direction])


# The TLS handshake


HANDSHAKES: dict[str, Callable[[], Change]] = {
    "truncated in its first record": lambda: CutOffAtRecord(0, inside=50),
    "truncated in its third record": lambda: CutOffAtRecord(2, inside=10),
    "flipped in its first record": lambda: Flip(20),
    "flipped in a later record": lambda: Flip(600),
}


@pytest.mark.parametrize("number", [0, 1], ids=["the control connection's", "the data connection's"])
@pytest.mark.parametrize("from_connector", [True, False], ids=["the connector's", "the listener's"])
@pytest.mark.parametrize("damage", HANDSHAKES.values(), ids=HANDSHAKES.keys())
def test_a_handshake_that_was_damaged_is_made_again(
    tampered: Tampered, tmp_path: Path, number: int, from_connector: bool, damage: Callable[[], Change]
) -> None:
    gate = CommitGate(tmp_path)
    ended = tampered(moving("input", gate), {Way(number, from_connector): damage()}, encrypt=True)
    assert ended.verdict.failure is None
    assert gate.whole.read_bytes() == bytes(SIZE)
    (control, data) = ended.reports["remote"]["attempts"]
    assert [control["tries"], data["tries"]] == ([2, 1] if number == 0 else [1, 2])


@pytest.mark.parametrize(("side", "listen"), by_hand.PARTS)
def test_a_man_in_the_middle_who_knows_the_key_and_has_a_certificate_of_his_own_is_refused(
    stage: Stage, tmp_path: Path, side: str, listen: str
) -> None:
    """Whichever end he plays, and whichever way round TCP has it."""
    commands = {role: ["touch", f"{tmp_path}/{role}.started"] for role in ("input", "remote", "output")}
    stage.secure = showing(FOREIGN[Side(side).peer])
    stage.start(side, commands, listen, identity=IDENTITIES[Side(side)], timeout=0.5)
    with pytest.raises(OSError, match=r"unknown ca|EOF|reset|Broken pipe") as found:
        stage.join(Purpose.CONTROL)
    if side == "local":
        stage.endpoint.let_go()
    own = stage.endpoint.wait_ended()["own"]
    assert own["path"] is None
    assert own["commands"] == {}
    assert not list(tmp_path.glob("*.started"))
    if side == listen:
        assert own["strangers"] == 1
    else:
        assert "unknown ca" in str(found.value)


# A peer that breaks the rules about the digest


NOT_ASKED_FOR = "it sent a digest that this side did not ask for"
CHECKED = pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])


def meet(
    stage: Stage, side: str, commands: dict[str, Words], *, encrypt: bool, checksum: str | None = "sha256"
) -> Played:
    """The endpoint of *side*, which listens, and its peer played by the test."""
    if encrypt:
        stage.secure = showing(IDENTITIES[Side(side).peer])
    identity = IDENTITIES[Side(side)] if encrypt else None
    return stage.meet(side, commands, side, identity=identity, checksum=checksum)


def send_all(played: Played, data: bytes) -> None:
    """The only stream, and its end."""
    sock = played.data[0]
    sock.sendall(data)
    if isinstance(sock, ssl.SSLSocket):
        close_notify(sock)
    else:
        sock.shutdown(socket.SHUT_WR)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@CHECKED
def test_without_a_digest_a_reader_waits_for_its_end_and_gets_none(
    stage: Stage, tmp_path: Path, encrypt: bool
) -> None:
    gate = CommitGate(tmp_path)
    played = meet(stage, "remote", {"input": [], "remote": gate.argv}, encrypt=encrypt)
    send_all(played, b"payload")
    wait_until(lambda: gate.has_bytes(7), "the payload")
    played.control.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        played.control.hear()
    played.control.sock.close()
    assert played.reason()["kind"] == "lost"
    assert not gate.whole.exists()


@CHECKED
@pytest.mark.parametrize("is_first", [True, False], ids=["before the data", "after it"])
def test_with_the_right_digest_a_reader_gets_its_end(
    stage: Stage, tmp_path: Path, encrypt: bool, is_first: bool
) -> None:
    gate = CommitGate(tmp_path)
    played = meet(stage, "remote", {"input": [], "remote": gate.argv}, encrypt=encrypt)
    for action in (1, 0) if is_first else (0, 1):
        if action:
            played.control.say("digest", direction="input", digest=digest_of(b"payload"))
        else:
            send_all(played, b"payload")
    assert played.control.hear_until("read")["whole"] is True
    assert gate.whole.read_bytes() == b"payload"


@CHECKED
@pytest.mark.parametrize(
    "digest", [digest_of(b"Payload"), "", "x" * 256], ids=["another", "none", "a long one"]
)
def test_a_wrong_digest_ends_the_session(stage: Stage, tmp_path: Path, encrypt: bool, digest: str) -> None:
    gate = CommitGate(tmp_path)
    played = meet(stage, "remote", {"input": [], "remote": gate.argv}, encrypt=encrypt)
    send_all(played, b"payload")
    played.control.say("digest", direction="input", digest=digest)
    reason = played.control.hear_until("abort")["reason"]
    played.finish()
    assert (reason["kind"], reason["direction"]) == ("integrity", "input")
    assert reason["text"] == f"its checksum was {digest} when it was sent, and is {digest_of(b'payload')}"
    assert played.reason() == reason
    assert not gate.whole.exists()


@CHECKED
@pytest.mark.parametrize(
    "digest", [None, 7, ["x"], "x" * 257], ids=["none", "a number", "a list", "too long"]
)
def test_what_is_no_digest_ends_the_session(stage: Stage, tmp_path: Path, encrypt: bool, digest: Any) -> None:
    gate = CommitGate(tmp_path)
    played = meet(stage, "remote", {"input": [], "remote": gate.argv}, encrypt=encrypt)
    send_all(played, b"payload")
    played.control.say("digest", direction="input", digest=digest)
    assert played.reason() == {"kind": "protocol", "text": "it sent a digest that is none"}
    assert not gate.whole.exists()


@pytest.mark.parametrize(
    ("checksum", "encrypt", "direction"),
    [
        ("sha256", False, "output"),
        ("sha256", True, "output"),
        ("sha256", False, None),
        ("sha256", False, ["input"]),
        (None, True, "input"),
        (None, False, "input"),
    ],
)
def test_a_digest_that_was_not_asked_for_ends_the_session(
    stage: Stage, checksum: str | None, encrypt: bool, direction: Any
) -> None:
    """Of the direction that this side writes, of none at all, and in a session without a checksum."""
    commands = {"input": [], "remote": sh("cat; sleep 60"), "output": []}
    played = meet(stage, "remote", commands, encrypt=encrypt, checksum=checksum)
    played.control.say("digest", direction=direction, digest=digest_of(b""))
    assert played.reason() == {"kind": "protocol", "text": NOT_ASKED_FOR}


@CHECKED
def test_a_writer_tells_its_digest_once_it_has_ended_well(stage: Stage, encrypt: bool) -> None:
    played = meet(stage, "local", {"input": ["printf", "payload"], "remote": []}, encrypt=encrypt)
    assert read_to_the_end(played.data[0]) == (b"payload", None)
    told = played.control.hear_until("digest")
    assert told == {"type": "digest", "direction": "input", "digest": digest_of(b"payload")}


@CHECKED
def test_a_writer_that_fails_tells_no_digest_and_its_stream_has_no_end(stage: Stage, encrypt: bool) -> None:
    played = meet(stage, "local", {"input": sh("printf payload; exit 3"), "remote": []}, encrypt=encrypt)
    heard = []
    while not heard or heard[-1] != "abort":
        heard.append(played.control.hear()["type"])
    assert "digest" not in heard
    played.finish()
    assert read_to_the_end(played.data[0])[1] is not None


# Digests


Digest = Callable[[bytes], str]
DIGESTS: dict[str | None, Digest | None] = {
    "crc32": lambda data: f"{zlib.crc32(data):08x}",
    "md5": lambda data: hashlib.md5(data).hexdigest(),
    "sha256": digest_of,
    "sha3_512": lambda data: hashlib.sha3_512(data).hexdigest(),
    None: None,
}


def told_by(ended: Ended, direction: str) -> list[str | None]:
    return [report["directions"][direction]["digest"] for report in ended.reports.values()]


@pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    ("checksum", "digest"), DIGESTS.items(), ids=lambda value: str(value) if not callable(value) else ""
)
def test_both_reports_have_the_digests_of_both_directions(
    sessions: Sessions, tmp_path: Path, checksum: str | None, digest: Digest | None, encrypt: bool
) -> None:
    data = os.urandom(SIZE)
    (tmp_path / "data").write_bytes(data)
    commands = {"input": ["cat", f"{tmp_path}/data"], "remote": sh("cat; echo more"), "output": ["wc", "-c"]}
    ended = sessions.run(commands, checksum=checksum, encrypt=encrypt)
    assert ended.verdict == Verdict(None, None, [])
    for direction, stream in (("input", data), ("output", data + b"more\n")):
        assert told_by(ended, direction) == [digest and digest(stream)] * 2


def test_a_checksum_that_python_does_not_know_starts_nothing(sessions: Sessions, tmp_path: Path) -> None:
    commands = {"input": ["touch", f"{tmp_path}/started"], "remote": ["touch", f"{tmp_path}/started"]}
    ended = sessions.run(commands, checksum="nonsense")
    for side in ("local", "remote"):
        assert ended.reason(side)["kind"] == "system"
        assert ended.reason(side)["text"] == "its Python knows no checksum 'nonsense'"
    assert not (tmp_path / "started").exists()


# Two directions, and readers that end early


def waiting_for(path: Path) -> str:
    return f"while [ ! -e {path} ]; do sleep 0.02; done"


@FOR_ANY_REASON
@pytest.mark.parametrize("listener", ["local", "remote"])
def test_a_filters_input_may_end_long_before_its_output(
    sessions: Sessions, tmp_path: Path, options: dict[str, Any], listener: str
) -> None:
    gate, read, go = CommitGate(tmp_path), tmp_path / "read", tmp_path / "go"
    remote = f"cat > /dev/null && touch {read}; {waiting_for(go)}; head -c {SIZE} /dev/zero"
    commands: dict[str, Words] = {"input": ["printf", "payload"], "remote": sh(remote), "output": gate.argv}
    session = sessions.start(commands, listen=listener, **options)
    wait_until(read.exists, "the end of the input")
    assert not gate.has_bytes()
    go.touch()
    ended = sessions.end(session)
    assert ended.verdict == Verdict(None, None, [])
    assert (ended.bytes("input"), ended.bytes("output")) == ({7}, {SIZE})
    assert gate.whole.read_bytes() == bytes(SIZE)


@FOR_ANY_REASON
@pytest.mark.parametrize("listener", ["local", "remote"])
def test_a_filters_output_may_be_left_long_before_its_input_ends(
    sessions: Sessions, tmp_path: Path, options: dict[str, Any], listener: str
) -> None:
    """Its reader has taken all that there is, and does not wait for the end."""
    gate, left, go = CommitGate(tmp_path), tmp_path / "left", tmp_path / "go"
    commands: dict[str, Words] = {
        "input": sh(f"head -c {SIZE} /dev/zero; {waiting_for(go)}; printf end"),
        "remote": sh(f"printf 0123456789; {gate.script}"),
        "output": sh(f"head -c 10 > /dev/null; touch {left}"),
    }
    session = sessions.start(commands, listen=listener, **options)
    wait_until(left.exists, "the end of the reader")
    wait_until(lambda: gate.has_bytes(SIZE), "the input flows on")
    go.touch()
    ended = sessions.end(session)
    assert ended.verdict == Verdict(None, None, [])
    assert (ended.bytes("input"), ended.bytes("output")) == ({SIZE + 3}, {10})
    assert gate.whole.read_bytes() == bytes(SIZE) + b"end"


@pytest.mark.parametrize("accepted", [[0], [0, 141]], ids=["141 is not accepted", "141 is accepted"])
def test_digests_of_a_stream_that_its_reader_left_are_not_held_against_it(
    sessions: Sessions, accepted: list[int]
) -> None:
    """The reader's is of what had arrived, not of what the command took."""
    commands = {"input": ["cat", "/dev/zero"], "remote": ["head", "-c", "10"]}
    ended = sessions.run(commands, accept_rc={"input": accepted}, encrypt=True, checksum="sha256")
    assert "checksum" not in str(ended.verdict)
    if 141 in accepted:
        assert ended.verdict.failure is None
        assert ended.verdict.warnings[0].startswith("remote command 'remote' on there ended after 10 of the ")
    else:
        assert ended.verdict.culprit == "input"


@pytest.mark.parametrize("options", [{"encrypt": True}, {"checksum": "sha256"}], ids=["encrypted", "checked"])
@pytest.mark.parametrize("accepted", [[0], [0, 141]], ids=["0", "0 and 141"])
def test_what_a_reader_leaves_behind_sees_no_good_end_of_what_it_did_not_get(
    sessions: Sessions, tmp_path: Path, options: dict[str, Any], accepted: list[int]
) -> None:
    """The writer has ended well, and its last megabytes are still in the pumps."""
    size = 5_000_000
    written, over = tmp_path / "written", tmp_path / "over"
    reader = (
        f"exec 3<&0; (until [ -e {over} ]; do sleep 0.02; done; cat <&3 >{tmp_path}/left; "
        f"echo $? >{tmp_path}/status.part; mv {tmp_path}/status.part {tmp_path}/status) >/dev/null 2>&1 & "
        f"for i in $(seq 100); do [ -e {written} ] && break; sleep 0.02; done"
    )
    commands: dict[str, Words] = {
        "input": sh(f"head -c {size} /dev/zero; : >{written}"),
        "remote": sh(reader),
    }
    ended = sessions.run(commands, accept_rc={"input": accepted}, **options)
    over.touch()
    wait_until((tmp_path / "status").exists, "what was left has ended")
    status = (tmp_path / "status").read_text().strip()
    assert (ended.verdict.failure is None) == (141 in accepted)
    assert status != "0" or (tmp_path / "left").stat().st_size == size


# Other Pythons


@pytest.mark.parametrize("listener", ["local", "remote"])
@pytest.mark.parametrize("python", OTHERS.values(), ids=OTHERS.keys())
def test_another_python_at_the_other_side_speaks_the_same_tls_and_counts_the_same(
    sessions: Sessions, tmp_path: Path, python: str, listener: str
) -> None:
    data = os.urandom(SIZE)
    (tmp_path / "data").write_bytes(data)
    gate = CommitGate(tmp_path)
    commands: dict[str, Words] = {
        "input": ["cat", f"{tmp_path}/data"],
        "remote": sh("cat; echo more"),
        "output": gate.argv,
    }
    options = {"encrypt": True, "checksum": "sha256", "listen": listener}
    ended = sessions.run(commands, pythons={"remote": python}, **options)
    assert ended.verdict == Verdict(None, None, [])
    assert told_by(ended, "input") == [digest_of(data)] * 2
    assert told_by(ended, "output") == [digest_of(data + b"more\n")] * 2
    assert gate.whole.read_bytes() == data + b"more\n"
