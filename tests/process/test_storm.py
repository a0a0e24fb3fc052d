"""Promises 1 and 2 under fire."""

import pytest

from tests.process.storm import survive_storm

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


@pytest.mark.fault(1)
def test_no_job_is_lost_in_a_storm_of_kills(workers, ledger, record_property):
    survive_storm(workers, ledger, record_property, amount=5000, kills=20, seconds=120)
