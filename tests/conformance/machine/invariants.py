"""What no row may ever say, whatever has happened: each a SELECT that must find nothing."""

from __future__ import annotations

from typing import Any

from dbq.models import Attempt
from dbq.workspaces import apply_patch
from tests.helpers import dialect

ROUND = "FROM dbq_attempt a JOIN dbq_job j ON j.id = a.job_id WHERE a.fence > j.round_fence"

VIOLATIONS = {
    "A lane does not match its state.": """
        FROM dbq_job WHERE NOT (
            (state IN ('NEW', 'READY') AND lane IN (1, 2))
            OR (state = 'PROCESSING' AND lane = 3)
            OR (state IN ('COMPLETED', 'FAILED', 'CANCELLED') AND lane = 0))""",
    "A job is processed by nobody, or held by somebody who does not process it.": """
        FROM dbq_job WHERE (state = 'PROCESSING') <> (worker_id IS NOT NULL)""",
    "A job is processed that was never claimed.": """
        FROM dbq_job WHERE state = 'PROCESSING' AND (fence = 0 OR attempt = 0 OR started IS NULL)""",
    "A job is finished without a time, or has the time of an end that is none.": """
        FROM dbq_job WHERE (lane = 0) <> (finished IS NOT NULL)""",
    "A finished job holds a unique key.": """
        FROM dbq_job WHERE lane = 0 AND unique_key IS NOT NULL""",
    "A job that waits for a time has none.": """
        FROM dbq_job WHERE lane = 2 AND run_after IS NULL""",
    "A new job has run.": f"""
        {ROUND} AND j.state = 'NEW' AND a.number > 0""",
    "A job crashed more often than it may.": """
        FROM dbq_job WHERE crash_count > 3""",
    "An attempt has a fence that its job never had.": """
        FROM dbq_attempt a JOIN dbq_job j ON j.id = a.job_id WHERE a.fence > j.fence""",
    "One claim ran a task twice.": """
        FROM dbq_attempt WHERE number > 0 GROUP BY job_id, task, fence HAVING COUNT(*) > 1""",
    "A run goes on without a worker that holds its job.": """
        FROM dbq_attempt a JOIN dbq_job j ON j.id = a.job_id
        WHERE a.outcome = 'RUNNING' AND (j.state <> 'PROCESSING' OR a.fence <> j.fence)""",
    "A task was completed twice without a requeue or a resume between.": """
        FROM dbq_attempt a JOIN dbq_attempt b ON b.job_id = a.job_id AND b.task = a.task AND b.id > a.id
        JOIN dbq_job j ON j.id = a.job_id
        WHERE a.outcome = 'COMPLETED' AND b.outcome = 'COMPLETED' AND a.fence > j.round_fence
        AND NOT EXISTS (SELECT 1 FROM dbq_attempt e WHERE e.job_id = a.job_id AND e.id > a.id
            AND e.id < b.id AND e.outcome = 'EDITED' AND e.error_message <> '')""",
    "A job is completed, and not all of its three tasks are.": """
        FROM dbq_job j WHERE j.state = 'COMPLETED' AND 3 <> (
            SELECT COUNT(DISTINCT a.task) FROM dbq_attempt a
            WHERE a.job_id = j.id AND a.outcome = 'COMPLETED' AND a.fence > j.round_fence)""",
    "There is a history of a job that does not exist.": """
        FROM dbq_attempt a WHERE NOT EXISTS (SELECT 1 FROM dbq_job j WHERE j.id = a.job_id)""",
    "A total, with its deltas, is not the number of jobs.": """
        FROM (SELECT queue_name, state, amount FROM dbq_queue_count
            UNION ALL SELECT queue_name, state, amount FROM dbq_queue_count_delta
            UNION ALL SELECT queue_name, state, -1 FROM dbq_job WHERE lane = 0) figures
        GROUP BY queue_name, state HAVING SUM(amount) <> 0""",
}
STATEMENT = " UNION ALL ".join(f"SELECT '{words}' {rest}" for words, rest in VIOLATIONS.items())


def assert_rows_are_sound() -> None:
    violated = [words for (words,) in dialect().execute(STATEMENT)]
    assert not violated, "\n".join(violated)


def assert_workspaces_can_be_rebuilt(rows: list[dict[str, Any]]) -> None:
    """The initial workspace and every accepted change of its round make a job's current one."""
    rounds = {row["id"]: row["round_fence"] for row in rows}
    rebuilt = {
        row["id"]: row["workspace"] if row["initial_workspace"] is None else row["initial_workspace"]
        for row in rows
    }
    changed = Attempt.objects.filter(changes__isnull=False).order_by("pk")
    for job_id, fence, changes in changed.values_list("job_id", "fence", "changes"):
        if fence > rounds[job_id]:
            rebuilt[job_id] = apply_patch(rebuilt[job_id], changes)
    assert rebuilt == {row["id"]: row["workspace"] for row in rows}
