"""What every act does to a job in every situation: one table, which each door is held against."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from dbq.models import Job, Operation
from dbq.states import Lane, Outcome, State
from tests.helpers import claim, dialect, make_job, make_result, read_everything, record, reload

TASK = "tests.jobs.edit"
GONE = "gone"


# Situations


def make_scheduled() -> Job:
    return make_job(run_after=dialect().read_clock() + timedelta(hours=1))


def make_backing_off() -> Job:
    make_job()
    [job] = claim()
    record(make_result(job, Outcome.RETRIED, delay=3600))
    return job


def make_asked() -> Job:
    job = make_job(State.PROCESSING)
    job.cancel()
    return job


def make_unheard() -> Job:
    """Given back in the moment between its worker's last look and the wish that it end."""
    make_job()
    [job] = claim()
    job.cancel()
    record(make_result(job, Outcome.RELEASED))
    return job


SITUATIONS: dict[str, Callable[[], Job]] = {
    "new": make_job,
    "scheduled": make_scheduled,
    "ready": lambda: make_job(State.READY),
    "backing off": make_backing_off,
    "unheard": make_unheard,
    "processing": lambda: make_job(State.PROCESSING),
    "asked to end": make_asked,
    "completed": lambda: make_job(State.COMPLETED),
    "failed": lambda: make_job(State.FAILED),
    "cancelled": lambda: make_job(State.CANCELLED),
}

# The state a job has afterwards, GONE, or the sentence that says why not.

NEW = dict.fromkeys(("new", "scheduled"), State.NEW)
READY = dict.fromkeys(("ready", "backing off", "unheard"), State.READY)
WAITS = dict.fromkeys(NEW, "The job waits for a worker already (New).") | dict.fromkeys(
    READY, "The job waits for a worker already (Ready)."
)
RUNS = dict.fromkeys(("processing", "asked to end"), "The job is already running.")
COMPLETED = {"completed": "The job is completed."}
FINISHED = ("completed", "failed", "cancelled")

TABLE: dict[str, dict[str, str]] = {
    "retry": {
        **WAITS,
        **RUNS,
        "completed": "The job is completed. Requeue runs it again from its first task.",
        "failed": State.READY,
        "cancelled": State.READY,
    },
    "requeue": {**WAITS, **RUNS, **dict.fromkeys(FINISHED, State.NEW)},
    "resume_from": {**WAITS, **RUNS, **dict.fromkeys(FINISHED, State.READY)},
    "cancel": {
        **dict.fromkeys((*NEW, *READY), State.CANCELLED),
        "processing": State.PROCESSING,
        "asked to end": "The job was asked to end already.",
        **{name: f"The job is finished already ({name.capitalize()})." for name in FINISHED},
    },
    "delete": {
        **dict.fromkeys(NEW, "The job is not finished (New); cancel it first."),
        **dict.fromkeys(READY, "The job is not finished (Ready); cancel it first."),
        **dict.fromkeys(RUNS, "The job is not finished (Processing); cancel it first."),
        **dict.fromkeys(FINISHED, GONE),
    },
    "reschedule": {
        **NEW,
        **READY,
        **RUNS,
        **COMPLETED,
        "failed": "The job is finished (Failed).",
        "cancelled": "The job is finished (Cancelled).",
    },
    "edit_workspace": {
        **NEW,
        **READY,
        **RUNS,
        **COMPLETED,
        "failed": State.FAILED,
        "cancelled": State.CANCELLED,
    },
}
CASES = [(verb, situation) for verb in TABLE for situation in SITUATIONS]
IDS = [f"{verb} of a job that is {situation}" for verb, situation in CASES]
ON_MANY = [(verb, situation) for verb, situation in CASES if verb in ("retry", "requeue", "cancel", "delete")]
IDS_ON_MANY = [f"{verb} of jobs that are {situation}" for verb, situation in ON_MANY]

# What else the row says of a job that was moved.
GOING = {
    "lane": Lane.CLAIMABLE,
    "attempt": 0,
    "crash_count": 0,
    "run_after": None,
    "finished": None,
    "worker_id": None,
    "cancel_requested": False,
}
ROWS: dict[str, dict[str, Any]] = {
    "retry": GOING,
    "requeue": {**GOING, "next_task": TASK, "workspace": {}, "initial_workspace": None, "error_type": ""},
    "resume_from": {**GOING, "next_task": TASK, "workspace": {}},
    "cancel": {"unique_key": None},
    "delete": {},
    "reschedule": {"priority": 5, "queue_name": "default"},
    "edit_workspace": {"workspace": {"new": 1}},
}
# What each act takes beside the job, by its names in Python and by the fields of a form.
OPTIONS: dict[str, dict[str, Any]] = {
    "resume_from": {"task": TASK},
    "reschedule": {"priority": 5},
    "edit_workspace": {"workspace": {"new": 1}},
}
FIELDS: dict[str, dict[str, str]] = {
    "resume_from": {"task": TASK},
    "reschedule": {"priority": "5", "queue_name": "default"},
    "edit_workspace": {"text": json.dumps({"new": 1})},
}


def is_refused(verb: str, situation: str) -> bool:
    return TABLE[verb][situation] not in (*State, GONE)


def make_form(verb: str, job: Job) -> dict[str, Any]:
    """What a page of that verb sends for the job as it is."""
    return {"version": reload(job).version, "reason": "why not", **FIELDS.get(verb, {})}


# What must have come of it


def assert_row(verb: str, situation: str, job: Job, before: dict[str, list[dict]]) -> None:
    """The row is what the table says; after a refusal no row of any job, attempt or total has changed."""
    after = read_everything()
    expected = TABLE[verb][situation]
    if is_refused(verb, situation):
        for table in ("Job", "Attempt", "Worker", "QueueCount", "QueueCountDelta", "RollupDelta"):
            assert after[table] == before[table], f"{verb} was refused but changed {table}."
    elif expected == GONE:
        assert after["Job"] == after["Attempt"] == []
    else:
        [row] = after["Job"]
        known = {"state": expected, **ROWS[verb]}
        assert {name: row[name] for name in known} == known
        if situation == "processing":
            assert row["cancel_requested"] is True
        assert row["id"] == job.pk


def assert_record(verb: str, situation: str) -> Operation:
    """One record, of what was done or why it was not."""
    operation = Operation.objects.get()
    refused = is_refused(verb, situation)
    assert (operation.verb, operation.state) == (verb, "REFUSED" if refused else "DONE")
    assert operation.message
    if refused:
        assert operation.message == TABLE[verb][situation]
    return operation


def assert_record_of_many(verb: str, situation: str) -> Operation:
    """One record of a bulk act, and an item that says what became of the job."""
    operation = Operation.objects.get()
    refused = is_refused(verb, situation)
    assert (operation.verb, operation.state) == (verb, "DONE")
    assert (operation.done, operation.skipped, operation.failed) == (int(not refused), int(refused), 0)
    item = operation.items.get()
    assert item.reason == (TABLE[verb][situation] if refused else "")
    return operation
