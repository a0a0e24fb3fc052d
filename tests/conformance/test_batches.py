"""What a worker writes and reads in batches: rows with their history, and JSON that stays text."""

import json

import pytest
from django.db import connection

from dbq.exceptions import DuplicateJob
from dbq.models import Attempt, Job
from dbq.states import Outcome, State
from tests.helpers import (
    assert_state,
    claim,
    make_job,
    make_result,
    make_worker,
    read_attempts,
    record,
    script,
    work_off,
)

# What databases write in their own way: accents, order, numbers, nothing.
WORKSPACES = [
    {},
    {"id": 1},
    {"b": 1, "aa": 2, "c": {"z": [1, 2.5, None, True], "y": ""}},
    {"name": "Zoë", "emoji": "🙂", "quote": '"', "line": "a\nb"},
    {"small": 1e-7, "large": 10**20, "float": 1.0},
]


# History


def test_only_rows_that_move_are_written_down():
    for _ in range(3):
        make_job()
    first, lost, last = claim(3)
    Job.objects.filter(pk=lost.pk).update(fence=lost.fence + 1)

    accepted = record(*map(make_result, (last, lost, first)))

    assert [result.job.pk for result in accepted] == [last.pk, first.pk], "In the order they were given."
    assert read_attempts(first) == [("edit", 1, Outcome.COMPLETED)]
    assert read_attempts(lost) == []
    assert read_attempts(last) == [("edit", 1, Outcome.COMPLETED)]
    assert_state(lost, State.PROCESSING)


def test_when_no_row_moves_nothing_is_written_down():
    make_job()
    [lost] = claim()
    Job.objects.filter(pk=lost.pk).update(fence=lost.fence + 1)

    assert record(make_result(lost)) == []

    assert not Attempt.objects.exists()


def test_runs_of_every_kind_share_a_transaction():
    for _ in range(3):
        make_job(name="two")
    goes_on, retried, ended = claim(3)

    accepted = record(
        make_result(goes_on, next_task="tests.jobs.succeed_again"),
        make_result(retried, Outcome.RETRIED, delay=5),
        make_result(ended),
    )

    assert len(accepted) == 3
    states = {job.pk: job.state for job in Job.objects.all()}
    assert states == {
        goes_on.pk: State.PROCESSING,
        retried.pk: State.READY,
        ended.pk: State.COMPLETED,
    }
    assert Attempt.objects.count() == 3


# JSON that stays text


@pytest.mark.parametrize("workspace", WORKSPACES, ids=json.dumps)
def test_a_claimed_workspace_is_read_without_a_statement(workspace, django_assert_num_queries):
    make_job(workspace=workspace)
    [claimed] = claim()

    with django_assert_num_queries(0):
        assert claimed.workspace == workspace
        assert claimed.initial_workspace is None


@pytest.mark.parametrize("workspace", WORKSPACES, ids=json.dumps)
def test_a_workspace_that_was_only_read_is_not_written(workspace):
    job = make_job(name="scripted_once", workspace=workspace)

    with script(lambda job: job.workspace.get("id")):
        work_off()

    fresh = assert_state(job, State.COMPLETED)
    assert fresh.workspace == workspace
    assert fresh.initial_workspace is None
    assert Attempt.objects.get().changes is None


def test_a_refreshed_job_is_read_from_the_database():
    job = make_job(workspace={"a": 1})
    [claimed] = claim()
    Job.objects.filter(pk=job.pk).update(workspace={"a": 2}, progress={"done": 1})

    claimed.refresh_from_db()

    assert (claimed.workspace, claimed.progress) == ({"a": 2}, {"done": 1})


def test_a_refreshed_column_is_read_from_the_database():
    job = make_job(workspace={"a": 1})
    [claimed] = claim()
    Job.objects.filter(pk=job.pk).update(workspace={"a": 2}, initial_workspace={"a": 0})

    claimed.refresh_from_db(fields=["workspace"])

    assert claimed.workspace == {"a": 2}
    assert claimed.initial_workspace is None, "That one was not asked for."


def test_each_job_has_a_workspace_of_its_own():
    for number in range(3):
        make_job(workspace={"id": number})
    claimed = claim(3)
    claimed[0].workspace["id"] = 99

    assert [job.workspace["id"] for job in claimed] == [99, 1, 2]
    assert sorted(job.workspace["id"] for job in Job.objects.all()) == [0, 1, 2]


# Keys


def test_jobs_without_a_key_are_as_many_as_one_likes():
    make_job(unique_key=None)
    make_job(unique_key=None)


def test_a_key_is_there_once():
    make_job(unique_key="one")
    with pytest.raises(DuplicateJob):
        make_job(unique_key="one")


def test_the_index_of_keys_holds_only_jobs_with_one():
    if not connection.features.supports_partial_indexes:
        # There it is an index of all rows, in which those without a key do not meet.
        assert read_constraints()["dbq_job_unique_key"]["unique"]
    elif connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'dbq_job'")
            definitions = [definition for (definition,) in cursor if "unique_key" in definition]
        assert len(definitions) == 1
        assert "WHERE (unique_key IS NOT NULL)" in definitions[0]
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'dbq_job' AND type = 'index'")
            definitions = [sql for (sql,) in cursor if sql and "unique_key" in sql]
        assert len(definitions) == 1
        assert "IS NOT NULL" in definitions[0]


def read_constraints():
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, Job._meta.db_table)


def test_tables_are_vacuumed_long_before_a_fifth_of_them_is_dead():
    if connection.vendor != "postgresql":
        assert make_worker(), "Others keep their tables in order by themselves."
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'dbq%' AND relkind = 'r'")
        options = dict(cursor.fetchall())
    assert "autovacuum_vacuum_scale_factor=0.01" in options["dbq_job"]
    assert "autovacuum_vacuum_scale_factor=0" in options["dbq_queue_count_delta"]
    assert "autovacuum_vacuum_scale_factor=0" in options["dbq_rollup_delta"]
    assert "fillfactor=50" in options["dbq_worker"]
