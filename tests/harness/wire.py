# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others can do to a session: read the wire, get in the way, and look for its secrets."""

from __future__ import annotations

import base64
import os
import re
import select
import socket
import struct
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harness.middlebox import Relay
from harness.network import Target

#: Nothing of this length is the same in two places by chance.
RUN = 16

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_SO_RCVBUFFORCE = 33
#: Room for a few sessions, and for one frame: segments are merged up to 64 KiB.
_CAPTURE_BUFFER = 256 << 20
_LARGEST_FRAME = 1 << 18


def runs(data: bytes) -> Iterator[bytes]:
    """All pieces of that length."""
    return (data[at : at + RUN] for at in range(len(data) - RUN + 1))


class Flow(NamedTuple):
    """One direction of a TCP connection, by its ports."""

    source: int
    destination: int


class _Segment(NamedTuple):
    ends: tuple[bytes, bytes]
    flow: Flow
    number: int
    is_first: bool
    data: bytes


class Capture:
    """All frames that pass a link of this process's network while the context lasts.

    A frame is searched as it is; so is each stream, in which what came in several segments is whole.
    """

    def __init__(self, link: str) -> None:
        self._link = link
        self.frames: list[bytes] = []
        self.streams: dict[Flow, bytes] = {}

    def __enter__(self) -> Capture:
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _CAPTURE_BUFFER)
        self._sock.bind((self._link, 0))
        self._wake, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.close()
        self._thread.join()
        counted = self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        packets, dropped = struct.unpack("II", counted)
        for sock in (self._sock, self._wake):
            sock.close()
        assert not dropped, f"{dropped} of {packets} frames were not captured"
        self.streams = _streams(self.frames)

    def _read(self) -> None:
        """What has arrived by the end is read to the last frame."""
        while select.select([self._sock, self._wake], [], [])[0] != [self._wake]:
            frame, _ancillary, flags, _address = self._sock.recvmsg(_LARGEST_FRAME)
            assert not flags & socket.MSG_TRUNC
            self.frames.append(frame)

    def holds(self, words: bytes) -> bool:
        return any(words in data for data in self._everything)

    def runs_of(self, *secrets: bytes) -> set[bytes]:
        """All that was on the wire of these: 16 bytes that follow each other, wherever they begin."""
        wanted = {run for secret in secrets for run in runs(secret)}
        return {run for data in self._everything for run in runs(data) if run in wanted}

    @property
    def _everything(self) -> Iterator[bytes]:
        yield from self.frames
        yield from self.streams.values()

    def sizes(self, port: int) -> tuple[int, int]:
        """The bytes of TCP that came from *port*, and those that went to it."""
        return (
            sum(len(data) for flow, data in self.streams.items() if flow.source == port),
            sum(len(data) for flow, data in self.streams.items() if flow.destination == port),
        )


def _streams(frames: Iterable[bytes]) -> dict[Flow, bytes]:
    """Put together by their sequence numbers; a gap is zeros."""
    first: dict[tuple[Any, Flow], int] = {}
    streams: dict[tuple[Any, Flow], bytearray] = defaultdict(bytearray)
    for segment in filter(None, map(_parse, frames)):
        key = (segment.ends, segment.flow)
        if segment.is_first:
            first[key] = segment.number + 1
        elif segment.data:
            # Of a connection from before the capture, the first segment is the first there is.
            at = (segment.number - first.setdefault(key, segment.number)) % (1 << 32)
            if at < 1 << 31:
                stream = streams[key]
                stream.extend(bytes(max(0, at + len(segment.data) - len(stream))))
                stream[at : at + len(segment.data)] = segment.data
    merged: dict[Flow, bytes] = defaultdict(bytes)
    for (_ends, flow), data in streams.items():
        merged[flow] += bytes(data)
    return dict(merged)


def _parse(frame: bytes) -> _Segment | None:
    """The TCP segment in an Ethernet frame, if there is one."""
    kind, packet = frame[12:14], frame[14:]
    if kind == b"\x08\x00" and packet[9] == socket.IPPROTO_TCP:
        header, size = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
        ends, tcp = (packet[12:16], packet[16:20]), packet[header:size]
    elif kind == b"\x86\xdd" and packet[6] == socket.IPPROTO_TCP:
        ends, tcp = (packet[8:24], packet[24:40]), packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
    else:
        return None
    source, destination, number = struct.unpack_from("!HHI", tcp)
    is_first = bool(tcp[13] & 2)
    return _Segment(ends, Flow(source, destination), number, is_first, tcp[(tcp[12] >> 4) * 4 :])


# Being in the way of what is on the wire


@contextmanager
def in_the_way(target: Target, port: int, make_relay: Callable[[int], Relay]) -> Iterator[Relay]:
    """Whoever connects to *port* of the target gets to a relay on the target, made for that port,
    instead of who listens there."""
    switch = "/proc/sys/net/ipv4/conf/eth0/route_localnet"
    with target.entered():
        relay = make_relay(port)
    rules = f"""
    table ip in_the_way {{
        chain prerouting {{
            type nat hook prerouting priority dstnat
            iifname eth0 tcp dport {port} dnat to 127.0.0.1:{relay.port}
        }}
    }}
    """
    target.run("sh", "-c", f"echo 1 > {switch}")
    target.run("nft", "-f", "-", input=rules)
    try:
        yield relay
    finally:
        target.run("nft", "delete", "table", "ip", "in_the_way")
        target.run("sh", "-c", f"echo 0 > {switch}")
        relay.close()


# Looking for secrets


class Secrets:
    """What a session's endpoints were told: *told* is all of it. Each secret is known by a name, in
    every form in which it may be found."""

    def __init__(self, told: bytes) -> None:
        self.forms: dict[str, bytes] = {}
        (key,) = set(re.findall(rb'"key\W+([0-9a-f]{64})\b', told))
        self.forms["the session's key, hexadecimal"] = key
        self.forms["the session's key, raw"] = bytes.fromhex(key.decode())
        bodies = re.findall(rb"BEGIN PRIVATE KEY-----(.*?)-----END PRIVATE KEY", told, re.DOTALL)
        for number, body in enumerate(sorted(set(map(_lines, bodies)))):
            for at, line in enumerate(body):
                self.forms[f"line {at} of private key {number}"] = line
            # What comes before is the same in all keys of that kind, what comes after is public.
            self.forms[f"private key {number}, raw"] = base64.b64decode(b"".join(body))[36:68]

    @property
    def private_keys(self) -> int:
        return sum(name.endswith(", raw") and name.startswith("private") for name in self.forms)

    def found_in(self, data: bytes) -> set[str]:
        return {name for name, form in self.forms.items() if form in data}


def _lines(body: bytes) -> tuple[bytes, ...]:
    """Those of a PEM text, in whose JSON a newline is a backslash, or several, and an n."""
    return tuple(line for line in re.split(rb"\\+n|\n", body) if line)


def files_since(began: float, folders: Iterable[Path], besides: Sequence[Path] = ()) -> dict[Path, bytes]:
    """The contents of all files under *folders*, but for those *besides*, that were changed since then."""
    pruned = [word for folder in besides for word in ("-path", str(folder), "-prune", "-o")]
    # Others work on this machine, too: what is larger is theirs.
    wanted = ["-type", "f", "-size", "-65536k", "-newerct", f"@{began}", "-print0"]
    found = subprocess.run(["find", *folders, *pruned, *wanted], stdout=subprocess.PIPE, check=False)
    contents = {}
    for name in found.stdout.split(b"\0")[:-1]:
        path = Path(os.fsdecode(name))
        try:
            contents[path] = path.read_bytes()
        except OSError:
            continue  # it is gone meanwhile
    return contents


class ProcessWatch:
    """Collects the command lines and environments of all processes of this machine, until the
    context ends: those that last, and what is caught of the others."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.look()

    def look(self) -> None:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                for name in ("cmdline", "environ"):
                    try:
                        self.seen.add(Path("/proc", entry, name).read_bytes())
                    except OSError:
                        continue  # it has ended meanwhile
