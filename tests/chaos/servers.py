"""Servers for tests that stop them, and how a test's thread comes to use another database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

if TYPE_CHECKING:
    from servers import Server

# Killing a server must lose no commit, and flushing each to the disk would only make tests slow.
SETTINGS = {
    "postgresql": ["synchronous_commit=on", "full_page_writes=on"],
    "mysql": ["innodb-flush-log-at-trx-commit=2"],
}


def find_servers() -> Any:
    """The module of the checkout that starts servers."""
    folder = str(settings.BASE_DIR / "scripts")
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module("servers")


@contextmanager
def serve(*options: str) -> Iterator[Server]:
    """Start a server of the kind that the tests run on, with the tables of dbq."""
    servers = find_servers()
    start = {"postgresql": servers.serve_postgresql, "mysql": servers.serve_mariadb}[connection.vendor]
    with start(options=[*SETTINGS[connection.vendor], *options]) as server:
        with lead_to(server.port):
            call_command("migrate", verbosity=0)
        yield server


@contextmanager
def lead_to(port: int | str, **others: Any) -> Iterator[None]:
    """Lead this thread's `default` connection to a server on another port."""
    own = connections["default"]
    where = {"HOST": "127.0.0.1", "PORT": str(port), "NAME": "dbq", **others}
    if own.vendor == "mysql":
        where |= {"USER": "dbq", "PASSWORD": "dbq"}
    connections["default"] = type(own)({**own.settings_dict, **where}, alias="default")
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = own


def ask(statement: str, values: Any = None) -> list[tuple]:
    """Run a statement on the test's connection; give its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
