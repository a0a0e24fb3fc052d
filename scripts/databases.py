"""The databases that the suite runs on: how to get one, and which version it is."""

import re
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from servers import find_mariadb, find_postgresql, mariadb, postgresql


@dataclass(frozen=True)
class Database:
    """A kind of database; `serve` and `version` raise ServerMissing where there is none."""

    product: str
    serve: Callable[[], AbstractContextManager[str]]
    version: Callable[[], str]

    def __str__(self) -> str:
        return f"{self.product} {self.version()}"


@contextmanager
def sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="dbq-sqlite-") as directory:
        yield f"sqlite:///{quote(directory)}/dbq.sqlite3"


def sqlite_version() -> str:
    return sqlite3.sqlite_version


def postgresql_version() -> str:
    return version_of(find_postgresql() / "postgres")


def mariadb_version() -> str:
    return version_of(find_mariadb())


def version_of(program: object) -> str:
    """The first version number that a program says it has."""
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found else "of unknown version"


DATABASES = {
    "sqlite": Database("SQLite", sqlite, sqlite_version),
    "postgresql": Database("PostgreSQL", postgresql, postgresql_version),
    "mariadb": Database("MariaDB", mariadb, mariadb_version),
}
