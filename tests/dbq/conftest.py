"""What tests of one module at a time share."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from tests import jobs
from tests.helpers import empty_tables


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker) -> Iterator[None]:
    """pytest-django's, but it empties only what these tests fill: workers need real commits."""
    with django_db_blocker.unblock():
        empty_tables()
        yield
        empty_tables()
        User.objects.all().delete()
    jobs.ran.clear()
    jobs.script.clear()
