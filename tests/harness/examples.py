# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many examples a property test tries: few with the other tests, and always the same; many, and
others each time, with `make fuzz`."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, configuration, settings

_CACHE = Path(__file__).parents[2] / ".cache" / "hypothesis"
#: As many examples as that for each property, and others every time; what failed is tried first.
_FUZZ = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def choose_profile() -> None:
    configuration.set_hypothesis_home_dir(_CACHE)
    common = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("unit", common, database=None, derandomize=True, max_examples=200)
    settings.register_profile("fuzz", common, max_examples=_FUZZ or 1)
    settings.load_profile("fuzz" if _FUZZ else "unit")


def one_in(share: int) -> settings:
    """For a test whose examples are dear: that part of the usual number."""
    return settings(max_examples=max(1, settings.default.max_examples // share))
