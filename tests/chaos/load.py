"""What workers have to do while something goes wrong around them, and how it must have ended."""

from __future__ import annotations

from dbq.models import Job
from tests.process.ledger import Ledger


def make_jobs(amount: int = 300) -> list[Job]:
    """Create short jobs of two tasks."""
    return Job.objects.bulk_create(Job(name="two", workspace={"seconds": 0.002}) for _ in range(amount))


def assert_all_is_well(ledger: Ledger) -> None:
    """Every job is completed, and no task has run twice."""
    verdict = ledger.judge(Job.objects.all())
    verdict.assert_all_is_well()
    assert verdict.duplicated == []
