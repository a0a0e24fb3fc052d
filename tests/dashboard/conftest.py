"""What every test of a screen begins with."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from dashboard import paging, snapshots
from tests.helpers import empty_tables


@pytest.fixture(autouse=True)
def nothing_remembered():
    """Answers that operators share for a few seconds must not pass from test to test."""
    snapshots.forget()
    yield
    snapshots.forget()


@pytest.fixture(autouse=True)
def time_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, a search ends at its end; tests of the limit set it to nothing."""
    monkeypatch.setattr(paging, "SEARCH_SECONDS", 3600)


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker) -> Iterator[None]:
    """pytest-django's, but it empties only what these tests fill: the engine needs real commits."""
    with django_db_blocker.unblock():
        empty_tables()
        yield
        empty_tables()
        User.objects.all().delete()
