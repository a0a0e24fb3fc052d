"""The screens' statements go by their indexes, however many finished jobs lie beside those they show.

As tests/conformance/test_plans.py does it for the engine: with statistics from before the rows came, and
with fresh ones.
"""

from __future__ import annotations

from functools import partial

import pytest
from django.db import connection
from django.http import QueryDict

from dashboard import paging, snapshots
from dashboard.filters import JobFilter
from dashboard.queries import failures, live
from dashboard.queries.jobs import JobSearch
from dbq import bulk
from dbq.models import Job, Operation
from dbq.operations import Actor
from dbq.states import Lane, State
from tests.conformance.test_plans import (  # noqa: F401  (fixtures)
    CLAIMABLE,
    RUNNING,
    SCHEDULED,
    Plan,
    early,
    statistics,
    table,
    transactional_db,
    unblocked,
)

pytestmark = pytest.mark.usefixtures("unblocked")


@pytest.fixture(autouse=True)
def nothing_shared():
    snapshots.forget()
    yield
    snapshots.forget()


def search(filters: str, **options):
    """The plan of one page of the job list."""
    job_filter = JobFilter(QueryDict(filters))
    assert job_filter.is_valid(), job_filter.errors
    return Plan(partial(JobSearch(job_filter, **options).find_page))


def assert_walks(plan, *indexes, most):
    """Only these indexes are walked, or that of the ids, and no more than so many rows are met."""
    keys = {"dbq_job_pkey", "PRIMARY", "sqlite_autoindex_dbq_job_1"}
    # SQLite calls a walk along an index a scan of it, even one that a limit ends.
    assert {index.rpartition(" ")[2] for index in plan.indexes} - keys == set(indexes), told(plan)
    assert plan.read < most, told(plan)


def told(plan):
    return f"{plan.read} rows were read.\n" + "\n".join(plan.texts)


def test_the_first_page_of_jobs_goes_by_the_ids():
    plan = search("")

    assert len(plan.answer.rows) == 30
    assert_walks(plan, most=100)


@pytest.mark.parametrize("sort", ["-finished", "finished"])
def test_the_jobs_by_their_end_go_by_the_index_of_ends(sort):
    plan = search(f"sort={sort}")

    assert len(plan.answer.rows) == 30
    assert_walks(plan, "dbq_job_finished", most=150)


def test_the_failed_of_a_time_go_by_the_index_of_ends():
    oldest = Job.objects.filter(lane=Lane.FINISHED, state=State.FAILED).order_by("finished").first()
    plan = search(f"state=FAILED&finished_before={write(oldest)}&sort=-finished")

    assert_walks(plan, "dbq_job_finished", most=100)


def write(job):
    return job.finished.isoformat().replace("+", "%2B")


def test_the_failures_of_a_kind_go_by_the_index_of_kinds():
    plan = search("state=FAILED&fingerprint=00000000000000ff&sort=-finished")

    assert plan.answer.rows == []
    assert_walks(plan, "dbq_job_failure", most=100)


def test_the_next_of_a_queue_go_by_the_claims_index():
    plan = search("queue=default&sort=priority")

    assert len(plan.answer.rows) == 30
    assert_walks(plan, "dbq_job_claim", most=100)


def knows_nothing(statistics):  # noqa: F811
    """Without statistics SQLite sorts a lane, or scans a state; workers refresh them every few minutes."""
    return connection.vendor == "sqlite" and statistics == "stale"


def test_the_next_to_be_due_go_by_the_promotions_index(statistics):  # noqa: F811
    # MariaDB sorts the lane: its index has the queue before the id.
    if knows_nothing(statistics) or connection.vendor == "mysql":
        return
    plan = search("sort=due")

    assert len(plan.answer.rows) == 30
    assert_walks(plan, "dbq_job_due", most=100)


def test_the_next_page_of_what_becomes_due_reads_no_more_than_the_first(statistics):  # noqa: F811
    if knows_nothing(statistics) or connection.vendor == "mysql":
        return
    job_search = JobSearch(JobFilter(QueryDict("sort=due")))
    second = job_search.find_page(after=job_search.find_page().next)
    plan = Plan(lambda: job_search.find_page(after=second.next))

    assert len(plan.answer.rows) == 30
    assert_walks(plan, "dbq_job_due", most=100)


def test_what_a_worker_holds_goes_by_the_index_of_running_jobs(table):  # noqa: F811
    plan = search(f"worker={table.name}")

    assert len(plan.answer.rows) == 30
    # MariaDB may read the few that run by another index that begins with their lane.
    plan.indexes.discard("dbq_job_finished")
    assert_walks(plan, *plan.indexes & {"dbq_job_running"}, most=RUNNING * 12)


def test_a_search_without_an_index_reads_no_more_than_a_window(monkeypatch):
    monkeypatch.setattr("dashboard.queries.jobs.COSTLY_WINDOW", 100)
    monkeypatch.setattr(paging, "SEARCH_SECONDS", 0)
    plan = search("workspace=number+%3D+-1")

    assert plan.answer.is_partial
    assert_walks(plan, most=400)


def test_a_search_of_all_that_ended_looks_at_one_stretch_of_time(monkeypatch):
    monkeypatch.setattr("dashboard.queries.jobs.WINDOW", 90)
    monkeypatch.setattr(paging, "SEARCH_SECONDS", 0)
    plan = search("name=unheard-of&sort=-finished")

    assert plan.answer.is_partial
    # With stale statistics PostgreSQL finds the failed ones by an index that has them alone.
    plan.indexes.discard("dbq_job_failure")
    # A window of the completed, twice; of the others those that ended within it, not a window of each.
    assert_walks(plan, "dbq_job_finished", most=120)


def test_live_jobs_are_counted_without_the_finished_ones():
    plan = Plan(live.count_live)

    counted = plan.answer.value.values()
    assert sum(counts.due.value for counts in counted) == CLAIMABLE
    assert sum(counts.scheduled.value for counts in counted) == SCHEDULED
    assert sum(counts.processing.value for counts in counted) == RUNNING * 11
    indexes = {index.rpartition(" ")[2] for index in plan.indexes}
    assert indexes == {"dbq_job_claim", "dbq_job_due", "dbq_job_running"}, told(plan)
    # Each due job is met twice, by who counts and by who looks; MariaDB meets it again in its own tables.
    times = 8 if connection.vendor == "mysql" else 3
    assert plan.read < times * (CLAIMABLE + SCHEDULED + RUNNING * 11), told(plan)


def test_the_groups_of_failures_go_by_the_index_of_ends(monkeypatch):
    monkeypatch.setattr(failures, "ROWS_MAX", 100)
    plan = Plan(lambda: failures.find_failures("all", "count"))

    assert (plan.answer.looked_at, plan.answer.is_cut) == (100, True)
    assert_walks(plan, "dbq_job_finished", most=300)


@pytest.mark.parametrize("queue_names", [[], ["nobody-ends-here"]])
def test_the_preview_of_a_clean_up_goes_by_the_index_of_ages(monkeypatch, queue_names):
    monkeypatch.setattr(bulk, "SUMMARY_MAX", 100)
    proposal = bulk.propose_cleanup(1, queue_names, count=False)
    plan = Plan(lambda: bulk.summarize(proposal))

    assert plan.answer.is_at_least
    assert plan.answer.amount == (0 if queue_names else 100)
    assert_walks(plan, "dbq_job_retention", most=400)


@pytest.mark.parametrize("verb", ["retry", "requeue", "cleanup"])
def test_a_chunk_of_a_bulk_act_reads_a_window_and_acts_on_a_chunk(monkeypatch, verb, statistics):  # noqa: F811
    if knows_nothing(statistics):
        return
    monkeypatch.setattr(bulk, "WINDOW", 100)
    monkeypatch.setattr(bulk, "CHUNK", 10)
    criteria = [["state", "in", [str(State.FAILED)]]]
    proposal = bulk.propose(verb, criteria, count=False)

    def act():
        operation = bulk._make_operation("default", Actor.from_system(), proposal, "")
        return bulk.run_chunk("default", operation.pk)

    plan = Plan(act)

    assert plan.answer.done == 10
    assert Operation.objects.count() == 0
    # Of few failures PostgreSQL sorts those of the window.
    plan.indexes.discard("dbq_job_failure")
    assert_walks(plan, most=600)
