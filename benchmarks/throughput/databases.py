"""Fresh databases on one durable server, and questions to them that count as nobody's work."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import servers

# The same for all; the rest is the server's default, with every commit on the disk before it returns.
POSTGRESQL = ("shared_buffers=512MB", "max_wal_size=4GB", "checkpoint_timeout=30min")
MARIADB = ("innodb-buffer-pool-size=512M", "innodb-log-file-size=1G", "transaction-isolation=READ-COMMITTED")
# As dbq's documentation has it for every Django project, with every commit on the disk.
SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}
SETTINGS = {"postgresql": POSTGRESQL, "mariadb": MARIADB, "sqlite": (json.dumps(SQLITE),)}


@contextmanager
def serve(vendor: str) -> Iterator[Site]:
    """A place for databases, as long as it is needed."""
    with ExitStack() as stack:
        if vendor == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dbq-throughput-"))
            yield SqliteSite(Path(folder))
        elif vendor == "postgresql":
            yield PostgresqlSite(stack.enter_context(servers.postgresql(True, POSTGRESQL)))
        else:
            yield MariadbSite(stack.enter_context(servers.mariadb(True, MARIADB)))


class Site:
    """One server, or folder, and the databases on it."""

    vendor: str
    # Whether a database can be made as a copy of another.
    has_models = False

    def __init__(self) -> None:
        self._number = 0

    @contextmanager
    def borrow(self, model: str | None = None) -> Iterator[str]:
        """The URL of a new database, like the model if there is one; it is dropped afterwards."""
        self._number += 1
        name = f"bench_{self._number}"
        url = self.create(name, model)
        try:
            yield url
        finally:
            self.drop(name)

    def create(self, name: str, model: str | None) -> str:
        raise NotImplementedError

    def drop(self, name: str) -> None:
        raise NotImplementedError

    def read_version(self) -> str:
        raise NotImplementedError


class PostgresqlSite(Site):
    vendor = "postgresql"
    has_models = True

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def create(self, name: str, model: str | None) -> str:
        template = f" TEMPLATE {urlsplit(model).path[1:]}" if model else ""
        self._execute(f"CREATE DATABASE {name}{template}")
        return f"{self.url.rpartition('/')[0]}/{name}"

    def drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def read_version(self) -> str:
        with Database(self.url) as database:
            return f"PostgreSQL {database.ask('SHOW server_version')}"

    def _execute(self, statement: str) -> None:
        with Database(self.url) as database:
            database.execute(statement)


class MariadbSite(PostgresqlSite):
    vendor = "mariadb"
    has_models = False

    def create(self, name: str, model: str | None) -> str:
        return super().create(name, None)

    def drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE {name}")

    def read_version(self) -> str:
        with Database(self.url) as database:
            return f"MariaDB {database.ask('SELECT version()')}"


class SqliteSite(Site):
    vendor = "sqlite"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def create(self, name: str, model: str | None) -> str:
        return f"sqlite:///{self.folder / name}"

    def drop(self, name: str) -> None:
        for path in self.folder.glob(f"{name}*"):
            path.unlink()

    def read_version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"


class Database:
    """One connection, where each statement is a transaction; it counts them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.statements = 0
        self._connection = connect(url)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    @property
    def is_postgresql(self) -> bool:
        return self.url.startswith("postgresql")

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        self.statements += 1
        cursor = self._connection.cursor()
        # Without parameters a % is a %.
        cursor.execute(statement, parameters) if parameters else cursor.execute(statement)
        return cursor

    def ask(self, question: str, parameters: Sequence[Any] = ()) -> Any:
        """The first value of the first row; None if there is no row."""
        row = self.execute(question, parameters).fetchone()
        return row[0] if row else None


def connect(url: str) -> Any:
    parts = urlsplit(url)
    if parts.scheme == "postgresql":
        import psycopg

        return psycopg.connect(url, autocommit=True)
    if parts.scheme == "mysql":
        import pymysql

        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 0,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:],
            autocommit=True,
        )
    connection = sqlite3.connect(parts.path[1:], isolation_level=None, timeout=20)
    connection.create_function("now", 0, lambda: connection.execute("SELECT datetime()").fetchone()[0])
    return connection
