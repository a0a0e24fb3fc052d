"""The suite that every supported database must pass: real commits, real connections."""

from collections.abc import Iterator

import pytest

from dbq import wakeup
from tests import jobs
from tests.helpers import empty_tables


@pytest.fixture(autouse=True)
def transactional_db(django_db_setup: None, django_db_blocker) -> Iterator[None]:
    """pytest-django's, but it empties dbq's tables alone: flushing all takes most of a test's time."""
    with django_db_blocker.unblock():
        empty_tables()
        yield
        empty_tables()


@pytest.fixture(autouse=True)
def forget_what_ran() -> Iterator[None]:
    yield
    jobs.ran.clear()
    jobs.script.clear()
    jobs.begun.clear()
    jobs.may_end.clear()
    wakeup._last_calls.clear()
