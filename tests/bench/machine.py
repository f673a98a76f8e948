# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured on, and which versions of the peers there are."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from harness.ansible import ROOT

#: By the program: how it tells its version, and where in what it says that is.
_VERSIONS = {
    "iperf3": (["iperf3", "--version"], r"iperf ([\d.]+)"),
    "nc": (["nc", "-h"], r"\(Debian patchlevel ([^)]+)\)"),
    "socat": (["socat", "-V"], r"socat version (\S+)"),
    "mbuffer": (["mbuffer", "--version"], r"mbuffer version (\S+)"),
    "rsync": (["rsync", "--version"], r"version (\S+)"),
    "ssh": (["ssh", "-V"], r"(OpenSSH_[^\s,]+)"),
    "dd": (["dd", "--version"], r"dd (\(coreutils\) \S+)"),
}


def describe_machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": platform.python_version(),
        "ansible_core": version("ansible-core"),
        "openssh": version_of("ssh"),
        "congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "collection": collection_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def collection_version() -> str:
    return str(yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"])


def version_of(program: str) -> str | None:
    """By its own words."""
    words, pattern = _VERSIONS[program]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else None


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
