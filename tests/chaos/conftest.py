"""What the tests of faults share with those of worker processes, and servers that may be stopped."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.db import connection

from tests.chaos.proxy import Proxy, relay_to
from tests.chaos.servers import lead_to, serve
from tests.helpers import empty_tables
from tests.process.conftest import (  # noqa: F401
    create_waiting,
    jobs_of_the_workers,
    ledger,
    make_gate,
    workers,
)


@pytest.fixture(scope="session")
def server_of_faults(django_db_setup, django_db_blocker) -> Iterator:
    with ExitStack() as stack:
        with django_db_blocker.unblock():
            server = stack.enter_context(serve())
        yield server


@pytest.fixture
def server(server_of_faults, transactional_db) -> Iterator:
    """A server that the test may stop; the test's connection leads to it, and workers follow."""
    with lead_to(server_of_faults.port):
        empty_tables()
        yield server_of_faults
    if not server_of_faults.is_running:
        server_of_faults.start()


@pytest.fixture
def proxy(transactional_db) -> Iterator[Proxy]:
    """A relay to the tests' database, for workers that are started with its port."""
    with relay_to(int(connection.settings_dict["PORT"])) as proxy:
        yield proxy
