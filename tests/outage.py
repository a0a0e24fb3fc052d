"""Databases that cannot be worked with: out of reach, or read-only. Real ones, nothing is mocked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, connections

SECRET = "geheim-4711"
# Of this session alone: how it is made to refuse writes, and to take them again.
READ_ONLY = {
    "sqlite": ("PRAGMA query_only = 1", "PRAGMA query_only = 0"),
    "postgresql": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    ),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
}


@contextmanager
def out_of_reach() -> Iterator[None]:
    """Lead this thread to a database of the same kind whose port, or folder, is not there."""
    where = {"HOST": "127.0.0.1", "PORT": str(find_closed_port()), "PASSWORD": SECRET}
    if connection.vendor == "sqlite":
        where = {"NAME": f"no-such-folder/{SECRET}.sqlite3"}
    own = connections["default"]
    connections["default"] = type(own)({**own.settings_dict, **where}, alias="default")
    try:
        yield
    finally:
        connections["default"] = own


def find_closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextmanager
def read_only() -> Iterator[None]:
    """Have this session refuse every write."""
    begin, end = READ_ONLY[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(end)
