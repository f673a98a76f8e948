# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handshake: who passes, who is refused, and at which byte."""

from __future__ import annotations

import hashlib
import hmac
import tracemalloc
from collections.abc import Callable

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.errors import HandshakeError
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.handshake import (
    ConnectorHandshake,
    Handshake,
    ListenerHandshake,
    Purpose,
    Side,
)
from hypothesis import given
from hypothesis import strategies as st

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
CONNECTOR_NONCE = b"c" * 32
LISTENER_NONCE = b"l" * 32

#: Bytes of a header that are refused as soon as they arrive wrong: all sixteen.
HEADER_SIZE = 16
SIZES = {"HELLO": 48, "ANSWER": 80, "PROOF": 32, "WELCOME": 32}


def connector(
    key: bytes = KEY,
    side: Side = Side.REMOTE,
    purpose: Purpose = Purpose.CONTROL,
    nonce: bytes | None = CONNECTOR_NONCE,
) -> ConnectorHandshake:
    return ConnectorHandshake(key, side, purpose, nonce)


def listener(
    key: bytes = KEY, side: Side = Side.LOCAL, nonce: bytes | None = LISTENER_NONCE
) -> ListenerHandshake:
    return ListenerHandshake(key, side, nonce)


def messages(
    one: ConnectorHandshake,
    other: ListenerHandshake,
    tamper: Callable[[str, bytes], bytes] = lambda _, data: data,
) -> dict[str, bytes]:
    """The four messages of a handshake; *tamper* is the man in the middle."""
    said = {}
    for name in SIZES:
        sender, receiver = (one, other) if name in ("HELLO", "PROOF") else (other, one)
        said[name] = sender.take()
        receiver.receive(tamper(name, said[name]))
    return said


def waiting_for(message: str) -> Handshake:
    """A machine with the usual nonce that has said all it says before it gets *message*."""
    machine = connector() if message in ("ANSWER", "WELCOME") else listener()
    before = {"PROOF": "HELLO", "WELCOME": "ANSWER"}.get(message)
    if before is not None:
        machine.receive(GOOD[before])
    machine.take()
    return machine


def listener_that_got(hello: bytes) -> ListenerHandshake:
    machine = listener()
    machine.receive(hello)
    return machine


def flipped(data: bytes, place: int) -> bytes:
    return bytes(byte ^ (1 << place % 8 if at == place // 8 else 0) for at, byte in enumerate(data))


def refusal(machine: Handshake, data: bytes) -> tuple[int, str]:
    """After how many bytes of *data* the machine refuses, and in which words."""
    for count in range(len(data)):
        try:
            machine.receive(data[count : count + 1])
        except HandshakeError as error:
            return count + 1, str(error)
    raise AssertionError("it was not refused")


GOOD = messages(connector(), listener())
#: What a machine says next, when it got a message.
REPLIES = {"HELLO": GOOD["ANSWER"], "ANSWER": GOOD["PROOF"], "PROOF": GOOD["WELCOME"], "WELCOME": b""}


# What passes


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("purpose", Purpose)
def test_two_machines_with_one_key_prove_themselves_to_each_other(side: Side, purpose: Purpose) -> None:
    one, other = connector(side=side, purpose=purpose), listener(side=side.peer)
    messages(one, other)
    assert (one.done, other.done, other.purpose) == (True, True, purpose)


def test_messages_have_the_lengths_of_the_protocol_and_are_counted() -> None:
    one, other = connector(), listener()
    assert {name: len(data) for name, data in messages(one, other).items()} == SIZES
    assert (one.bytes_sent, one.bytes_received) == (80, 112)
    assert (other.bytes_sent, other.bytes_received) == (112, 80)


@pytest.mark.parametrize("message", SIZES)
def test_a_message_may_be_cut_anywhere(message: str) -> None:
    for at in range(1, SIZES[message]):
        machine = waiting_for(message)
        machine.receive(GOOD[message][:at])
        assert (machine.take(), machine.wanted) == (b"", SIZES[message] - at)
        machine.receive(GOOD[message][at:])
        assert machine.take() == REPLIES[message], f"cut at byte {at}"


@pytest.mark.parametrize("message", SIZES)
def test_a_message_may_come_byte_by_byte(message: str) -> None:
    machine = waiting_for(message)
    for at in range(SIZES[message]):
        assert (machine.wanted, machine.done) == (SIZES[message] - at, False)
        machine.receive(GOOD[message][at : at + 1])
    assert machine.take() == REPLIES[message]
    assert machine.done is (message in ("PROOF", "WELCOME"))


# The bytes on the wire, computed here from docs/protocol.md alone


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("purpose", "code"), list(zip(Purpose, (b"c", b"i", b"o"), strict=True)))
def test_the_messages_are_those_of_the_protocol_page(side: Side, purpose: Purpose, code: bytes) -> None:
    def mac(label: bytes, *said: bytes) -> bytes:
        return hmac.new(KEY, label + b"".join(said), hashlib.sha256).digest()

    own, peers = (b"l", b"r") if side is Side.LOCAL else (b"r", b"l")
    hello = b"socketpipe\x01" + code + own + b"\0\0\0" + CONNECTOR_NONCE
    unproven = b"socketpipe\x01" + code + peers + b"\0\0\0" + LISTENER_NONCE
    answer = unproven + mac(b"socketpipe 1 listener", hello, unproven)
    proof = mac(b"socketpipe 1 connector", hello, answer)
    welcome = mac(b"socketpipe 1 welcome", hello, answer)
    one, other = connector(side=side, purpose=purpose), listener(side=side.peer)
    said = {"HELLO": hello, "ANSWER": answer, "PROOF": proof, "WELCOME": welcome}
    assert messages(one, other) == said
    keys = {
        name: mac(b"socketpipe 1 control " + name.encode(), hello, answer) for name in ("local", "remote")
    }
    assert one.control_keys() == (keys[side.value], keys[side.peer.value])


def test_the_first_message_byte_by_byte() -> None:
    assert connector().take().hex() == (
        "736f636b657470697065"  # socketpipe
        "01"  # version
        "63"  # control
        "72"  # remote
        "000000" + "63" * 32
    )


# Keys of the control connection


def test_control_keys_agree_crosswise_and_differ_by_direction() -> None:
    one, other = connector(), listener()
    messages(one, other)
    own, peers = one.control_keys()
    assert other.control_keys() == (peers, own)
    assert own != peers


def test_every_handshake_gives_other_control_keys() -> None:
    keys = set()
    for _number in range(10):
        one, other = connector(nonce=None), listener(nonce=None)
        messages(one, other)
        keys.update(one.control_keys())
    assert len(keys) == 20


# Strangers and attackers


@pytest.mark.parametrize("message", SIZES)
def test_any_flipped_bit_on_the_way_is_refused(message: str) -> None:
    for place in range(8 * SIZES[message]):

        def flip(name: str, data: bytes, place: int = place) -> bytes:
            return flipped(data, place) if name == message else data

        one, other = connector(), listener()
        with pytest.raises(HandshakeError):
            pytest.fail(f"bit {place} was flipped: {messages(one, other, flip)}")
        assert not one.done
        # A listener whose WELCOME was changed has seen the proof.
        assert other.done is (message == "WELCOME")


@pytest.mark.parametrize("message", ["HELLO", "ANSWER"])
@pytest.mark.parametrize("at", range(HEADER_SIZE))
def test_a_wrong_header_is_refused_at_its_first_wrong_byte(message: str, at: int) -> None:
    right = set(b"cio") if (message, at) == ("HELLO", 11) else {GOOD[message][at]}
    for byte in set(range(256)) - right:
        wrong = GOOD[message][:at] + bytes([byte]) + GOOD[message][at + 1 :]
        assert refusal(waiting_for(message), wrong)[0] == at + 1


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.2", b"GET / HTTP/1.1", b"\x16\x03\x01\x02\0", b"\0", b"socketpipE"]
)
def test_a_stranger_who_speaks_something_else_is_refused(greeting: bytes) -> None:
    for machine in (listener(), connector()):
        machine.take()
        with pytest.raises(HandshakeError, match="not a socketpipe handshake"):
            machine.receive(greeting)
        assert machine.take() == b""


@pytest.mark.parametrize("version", [0, 2, 255])
@pytest.mark.parametrize("message", ["HELLO", "ANSWER"])
def test_another_version_is_refused_by_naming_both(message: str, version: int) -> None:
    wrong = GOOD[message][:10] + bytes([version]) + GOOD[message][11:]
    count, words = refusal(waiting_for(message), wrong)
    assert count == 11
    assert f"version {version} " in words
    assert "this side version 1" in words


def test_a_listener_with_another_key_gets_no_proof() -> None:
    one, other = connector(), listener(key=OTHER_KEY)
    other.receive(one.take())
    with pytest.raises(HandshakeError, match="does not know this session's key"):
        one.receive(other.take())
    assert (one.take(), one.done, one.bytes_sent) == (b"", False, SIZES["HELLO"])


def test_a_connector_with_another_key_is_refused() -> None:
    machine = listener_that_got(GOOD["HELLO"])
    forged = hmac.new(OTHER_KEY, b"socketpipe 1 connector" + GOOD["HELLO"] + GOOD["ANSWER"], hashlib.sha256)
    with pytest.raises(HandshakeError, match="does not know this session's key"):
        machine.receive(forged.digest())
    assert not machine.done


def test_what_a_stranger_has_heard_is_no_proof() -> None:
    """It follows the protocol in all but the proof, which it can not make."""
    hello = connector(key=OTHER_KEY).take()
    answer = listener_that_got(hello).take()
    for guess in (bytes(32), answer[-32:], answer[16:48], hello[16:], GOOD["WELCOME"]):
        with pytest.raises(HandshakeError, match="key"):
            listener_that_got(hello).receive(guess)


def test_what_a_listener_has_heard_is_no_welcome() -> None:
    """So it can not be made without having seen that the proof is right."""
    for guess in (bytes(32), GOOD["PROOF"], GOOD["ANSWER"][-32:], GOOD["HELLO"][16:]):
        machine = waiting_for("WELCOME")
        with pytest.raises(HandshakeError, match="key"):
            machine.receive(guess)
        assert not machine.done


def test_a_recorded_welcome_replayed_to_a_new_nonce_is_refused() -> None:
    one, other = connector(nonce=None), listener()
    other.receive(one.take())
    one.receive(other.take())
    with pytest.raises(HandshakeError, match="key"):
        one.receive(GOOD["WELCOME"])


def test_a_recorded_connector_replayed_to_a_new_nonce_is_refused() -> None:
    machine = listener(nonce=None)
    machine.receive(GOOD["HELLO"])
    with pytest.raises(HandshakeError, match="key"):
        machine.receive(GOOD["PROOF"])


def test_a_recorded_listener_replayed_to_a_new_nonce_is_refused() -> None:
    machine = connector(nonce=None)
    machine.take()
    with pytest.raises(HandshakeError, match="key"):
        machine.receive(GOOD["ANSWER"])
    assert machine.take() == b""


def test_fresh_nonces_are_never_the_same() -> None:
    hellos = {connector(nonce=None).take() for _number in range(100)}
    answers = set()
    for _number in range(100):
        machine = listener(nonce=None)
        machine.receive(GOOD["HELLO"])
        answers.add(machine.take()[16:48])
    assert (len(hellos), len(answers)) == (100, 100)


@pytest.mark.parametrize("side", Side)
def test_a_reflected_hello_is_refused_by_its_side(side: Side) -> None:
    """An echo of what the connector said is no answer: refused at the byte of the side."""
    machine = connector(side=side)
    assert refusal(machine, machine.take() + bytes(32))[0] == 13


@pytest.mark.parametrize("side", Side)
def test_a_reflected_answer_is_refused(side: Side) -> None:
    """What a listener says is neither a HELLO to it nor a proof of whoever echoes it."""
    one, other = connector(side=side.peer), listener(side=side)
    other.receive(one.take())
    answer = other.take()
    assert refusal(listener(side=side), answer[: SIZES["HELLO"]])[0] == 13
    with pytest.raises(HandshakeError, match="key"):
        other.receive(answer[-32:])


@pytest.mark.parametrize("side", Side)
def test_two_ends_of_the_same_side_do_not_meet(side: Side) -> None:
    with pytest.raises(HandshakeError):
        listener(side=side).receive(connector(side=side).take())


@pytest.mark.parametrize("asked", Purpose)
@pytest.mark.parametrize("answered", Purpose)
def test_an_answer_for_another_purpose_is_refused(asked: Purpose, answered: Purpose) -> None:
    """Even from a listener that knows the key."""
    one = connector(purpose=asked)
    other = listener_that_got(connector(purpose=answered).take())
    if asked is answered:
        one.receive(other.take())
        assert one.bytes_sent == SIZES["HELLO"] + SIZES["PROOF"]
    else:
        assert refusal(one, other.take())[0] == 12


def test_a_proof_of_one_purpose_is_none_for_another() -> None:
    """The same nonces, but a connection for input: the header is part of what is proven."""
    machine = listener_that_got(connector(purpose=Purpose.INPUT).take())
    with pytest.raises(HandshakeError):
        machine.receive(GOOD["PROOF"])


def test_an_unknown_purpose_is_refused() -> None:
    hello = GOOD["HELLO"]
    assert refusal(listener(), hello[:11] + b"x" + hello[12:])[0] == 12


# The payload behind the handshake is not touched


def test_wanted_never_covers_a_byte_behind_the_handshake() -> None:
    """Both machines read from a stream in which payload follows at once, wanted bytes at a time."""
    for machine, said in ((connector(), ["ANSWER", "WELCOME"]), (listener(), ["HELLO", "PROOF"])):
        stream = b"".join(GOOD[message] for message in said) + b"payload"
        while machine.wanted:
            data, stream = stream[: machine.wanted], stream[machine.wanted :]
            machine.receive(data)
        assert machine.done
        assert stream == b"payload"


@pytest.mark.parametrize("message", SIZES)
def test_a_byte_that_was_not_wanted_can_not_be_given(message: str) -> None:
    with pytest.raises(ValueError, match="wanted"):
        waiting_for(message).receive(GOOD[message] + b"p")


def test_nothing_can_be_given_to_a_machine_that_is_done() -> None:
    one, other = connector(), listener()
    messages(one, other)
    for machine in (one, other):
        assert machine.wanted == 0
        with pytest.raises(ValueError, match="0 wanted"):
            machine.receive(b"p")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_a_mistake_of_the_caller(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        listener(key=bytes(size))


# Properties


@given(chunks=st.lists(st.binary(min_size=1, max_size=60)), begin=st.sampled_from(range(HEADER_SIZE + 1)))
def test_arbitrary_bytes_raise_nothing_but_handshake_errors(chunks: list[bytes], begin: int) -> None:
    """*begin*: how much of a right header comes first."""
    for machine, message in ((listener(), "HELLO"), (connector(), "ANSWER")):
        stream = GOOD[message][:begin] + b"".join(chunks)
        try:
            while stream and machine.wanted:
                data, stream = stream[: machine.wanted], stream[machine.wanted :]
                machine.receive(data)
        except HandshakeError:
            pass
        assert not machine.done
        assert len(machine.take()) <= max(SIZES.values())


#: All that was ever said between the two sides: for each purpose, whichever side connects, by message.
TRANSCRIPTS = {
    (purpose, side): messages(connector(side=side, purpose=purpose), listener(side=side.peer))
    for purpose in Purpose
    for side in Side
}
_said = st.sampled_from([data for said in TRANSCRIPTS.values() for data in said.values()])
_side = st.sampled_from(Side)


@st.composite
def _forgeries(draw: st.DrawFn) -> bytes:
    """What somebody can send who has heard everything and does not know the key: pieces of what was said
    in any order, cut, changed, and mixed with bytes of his own."""
    pieces = []
    for piece in draw(st.lists(_said | st.binary(max_size=90), min_size=1, max_size=5)):
        start = draw(st.integers(0, len(piece)) | st.just(0))
        kept = bytearray(piece[start : draw(st.integers(start, len(piece)) | st.just(len(piece)))])
        if kept and draw(st.booleans()):
            kept[draw(st.integers(0, len(kept) - 1))] ^= draw(st.integers(1, 255))
        pieces.append(bytes(kept))
    return b"".join(pieces)


@st.composite
def _machines(draw: st.DrawFn) -> Handshake:
    """One of either role, side and purpose, with a fresh nonce."""
    side = draw(_side)
    if draw(st.booleans()):
        return listener(side=side, nonce=draw(st.binary(min_size=32, max_size=32)))
    purpose = draw(st.sampled_from(Purpose))
    return connector(side=side, purpose=purpose, nonce=draw(st.binary(min_size=32, max_size=32)))


def fed(machine: Handshake, stream: bytes, sizes: list[int]) -> bytes:
    """What *machine* says while it is given *stream*, in reads of *sizes*, until it has enough."""
    said, at, count = machine.take(), 0, 0
    while machine.wanted and at < len(stream):
        size = min(machine.wanted, sizes[count % len(sizes)])
        count += 1
        machine.receive(stream[at : at + size])
        at += size
        said += machine.take()
    return said


@given(machine=_machines(), stream=_forgeries(), sizes=st.lists(st.integers(1, 80), min_size=1, max_size=5))
def test_nobody_without_the_key_passes_or_raises_anything_but_a_handshake_error(
    machine: Handshake, stream: bytes, sizes: list[int]
) -> None:
    """Replayed, reflected, spliced or cut: *machine* has a nonce that none of it was said to."""
    try:
        fed(machine, stream, sizes)
    except HandshakeError:
        pass
    assert not machine.done
    assert machine.bytes_received <= sum(SIZES.values())
    # The listener's whole part at most, never a connector's proof.
    assert machine.bytes_sent in ({48} if isinstance(machine, ConnectorHandshake) else {0, 80})


@given(side=_side, purpose=st.sampled_from(Purpose), stream=_forgeries(), whose=st.integers(0, 1))
def test_a_machine_that_repeats_its_nonce_passes_only_who_repeats_the_other_ones_words(
    side: Side, purpose: Purpose, stream: bytes, whose: int
) -> None:
    """Not what happens, but the strongest replay there can be."""
    said = TRANSCRIPTS[purpose, side]
    machine: Handshake = (connector(side=side, purpose=purpose), listener(side=side.peer))[whose]
    names = (["ANSWER", "WELCOME"], ["HELLO", "PROOF"])[whose]
    try:
        fed(machine, stream, [80])
    except HandshakeError:
        pass
    if machine.done and whose == 0:
        assert stream.startswith(b"".join(said[name] for name in names))
    elif machine.done:
        # To a listener any purpose may come.
        transcripts = [TRANSCRIPTS[purpose, side] for purpose in Purpose]
        assert any(stream.startswith(one["HELLO"] + one["PROOF"]) for one in transcripts)


@given(side=_side, purpose=st.sampled_from(Purpose), sizes=st.lists(st.integers(1, 80), min_size=1))
def test_two_machines_meet_however_their_words_are_cut(
    side: Side, purpose: Purpose, sizes: list[int]
) -> None:
    one, other = connector(side=side, purpose=purpose), listener(side=side.peer)
    on_the_way = {one: b"", other: b""}
    while not (one.done and other.done):
        for sender, receiver in ((one, other), (other, one)):
            on_the_way[receiver] += sender.take()
            count = min(receiver.wanted, sizes[one.bytes_received % len(sizes)])
            data, on_the_way[receiver] = on_the_way[receiver][:count], on_the_way[receiver][count:]
            if data:
                receiver.receive(data)
    assert set(on_the_way.values()) == {b""}
    assert one.control_keys() == other.control_keys()[::-1]


def test_a_machine_holds_no_more_than_a_message() -> None:
    """Whoever sends byte by byte, and stops before the last, is waited for with little."""
    machines = [listener(nonce=None) for _number in range(1000)]
    tracemalloc.start()
    try:
        for machine in machines:
            for at in range(SIZES["HELLO"] - 1):
                machine.receive(GOOD["HELLO"][at : at + 1])
        assert tracemalloc.get_traced_memory()[0] < 1000 * 4 * SIZES["HELLO"]
    finally:
        tracemalloc.stop()
