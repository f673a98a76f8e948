# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network as far away as one likes: two TUN devices, and this program, which takes each packet from one
to the other after a constant time. It needs nothing of the kernel that is not there everywhere.

delay.py SECONDS ONE OTHER    with the descriptors of the devices, until standard input ends

Packets come in pieces of up to 64 KB, as between network cards that cut them themselves. None is lost
here and none overtakes another. How much it can carry is measured, with no time at all.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
#: Checksums, and segments of IPv4 and IPv6, are left to the device.
_OFFLOADS = 0x01 | 0x02 | 0x04
#: The largest packet, and the header that says how to cut it.
_PIECE = 65536 + 10
#: Pieces that are read before others are written.
_AT_ONCE = 16


def open_device(name: str) -> int:
    """The descriptor of a new device, in this thread's network."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _OFFLOADS)
    return descriptor


def carry(one: int, other: int, delay: float, end: int) -> None:
    """Take packets over, in both directions, until *end* can be read."""
    ways = [(one, other, deque[tuple[float, bytes]]()), (other, one, deque[tuple[float, bytes]]())]
    while True:
        due = min((queue[0][0] for _source, _sink, queue in ways if queue), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic())
        readable = select.select([one, other, end], [], [], timeout)[0]
        if end in readable:
            return
        for source, sink, queue in ways:
            if source in readable:
                _take(source, queue, delay)
            _give(sink, queue)


def _take(source: int, queue: deque[tuple[float, bytes]], delay: float) -> None:
    for _piece in range(_AT_ONCE):
        try:
            packet = os.read(source, _PIECE)
        except BlockingIOError:
            return
        queue.append((time.monotonic() + delay, packet))


def _give(sink: int, queue: deque[tuple[float, bytes]]) -> None:
    now = time.monotonic()
    while queue and queue[0][0] <= now:
        os.write(sink, queue.popleft()[1])


if __name__ == "__main__":
    carry(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[1]), sys.stdin.fileno())
