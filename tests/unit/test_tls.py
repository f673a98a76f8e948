# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS streams, and the test as the attacker on the wire between them."""

from __future__ import annotations

import os
import random
import re
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import (
    HandshakeError,
    IntegrityError,
    ResourceError,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import Side
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.stream import Stream, Wrap, plain
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.tls import TlsStream, encrypted
from cryptography import x509
from harness.examples import one_in
from harness.middlebox import Change, CutOffAtRecord, Flip, flipped
from harness.sessions import Sessions
from harness.tls import (
    CLOSE_NOTIFY_SIZE,
    FOREIGN,
    IDENTITIES,
    LOCAL,
    REMOTE,
    Carry,
    End,
    Line,
    attacker,
    context_of,
    python_without_ssl,
    split_records,
)
from hypothesis import given
from hypothesis import strategies as st

TLSv1_2 = ssl.TLSVersion.TLSv1_2
SECRET = b"what nobody else may know"
#: Around those of records and of what is moved at once.
SIZES = [0, 1, 16383, 16384, 16385, 65535, 65536, 65537]
#: Of the three records of a short stream, where their lengths are.
LENGTHS = {3, 4, 25 + 3, 25 + 4, 25 + 27 + 3, 25 + 27 + 4}
BOTH_WAYS = pytest.mark.parametrize(
    "from_connector", [True, False], ids=["the connector's", "the listener's"]
)

#: SSL_OP_IGNORE_UNEXPECTED_EOF, which Python 3.8 and 3.9 set for every context with OpenSSL 3.
IGNORE_UNEXPECTED_EOF = 0x80


# What TLS is to carry


def payload(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def tampering(line: Line, from_connector: bool, change: Change) -> Carry:
    """Makes a *change* of what one end says."""

    def carry(sender: End, wire: bytes) -> bytes:
        if sender is not line.in_order(from_connector)[0]:
            return wire
        return b"" if change.is_over else change.apply(wire)

    return carry


def drip(line: Line, size: int) -> Carry:
    """Everything arrives in pieces of *size* bytes."""

    def carry(sender: End, wire: bytes) -> bytes:
        for at in range(0, len(wire), size):
            line.peer_of(sender).give(wire[at : at + size])
        return b""

    return carry


@one_in(5)
@given(
    sent=st.lists(st.tuples(st.booleans(), st.sampled_from(SIZES) | st.integers(0, 70_000)), max_size=8),
    piece=st.integers(50, 70_000),
)
def test_bytes_of_any_size_arrive_both_ways_however_they_are_cut(
    sent: list[tuple[bool, int]], piece: int
) -> None:
    line = Line().run()
    expected = dict.fromkeys(line.ends, b"")
    for number, (from_connector, size) in enumerate(sent):
        sender = line.connector if from_connector else line.listener
        data = payload(size, number)
        sender.stream.send(data)
        expected[line.peer_of(sender)] += data
        line.run(drip(line, piece))
    for sender in line.ends:
        sender.stream.finish()
    line.run(drip(line, piece))
    assert {end: end.received for end in line.ends} == expected
    assert [end.end for end in line.ends] == [True, True]
    line.close()


def test_a_handshake_may_arrive_byte_by_byte_and_what_was_sent_before_its_end_is_not_lost() -> None:
    line = Line()
    for end in line.ends:
        end.stream.send(b"early, ")
        end.stream.send(b"and more")
    line.run(drip(line, 1))
    assert [end.received for end in line.ends] == [b"early, and more"] * 2
    line.close()


@BOTH_WAYS
def test_close_notify_is_a_clean_end_even_without_fin(from_connector: bool) -> None:
    line = Line().run()
    sender, receiver = line.in_order(from_connector)
    sender.stream.send(b"payload")
    sender.stream.finish()
    receiver.give(sender.sent())
    assert (receiver.received, receiver.end) == (b"payload", True)
    line.close()


@BOTH_WAYS
def test_who_has_ended_a_stream_may_still_receive_the_other_one(from_connector: bool) -> None:
    line = Line().run()
    sender, receiver = line.in_order(from_connector)
    sender.stream.finish()
    line.run()
    receiver.stream.send(payload(100_000))
    receiver.stream.finish()
    line.run()
    assert (sender.received, sender.end) == (payload(100_000), True)
    line.close()


# Truncation


def lenient(side: Side) -> Wrap:
    """As the engine's, but on an OpenSSL that is told to take FIN for close_notify."""

    def wrap(sock: socket.socket, is_connector: bool) -> Stream:
        context = context_of(IDENTITIES[side], is_connector=is_connector, trusts=True)
        context.options |= IGNORE_UNEXPECTED_EOF
        return TlsStream(sock, context, is_connector)

    return wrap


LINES: dict[str, Callable[[], Line]] = {
    "strict": lambda: Line(LOCAL, REMOTE),
    "as Python 3.8 and 3.9 have it": lambda: Line(lenient(Side.LOCAL), lenient(Side.REMOTE)),
}


@pytest.mark.parametrize("make_line", LINES.values(), ids=LINES.keys())
@BOTH_WAYS
def test_truncation_at_any_byte_is_never_a_clean_end(
    make_line: Callable[[], Line], from_connector: bool
) -> None:
    """In a header, in a body, between two records, before close_notify, and within it."""
    for cut in range(25 + 27 + CLOSE_NOTIFY_SIZE):
        line = make_line().run()
        sender, receiver = line.in_order(from_connector)
        for data in (b"one", b"three"):
            sender.stream.send(data)
        sender.stream.finish()
        wire = sender.sent()
        assert [len(record) for record in split_records(wire)] == [25, 27, CLOSE_NOTIFY_SIZE]
        receiver.give(wire[:cut])
        receiver.give_fin()
        assert isinstance(receiver.end, OSError), f"FIN after {cut} of {len(wire)} bytes: {receiver.end!r}"
        assert receiver.received == (b"onethree" if cut >= 52 else b"one" if cut >= 25 else b"")
        line.close()


@BOTH_WAYS
@pytest.mark.parametrize("inside", [0, 3, 5], ids=["between two records", "in a header", "in a body"])
def test_a_handshake_truncated_at_any_record_fails(from_connector: bool, inside: int) -> None:
    for number in range(len(split_records(handshake(from_connector)))):
        line = Line()
        sender, receiver = line.in_order(from_connector)
        sender.stream.send(b"payload")
        line.run(tampering(line, from_connector, CutOffAtRecord(number, inside=inside)))
        receiver.give_fin()
        assert isinstance(receiver.end, HandshakeError), f"FIN in record {number}: {receiver.end!r}"
        assert receiver.received == b""
        line.close()


def test_fin_after_the_handshake_is_not_the_end_of_an_empty_stream() -> None:
    for from_connector in (True, False):
        line = Line().run()
        _sender, receiver = line.in_order(from_connector)
        receiver.give_fin()
        assert isinstance(receiver.end, ConnectionResetError)
        line.close()


# Changes on the way


def handshake(from_connector: bool) -> bytes:
    """What one end says in a handshake, as long as any."""
    said = b""
    line = Line()

    def listen(sender: End, wire: bytes) -> bytes:
        nonlocal said
        if sender is line.in_order(from_connector)[0]:
            said += wire
        return wire

    line.run(listen)
    line.close()
    return said


@BOTH_WAYS
def test_a_bit_flipped_anywhere_in_a_stream_is_an_error(from_connector: bool) -> None:
    """Of two short records and close_notify: in each of their bytes."""
    for offset in range(25 + 27 + CLOSE_NOTIFY_SIZE):
        line = Line().run()
        sender, receiver = line.in_order(from_connector)
        for data in (b"one", b"three"):
            sender.stream.send(data)
        sender.stream.finish()
        receiver.give(flipped(sender.sent(), offset, offset % 8))
        receiver.give_fin()
        # With another length, the rest of a record may be what is still waited for.
        errors = (IntegrityError, ConnectionResetError) if offset in LENGTHS else IntegrityError
        assert isinstance(receiver.end, errors), f"the byte at {offset}: {receiver.end!r}"
        assert receiver.received in ((b"", b"one", b"onethree") if offset >= 52 else (b"", b"one"))
        line.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_bit_flipped_in_a_large_stream_gives_no_byte_that_was_not_sent(seed: int) -> None:
    data = payload(100_000)
    for offset in random.Random(seed).sample(range(100_000), 40):
        line = Line().run()
        line.connector.stream.send(data)
        line.connector.stream.finish()
        line.listener.give(flipped(line.connector.sent(), offset, offset % 8))
        line.listener.give_fin()
        assert isinstance(line.listener.end, (IntegrityError, ConnectionResetError))
        assert data.startswith(line.listener.received)
        assert len(line.listener.received) <= offset
        line.close()


@BOTH_WAYS
def test_a_bit_flipped_in_the_handshake_is_an_error_or_changes_nothing(from_connector: bool) -> None:
    """The protocol has bytes that mean nothing: a version in the header of what is not encrypted."""
    harmless = 0
    size = len(handshake(from_connector))
    for offset in range(0, size - 16, 3):  # a signature may be some bytes shorter the next time
        line = Line()
        for end in line.ends:
            end.stream.send(b"payload")
        line.run(tampering(line, from_connector, Flip(offset, bit=offset % 8)))
        for end in line.ends:
            end.give_fin()
        sender, receiver = line.in_order(from_connector)
        if receiver.received or sender.received:
            harmless += 1
            assert (receiver.received, sender.received) == (b"payload", b"payload")
        else:
            assert isinstance(receiver.end, HandshakeError), f"the byte at {offset}: {receiver.end!r}"
        line.close()
    assert harmless <= 4


Records = list[bytes]
REARRANGED: dict[str, Callable[[Records], Records]] = {
    "a record replayed": lambda records: [records[0], records[0], *records[1:]],
    "a record replayed later": lambda records: [*records[:2], records[0], *records[2:]],
    "two records swapped": lambda records: [records[1], records[0], *records[2:]],
    "the first record dropped": lambda records: records[1:],
    "a record in the middle dropped": lambda records: [records[0], *records[2:]],
    "the last record before close_notify dropped": lambda records: [*records[:-2], records[-1]],
    "everything dropped but close_notify": lambda records: records[-1:],
    "a plain alert": lambda records: [records[0], b"\x15\x03\x03\x00\x02\x01\x00", *records[1:]],
    "plain data": lambda records: [records[0], b"\x17\x03\x03\x00\x03two", *records[1:]],
    "no TLS at all": lambda records: [records[0], b"GET / HTTP/1.1\r\n\r\n"],
}


@BOTH_WAYS
@pytest.mark.parametrize("rearrange", REARRANGED.values(), ids=REARRANGED.keys())
def test_records_rearranged_on_the_way_are_refused(
    from_connector: bool, rearrange: Callable[[Records], Records]
) -> None:
    line = Line().run()
    sender, receiver = line.in_order(from_connector)
    words = [b"one", b"two", b"three"]
    for word in words:
        sender.stream.send(word)
    sender.stream.finish()
    records = split_records(sender.sent())
    assert len(records) == len(words) + 1
    receiver.give(b"".join(rearrange(records)))
    assert isinstance(receiver.end, IntegrityError)
    assert b"onetwothree".startswith(receiver.received)
    line.close()


@BOTH_WAYS
def test_ones_own_records_reflected_are_refused(from_connector: bool) -> None:
    line = Line().run()
    sender, _receiver = line.in_order(from_connector)
    sender.stream.send(b"payload")
    sender.give(sender.sent())
    assert isinstance(sender.end, IntegrityError)
    assert sender.received == b""
    line.close()


@BOTH_WAYS
def test_records_of_another_connection_of_the_session_are_refused(from_connector: bool) -> None:
    """As of the other direction, or of the same session's control connection."""
    lines = [Line().run() for _number in range(2)]
    sender = lines[0].in_order(from_connector)[0]
    receiver = lines[1].in_order(from_connector)[1]
    sender.stream.send(b"payload")
    receiver.give(sender.sent())
    assert isinstance(receiver.end, IntegrityError)
    assert receiver.received == b""
    for line in lines:
        line.close()


def test_a_recorded_connection_replayed_to_a_listener_is_refused() -> None:
    said = b""
    recorded = Line()

    def record(sender: End, wire: bytes) -> bytes:
        nonlocal said
        if sender is recorded.connector:
            said += wire
        return wire

    recorded.connector.stream.send(b"payload")
    recorded.run(record)
    assert recorded.listener.received == b"payload"
    line = Line()
    line.listener.give(said)
    assert isinstance(line.listener.end, HandshakeError)
    assert line.listener.received == b""
    for each in (recorded, line):
        each.close()


# Strangers

NOT_OURS = "its certificate is not the one made for this session"
NO_TLS_1_2 = "unsupported protocol|alert protocol version|version too low"
#: Who connects, and what the listener says of it.
CONNECTORS: dict[str, tuple[Wrap, str]] = {
    "a good certificate of another session": (attacker(FOREIGN[Side.LOCAL]), NOT_OURS),
    "the other certificate of another session": (attacker(FOREIGN[Side.REMOTE]), NOT_OURS),
    "no certificate": (attacker(None), "did not return a certificate"),
    "the listener's own certificate": (attacker(IDENTITIES[Side.REMOTE]), NOT_OURS),
    "TLS 1.2 alone": (attacker(IDENTITIES[Side.LOCAL], maximum=TLSv1_2), NO_TLS_1_2),
    "no TLS": (plain, "TLS says"),
}
LISTENERS: dict[str, tuple[Wrap, str]] = {
    "a good certificate of another session": (attacker(FOREIGN[Side.REMOTE]), NOT_OURS),
    "the other certificate of another session": (attacker(FOREIGN[Side.LOCAL]), NOT_OURS),
    "no certificate": (attacker(None), "TLS says '.* alert "),
    "the connector's own certificate": (attacker(IDENTITIES[Side.LOCAL]), NOT_OURS),
    "TLS 1.2 alone": (attacker(IDENTITIES[Side.REMOTE], maximum=TLSv1_2), NO_TLS_1_2),
    "no TLS": (plain, "TLS says"),
}


@pytest.mark.parametrize(("stranger", "words"), CONNECTORS.values(), ids=CONNECTORS.keys())
def test_a_stranger_that_connects_is_refused_and_told_nothing(stranger: Wrap, words: str) -> None:
    line = Line(stranger, REMOTE)
    assert_refused(line, line.connector, line.listener, words)


@pytest.mark.parametrize(("stranger", "words"), LISTENERS.values(), ids=LISTENERS.keys())
def test_a_stranger_that_listens_is_refused_and_told_nothing(stranger: Wrap, words: str) -> None:
    line = Line(LOCAL, stranger)
    assert_refused(line, line.listener, line.connector, words)


def assert_refused(line: Line, stranger: End, own: End, words: str) -> None:
    own.stream.send(SECRET)
    stranger.stream.send(b"socketpipe, and what a stranger may say")
    passed = b""

    def listen(sender: End, wire: bytes) -> bytes:
        nonlocal passed
        passed += wire
        return wire

    line.run(listen)
    assert isinstance(own.end, HandshakeError)
    assert re.search(words, str(own.end)), own.end
    assert own.received == b""
    assert SECRET not in stranger.received
    assert SECRET not in passed
    line.close()


def test_the_attackers_of_these_tests_get_through_with_the_sessions_own_certificates() -> None:
    """So it is the certificate alone for which they are refused."""
    line = Line(attacker(IDENTITIES[Side.LOCAL]), attacker(IDENTITIES[Side.REMOTE]))
    line.connector.stream.send(b"payload")
    line.run()
    assert line.listener.received == b"payload"
    line.close()


def test_an_endpoint_that_is_led_to_itself_refuses_its_own_certificate() -> None:
    """In `listen: auto` each side listens and connects; somebody may lead the one to the other."""
    line = Line(LOCAL, LOCAL).run()
    assert isinstance(line.connector.end, HandshakeError)
    assert isinstance(line.listener.end, HandshakeError)
    line.close()


def test_both_ends_can_say_why_they_did_not_agree() -> None:
    line = Line(LOCAL, encrypted(FOREIGN[Side.REMOTE])).run()
    assert NOT_OURS in str(line.connector.end)
    assert str(line.listener.end).startswith("TLS says 'tlsv1 alert")
    line.close()


# Certificates


def test_certificates_are_valid_whatever_the_clocks_say_and_name_nobody() -> None:
    for identity in IDENTITIES.values():
        certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
        assert certificate.not_valid_before_utc.year == 1970
        assert certificate.not_valid_after_utc.year == 9999
        assert list(certificate.subject) == list(certificate.issuer) == []


def test_each_side_has_a_key_of_its_own_and_trusts_the_other_one_alone() -> None:
    local, remote = IDENTITIES[Side.LOCAL], IDENTITIES[Side.REMOTE]
    assert (local.peer_certificate, remote.peer_certificate) == (remote.certificate, local.certificate)
    everything = [*IDENTITIES.values(), *FOREIGN.values()]
    assert len({identity.certificate for identity in everything}) == 4
    assert len({identity.private_key for identity in everything}) == 4


# The private key


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def assert_speaks_tls(wrap: Wrap) -> None:
    line = Line(wrap, REMOTE)
    line.connector.stream.send(b"payload")
    line.run()
    assert line.listener.received == b"payload"
    line.close()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_private_key_is_never_on_a_disk(temporary: Path) -> None:
    temporary.rmdir()  # a temporary file would be an error
    before = open_descriptors()
    wrap = encrypted(IDENTITIES[Side.LOCAL])
    assert open_descriptors() == before
    assert_speaks_tls(wrap)


def test_where_descriptors_have_no_names_the_file_of_the_private_key_is_the_owners_and_is_gone(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, int]] = []

    load = ssl.SSLContext.load_cert_chain

    def load_cert_chain(context: ssl.SSLContext, *files: str) -> None:
        loaded.extend((name, os.stat(name).st_mode & 0o777) for name in files)
        load(context, *files)

    monkeypatch.setattr(os.path, "exists", lambda path: False)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_cert_chain)
    before = open_descriptors()
    wrap = encrypted(IDENTITIES[Side.LOCAL])
    assert open_descriptors() == before
    assert {mode for _name, mode in loaded} == {0o600}
    assert {Path(name).parent for name, _mode in loaded} == {temporary}
    assert list(temporary.iterdir()) == []
    assert_speaks_tls(wrap)


@pytest.mark.parametrize("has_names", [True, False], ids=["with /dev/fd", "without"])
def test_a_certificate_that_is_none_is_refused_and_leaves_nothing(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, has_names: bool
) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda path: has_names)
    before = open_descriptors()
    for field in ("certificate", "private_key", "peer_certificate"):
        with pytest.raises(ResourceError, match="encrypt is not possible"):
            encrypted(IDENTITIES[Side.LOCAL]._replace(**{field: "nonsense"}))
    assert open_descriptors() == before
    assert list(temporary.iterdir()) == []


# Where there is no TLS 1.3


def test_a_python_without_tls_1_3_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "HAS_TLSv1_3", False)
    with pytest.raises(ResourceError, match=f"needs TLS 1.3, which its Python's {ssl.OPENSSL_VERSION}"):
        encrypted(IDENTITIES[Side.LOCAL])


def test_a_python_without_ssl_says_so_and_starts_nothing(sessions: Sessions, tmp_path: Path) -> None:
    python = python_without_ssl(tmp_path)
    commands = {"input": ["true"], "remote": ["touch", f"{tmp_path}/started"]}
    ended = sessions.run(commands, encrypt=True, python=python)
    for side in ("local", "remote"):
        assert ended.reason(side)["kind"] == "system"
        assert ended.reason(side)["text"].startswith("encrypt needs Python's ssl module: ")
    assert not (tmp_path / "started").exists()


def test_a_python_without_ssl_is_good_for_a_checksum(sessions: Sessions, tmp_path: Path) -> None:
    commands = {"input": ["true"], "remote": ["cat"]}
    ended = sessions.run(commands, checksum="sha256", python=python_without_ssl(tmp_path))
    assert ended.verdict.failure is None
