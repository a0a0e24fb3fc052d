"""A hundred kills: as many as a fleet sees in a year, within some minutes."""

import pytest
from django.db import connection

from tests.process.storm import survive_storm

pytestmark = [pytest.mark.process, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]


@pytest.mark.fault(1)
def test_no_job_is_lost_in_a_hundred_kills(workers, ledger, record_property):
    amount = 10_000 if connection.vendor == "sqlite" else 50_000
    survive_storm(workers, ledger, record_property, amount=amount, kills=100, seconds=600)
