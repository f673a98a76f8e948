# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of the ways between the two machines: the one that was found, and all that failed."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .scene import PEER, Scene

Report = Dict[str, Any]
Attempt = Dict[str, Any]

#: The remote side first: its way is the usual one.
_SIDES = ("remote", "local")


def summary(path: Dict[str, Any], scene: Scene) -> str:
    """One line about the path of a session."""
    listener = path["listener"]
    text = (
        f"{scene.hosts[PEER[listener]]} connected to {scene.hosts[listener]} at {path['address']} "
        f"port {path['port']} ({path['family']}) in {path['seconds']:.3f} s"
    )
    if "round_trip" in path:
        text += f", round trip {path['round_trip'] * 1000:.2f} ms"
    return text


def attempt_line(attempt: Attempt, scene: Scene) -> str:
    """One line about the tries at one address and port."""
    side, purpose = attempt["side"], attempt["purpose"]
    times = "once" if attempt["tries"] == 1 else f"{attempt['tries']} times"
    hosts = f"{scene.hosts[side]} tried {times} to connect to {scene.hosts[PEER[side]]}"
    return f"{hosts} for {purpose}: {_way([attempt])}"


def no_path(text: str, reports: Dict[str, Report], scene: Scene) -> str:
    """The sentence for a session that found no path: each attempt, and what to do. *text* is
    the word of the endpoint that gave up."""
    sides = [side for side in _SIDES if scene.connects(side)]
    parts = [f"{_who(sides, scene)}: {text}"]
    parts += [_tried(side, reports[side]["attempts"], scene) for side in sides]
    parts += [_deaf(PEER[side], reports, scene) for side in sides if reports[PEER[side]]["cannot_listen"]]
    others = [PEER[side] for side in sides if reports[PEER[side]]["other_version"]]
    parts += [_other_version(side, reports, scene) for side in others]
    parts.append(_advice(sides, scene))
    return "; ".join(parts)


def _who(sides: List[str], scene: Scene) -> str:
    if len(sides) == 1:
        return f"{scene.hosts[sides[0]]} could not connect to {scene.hosts[PEER[sides[0]]]}"
    return f"{scene.hosts['remote']} and {scene.hosts['local']} could not connect to each other"


def _tried(side: str, attempts: List[Attempt], scene: Scene) -> str:
    """Attempts of one kind and outcome at several ports are told together."""
    alike: Dict[Tuple[Any, ...], List[Attempt]] = {}
    for attempt in attempts:
        if attempt["outcome"] != "proven":
            kind = (attempt["source"], attempt["address"], attempt["outcome"])
            alike.setdefault(kind, []).append(attempt)
    ways = ", ".join(_way(group) for group in alike.values())
    if not attempts:
        ways = "to nothing, for it knew no address and port"
    return f"{scene.hosts[side]} tried to connect {ways}" if ways else f"{scene.hosts[side]} could connect"


def _way(attempts: List[Attempt]) -> str:
    one = attempts[0]
    source = "" if one["source"] is None else f"from {one['source']} "
    ports = ", ".join(str(port) for port in sorted(attempt["port"] for attempt in attempts))
    seconds = max(attempt["seconds"] for attempt in attempts)
    plural = "s" if len(attempts) > 1 else ""
    return f"{source}to {one['address']} port{plural} {ports} ({one['outcome']} after {seconds:.3g} s)"


def _deaf(side: str, reports: Dict[str, Report], scene: Scene) -> str:
    ports = "" if scene.ports is None else f" on port {scene.ports}"
    return f"{scene.hosts[side]} could not listen{ports}: {reports[side]['cannot_listen']}"


def _other_version(side: str, reports: Dict[str, Report], scene: Scene) -> str:
    return (
        f"somebody connected to {scene.hosts[side]}, but {reports[side]['other_version']}: if that was "
        f"{scene.hosts[PEER[side]]}, install the same version on both"
    )


def _advice(sides: List[str], scene: Scene) -> str:
    directions = " or ".join(f"from {scene.hosts[side]} to {scene.hosts[PEER[side]]}" for side in sides)
    if not scene.is_task:
        return f"open TCP {directions}, or name an address that can be reached with -h"
    options = " or ".join("'host'" if side == "remote" else "'remote_host'" for side in sides)
    if scene.ports is None:
        opened = f"open TCP {directions}, on ports that you name with the option 'ports'"
    else:
        opened = f"open TCP port {scene.ports} {directions}"
    return f"{opened}, or name an address that can be reached with the option {options}"
