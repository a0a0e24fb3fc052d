"""NEW or READY → PROCESSING: which jobs a worker gets, in which order, and with what on them."""

from datetime import timedelta

import pytest

from dbq import transitions
from dbq.counts import Tally
from dbq.engine import Engine
from dbq.models import Job, Queue, Worker
from dbq.states import Lane, Outcome, State
from tests import jobs
from tests.helpers import (
    assert_state,
    claim,
    dialect,
    let_time_pass,
    make_job,
    make_result,
    make_worker,
    read_everything,
    record,
    reload,
    run,
    start_engine,
    take_up,
    work_off,
)


def test_a_claimed_job_is_processing_and_belongs_to_its_worker():
    job = make_job()
    worker = make_worker()

    [claimed] = claim(worker=worker)

    fresh = assert_state(job, State.PROCESSING)
    assert claimed.pk == job.pk
    assert (fresh.worker_id, fresh.lane, fresh.attempt) == (worker.pk, Lane.RUNNING, 1)
    assert fresh.fence == claimed.fence == job.fence + 1
    assert fresh.version == job.version + 1
    assert fresh.started is not None and fresh.finished is None


def test_a_claim_hands_out_the_workspace():
    make_job(workspace={"n": [1, {"deep": None}]})

    [claimed] = claim()

    assert claimed.workspace == {"n": [1, {"deep": None}]}
    assert claimed.initial_workspace is None


def test_higher_priorities_are_claimed_first_then_older_jobs():
    names = {}
    for label, priority in [("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0)]:
        names[Job.objects.create(name="nothing", priority=priority).pk] = label

    claimed = claim(10)

    assert "".join(names[job.pk] for job in claimed) == "bdaec"


def test_a_claim_of_fewer_takes_those_that_come_first():
    later = [Job.objects.create(name="nothing") for _ in range(3)]
    first = Job.objects.create(name="nothing", priority=1)

    claimed = claim(2)

    assert [job.pk for job in claimed] == [first.pk, later[0].pk]
    assert Job.objects.running().count() == 2


@pytest.mark.fault(46)
def test_an_engine_runs_jobs_in_the_order_of_their_priorities_and_ages():
    for label, priority in [("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0)]:
        Job.objects.create(name="nothing", priority=priority, workspace={"label": label})

    results = work_off()

    assert "".join(result.job.workspace["label"] for result in results) == "bdaec"


def test_a_job_scheduled_for_later_is_not_claimed():
    job = make_job(run_after=dialect().read_clock() + timedelta(hours=1))

    assert claim() == []
    assert_state(job, State.NEW)


def test_a_job_scheduled_for_the_past_is_claimed_at_once():
    job = make_job(run_after=dialect().read_clock() - timedelta(hours=1))

    assert [claimed.pk for claimed in claim()] == [job.pk]


def test_jobs_of_other_queues_are_left_alone():
    other = make_job(queue_name="other")

    assert claim(10) == []
    assert_state(other, State.NEW)


def test_an_engine_serves_all_of_its_queues_and_only_those():
    served = [make_job(queue_name=name) for name in ("mail", "reports")]
    other = make_job(queue_name="default")

    work_off("mail", "reports")

    for job in served:
        assert_state(job, State.COMPLETED)
    assert_state(other, State.NEW)


@pytest.mark.fault(46)
def test_no_queue_starves_another_however_full_it_is():
    Job.objects.bulk_create([Job(name="nothing", queue_name="full") for _ in range(10)])
    lone = Job.objects.create(name="nothing", queue_name="quiet")
    engine = start_engine("full", "quiet")

    first_two = [run(engine, take_up(engine)).job.pk for _ in range(2)]

    assert lone.pk in first_two


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_a_finished_job_is_not_claimed(state):
    job = make_job(state)
    before = read_everything()["Job"]

    assert claim(10) == []
    assert read_everything()["Job"] == before, job


def test_a_claimed_job_is_not_claimed_again():
    make_job()

    assert len(claim(10)) == 1
    assert claim(10) == []


def test_jobs_of_a_paused_queue_are_not_claimed():
    job = make_job()
    Queue(name="default").pause()

    assert claim() == []
    assert_state(job, State.NEW)


def test_a_pause_holds_only_its_own_queue():
    job = make_job(queue_name="mail")
    Queue(name="default").pause()

    assert [claimed.pk for claimed in claim(queue_name="mail")] == [job.pk]


def test_jobs_are_claimed_again_after_the_queue_is_resumed():
    job = make_job()
    Queue(name="default").pause()
    Queue(name="default").resume()

    assert [claimed.pk for claimed in claim()] == [job.pk]


def test_a_pause_ends_by_itself_at_its_time():
    job = make_job()
    Queue(name="default").pause(until=dialect().read_clock() + timedelta(minutes=10))
    assert claim() == []

    let_time_pass(601)

    assert [claimed.pk for claimed in claim()] == [job.pk]


@pytest.mark.fault(41)
def test_a_job_whose_name_the_settings_do_not_have_stays_where_it_is(settings):
    unknown, known = make_job(name="nothing"), make_job(name="succeed")
    settings.JOBS = {"succeed": ["tests.jobs.succeed"]}

    work_off()

    assert_state(unknown, State.NEW)
    assert_state(known, State.COMPLETED)


def test_an_engine_without_jobs_in_its_settings_claims_nothing(settings):
    job = make_job()
    settings.JOBS = {}

    assert work_off() == []
    assert_state(job, State.NEW)


def test_names_are_told_apart_by_their_case(settings):
    """MariaDB's usual collation does not."""
    job = make_job(name="nothing", queue_name="Mail")
    settings.JOBS = {"Nothing": ["tests.jobs.nothing"]}

    assert claim(queue_name="Mail") == []
    assert work_off("Mail") == []
    assert_state(job, State.NEW)


def test_queues_are_told_apart_by_their_case():
    job = make_job(queue_name="Mail")

    assert claim(queue_name="mail") == []
    assert_state(job, State.NEW)


def test_a_pause_tells_queues_apart_by_their_case():
    job = make_job(queue_name="Mail")
    Queue(name="mail").pause()

    assert [claimed.pk for claimed in claim(queue_name="Mail")] == [job.pk]


@pytest.mark.parametrize("path", ["os.system", "subprocess.getoutput", "tests.jobs.fail"])
@pytest.mark.fault(42)
def test_a_next_task_that_the_definition_does_not_name_is_never_run(path):
    job = make_job(name="succeed")
    Job.objects.filter(pk=job.pk).update(next_task=path)
    engine = start_engine()

    assert work_off(engine=engine) == []

    fresh = assert_state(job, State.NEW)
    assert fresh.next_task == path
    assert fresh.lane == Lane.WAITING, "It waits for a worker whose settings know the task."
    assert timedelta(seconds=25) < fresh.run_after - engine.clock.now() < timedelta(seconds=31)
    assert (fresh.attempt, fresh.started, jobs.ran) == (0, None, [])


@pytest.mark.fault(42)
def test_a_worker_that_knows_the_next_task_takes_the_job_over(settings):
    job = make_job(name="succeed")
    Job.objects.filter(pk=job.pk).update(next_task="tests.jobs.edit")
    work_off()
    settings.JOBS = {"succeed": ["tests.jobs.succeed", "tests.jobs.edit"]}
    let_time_pass(31)

    engine = start_engine()
    engine.promote()
    work_off(engine=engine)

    assert assert_state(job, State.COMPLETED).workspace == {"edited": 1}
    assert jobs.ran == [], "The tasks before it had run elsewhere."


def test_a_claim_that_is_rolled_back_has_claimed_nothing():
    job, worker = make_job(), make_worker()
    before = read_everything()
    with pytest.raises(ZeroDivisionError), dialect().write():
        claimed = transitions.claim(dialect(), worker.pk, "default", 1, dialect().read_clock(), Tally())
        assert [each.pk for each in claimed] == [job.pk]
        1 / 0  # noqa: B018

    assert read_everything() == before


def test_started_is_the_time_of_the_first_claim():
    job = make_job()
    [claimed] = claim()
    first = reload(job).started
    record(make_result(claimed, Outcome.RETRIED, delay=0))
    let_time_pass(60)
    Job.objects.update(lane=Lane.CLAIMABLE)

    claim()

    assert reload(job).started == first


def test_a_stopping_engine_claims_nothing():
    job = make_job()
    engine = start_engine()
    engine.stop()

    assert take_up(engine) is None
    assert_state(job, State.NEW)


def test_an_engine_with_a_rate_limit_claims_one_job_and_rests():
    Job.objects.bulk_create([Job(name="nothing") for _ in range(3)])
    engine = start_engine(rate_limit=3600)

    work_off(engine=engine)

    assert Job.objects.filter(state=State.COMPLETED).count() == 1
    assert Job.objects.filter(state=State.NEW).count() == 2


def test_an_engine_names_itself_in_its_row_while_it_lives():
    engine = Engine(["mail", "mail", "reports"], threads=2)
    engine.register()

    row = Worker.objects.alive().get()
    assert row.queue_names == ["mail", "reports"]
    assert row.threads == 2
    engine.deregister()
    assert not Worker.objects.exists()
