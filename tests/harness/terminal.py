# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A terminal, and what somebody who sits at it sees."""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import struct
import termios
import threading

_PIECES = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """Lines as a terminal without a bottom shows them; those that are longer than it are not cut."""

    def __init__(self) -> None:
        self._lines = [""]
        self._row = self._column = 0
        #: Whether the cursor is shown.
        self.has_cursor = True

    def draw(self, text: str) -> None:
        for number, command, move, plain in _PIECES.findall(text):
            if command:
                self._obey(number, command)
            elif move == "\r":
                self._column = 0
            elif move == "\n":
                self._row += 1
                self._lines += [""] * (self._row + 1 - len(self._lines))
            else:
                line = self._lines[self._row].ljust(self._column)
                end = self._column + len(plain)
                self._lines[self._row] = line[: self._column] + plain + line[end:]
                self._column = end

    def _obey(self, number: str, command: str) -> None:
        if command == "A":
            self._row = max(0, self._row - int(number or 1))
        elif command == "K":
            kept = "" if number == "2" else self._lines[self._row][: self._column]
            self._lines[self._row] = kept
        elif command in "hl" and number == "?25":
            self.has_cursor = command == "h"
        else:
            assert command == "m", f"this terminal does not know {number}{command}"

    @property
    def lines(self) -> list[str]:
        """To the cursor's, or the last one with something in it."""
        lines = [line.rstrip() for line in self._lines]
        while len(lines) > self._row + 1 and not lines[-1]:
            lines.pop()
        return lines


class Terminal:
    """A pseudo-terminal; programs write to *descriptor*."""

    def __init__(self, columns: int = 100) -> None:
        self._master, self.descriptor = os.openpty()
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._data = b""
        self._end, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while self._end not in select.select([self._master, self._end], [], [])[0]:
                self._data += os.read(self._master, 1 << 16)
        except OSError:
            pass  # nobody has the other end any more
        os.close(self._master)

    @property
    def text(self) -> str:
        """All that was ever written, but for the colours."""
        return re.sub(r"\x1b\[[\d;]*m", "", self._data.decode("utf-8", "replace"))

    @property
    def screen(self) -> Screen:
        screen = Screen()
        screen.draw(self.text)
        return screen

    @property
    def lines(self) -> list[str]:
        """What is seen now, and what has gone out at the top."""
        return self.screen.lines

    def hang_up(self) -> None:
        """It is gone, for all that write to it."""
        self._wake.close()
        self._thread.join()

    def close(self) -> None:
        self.hang_up()
        self._end.close()
        os.close(self.descriptor)
