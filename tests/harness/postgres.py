# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL server of the test's own, with Debian's package.

    with Cluster(folder) as cluster:
        shop = cluster.create("shop")
        shop.fill()
        shop.contents()

It runs in the network of whoever makes it, as the user postgres, and is reached by its Unix socket
in *folder* alone. It lets in only the user postgres.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.waiting import wait_until

#: The only user whom a cluster lets in.
USER = "postgres"
ROWS = 100_000
_BINARIES = Path("/usr/lib/postgresql")
_FILLING = Path(__file__).parent / "shop.sql"
# Autovacuum would come and go as a process, at times of its own.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "max_wal_size": "4GB",
}


def run_as_postgres(*words: str | Path, input: bytes = b"") -> bytes:
    """What the command prints; it has to succeed."""
    argv = [str(word) for word in words]
    done = subprocess.run(argv, input=input, capture_output=True, check=False, cwd="/", **_as_postgres())
    assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')}"
    return done.stdout


def _as_postgres() -> dict[str, Any]:
    """Who runs a process, for `subprocess`."""
    return {"user": USER, "group": USER, "extra_groups": []}


def _newest_binaries() -> Path:
    folders = [path for path in _BINARIES.glob("*/bin") if (path / "initdb").exists()]
    assert folders, f"{_BINARIES}/*/bin/initdb: there is none; tests/tools/system-packages installs it"
    return max(folders, key=lambda path: float(path.parent.name))


class Cluster:
    """A running server. It is stopped with the `with` block, and its files in *folder* are removed."""

    def __init__(self, folder: Path) -> None:
        # A path of pytest's would not do: it is for one user alone, and too long for a socket.
        self.folder = folder
        self.binaries = _newest_binaries()
        self._data = folder / "data"
        shutil.chown(folder, USER, USER)
        folder.chmod(0o755)
        self._initialize()
        self._server = self._start()
        try:
            wait_until(self._is_ready, "the server takes connections")
        except AssertionError:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _initialize(self) -> None:
        options = ["--auth=peer", "--encoding=UTF8", "--locale=C", "--no-sync"]
        run_as_postgres(self.binaries / "initdb", f"--pgdata={self._data}", *options)

    def _start(self) -> subprocess.Popen[bytes]:
        settings = {**_SETTINGS, "unix_socket_directories": str(self.folder)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self._data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **_as_postgres(),
            )

    def _is_ready(self) -> bool:
        assert self._server.poll() is None, self.log
        return (
            subprocess.run([self.binaries / "pg_isready", "-q", "-h", self.folder], check=False).returncode
            == 0
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def create(self, name: str) -> Database:
        """A new, empty database."""
        run_as_postgres(self.binaries / "createdb", f"--host={self.folder}", "--template=template0", name)
        return Database(self, name)

    def close(self) -> None:
        """Stop at once: nobody wants to read it again."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait()
        shutil.rmtree(self._data)


class Database:
    """A database of a cluster."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name

    @property
    def connection(self) -> str:
        """For programs that have not heard of the cluster otherwise."""
        return f"host={self._cluster.folder} dbname={self.name}"

    def sql(self, statements: str) -> bytes:
        """What they print, without any ornament."""
        return run_as_postgres(*self._psql(), input=statements.encode())

    def _psql(self) -> list[str]:
        """The session ends at the first statement that fails."""
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        return [f"{self._cluster.binaries}/psql", *options, f"--dbname={self.connection}"]

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Whoever wants to read *table* has to wait until the end of the block."""
        words = self._psql()
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", **_as_postgres()
        ) as session:
            assert session.stdin is not None
            assert session.stdout is not None
            session.stdin.write(f"BEGIN; LOCK TABLE {table}; SELECT 'locked';\n".encode())
            session.stdin.flush()
            assert session.stdout.readline() == b"locked\n"
            try:
                yield
            finally:
                session.stdin.close()

    def wait_for_waiting(self, count: int) -> None:
        """Until so many wait for a lock."""
        here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        query = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND {here}"
        wait_until(
            lambda: int(self.sql(query)) == count, f"{count} wait for a lock in {self.name}", timeout=60
        )

    def fill(self, rows: int = ROWS) -> None:
        """Make tables of many types, *rows* of the largest one, and what else a database has."""
        self.sql(f"\\set rows {rows}\n" + _FILLING.read_text(encoding="utf-8"))

    def contents(self) -> dict[str, str]:
        """The schema, and a digest of each of the things in it: of tables the rows in their order."""
        queries = dict(line.split("|", 1) for line in self.sql(_QUERIES).decode().splitlines())
        digests = {what: hashlib.sha256(self.sql(query)).hexdigest() for what, query in queries.items()}
        return {"schema": self._schema(), **digests}

    def _schema(self) -> str:
        dump = run_as_postgres(
            self._cluster.binaries / "pg_dump", "--schema-only", f"--dbname={self.connection}"
        ).decode()
        # Each dump has a key of its own there.
        return re.sub(r"^\\(un)?restrict .*\n", "", dump, flags=re.MULTILINE)


#: What to look at, and the query for it, on a line each.
_QUERIES = """
SELECT format('%1$s|COPY (SELECT * FROM %1$s AS t ORDER BY t::text) TO STDOUT', oid::regclass)
FROM pg_class
WHERE relkind IN ('r', 'm') AND relispopulated
AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
UNION ALL
SELECT format('%1$s|SELECT last_value, is_called FROM %1$s', oid::regclass) FROM pg_class WHERE relkind = 'S'
UNION ALL
SELECT format('large object %1$s|SELECT lo_get(%1$s)', oid) FROM pg_largeobject_metadata
ORDER BY 1
"""
