# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as the page has them: three digits that count, and 1 GB = 1000 MB = 1e9 bytes."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from bench.findings import COUNTS, TIMES, Measurement, Place, Results, Value

_DIGITS = 3


def rounded(number: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """With three digits that count, and never an exponent."""
    if not number:
        return "0"
    exact = Decimal(str(number))
    last = exact.adjusted() - _DIGITS + 1
    short = exact.quantize(Decimal(1).scaleb(last), rounding)
    if short.adjusted() > exact.adjusted():  # 9.999 became 10.00
        short = short.quantize(Decimal(1).scaleb(last + 1))
    return f"{short:f}"


def rounded_against(number: float, at_most: bool) -> str:
    """Never nearer to what is wanted than it is."""
    return rounded(number, ROUND_CEILING if at_most else ROUND_FLOOR)


def unit_of(figure: str, number: float) -> tuple[float, str]:
    """What to divide by, and the unit."""
    if figure == "throughput":
        return (1e9, "GB/s") if number >= 1e9 else (1e6, "MB/s")
    if figure.startswith("memory"):
        return 1e6, "MB"
    return 1, "s" if figure in TIMES else ""


def amount(figure: str, value: Value | None, unit: bool = True) -> str:
    """A value with its unit, such as "> 300 s"; "-" for none."""
    if value is None:
        return "-"
    if figure in COUNTS:
        return f"{value.number:g}"
    divisor, name = unit_of(figure, value.number)
    words = [value.sign, rounded(value.number / divisor), name if unit else ""]
    return " ".join(word for word in words if word)


def _spread(figure: str, found: Measurement, middle: float) -> str:
    least, most = min(found.runs), max(found.runs)
    if figure in COUNTS or least == most:
        return ""
    divisor = unit_of(figure, middle)[0]
    ends = [rounded(least / divisor), rounded(most / divisor)]
    if figure in TIMES and found.is_bound(most):
        return f" ({ends[0]} to > {ends[1]})"
    return f" ({ends[0]}-{ends[1]})"


def cell(results: Results, place: Place) -> str:
    """The value at *place* with the least and the most of its runs."""
    value = results.value(place)
    if value is None:
        return "-"
    return amount(place.figure, value) + _spread(place.figure, results.measurements[place], value.number)


def decimal_size(size: float) -> str:
    """A number of bytes such as 20 GB."""
    for factor, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if size >= factor:
            return f"{size / factor:g} {name}"
    return f"{size:g} bytes"


def binary_size(size: float) -> str:
    """A number of bytes such as 64 KiB."""
    for factor, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= factor:
            return f"{size / factor:g} {name}"
    return f"{size:g} bytes"


def round_trip(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds else "the cable alone"


def plain(number: float) -> str:
    return f"{number:g}"
