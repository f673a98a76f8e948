# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database comes back with all its rows, or not at all. The server is a real one, on the target."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import yaml
from harness.ansible import MODULE, ROOT, Ansible
from harness.backups import Hosts, Vault
from harness.machines import process_on
from harness.network import Target
from harness.pages import blocks_of
from harness.postgres import USER, Cluster, Database, run_as_postgres
from harness.waiting import wait_until

pytestmark = pytest.mark.usefixtures("target")

#: What pg_dump and pg_restore come to last of all data. Who reads it first waits in the middle of the work.
LAST_OF_DATA = "pg_largeobject"


@pytest.fixture(scope="module")
def cluster_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="socketpipe-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def shared_target(cluster_folder: Path, make_target: Callable[..., Target]) -> Target:
    """Whoever becomes another user there finds the cluster without a word."""
    environment = cluster_folder / "environment"
    environment.write_text(f"PGHOST={cluster_folder}\n", encoding="ascii")
    sudoers = f"Defaults env_reset, env_file={environment}\nroot ALL=(ALL) NOPASSWD: ALL\n"
    return make_target(etc={"sudoers": sudoers})


@pytest.fixture(scope="module")
def cluster(cluster_folder: Path, shared_target: Target) -> Iterator[Cluster]:
    with shared_target.entered():
        cluster = Cluster(cluster_folder)
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Database:
    database = cluster.create("shop")
    database.fill()
    return database


@pytest.fixture(scope="module")
def hosts(shared_target: Target, shop: Database) -> Hosts:
    """They are one target, whose shop is backed up by its name, or by a connection string."""
    become = {"ansible_become": True, "ansible_become_user": USER}
    host = shared_target.inventory(**become, ansible_python_interpreter="/usr/bin/python3")
    by_name = {"backup_postgresql": shop.name, "backup_compression": "zstd", "backup_expand_on": "target"}
    by_string = {"backup_postgresql": shop.connection, "backup_name": "things", "backup_compression": "none"}
    return {"name": {**host, **by_name}, "string": {**host, **by_string}}


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory, hosts: Hosts) -> Vault:
    """It has a backup of each host."""
    folder = tmp_path_factory.mktemp("shop")
    vault = Vault(Ansible(folder), folder / "vault", hosts)
    vault.play("backup")
    return vault


@pytest.fixture(scope="module")
def make_empty(cluster: Cluster) -> Callable[[], Database]:
    numbers = count()
    return lambda: cluster.create(f"empty{next(numbers)}")


@pytest.fixture
def empty(make_empty: Callable[[], Database]) -> Database:
    return make_empty()


# Whole


def test_a_database_comes_back_as_it_was(
    vault: Vault, shop: Database, make_empty: Callable[[], Database]
) -> None:
    verified = vault.play("verify")
    assert verified.row("name").endswith("good")
    assert verified.row("string").endswith("good")
    by_name, by_string = make_empty(), make_empty()
    databases = {"name": by_name.name, "string": by_string.connection}
    vault.play("restore", backup_restore_database=f"{{{{ {databases}[inventory_hostname] }}}}")
    before = shop.contents()
    assert by_name.contents() == before
    assert by_string.contents() == before


# Not at all


def test_a_dump_that_is_killed_is_not_stored(
    ansible: Ansible, tmp_path: Path, hosts: Hosts, cluster: Cluster, shared_target: Target, shop: Database
) -> None:
    """Neither in a pipeline with a compressor, nor by itself."""
    vault = Vault(ansible, tmp_path / "vault", hosts)
    with ThreadPoolExecutor() as pool, shop.locked(LAST_OF_DATA):
        failing = pool.submit(vault.fail, "backup")
        shop.wait_for_waiting(len(hosts))
        for pid, words in shared_target.processes().items():
            if words.startswith(f"{cluster.binaries}/pg_dump "):
                os.kill(pid, signal.SIGKILL)
        for host in hosts:
            assert "exited 137" in failing.result().row(host)
            assert vault.files(host) == []


def test_a_dump_that_has_changed_is_refused(vault: Vault, empty: Database) -> None:
    before = empty.contents()
    stored = vault.only("name")
    stored.flip()
    try:
        failed = vault.fail("restore", "--limit", "name", backup_restore_database=empty.name)
        assert f"{stored.path} is not what was stored: its SHA-256 is {stored.sha256}" in failed.row("name")
    finally:
        stored.flip()
    assert empty.contents() == before


def test_a_restore_that_fails_late_leaves_the_database_as_it_was(vault: Vault, empty: Database) -> None:
    """Indexes are made after all rows are there."""
    empty.sql("CREATE TABLE orders_by_customer (id int); INSERT INTO orders_by_customer VALUES (17);")
    before = empty.contents()
    failed = vault.fail("restore", "--limit", "name", backup_restore_database=empty.name)
    assert 'relation "orders_by_customer" already exists' in failed.output
    assert empty.contents() == before


@pytest.mark.parametrize(("victim", "said"), [("pg_restore", "exited 137"), ("zstd", "exited 1)")])
def test_a_restore_that_is_killed_leaves_the_database_as_it_was(
    vault: Vault, cluster: Cluster, shared_target: Target, empty: Database, victim: str, said: str
) -> None:
    empty.sql("CREATE TABLE things (id int); INSERT INTO things VALUES (17);")
    before = empty.contents()
    beginnings = {"pg_restore": f"{cluster.binaries}/pg_restore", "zstd": "zstd -q -d"}
    with ThreadPoolExecutor() as pool:
        with empty.locked(LAST_OF_DATA):
            failing = pool.submit(
                vault.fail, "restore", "--limit", "name", backup_restore_database=empty.name
            )
            empty.wait_for_waiting(1)
            os.kill(process_on(shared_target, beginnings[victim]), signal.SIGKILL)
        assert said in failing.result().row("name")
    assert empty.contents() == before


# By a task, as docs/guide/database.md has it


def psql(database: Database) -> str:
    """The command of the page, for another database."""
    blocks = blocks_of(ROOT / "docs" / "guide" / "database.md")
    (task,) = next(yaml.safe_load(block.text) for block in blocks if "psql" in block.text)
    return str(task[MODULE]["remote"]).removesuffix("shop") + database.name


def test_a_plain_dump_is_loaded(
    ansible: Ansible, tmp_path: Path, hosts: Hosts, cluster: Cluster, shop: Database, empty: Database
) -> None:
    dump = tmp_path / "shop.sql"
    dump.write_bytes(run_as_postgres(cluster.binaries / "pg_dump", f"--dbname={shop.connection}"))
    (result,) = ansible.play(
        {"db": hosts["name"]}, [{MODULE: {"input_file": str(dump), "remote": psql(empty)}}]
    )
    assert result.kind == "ok", result.msg
    assert empty.contents() == shop.contents()


def test_a_plain_dump_whose_stream_breaks_leaves_the_database_as_it_was(
    ansible: Ansible, tmp_path: Path, hosts: Hosts, empty: Database
) -> None:
    before = empty.contents()
    read = tmp_path / "read"
    half = "CREATE TABLE things (id int); INSERT INTO things VALUES (17);"
    dumping = f"echo '{half}'; until [ -e {read} ]; do sleep 0.1; done; exit 3"
    run = ansible.start(
        {"db": hosts["name"]}, [{MODULE: {"input": dumping, "remote": psql(empty), "shell": True}}]
    )
    in_the_middle = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'idle in transaction' AND query LIKE 'INSERT%'"
    )
    wait_until(lambda: int(empty.sql(in_the_middle)) == 1, "psql has read half of the dump", timeout=60)
    read.touch()
    (result,) = run.wait()
    assert "exited 3" in result.msg
    assert empty.contents() == before
