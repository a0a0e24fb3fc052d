"""PROCESSING → COMPLETED, and the way there from task to task under one claim."""

from dbq import transitions
from dbq.models import Attempt, Job, Queue
from dbq.states import Lane, Outcome, State
from tests import jobs
from tests.helpers import (
    assert_state,
    claim,
    dialect,
    flush,
    make_job,
    make_result,
    read_attempts,
    record,
    reload,
    run,
    script,
    start_engine,
    step,
    take_up,
    work_off,
)


def test_a_job_whose_only_task_ends_is_completed():
    job = make_job(name="succeed", workspace={"a": 1})

    [result] = work_off()

    fresh = assert_state(job, State.COMPLETED)
    assert result.outcome == Outcome.COMPLETED
    assert jobs.ran == [(job.id, "succeed")]
    assert fresh.lane == Lane.FINISHED
    assert fresh.worker_id is None
    assert fresh.created <= fresh.started <= fresh.finished
    assert fresh.workspace == {"a": 1}
    assert fresh.initial_workspace is None, "Nothing changed, so nothing is kept twice."


def test_a_completed_job_keeps_the_workspace_it_was_created_with():
    job = make_job(name="edit", workspace={"a": 1})

    work_off()

    fresh = reload(job)
    assert fresh.workspace == {"a": 1, "edited": 1}
    assert fresh.initial_workspace == {"a": 1}


def test_all_tasks_run_in_order_under_one_claim():
    job = make_job(name="two")

    work_off()

    fresh = assert_state(job, State.COMPLETED)
    assert [task for _, task in jobs.ran] == ["succeed", "succeed_again"]
    assert fresh.fence == job.fence + 2, "One claim and one end."
    fences = {attempt.fence for attempt in Attempt.objects.filter(job=job)}
    assert fences == {job.fence + 1}


def test_between_two_tasks_the_job_stays_with_its_worker():
    job = make_job(name="two")
    engine = start_engine()

    step(engine)

    fresh = assert_state(job, State.PROCESSING)
    assert fresh.worker_id == engine.worker.pk
    assert fresh.next_task == "tests.jobs.succeed_again"
    assert (fresh.attempt, fresh.crash_count) == (1, 0)


def test_the_next_task_sees_what_the_one_before_wrote():
    seen = []
    job = make_job(name="scripted", workspace={"steps": []})
    with script(
        lambda job: job.workspace["steps"].append(1),
        lambda job: job.workspace["steps"].append(2),
        lambda job: seen.append(job.workspace["steps"][:]),
    ):
        work_off()

    assert seen == [[1, 2]]
    assert reload(job).workspace == {"steps": [1, 2]}


def test_the_next_task_sees_the_workspace_as_another_worker_would_read_it():
    job = make_job(name="tuples")

    work_off()

    assert reload(job).workspace == {"pair": [1, 2], "kind": "list"}


def test_a_task_may_replace_the_whole_workspace():
    job = make_job(name="scripted", workspace={"old": 1})

    def replace(job):
        job.workspace = {"new": 2}

    with script(replace, lambda job: None, lambda job: None):
        work_off()

    fresh = assert_state(job, State.COMPLETED)
    assert fresh.workspace == {"new": 2}
    assert fresh.initial_workspace == {"old": 1}


def test_each_run_leaves_an_attempt_with_worker_times_and_outcome():
    job = make_job(name="two")
    engine = start_engine()

    work_off(engine=engine)

    first, second = Attempt.objects.filter(job=job)
    assert read_attempts(job) == [("succeed", 1, "COMPLETED"), ("succeed_again", 1, "COMPLETED")]
    for attempt in (first, second):
        assert attempt.worker_name == engine.worker.name
        assert attempt.started <= attempt.finished
        assert (attempt.error_type, attempt.traceback, attempt.changes) == ("", "", None)
    assert first.finished <= second.started


def test_a_job_yields_between_tasks_when_its_queue_is_paused():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    Queue(name="default").pause()
    engine.refresh()

    run(engine, held)
    flush(engine)

    fresh = assert_state(job, State.READY)
    assert fresh.next_task == "tests.jobs.succeed_again"
    assert (fresh.attempt, fresh.worker_id, fresh.lane) == (0, None, Lane.CLAIMABLE)


def test_a_job_that_yielded_goes_on_where_it_was():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    Queue(name="default").pause()
    engine.refresh()
    run(engine, held)
    flush(engine)
    Queue(name="default").resume()
    engine.refresh()

    work_off(engine=engine)

    assert_state(job, State.COMPLETED)
    assert [task for _, task in jobs.ran] == ["succeed", "succeed_again"]
    assert read_attempts(job) == [("succeed", 1, "COMPLETED"), ("succeed_again", 1, "COMPLETED")]


def test_a_job_yields_between_tasks_when_its_worker_is_told_to_stop():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    engine.stop()

    run(engine, held)
    flush(engine)

    assert_state(job, State.READY)
    assert not engine.is_busy


def test_a_job_yields_between_tasks_to_a_due_job_of_higher_priority():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    urgent = make_job(name="succeed", priority=1)

    run(engine, held)
    flush(engine)

    assert_state(job, State.READY)
    work_off(engine=engine)
    assert [each for each, _ in jobs.ran] == [job.id, urgent.id, job.id]


def test_a_job_does_not_yield_to_jobs_of_the_same_priority():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    make_job(name="succeed")

    run(engine, held)
    flush(engine)

    assert_state(job, State.PROCESSING)


def test_a_job_does_not_yield_to_urgent_jobs_of_another_queue_or_another_day():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    make_job(priority=9, queue_name="other")
    make_job(priority=9, run_after=engine.clock.now().replace(year=2100))

    run(engine, held)
    flush(engine)

    assert_state(job, State.PROCESSING)


def test_a_job_does_not_yield_to_an_urgent_job_that_no_worker_here_can_claim():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    Job.objects.filter(pk=make_job(priority=9).pk).update(name="unknown")

    run(engine, held)
    flush(engine)

    assert_state(job, State.PROCESSING)


def test_a_last_task_completes_its_job_even_in_a_paused_queue_or_a_stopping_worker():
    job = make_job(name="succeed")
    engine = start_engine()
    held = take_up(engine)
    Queue(name="default").pause()
    engine.refresh()
    engine.stop()

    run(engine, held)
    flush(engine)

    assert_state(job, State.COMPLETED)


def test_many_results_are_written_together_each_with_its_own_end():
    ended = [make_job() for _ in range(3)]
    claimed = {job.pk: job for job in claim(3)}
    completed, failed, retried = (claimed[job.pk] for job in ended)

    accepted = record(
        make_result(completed),
        make_result(failed, Outcome.FAILED),
        make_result(retried, Outcome.RETRIED, delay=5),
    )

    assert len(accepted) == 3
    states = [reload(job).state for job in ended]
    assert states == [State.COMPLETED, State.FAILED, State.READY]


def test_progress_is_shown_while_the_task_runs_and_kept_at_its_end():
    seen = []
    job = make_job(name="scripted")
    engine = start_engine()

    def report(job):
        job.set_progress(3, 10, "third of ten")
        engine.refresh()
        seen.append(reload(job).progress)
        job.set_progress(4, 10)

    with script(report, lambda job: None, lambda job: None):
        work_off(engine=engine)

    assert seen == [{"done": 3, "total": 10, "note": "third of ten"}]
    assert reload(job).progress == {"done": 4, "total": 10, "note": ""}


def test_a_lost_run_shows_no_progress_any_more():
    job = make_job()
    [claimed] = claim()
    Job.objects.update(fence=claimed.fence + 1)

    transitions.write_progress(dialect(), [(claimed, '{"done":1,"total":2,"note":""}')])

    assert reload(job).progress is None
