# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks backup, offload, restore and verify. One run serves several hosts, each with variables of
its own; all of them are the same target."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from harness.ansible import Ansible
from harness.backups import Vault
from harness.network import Target, run
from harness.waiting import wait_until

OpenVault = Callable[..., Vault]
#: Of `harness.users`.
FREE = 4712


@pytest.fixture
def open_vault(ansible: Ansible, target: Target, tmp_path: Path) -> OpenVault:
    """A vault for hosts with the given variables."""

    def open_vault(**hosts: dict[str, object]) -> Vault:
        inventory = {name: target.inventory(**variables) for name, variables in hosts.items()}
        return Vault(ansible, tmp_path / "vault", inventory)

    return open_vault


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "a folder").mkdir(parents=True)
    (folder / "a folder" / "noise").write_bytes(os.urandom(300_000))
    (folder / "words").write_text("words\n" * 50_000, encoding="ascii")
    (folder / "words").chmod(0o640)
    (folder / "link").symlink_to("words")
    return folder


def expect_same(one: Path, other: Path) -> None:
    done = subprocess.run(
        ["diff", "-r", "--no-dereference", one, other], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Stored, verified and restored


def test_a_tree_is_stored_with_its_manifest_and_restored(
    open_vault: OpenVault, tree: Path, tmp_path: Path
) -> None:
    choices = {
        "plain": {"backup_compression": "none"},
        "there": {
            "backup_compression": "zstd",
            "backup_compress_on": "target",
            "backup_expand_on": "controller",
        },
        "here": {
            "backup_compression": "gzip",
            "backup_compress_on": "controller",
            "backup_expand_on": "target",
        },
        "encrypted": {"socketpipe_encrypt": True, "backup_exclude": ["./a folder"]},
    }
    tree.chmod(0o750)
    there_before = tmp_path / "back" / "plain"
    there_before.mkdir(parents=True)
    there_before.chmod(0o1777)
    (there_before / "more").touch()
    suffixes = {"plain": "tar", "there": "tar.zst", "here": "tar.gz", "encrypted": "tar.zst"}
    vault = open_vault(
        **{
            host: {
                "backup_tree": str(tree),
                "backup_name": "things",
                "backup_restore_to": str(tmp_path / "back" / host),
                **choice,
            }
            for host, choice in choices.items()
        }
    )
    played = vault.play("backup")
    for host, suffix in suffixes.items():
        stored = vault.only(host)
        manifest = stored.manifest
        assert re.fullmatch(rf"things-\d{{8}}T\d{{6}}Z\.{re.escape(suffix)}", stored.path.name)
        assert stored.path.name in played.row(host)
        assert (manifest["host"], manifest["name"], manifest["kind"]) == (host, "things", "tree")
        assert manifest["file"] == stored.path.name
        assert manifest["bytes"] == stored.path.stat().st_size
        assert manifest["sha256"] == stored.sha256
        assert manifest["command"].startswith("tar --create ")
        assert manifest["rc"] == 0
        assert manifest["started"] <= manifest["finished"]
        assert manifest["seconds"] > 0
        assert manifest["encrypted"] is (host == "encrypted")
        assert {"collection", "ansible", "target", "controller"} == set(manifest["versions"])
        assert "GNU tar" in manifest["versions"]["target"]["tar"]
        for path in (stored.path, stored.manifest_path):
            assert path.stat().st_mode & 0o7777 == 0o600
    assert vault.only("plain").path.stat().st_size > vault.only("there").path.stat().st_size
    assert [vault.only(host).manifest["compressed_by"] for host in ("plain", "there", "here")] == [
        "nobody",
        "target",
        "controller",
    ]

    verified = vault.play("verify")
    assert all(verified.row(host).endswith("good") for host in choices)

    restored = vault.play("restore")
    for host in choices:
        assert restored.row(host).endswith(f" restored to {tmp_path}/back/{host} on {host}")
    assert there_before.stat().st_mode & 0o7777 == 0o1777, "a directory that was there stays as it was"
    (there_before / "more").unlink()
    for host in ("plain", "there", "here"):
        expect_same(tree, tmp_path / "back" / host)
    for host in ("there", "here", "encrypted"):
        assert (tmp_path / "back" / host).stat().st_mode & 0o7777 == 0o750
    assert sorted(path.name for path in (tmp_path / "back" / "encrypted").iterdir()) == ["link", "words"]


def test_what_a_command_prints_is_stored_and_read_by_another(open_vault: OpenVault, tmp_path: Path) -> None:
    read = tmp_path / "read"
    vault = open_vault(
        db={
            "backup_command": "echo \"it's\" 100% | cat; echo '$HOME'",
            "backup_name": "said",
            "backup_suffix": "txt",
            "backup_restore_command": f"cat > {read}",
            "backup_verify_command": "grep -q it",
        }
    )
    vault.play("backup")
    assert re.fullmatch(r"said-\d+T\d+Z\.txt(\.zst)?", vault.only("db").path.name)
    vault.play("verify")
    assert vault.play("restore").row("db").endswith(" read by backup_restore_command on db")
    assert read.read_text(encoding="ascii") == "it's 100%\n$HOME\n"


def test_the_controller_is_pushed_to_a_device_and_restored_from_it(
    open_vault: OpenVault, tree: Path, tmp_path: Path
) -> None:
    device, plain = tmp_path / "device", tmp_path / "plain device"
    for path in (device, plain):
        path.write_bytes(b"old" * 1_000_000)
    vault = open_vault(
        tape={"backup_device": str(device)},
        plain={"backup_device": str(plain), "backup_compression": "none"},
    )
    back = f"{tmp_path}/back/{{{{ inventory_hostname }}}}"
    given = {"backup_controller_tree": str(tree), "backup_name": "things", "backup_restore_to": back}
    vault.play("backup", **given)
    for host in ("tape", "plain"):
        manifest = vault.only(host).manifest
        assert vault.files(host) == [vault.only(host).manifest_path.name], "the data is on the device alone"
        assert (manifest["side"], manifest["block_size"]) == ("controller", "32k")
    assert vault.only("tape").manifest["compressed_by"] == "controller"

    vault.play("verify")
    vault.play("restore", **given)
    for host in ("tape", "plain"):
        expect_same(tree, tmp_path / "back" / host)

    vault.play("backup", "--limit", "tape", **given)
    older, newer = vault.play("verify", "--limit", "tape").rows("tape")
    assert older.endswith(f"not compared: a newer one was written on {device}")
    assert newer.endswith("good")

    device.write_bytes(device.read_bytes()[:-1] + b"?")
    broken = tmp_path / "broken"
    failed = vault.fail("restore", "--limit", "tape", **{**given, "backup_restore_to": str(broken)})
    assert f"what is on {device} of tape is not what was stored" in failed.row("tape")
    assert not broken.exists()
    older, newer = vault.fail("verify", "--limit", "tape").rows("tape")
    assert "no: what is on" in newer


def test_the_target_compresses_the_controllers_tree(
    open_vault: OpenVault, tree: Path, tmp_path: Path
) -> None:
    back = f"{tmp_path}/back/{{{{ inventory_hostname }}}}"
    given = {"backup_controller_tree": str(tree), "backup_name": "things", "backup_restore_to": back}
    vault = open_vault(
        one={"backup_expand_on": "target", "backup_tree": "/its own"},
        two={"backup_expand_on": "controller"},
    )
    vault.play("offload", **given)
    assert vault.only("one").manifest["compressed_by"] == "target"
    assert vault.only("one").path.name.endswith(".tar.zst")
    vault.play("verify")
    restored = vault.play("restore", **given)
    assert restored.row("one").endswith(f" restored to {tmp_path}/back/one on the controller")
    expect_same(tree, tmp_path / "back" / "one")
    expect_same(tree, tmp_path / "back" / "two")


# Names


def test_a_name_is_that_of_one_thing(open_vault: OpenVault, tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "x", tmp_path / "a-x"
    for folder in (one, other):
        folder.mkdir(parents=True)
        (folder / "which").write_text(str(folder), encoding="utf-8")
    device = tmp_path / "device"
    device.touch()
    said = {"backup_command": "echo said", "backup_name": "said"}
    vault = open_vault(
        dashes={"backup_tree": f"{one}/"},
        kinds=said,
        edited=said,
        sides={"backup_tree": str(one), "backup_name": "said"},
        default={"backup_tree": str(one)},
    )
    vault.play("backup")
    first = {host: vault.files(host) for host in vault.hosts}
    name = vault.only("dashes").manifest["name"]
    assert [vault.only(host).manifest["source"] for host in ("dashes", "kinds")] == [str(one), "said"]

    pushed = {"backup_tree": "", "backup_controller_tree": str(one), "backup_device": str(device)}
    later: dict[str, dict[str, object]] = {
        "dashes": {"backup_tree": str(other)},
        "kinds": {"backup_command": "", "backup_tree": str(one)},
        "edited": {"backup_command": "echo said otherwise"},
        "sides": pushed,
        "default": pushed,
    }
    for host, variables in later.items():
        vault.hosts[host].update(variables)
    played = vault.fail("backup", backup_keep=1)
    words = {
        "dashes": f"'{name}' is the name of backups of {one}, and this would be one of {other}; set backup_n",
        "kinds": f"'said' is the name of backups of the command called said, and this would be one of {one};",
        "sides": f"'said' is the name of backups of {one}, and this would be one of {one} of the contr",
    }
    for host, said_of_it in words.items():
        assert said_of_it in played.row(host)
        assert vault.files(host) == first[host]
    assert device.read_bytes() != b"", "the default name of the controller's tree is another one"
    assert [stored.manifest["name"] for stored in vault.all("default")] == [name, f"controller-{name}"][::-1]
    assert len(vault.files("edited")) == 2
    assert vault.files("edited") != first["edited"]

    # Neither is what would be backed up restored for something else.
    vault.hosts = {"dashes": vault.hosts["dashes"], "default": vault.hosts["default"]}
    vault.hosts["default"]["backup_tree"] = str(one)
    to = {"backup_restore_to": str(tmp_path / "back")}
    played = vault.fail("restore", **to)
    assert f"is a backup of {one}, and not of {other}; set backup_name to '{name}'" in played.row("dashes")
    assert "and each names another backup; set backup_name" in played.row("default")
    assert not (tmp_path / "back").exists()
    vault.play("restore", "--limit", "dashes", **to, backup_name=name)
    expect_same(one, tmp_path / "back")


# On which machine


#: Of what a backup runs, but for compressors.
PROGRAMS = ("sh", "bash", "nproc", "uname", "head", "tar", "cat")


def python_with(folder: Path, *programs: str, cores: int | None = None) -> str:
    """A Python of a target that has no other programs, and so many *cores*."""
    folder.mkdir()
    for name in (*PROGRAMS, *programs):
        (folder / name).symlink_to(str(shutil.which(name)))
    if cores is not None:
        (folder / "nproc").unlink()
        (folder / "nproc").write_text(f"#!/bin/sh\necho {cores}\n", encoding="ascii")
        (folder / "nproc").chmod(0o755)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPATH={folder} exec {sys.executable} "$@"\n', encoding="ascii")
    python.chmod(0o755)
    return str(python)


def test_the_machine_with_more_cores_and_a_program_of_both_compress(
    open_vault: OpenVault, tree: Path, tmp_path: Path
) -> None:
    pythons = {
        "many": python_with(tmp_path / "many", "zstd", "gzip", cores=999),
        "few": python_with(tmp_path / "few", "zstd", "gzip", cores=0),
        "older": python_with(tmp_path / "older", "gzip"),
        "none": python_with(tmp_path / "none"),
        "asked": python_with(tmp_path / "asked"),
    }
    vault = open_vault(**{host: {"ansible_python_interpreter": python} for host, python in pythons.items()})
    vault.hosts["asked"]["backup_compression"] = "zstd"
    given = {"backup_tree": str(tree), "backup_name": "things"}
    played = vault.fail("backup", **given)
    assert "which has to be on both machines, and is not on asked; install it" in played.row("asked")
    chosen = {host: vault.only(host).manifest for host in ("many", "few", "older", "none")}
    assert {host: one["compression"] for host, one in chosen.items()} == {
        "many": "zstd",
        "few": "zstd",
        "older": "gzip",
        "none": "none",
    }
    assert [chosen[host]["compressed_by"] for host in ("many", "few", "none")] == [
        "target",
        "controller",
        "nobody",
    ]

    # What a machine does not have is left to the other one, unless it is asked for it.
    vault.hosts = {"none": vault.hosts["none"]}
    from_few = {**given, "backup_host": "few", "backup_restore_to": str(tmp_path / "back")}
    played = vault.fail("restore", **from_few, backup_expand_on="target")
    assert "is not on none; install it, or set backup_expand_on to controller." in played.row("none")
    vault.play("restore", **from_few)
    expect_same(tree, tmp_path / "back")


def test_another_file_system_is_left_out_if_that_is_wanted(
    ansible: Ansible, make_target: Callable[[], Target], tree: Path, tmp_path: Path
) -> None:
    mounted = tree / "mounted"
    mounted.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", mounted)
    try:
        (mounted / "inside").touch()
        host = make_target().inventory()
        vault = Vault(
            ansible, tmp_path / "vault", {"every": host, "one": {**host, "backup_one_file_system": True}}
        )
        vault.play("backup", backup_tree=str(tree), backup_compression="none", backup_name="things")
    finally:
        run("umount", mounted)
    names = {host: run("tar", "tf", vault.only(host).path).stdout.splitlines() for host in vault.hosts}
    assert "./mounted/inside" in names["every"]
    assert set(names["every"]) - set(names["one"]) == {"./mounted/inside"}


# Broken


def test_a_tree_that_changes_while_it_is_read_is_stored_and_noted(open_vault: OpenVault, tree: Path) -> None:
    # tar itself has the file changed while it reads it.
    changing = f"--checkpoint=10,--checkpoint-action=exec=touch '{tree}/a folder/noise'"
    vault = open_vault(
        plain={"backup_compression": "none"},
        compressed={"backup_compress_on": "target"},
        strict={"backup_accept_rc": "0"},
    )
    played = vault.fail("backup", backup_tree=str(tree), backup_name="things", backup_tar_options=changing)
    for host in ("plain", "compressed"):
        assert "file changed as we read it" in played.row(host)
        assert vault.only(host).manifest["rc"] == 1
        assert "file changed as we read it" in vault.only(host).manifest["stderr"]
    assert "no: " in played.row("strict")
    assert vault.files("strict") == []


def test_nothing_is_stored_of_what_broke(open_vault: OpenVault, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    python = f'PATH={broken}:$PATH exec {sys.executable} "$@"'
    for name, script in {"zstd": "cat; exit 1", "python": python}.items():
        (broken / name).write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        (broken / name).chmod(0o755)
    said = {"backup_command": "echo said", "backup_name": "said"}
    compressed = {"backup_compression": "zstd", "backup_compress_on": "target"}
    vault = open_vault(
        status={**said, "backup_command": "echo part; exit 3", "backup_compression": "none"},
        piped={**said, **compressed, "backup_command": "echo part; exit 3"},
        killed={**said, **compressed, "backup_command": "echo part; kill -KILL $$"},
        compressor={
            **said,
            **compressed,
            "ansible_python_interpreter": str(broken / "python"),
        },
        good=said,
    )
    played = vault.fail("backup")
    assert "on status exited 3" in played.row("status")
    assert "on piped exited 3" in played.row("piped")
    assert "on killed exited 137" in played.row("killed")
    assert "on compressor exited 125" in played.row("compressor")
    for host in ("status", "piped", "killed", "compressor"):
        assert vault.files(host) == []
    assert len(vault.files("good")) == 2


def test_what_does_not_match_its_manifest_is_not_restored(
    open_vault: OpenVault, tree: Path, tmp_path: Path
) -> None:
    back = tmp_path / "back"
    hosts = ("flipped", "shorter", "missing", "bare", "scribbled", "null", "other", "worded", "never")
    hosts += ("renamed", "moved", "shared")
    vault = open_vault(**{host: {} for host in hosts})
    given = {"backup_tree": str(tree), "backup_name": "things"}
    vault.play("backup", "--limit", "!never", **given)
    vault.only("flipped").flip()
    os.truncate(vault.only("shorter").path, 1000)
    vault.only("missing").path.unlink()
    vault.only("bare").manifest_path.unlink()
    vault.only("scribbled").manifest_path.write_text('{"form": ', encoding="ascii")
    vault.only("null").manifest_path.write_text("null", encoding="ascii")
    vault.only("other").manifest_path.write_text('{"form": "another/1"}', encoding="ascii")
    worded = vault.only("worded")
    worded.manifest_path.write_text(json.dumps({**worded.manifest, "bytes": "all"}), encoding="ascii")
    bare = vault.files("bare")
    renamed = vault.only("renamed")
    for path in (renamed.path, renamed.manifest_path):
        path.rename(path.with_name(path.name.replace("Z.tar", "Z.old.tar")))
    moved = vault.only("moved")
    moved.manifest_path.write_text(json.dumps({**moved.manifest, "host": "away"}), encoding="ascii")
    shared = vault.only("shared")
    for source, time in (("/one", "20200101T000000Z"), ("/two", "20210101T000000Z")):
        path = shared.manifest_path.with_name(f"things-{time}.tar.json")
        path.write_text(json.dumps({**shared.manifest, "source": source}), encoding="ascii")

    to = f"{back}/{{{{ inventory_hostname }}}}"
    restored = vault.fail("restore", **given, backup_restore_to=to)
    words = {
        "flipped": "its SHA-256 is",
        "shorter": "it has 1000 bytes, and its manifest says",
        "missing": "is not there, only its manifest is",
        "bare": "there is no backup 'things' of bare with a manifest in",
        "scribbled": "is not a manifest: it is not JSON.",
        "null": "is not a manifest: it is not a JSON object.",
        "renamed": f"is the manifest of another file, of {renamed.path.name}.",
        "moved": "is the manifest of a backup of away, and not of moved; set backup_host to moved",
        "shared": "several things have backups that are called 'things'",
        "other": "is not a manifest: it is not of the form dds.socketpipe.backup/1",
        "worded": "is not a manifest: there are values in it that can not be",
        "never": "there is no backup 'things' of never with a manifest in",
    }
    for host, said in words.items():
        assert said in restored.row(host)
    assert not back.exists()

    # Known before all of a large file has been read.
    nowhere = vault.fail("restore", "--limit", "flipped", **given)
    assert "a tree needs a backup_restore_to, an absolute path" in nowhere.row("flipped")
    nameless = vault.fail("restore", "--limit", "flipped,never", backup_restore_to=to)
    place = f"{vault.folder}/flipped on the controller has things."
    assert f"set backup_name to that of the backup that is meant; {place}" in nameless.row("flipped")
    assert "there is no backup '' of never with a manifest" in nameless.row("never")
    given_name = {**given, "backup_name": "thing"}
    unknown = vault.fail("restore", "--limit", "flipped", **given_name, backup_restore_to=to)
    assert "; there are backups that are called things." in unknown.row("flipped")

    verified = vault.fail("verify")
    for host in set(words) - {"bare", "shared", "never"}:
        assert words[host] in verified.row(host)
    assert re.fullmatch(
        f"{re.escape(bare[0])} +no: it has no manifest, so it is no backup", verified.row("bare")
    )
    assert "there is no backup of never in" in verified.row("never")
    verified = vault.play("verify", "--limit", "moved", backup_host="moved")
    assert verified.row("moved").endswith("good")


def test_a_summary_tells_of_every_host(open_vault: OpenVault, tree: Path) -> None:
    long = "a-host-with-a-long-name.example.com"
    vault = open_vault(good={}, wrong={"backup_name": "not/a name"}, absent={"ansible_port": 1}, **{long: {}})
    played = vault.fail("backup", backup_tree=str(tree))
    backup_begins = {
        re.search(r' "[\w.-]+ +(?=\S)', line).end()  # type: ignore[union-attr]
        for line in played.output.splitlines()
        if re.match(rf' +"(host|good|wrong|absent|{re.escape(long)}) ', line)
    }
    assert len(backup_begins) == 1, "the columns are as wide as they have to be"
    assert re.search(r"-tree-\d+T\d+Z\.tar\.zst +[\d,]+ +\d+\.\d +\d+$", played.row("good"))
    assert "no: 'not/a name' can not be the name of a backup" in played.row("wrong")
    assert played.row("absent").startswith("no: it could not be reached: ")
    assert "Task failed" not in played.row("absent")
    assert "ssh" in played.row("absent"), "in the words of this version of Ansible"
    assert re.search(r"^good .* failed=0 ", played.output, re.MULTILINE)
    assert re.search(r"^wrong .* failed=1 ", played.output, re.MULTILINE)


@pytest.mark.parametrize("playbook", ["backup", "offload", "restore", "verify"])
def test_a_summary_tells_of_the_only_host_if_that_can_not_be_reached(
    open_vault: OpenVault, tree: Path, playbook: str
) -> None:
    vault = open_vault(absent={"ansible_port": 1})
    source = "backup_controller_tree" if playbook == "offload" else "backup_tree"
    played = vault.fail(playbook, **{source: str(tree)})
    assert re.match("no: it could not be reached: .*ssh", played.row("absent"))


# Kept


def test_as_many_generations_are_kept_as_are_wanted(open_vault: OpenVault) -> None:
    vault = open_vault(db={"backup_command": "echo said", "backup_compression": "none"})
    vault.play("backup", backup_name="said")
    model = vault.only("db")

    def store(name: str) -> list[str]:
        copies = [model.path.with_name(name), model.path.with_name(f"{name}.json")]
        copies[0].write_bytes(model.path.read_bytes())
        copies[1].write_bytes(model.manifest_path.read_bytes())
        return [path.name for path in copies]

    oldest = store("said-20200101T000000Z.dump")
    older = store("said-20210101T000000Z.dump.zst")
    others = store("said-more-20190101T000000Z.dump") + store("more-20190101T000000Z.dump")
    others += store("said-20180101T000000Z.d-20190101T000000Z.dump")  # its name is said-20180101T000000Z.d
    another = store("said-20170101T000000Z.dump")
    said = json.dumps({**model.manifest, "source": "another"})
    model.path.with_name(another[1]).write_text(said, encoding="ascii")
    others += another
    half = "said-20190101T000000Z.dump.json"  # its file was removed by a run that was interrupted then
    model.path.with_name(half).write_bytes(model.manifest_path.read_bytes())

    # What is given for a restore does not choose here.
    away = {"backup_host": "away", "backup_time": "20210101T000000Z"}
    vault.play("backup", backup_name="said", backup_keep=3, **away)
    left = set(vault.files("db"))
    assert left >= {model.path.name, model.manifest_path.name, *older, *others}
    assert not left & {*oldest, half}

    vault.play("backup", backup_name="said", backup_keep="1")
    left = set(vault.files("db"))
    assert left >= {*others}
    assert not left & {model.path.name, *older}
    assert len(left) == len(others) + 2, "the new one is kept"

    failed = vault.fail("backup", backup_name="said", backup_keep=1, backup_command="exit 1")
    assert "exited 1" in failed.row("db")
    assert set(vault.files("db")) == left


def test_nothing_is_removed_if_nobody_knows_the_newest(open_vault: OpenVault, tmp_path: Path) -> None:
    """A clock that was wrong has named one of a time to come."""
    read = tmp_path / "read"
    vault = open_vault(
        db={
            "backup_command": "echo said",
            "backup_name": "said",
            "backup_compression": "none",
            "backup_restore_command": f"cat > {read}",
        }
    )
    vault.play("backup")
    first = vault.only("db")
    future = "said-20990101T000000Z.dump"
    first.path.rename(first.path.with_name(future))
    first.manifest_path.rename(first.path.with_name(f"{future}.json"))
    manifest = json.dumps({**first.manifest, "file": future})
    first.path.with_name(f"{future}.json").write_text(manifest, encoding="ascii")

    to_come = f"{future} is of a time that is still to come"
    stored, failure = vault.fail("backup", backup_command="echo more", backup_keep=1).rows("db")
    new = vault.all("db")[0].path.name
    assert stored.startswith(new)
    assert failure.startswith(f"no: it is stored, but {future}.json is of a time that is still to come")
    assert [one.path.name for one in vault.all("db")] == [new, future]

    assert f"no: {to_come}, so it may not be the newest; set backup_time" in vault.fail("restore").row("db")
    assert to_come in vault.fail("verify", backup_newest=True).row("db")
    assert not read.exists()
    vault.play("restore", backup_time="20990101T000000Z")
    assert read.read_text(encoding="ascii") == "said\n"


def test_a_run_that_ends_late_does_not_remove_a_later_one(open_vault: OpenVault, tmp_path: Path) -> None:
    go, began = tmp_path / "go", tmp_path / "began"
    waiting = f"echo early; touch {began}; until [ -e {go} ]; do sleep 0.1; done"
    vault = open_vault(db={"backup_name": "said", "backup_compression": "none", "backup_keep": 1})
    folder = vault.folder / "db"
    with ThreadPoolExecutor() as pool:
        early = pool.submit(vault.play, "backup", backup_command=waiting)
        wait_until(began.exists, "the first run is in the middle", timeout=60)
        (hidden,) = folder.iterdir()
        assert re.fullmatch(r"\.said-\d{8}T\d{6}Z", hidden.name)
        vault.play("backup", backup_command="echo late")
        late = vault.only("db")
        go.touch()
        assert early.result().row("db").endswith("nothing was removed, for there is a later one")
    assert [one.path.read_text(encoding="ascii") for one in vault.all("db")] == ["early\n", "late\n"]
    assert late.path.exists()
    assert not hidden.exists()
    vault.play("backup", backup_command="echo last")
    assert vault.only("db").path.read_text(encoding="ascii") == "last\n"


# Asked for


def test_as_much_is_verified_as_is_wanted(open_vault: OpenVault) -> None:
    vault = open_vault(db={"backup_command": "echo said", "backup_verify_command": "exit 1"})
    for name in ("said", "said", "more"):
        vault.play("backup", backup_name=name)
    newest = [vault.all("db")[index].path.name for index in (0, 2)]
    rows = vault.play("verify", backup_newest=True, backup_dry_restore=False).rows("db")
    assert [row.partition(" ")[0] for row in rows] == newest
    assert all(row.endswith("good") for row in rows)
    rows = vault.fail("verify").rows("db")
    assert len(rows) == 3
    assert all(" no: " in row and "exited 1" in row for row in rows)


def test_nothing_is_done_in_check_mode(open_vault: OpenVault, tree: Path, tmp_path: Path) -> None:
    vault = open_vault(db={"backup_tree": str(tree), "backup_restore_to": str(tmp_path / "back")})
    assert vault.play("backup", "--check").row("db") == "nothing, in check mode"
    assert list(vault.folder.iterdir()) == []
    vault.play("backup")
    stored = vault.files("db")
    vault.play("restore", "--check")
    vault.play("verify", "--check")
    assert vault.files("db") == stored
    assert not (tmp_path / "back").exists()


def test_what_can_not_be_is_refused_with_a_sentence(open_vault: OpenVault, tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(b"old")
    pushed: dict[str, object] = {"backup_controller_tree": str(tmp_path), "backup_device": str(device)}
    said: dict[str, object] = {"backup_command": "echo said", "backup_name": "said"}
    wrong: dict[str, tuple[dict[str, object], str]] = {
        "nothing": ({}, "exactly one of backup_tree, backup_postgresql, backup_command and backup_contr"),
        "two": ({"backup_tree": "/srv", "backup_postgresql": "db"}, "has to be set, and 2 are."),
        "relative": ({"backup_tree": "srv"}, "a tree has to be an absolute path, and 'srv' is not."),
        "nameless": ({"backup_command": "true"}, "backup_command needs a backup_name."),
        "conninfo": ({"backup_postgresql": "dbname=x"}, "'dbname=x' can not be the name of a backup; set"),
        "device": ({"backup_tree": "/srv", "backup_device": "/d"}, "backup_device is for backup_controller"),
        "nowhere": ({"backup_controller_tree": "/srv"}, "backup_controller_tree needs a backup_device"),
        "keep": ({"backup_tree": "/srv", "backup_keep": -1}, "backup_keep has to be 0 or more, and -1 is n"),
        "choice": ({"backup_tree": "/srv", "backup_compression": "lzma"}, "value of backup_compression must"),
        "ending": ({**said, "backup_suffix": "json"}, "'json' can not be the suffix of a b"),
        "line": ({"backup_tree": "/srv", "backup_name": "srv\n"}, "'srv ' can not be the name of a backup"),
        "rc": ({"backup_tree": "/srv", "backup_accept_rc": [0, 125]}, "backup_accept_rc can not have 125"),
        "dollar": ({"backup_tree": "/srv", "backup_dir": "/$HOME"}, "backup_dir can not have a $, and '/$HO"),
        "place": ({"backup_tree": "/srv", "backup_dir": "/no such"}, "the backup_dir /no such is not a dir"),
        "missing": ({**pushed, "backup_device": "/dev/no such"}, "there is no device /dev/no such on missin"),
        "folder": ({**pushed, "backup_device": str(tmp_path)}, "is a directory, and no device."),
        "gone": ({**pushed, "backup_controller_tree": "/no such"}, "there is no directory /no such on the c"),
        "option": ({**pushed, "backup_tar_options": "--no-such"}, "unrecognized option '--no-such'"),
    }
    vault = open_vault(**{host: variables for host, (variables, _sentence) in wrong.items()})
    played = vault.fail("backup")
    for host, (_variables, sentence) in wrong.items():
        assert sentence in played.row(host), played.row(host)
    assert device.read_bytes() == b"old", "nobody has opened it"


def test_odd_values_are_taken_for_what_they_mean(open_vault: OpenVault, tmp_path: Path) -> None:
    odd = tmp_path / "a, [b]* 'c' \"%s"
    odd.mkdir()
    device = tmp_path / "a device"
    device.touch()
    said = {"backup_command": "echo said", "backup_name": "said"}
    empty = ("backup_suffix", "backup_mode", "backup_block_size", "backup_verify_command", "backup_exclude")
    pushed = {"backup_controller_tree": str(odd), "backup_name": "odd", "backup_device": str(device)}
    vault = open_vault(
        slash={**said, "backup_dir": f"{tmp_path}/vault//"},
        odd={**said, "backup_dir": str(odd)},
        number={**said, "backup_mode": 0o640},
        empty={**said, **dict.fromkeys(empty, "")},
        pushed={**pushed, "backup_block_size": ""},
        lines={**said, "backup_command": "echo one >&2; echo two >&2; exit 1", "backup_accept_rc": 1},
    )
    played = vault.play("backup")
    assert played.row("lines").endswith("exit status 1: one (and 1 more, see the manifest)")
    assert vault.only("number").path.stat().st_mode & 0o7777 == 0o640
    assert vault.only("empty").path.stat().st_mode & 0o7777 == 0o600
    assert ".dump" in vault.only("empty").path.name
    verified = vault.play("verify")
    assert all(verified.row(host).endswith("good") for host in vault.hosts)


def test_only_the_target_becomes_another_user(
    ansible: Ansible, users_target: Target, tmp_path: Path, secret: Path
) -> None:
    # For all hosts, so also for the controller.
    everywhere = tmp_path / "everywhere.yml"
    variables = {"ansible_become": True, "ansible_become_user": "free"}
    everywhere.write_text(yaml.safe_dump({"all": {"vars": variables}}), encoding="utf-8")

    host = users_target.inventory(ansible_python_interpreter="/usr/bin/python3")
    vault = Vault(ansible, tmp_path / "vault", {"db": host})
    given = {"backup_command": f"id -un; cat {secret}", "backup_name": "note"}
    vault.play("backup", "-i", str(everywhere), backup_compression="none", **given)
    stored = vault.only("db")
    assert stored.path.read_text(encoding="ascii") == "free\nnote\n"
    assert (stored.path.stat().st_uid, stored.manifest_path.stat().st_uid) == (0, 0)

    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "note").touch(mode=0o600)
    for folder in (closed, *list(closed.parents)[:-2]):
        folder.chmod(0o755)
    failed = vault.fail("backup", "-i", str(everywhere), backup_tree=str(closed))
    assert re.match(r"no: tar: \./note: \S+ \S+: Permission denied; become a user who", failed.row("db"))


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file of the user free."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("note\n")
        file.flush()
        os.chown(file.name, FREE, FREE)
        yield Path(file.name)
