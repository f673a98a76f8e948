# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict: what the two endpoints say, and the sentence that comes of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.judge import (
    Verdict,
    judge,
    significant_line,
)
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.paths import no_path
from ansible_collections.dds.socketpipe.plugins.module_utils._engine.scene import Scene

View = dict[str, Any]

SCENE = Scene(
    hosts={"local": "controller", "remote": "t1"},
    commands={"input": "tar cf - /", "remote": "dd of=/dev/full", "output": "wc -c"},
)
INPUT = "input command 'tar cf - /' on controller"
REMOTE = "remote command 'dd of=/dev/full' on t1"
OUTPUT = "output command 'wc -c' on controller"
LOCAL_END = "local endpoint on controller"
REMOTE_END = "remote endpoint on t1"
DD_FULL = (
    "dd: writing to '/dev/full': No space left on device\n"
    "1+0 records in\n0+0 records out\n0 bytes copied, 0.000188697 s, 0.0 kB/s\n"
)


def ended(rc: int | None = 0, stderr: str = "", *, signal: str | None = None, **fields: bool) -> View:
    """*fields* are is_accepted, is_victim and may_be_stopped."""
    facts = {"is_accepted": rc == 0, "is_victim": False, "may_be_stopped": False}
    return {"rc": rc, "signal": signal, "stderr": stderr, **facts, **fields}


def end(state: str = "finished", count: int | None = 1000, digest: str | None = None) -> View:
    return {"state": state, "bytes": count, "digest": digest}


def reason(kind: str, text: str = "text", **fields: Any) -> View:
    return {"kind": kind, "text": text, **fields}


class Session:
    """A full filter that went well; the tests say what was different."""

    def __init__(self) -> None:
        self.local = self._report(input=ended(), output=ended())
        self.remote = self._report(remote=ended())
        self.is_known = {"local": True, "remote": True}

    @staticmethod
    def _report(**commands: View) -> View:
        directions = {"input": end(), "output": end()}
        meeting = {"path": {}, "attempts": [], "cannot_listen": None, "other_version": None}
        return {"commands": commands, "directions": directions, "reason": None, **meeting}

    def command(self, role: str, command: View) -> Session:
        (self.remote if role == "remote" else self.local)["commands"][role] = command
        return self

    def direction(self, name: str, written: View, read: View) -> Session:
        local, remote = (written, read) if name == "input" else (read, written)
        self.local["directions"][name] = local
        self.remote["directions"][name] = remote
        return self

    def without(self, role: str) -> Session:
        """A session of two commands."""
        del self.local["commands"][role]
        for report in (self.local, self.remote):
            del report["directions"][role]
        return self

    def reasons(self, local: View | None = None, remote: View | None = None) -> Session:
        self.local["reason"], self.remote["reason"] = local, remote
        return self

    def never_started(self) -> Session:
        for report in (self.local, self.remote):
            report["commands"], report["directions"] = {}, {}
        return self

    def report_lost(self, *by: str) -> Session:
        """The sides *by* never got the other's report."""
        for side in by:
            self.is_known[side] = False
        return self

    def verdict(self, scene: Scene = SCENE) -> Verdict:
        local = {"own": self.local, "peer": self.remote if self.is_known["local"] else None}
        remote = {"own": self.remote, "peer": self.local if self.is_known["remote"] else None}
        before = copy.deepcopy((local, remote))
        verdict = judge(local, remote, scene)
        assert (local, remote) == before, "judge changed what it was given"
        return verdict


def failure(session: Session) -> str | None:
    return session.verdict().failure


# Success


def test_a_whole_filter_succeeds() -> None:
    assert Session().verdict() == Verdict(None, None, [])


@pytest.mark.parametrize("missing", ["input", "output"])
def test_a_push_and_a_pull_succeed(missing: str) -> None:
    assert Session().without(missing).verdict() == Verdict(None, None, [])


@pytest.mark.parametrize("role", ["input", "remote", "output"])
def test_any_accepted_status_is_a_success(role: str) -> None:
    command = ended(1, "tar: /x: file changed as we read it", is_accepted=True)
    assert Session().command(role, command).verdict() == Verdict(None, None, [])


def test_nothing_at_all_is_as_many_bytes_as_nothing() -> None:
    assert Session().direction("input", end(count=0), end(count=0)).verdict() == Verdict(None, None, [])


@pytest.mark.parametrize(("sent", "received"), [(None, 1000), (1000, None), (None, None)])
@pytest.mark.parametrize("direction", ["input", "output"])
def test_bytes_that_a_system_can_not_count_are_not_held_against_it(
    direction: str, sent: int | None, received: int | None
) -> None:
    session = Session().direction(direction, end(count=sent), end(count=received))
    assert session.verdict() == Verdict(None, None, [])


# Culprits


def test_the_sentence_for_a_full_disk() -> None:
    session = Session().command("remote", ended(1, DD_FULL))
    assert session.verdict() == Verdict(
        "remote command 'dd of=/dev/full' on t1 exited 1: "
        "dd: writing to '/dev/full': No space left on device",
        "remote",
        [],
    )


@pytest.mark.parametrize(("role", "where"), [("input", INPUT), ("remote", REMOTE), ("output", OUTPUT)])
@pytest.mark.parametrize(
    ("command", "how"),
    [
        (ended(3), "exited 3"),
        (ended(3, "\n \n"), "exited 3"),
        (ended(3, "x: oops\n"), "exited 3: x: oops"),
        (ended(137, signal="SIGKILL"), "was ended by SIGKILL"),
        (ended(143, "Terminated\n", signal="SIGTERM"), "was ended by SIGTERM: Terminated"),
        (ended(None), "did not end when it was told to"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failed_command_is_named_with_its_host_and_its_words(
    role: str, where: str, command: View, how: str
) -> None:
    assert Session().command(role, command).verdict() == Verdict(f"{where} {how}", role, [])


def test_of_several_culprits_the_first_in_the_flow_is_named() -> None:
    session = Session().command("input", ended(1)).command("remote", ended(2)).command("output", ended(3))
    assert session.verdict().culprit == "input"
    assert session.command("input", ended()).verdict().culprit == "remote"
    assert session.command("remote", ended()).verdict().culprit == "output"


#: Those nearest to the cause first.
KINDS = [
    "command",
    "system",
    "interrupted",
    "connect",
    "integrity",
    "protocol",
    "abandoned",
    "network",
    "lost",
]


@pytest.mark.parametrize("culprit", ["input", "remote", "output"])
def test_victims_are_not_named_when_there_is_a_culprit(culprit: str) -> None:
    session = Session()
    for role in ("input", "remote", "output"):
        session.command(role, ended(1, "x: Connection reset by peer", is_victim=role != culprit))
    verdict = session.verdict()
    assert verdict.culprit == culprit
    assert "reset" not in (verdict.failure or "").replace("x: Connection reset by peer", "", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_culprits_are_named_before_reasons(kind: str) -> None:
    found = reason(kind, role="input")
    session = Session().command("remote", ended(9)).reasons(found, found)
    assert session.verdict() == Verdict(f"{REMOTE} exited 9", "remote", [])


@pytest.mark.parametrize("kind", KINDS[1:])
def test_reasons_are_named_before_victims(kind: str) -> None:
    found = reason(kind, direction=None)
    session = Session().command("remote", ended(1, is_victim=True)).reasons(remote=found)
    verdict = session.verdict()
    assert verdict.culprit is None
    assert REMOTE not in str(verdict.failure)


def test_a_victim_without_a_reason_tells_of_a_cut_connection() -> None:
    """Both commands ended, both endpoints know of nothing: something on the way broke the stream."""
    session = Session().command("output", ended(1, "cat: Connection reset by peer", is_victim=True))
    assert session.verdict() == Verdict(
        "a data connection was cut on the way; is there a firewall that ends connections? "
        f"As a consequence, {OUTPUT} exited 1: cat: Connection reset by peer",
        None,
        [],
    )


@pytest.mark.parametrize(
    ("writer", "direction", "reader"), [("input", "input", REMOTE), ("remote", "output", OUTPUT)]
)
def test_a_writer_whose_reader_ended_early_is_told_so(writer: str, direction: str, reader: str) -> None:
    session = Session().command(writer, ended(141, signal="SIGPIPE"))
    session.direction(direction, end("stopped", 65536), end("stopped", 10))
    where = {"input": INPUT, "remote": REMOTE}[writer]
    cause = f"after {reader} had ended without reading it all"
    assert failure(session) == f"{where} was ended by SIGPIPE, {cause}"


def test_a_reader_that_failed_is_not_excused_by_what_it_wrote_to() -> None:
    """The input's broken pipe is no cause of the output's failure."""
    session = Session().command("output", ended(2)).direction("input", end("stopped"), end("stopped"))
    assert failure(session) == f"{OUTPUT} exited 2"


# Reasons


@pytest.mark.parametrize(
    ("side", "found", "sentence"),
    [
        ("remote", reason("command", "no executable 'dd'", role="remote"), f"{REMOTE}: no executable 'dd'"),
        ("local", reason("command", "'tar' vanished", role="input"), f"{INPUT}: 'tar' vanished"),
        ("local", reason("system", "No memory"), f"{LOCAL_END} could not go on: No memory"),
        ("local", reason("lost", "silent for 25 s"), f"{REMOTE_END} was lost: silent for 25 s"),
        ("remote", reason("lost", "silent for 25 s"), f"{LOCAL_END} was lost: silent for 25 s"),
        ("local", reason("protocol", "it sent x"), f"{REMOTE_END} broke the protocol: it sent x"),
        ("remote", reason("protocol", "it sent x"), f"{LOCAL_END} broke the protocol: it sent x"),
        ("local", reason("interrupted", "it got SIGINT"), f"{LOCAL_END} was interrupted: it got SIGINT"),
        ("remote", reason("interrupted", "it got SIGHUP"), f"{REMOTE_END} was interrupted: it got SIGHUP"),
        ("local", reason("abandoned", "nobody wants it"), f"{LOCAL_END} was interrupted: nobody wants it"),
        (
            "remote",
            reason("network", "it was cut"),
            f"it was cut, as {REMOTE_END} saw it; is there a firewall that ends connections?",
        ),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_each_reason_has_its_sentence(side: str, found: View, sentence: str) -> None:
    session = Session().never_started().reasons(**{side: found})
    assert session.verdict() == Verdict(sentence, found.get("role"), [])


ADVICE = "look for what damages data between the two machines, or for somebody who changes it"
CHANGED = {
    "input": f"the data from {INPUT} was changed on its way to {REMOTE}",
    "output": f"the data from {REMOTE} was changed on its way to {OUTPUT}",
}


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("direction", ["input", "output"])
def test_data_that_was_changed_is_told_with_its_commands_whoever_found_it(side: str, direction: str) -> None:
    found = reason("integrity", "TLS says 'bad record mac'", direction=direction)
    sentence = f"{CHANGED[direction]}: TLS says 'bad record mac'; {ADVICE}"
    assert Session().reasons(**{side: found}).verdict() == Verdict(sentence, None, [])


@pytest.mark.parametrize(("side", "peer"), [("local", REMOTE_END), ("remote", LOCAL_END)])
def test_a_message_that_was_changed_is_told_with_who_sent_it(side: str, peer: str) -> None:
    found = reason("integrity", "TLS says 'bad record mac'", direction=None)
    sentence = f"what the {peer} said was changed on its way: TLS says 'bad record mac'; {ADVICE}"
    assert Session().never_started().reasons(**{side: found}).verdict() == Verdict(sentence, None, [])


def test_data_that_was_changed_is_no_fault_of_the_commands_that_it_broke() -> None:
    found = reason("integrity", "TLS says 'bad record mac'", direction="input")
    session = Session().command("input", ended(141, signal="SIGPIPE", is_victim=True))
    session.command("remote", ended(1, "cat: Connection reset by peer", is_victim=True))
    verdict = session.reasons(local=dict(found, by="peer"), remote=found).verdict()
    assert str(verdict.failure).startswith(CHANGED["input"])
    assert verdict.culprit is None


@pytest.mark.parametrize("by", ["local", "remote"])
def test_no_path_has_the_sentence_of_both_sides(by: str) -> None:
    """Whoever gave up."""
    session = Session().never_started().report_lost("local", "remote")
    session.reasons(**{by: reason("connect", "no path was found within 30 s")})
    attempt = {"source": None, "address": "192.0.2.1", "port": 4000, "outcome": "no answer", "seconds": 30.0}
    session.remote["attempts"] = [attempt]
    session.local["cannot_listen"] = "Address already in use"
    sentence = str(failure(session))
    reports = {"local": session.local, "remote": session.remote}
    assert sentence == no_path("no path was found within 30 s", reports, SCENE)
    assert "no answer" in sentence
    assert "Address already in use" in sentence


def test_no_path_is_not_blamed_on_a_command() -> None:
    session = Session().never_started().reasons(remote=reason("connect"))
    assert session.verdict().culprit is None


@pytest.mark.parametrize(
    ("first", "second"), [(one, other) for at, one in enumerate(KINDS) for other in KINDS[at + 1 :]]
)
def test_of_two_reasons_the_one_nearest_to_the_cause_is_named(first: str, second: str) -> None:
    fields = {"role": "remote", "direction": None}
    one, other = reason(first, "the cause", **fields), reason(second, "the effect", **fields)
    for session in (Session().reasons(one, other), Session().reasons(other, one)):
        sentence = str(failure(session))
        assert "the cause" in sentence
        assert "the effect" not in sentence


def test_a_reason_that_the_peer_gave_is_told_once_as_the_peers() -> None:
    found = reason("interrupted", "it was ended by SIGTERM")
    session = Session().reasons(local=dict(found, by="peer"), remote=found)
    assert failure(session) == f"{REMOTE_END} was interrupted: it was ended by SIGTERM"


# Reports and streams


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        (["local"], f"{LOCAL_END} never got the report of the {REMOTE_END}"),
        (["remote"], f"{REMOTE_END} never got the report of the {LOCAL_END}"),
        (["local", "remote"], f"{LOCAL_END} never got the report of the {REMOTE_END}"),
    ],
)
def test_no_success_without_both_reports_at_both_ends(by: list[str], sentence: str) -> None:
    assert Session().report_lost(*by).verdict() == Verdict(sentence, None, [])


STREAMS = pytest.mark.parametrize(
    ("direction", "role", "writer", "reader"),
    [("input", "input", INPUT, REMOTE), ("output", "remote", REMOTE, OUTPUT)],
)


@STREAMS
@pytest.mark.parametrize(("sent", "received"), [(1000, 999), (0, 1)])
def test_a_finished_stream_of_which_not_all_was_read_fails(
    direction: str, role: str, writer: str, reader: str, sent: int, received: int
) -> None:
    """Though every status was accepted, and whatever else is."""
    session = Session().direction(direction, end(count=sent), end(count=received))
    session.command(role, ended(may_be_stopped=True))
    failure = f"{sent} bytes left {writer}, and {received} reached {reader}"
    assert session.verdict() == Verdict(failure, None, [])


@STREAMS
@pytest.mark.parametrize(
    ("written", "read"),
    [
        *[("broken", read) for read in ("broken", "finished", "stopped", "open")],
        *[("open", read) for read in ("broken", "finished", "stopped", "open")],
        *[("finished", "broken"), ("finished", "open")],
        *[("stopped", "broken"), ("stopped", "finished"), ("stopped", "open")],
    ],
)
@pytest.mark.parametrize("may_be_stopped", [True, False])
def test_a_stream_that_is_not_whole_at_both_ends_fails(
    direction: str, role: str, writer: str, reader: str, written: str, read: str, may_be_stopped: bool
) -> None:
    session = Session().direction(direction, end(written), end(read))
    session.command(role, ended(may_be_stopped=may_be_stopped))
    failure = f"the stream from {writer} is {written} there and {read} at its reader"
    assert session.verdict() == Verdict(failure, None, [])


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("direction", ["input", "output"])
def test_a_direction_that_one_end_does_not_know_fails(direction: str, side: str) -> None:
    session = Session()
    del getattr(session, side)["directions"][direction]
    assert failure(session) is not None


@pytest.mark.parametrize(("role", "command"), [("input", INPUT), ("remote", REMOTE), ("output", OUTPUT)])
def test_a_command_that_nobody_speaks_of_is_no_success(role: str, command: str) -> None:
    """Though its streams are said to be whole."""
    session = Session()
    del (session.remote if role == "remote" else session.local)["commands"][role]
    assert failure(session) == f"nothing is known of how the {command} ended"


# A reader that ends early


STOPPED = [end("stopped", 65536), end("finished", 1000)]


@STREAMS
@pytest.mark.parametrize("written", STOPPED)
def test_a_reader_that_left_something_fails_the_session(
    direction: str, role: str, writer: str, reader: str, written: View
) -> None:
    session = Session().direction(direction, written, end("stopped", 10))
    assert session.verdict() == Verdict(
        f"{reader} ended after 10 of the {written['bytes']} bytes from {writer}; "
        f"if it may, accept the status 141 (SIGPIPE) of {role} with accept_rc",
        None,
        [],
    )


@STREAMS
@pytest.mark.parametrize("written", STOPPED)
def test_a_reader_that_may_leave_something_gives_a_warning(
    direction: str, role: str, writer: str, reader: str, written: View
) -> None:
    session = Session().direction(direction, written, end("stopped", 10))
    session.command(role, ended(may_be_stopped=True))
    warning = f"{reader} ended after 10 of the {written['bytes']} bytes from {writer}"
    assert session.verdict() == Verdict(None, None, [warning])


@STREAMS
def test_that_one_writer_may_be_stopped_does_not_excuse_the_other(
    direction: str, role: str, writer: str, reader: str
) -> None:
    other = "remote" if role == "input" else "input"
    session = Session().direction(direction, end("stopped", 20), end("stopped", 10))
    session.command(other, ended(may_be_stopped=True))
    assert reader in str(failure(session))


@STREAMS
@pytest.mark.parametrize("count", [1000, 0])
@pytest.mark.parametrize("written", ["stopped", "finished"])
def test_a_reader_that_read_all_but_the_end_of_file_is_as_good_as_any(
    direction: str, role: str, writer: str, reader: str, written: str, count: int
) -> None:
    """As one does that knows by itself where its archive ends."""
    session = Session().direction(direction, end(written, count), end("stopped", count))
    assert session.verdict() == Verdict(None, None, [])


# Checksums


#: States of the two ends of a stream of which nothing is missing.
EVEN = pytest.mark.parametrize(
    ("written", "read"), [("finished", "finished"), ("finished", "stopped"), ("stopped", "stopped")]
)


@STREAMS
@EVEN
def test_a_stream_with_the_same_digest_at_both_ends_succeeds(
    direction: str, role: str, writer: str, reader: str, written: str, read: str
) -> None:
    session = Session().direction(direction, end(written, digest="aa"), end(read, digest="aa"))
    assert session.verdict() == Verdict(None, None, [])


@STREAMS
@pytest.mark.parametrize(("before", "after"), [("aa", "ab"), ("aa", None), (None, "aa")])
@EVEN
def test_as_many_bytes_with_another_digest_fail_the_session(
    direction: str,
    role: str,
    writer: str,
    reader: str,
    before: str | None,
    after: str | None,
    written: str,
    read: str,
) -> None:
    """Also when the reader did not wait for the end, as tar does not, and whatever is accepted."""
    session = Session().direction(direction, end(written, digest=before), end(read, digest=after))
    session.command(role, ended(may_be_stopped=True))
    failure = f"the checksum of what {writer} wrote is {before}, and {after} at {reader}"
    assert session.verdict() == Verdict(failure, None, [])


@STREAMS
@pytest.mark.parametrize(("sent", "received"), [(None, 1000), (1000, None), (None, None)])
def test_digests_of_a_whole_stream_are_compared_though_its_bytes_are_not_counted(
    direction: str, role: str, writer: str, reader: str, sent: int | None, received: int | None
) -> None:
    session = Session().direction(direction, end(count=sent, digest="aa"), end(count=received, digest="ab"))
    assert failure(session) == f"the checksum of what {writer} wrote is aa, and ab at {reader}"


@STREAMS
@pytest.mark.parametrize(("sent", "received"), [(None, 1000), (1000, None), (None, None)])
@pytest.mark.parametrize("written", ["stopped", "finished"])
def test_a_reader_that_ended_early_has_not_read_all_for_all_that_is_known(
    direction: str,
    role: str,
    writer: str,
    reader: str,
    written: str,
    sent: int | None,
    received: int | None,
) -> None:
    """Nobody knows after how many bytes, so their digests are not compared."""
    session = Session().direction(
        direction, end(written, sent, digest="aa"), end("stopped", received, digest="ab")
    )
    said = f"{reader} ended before the end of the stream from {writer}, whose bytes nobody counted"
    assert str(failure(session)).startswith(said)
    assert session.command(role, ended(may_be_stopped=True)).verdict() == Verdict(None, None, [said])


@STREAMS
def test_that_a_reader_left_something_is_told_rather_than_that_its_digest_differs(
    direction: str, role: str, writer: str, reader: str
) -> None:
    session = Session().direction(direction, end("stopped", 20, digest="aa"), end("stopped", 10, digest="ab"))
    assert str(failure(session)).startswith(f"{reader} ended after 10 of the 20 bytes")
    warned = session.command(role, ended(may_be_stopped=True)).verdict()
    assert warned == Verdict(None, None, [f"{reader} ended after 10 of the 20 bytes from {writer}"])


@STREAMS
def test_bytes_that_are_missing_are_told_rather_than_that_the_digest_differs(
    direction: str, role: str, writer: str, reader: str
) -> None:
    session = Session().direction(direction, end(count=20, digest="aa"), end(count=10, digest="ab"))
    assert failure(session) == f"20 bytes left {writer}, and 10 reached {reader}"


# The line of a command's words that tells the most


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("", ""),
        ("\n \n\t\n", ""),
        ("oops\n", "oops"),
        ("oops", "oops"),
        ("first\nlast\n", "last"),
        (DD_FULL, "dd: writing to '/dev/full': No space left on device"),
        ("1+0 records in\n1+0 records out\n", "1+0 records out"),
        (
            "dd: failed to open '/dev/st0': No such file or directory\n",
            "dd: failed to open '/dev/st0': No such file or directory",
        ),
        (
            "tar: /nonexistent: Cannot stat: No such file or directory\n"
            "tar: Exiting with failure status due to previous errors\n",
            "tar: /nonexistent: Cannot stat: No such file or directory",
        ),
        (
            "tar: Removing leading `/' from member names\n"
            "tar: /nonexistent: Cannot stat: No such file or directory\n"
            "tar: Exiting with failure status due to previous errors\n",
            "tar: /nonexistent: Cannot stat: No such file or directory",
        ),
        (
            "/srv/\n/srv/a\n/srv/b c\ntar: /srv/d: Cannot open: Permission denied\n/srv/e\n"
            "tar: Exiting with failure status due to previous errors\n",
            "tar: /srv/d: Cannot open: Permission denied",
        ),
        ("/srv/\n/srv/a\n/srv/b\n", "/srv/b"),
        ("sh: 1: nonexistent: not found\n", "sh: 1: nonexistent: not found"),
        ("/bin/sh: line 1: x: command not found\n", "/bin/sh: line 1: x: command not found"),
        ("\ngzip: stdin: not in gzip format\n", "gzip: stdin: not in gzip format"),
        ("[70000 bytes cut]\nlf a line\ncat: write error: Broken pipe\n", "cat: write error: Broken pipe"),
        ("12 MiB 00:01\r24 MiB 00:02\rpv: write failed: Broken pipe\n", "pv: write failed: Broken pipe"),
        ("  x: indented\n", "x: indented"),
        ("\\xff\\xfe\n", "\\xff\\xfe"),
    ],
)  # fmt: skip
def test_the_significant_line(stderr: str, line: str) -> None:
    assert significant_line(stderr) == line


# Files in the place of commands

FILES = SCENE._replace(
    commands={"input": "/srv/x", "remote": "cat", "output": "/backup/x"}, files=frozenset(("input", "output"))
)


@pytest.mark.parametrize(
    ("role", "file", "sentence"),
    [
        (
            "input",
            ended(1, "Input/output error"),
            "input file '/srv/x' on controller could not be read: Input/output error",
        ),
        (
            "output",
            ended(1, "No space left on device"),
            "output file '/backup/x' on controller could not be written: No space left on device",
        ),
        (
            "output",
            ended(1, "dd: error writing '/dev/st0': Input/output error"),
            "output file '/backup/x' on controller could not be written: "
            "dd: error writing '/dev/st0': Input/output error",
        ),
        (
            "output",
            ended(137, signal="SIGKILL"),
            "output file '/backup/x' on controller could not be written, for dd was ended by SIGKILL",
        ),
        ("input", ended(None), "input file '/srv/x' on controller did not end when it was told to"),
    ],
)
def test_a_file_that_failed_is_named_with_the_words_of_the_system(
    role: str, file: View, sentence: str
) -> None:
    session = Session().command(role, file)
    assert session.verdict(FILES) == Verdict(sentence, role, [])


def test_a_file_whose_reader_ended_early_was_not_sent_to_its_end() -> None:
    session = Session().command("input", ended(141, "Broken pipe"))
    session.direction("input", end("stopped"), end("stopped", 10))
    assert session.verdict(FILES).failure == (
        "input file '/srv/x' on controller could not be sent to its end, "
        "after remote command 'cat' on t1 had ended without reading it all: Broken pipe"
    )


def test_bytes_of_a_file_that_nobody_read_are_told() -> None:
    session = Session().direction("input", end("finished"), end("stopped", 10))
    assert session.verdict(FILES).failure == (
        "remote command 'cat' on t1 ended after 10 of the 1000 bytes from input file '/srv/x' on controller; "
        "if it may, accept the status 141 (SIGPIPE) of input with accept_rc"
    )


@pytest.mark.parametrize("state", ["stopped", "open", "broken"])
def test_an_output_file_that_did_not_read_its_stream_to_the_end_is_no_success(state: str) -> None:
    """Whatever statuses are accepted: a file has no reason to end early."""
    remote = ended(141, is_accepted=True, may_be_stopped=True)
    session = Session().command("remote", remote).direction("output", end("stopped"), end(state))
    assert session.verdict(FILES).failure == (
        f"the stream from remote command 'cat' on t1 is stopped there and {state} at its reader"
    )


def test_a_session_that_was_aborted_is_no_success_whatever_else_is_said() -> None:
    session = Session()
    session.local["reason"] = session.remote["reason"] = reason("lost", "gone", by="peer")
    assert failure(session) == "the session was aborted: gone"
