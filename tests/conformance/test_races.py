"""Two come for the same job at the same moment, each on its own connection: one gets it."""

import threading
from functools import wraps

import pytest
from django.db import IntegrityError, connection, transaction

from dbq import transitions
from dbq.exceptions import DuplicateJob
from dbq.models import Attempt, Job, Queue
from dbq.states import Lane, Outcome, State
from tests.helpers import (
    RACE_SECONDS,
    Race,
    assert_state,
    assert_totals_are_exact,
    claim,
    dialect,
    empty_tables,
    insist,
    make_job,
    make_result,
    make_worker,
    promote,
    race,
    read_attempts,
    record,
    reload,
)

ROUNDS = 6
# Long enough for the other side to run into a lock, if it runs into one.
GRACE_SECONDS = 0.2


def repeatedly(test):
    """Send them off together so often that they collide at one point or another."""

    @wraps(test)
    def rounds():
        for _ in range(ROUNDS):
            empty_tables()
            test()

    return rounds


def test_many_claimers_claim_every_job_once_between_them():
    jobs = Job.objects.bulk_create([Job(name="nothing") for _ in range(150)])

    def claim_until_none_is_left():
        worker, mine = make_worker(), []
        while Job.objects.filter(lane=Lane.CLAIMABLE).exists():
            mine += [job.pk for job in insist(lambda: claim(7, worker=worker))]
        return worker.pk, mine

    answers = race([claim_until_none_is_left] * 6)

    claimed = [pk for _, mine in answers for pk in mine]
    assert len(claimed) == len(set(claimed)) == len(jobs)
    for worker_id, mine in answers:
        assert set(Job.objects.filter(worker_id=worker_id).values_list("pk", flat=True)) == set(mine)
    assert set(Job.objects.values_list("fence", "attempt")) == {(1, 1)}


def test_a_claimer_passes_over_what_another_is_just_claiming():
    """On SQLite it waits for the other's commit, and finds what is left then."""
    first, second = make_job(), make_job()
    contest, answered = Race(), threading.Event()

    def claim_other():
        claimed = insist(claim)
        answered.set()
        return [job.pk for job in claimed]

    with dialect().write():
        mine = [job.pk for job in claim()]
        contest.start("other", claim_other)
        if connection.vendor != "sqlite":
            assert answered.wait(RACE_SECONDS), "It waited for the lock of the other."
    answers = contest.join()

    assert mine == [first.pk]
    assert answers["other"] == [second.pk]


@repeatedly
def test_two_operators_who_retry_a_job_retry_it_once():
    job = make_job(State.FAILED)

    assert sorted(race([reload(job).retry, reload(job).retry])) == [False, True]

    assert assert_state(job, State.READY).fence == job.fence + 1


@repeatedly
def test_of_two_operators_with_different_plans_one_prevails():
    job = make_job(State.FAILED)

    retried, requeued = race([reload(job).retry, reload(job).requeue])

    assert retried != requeued
    assert_state(job, State.READY if retried else State.NEW)


@repeatedly
def test_of_two_edits_of_the_same_version_one_is_kept():
    job = make_job(workspace={"n": 0})
    version = reload(job).version

    won = race([lambda n=n: reload(job).edit_workspace({"n": n}, version=version) for n in (1, 2)])

    assert sorted(won) == [False, True]
    assert reload(job).workspace == {"n": 1 if won[0] else 2}


LATECOMERS = {
    "edit": lambda job: job.edit_workspace({"n": 2}),
    "resume": lambda job: job.resume_from("tests.jobs.edit"),
}


@pytest.mark.parametrize("verb", LATECOMERS)
def test_an_act_on_a_workspace_that_is_just_being_edited_is_refused(verb):
    """It was worked out from a workspace that the job does not have any more."""
    job = make_job(State.FAILED, workspace={"n": 0})
    contest, has_read = Race(), threading.Event()

    def tell(execute, sql, *rest):
        answer = execute(sql, *rest)
        if "workspace" in sql:
            has_read.set()
        return answer

    def act():
        with connection.execute_wrapper(tell):
            return LATECOMERS[verb](job)

    with transaction.atomic():
        assert job.edit_workspace({"n": 1}) is True
        contest.start("latecomer", act)
        assert has_read.wait(RACE_SECONDS)
        contest._threads[0].join(GRACE_SECONDS)
    answers = contest.join()

    assert answers["latecomer"] is False
    assert assert_state(job, State.FAILED).workspace == {"n": 1}


@repeatedly
def test_an_edit_and_a_claim_do_not_both_have_the_workspace():
    job = make_job(workspace={"n": 0})

    edited, claimed = race([lambda: job.edit_workspace({"n": 1}), lambda: insist(claim)])

    assert reload(job).workspace == {"n": int(edited)}
    for each in claimed:
        assert each.workspace == {"n": int(edited)}, "The worker has what the database has."


@repeatedly
def test_a_cancellation_and_a_claim_leave_no_job_running_unasked():
    job = make_job()

    cancelled, claimed = race([job.cancel, lambda: insist(claim)])

    assert cancelled is True
    fresh = reload(job)
    if claimed:
        assert (fresh.state, fresh.cancel_requested) == (State.PROCESSING, True)
    else:
        assert fresh.state == State.CANCELLED


@pytest.mark.parametrize("verb", ["retry", "requeue"])
def test_a_job_that_is_just_set_going_survives_the_cleanup(verb):
    """The cleanup decides while the operator's change is written but not committed."""
    job = make_job(State.FAILED)
    contest, begun = Race(), threading.Event()

    def clean_up():
        begun.set()
        return Job.objects.delete_old(hours=0)

    with transaction.atomic():
        assert getattr(job, verb)() is True
        contest.start("cleanup", clean_up)
        assert begun.wait(RACE_SECONDS)
        contest._threads[0].join(GRACE_SECONDS)
    answers = contest.join()

    assert answers["cleanup"] == 0
    assert reload(job).is_waiting
    assert len(read_attempts(job)) == 2, "Its history survives with it."


def test_a_finished_job_that_somebody_holds_is_left_by_a_deletion_and_not_called_unfinished():
    """On SQLite nobody can hold a row, and the deletion waits for its turn."""
    job = make_job(State.FAILED)
    contest = Race()

    with transaction.atomic():
        Job.objects.select_for_update().get(pk=job.pk)
        contest.start("deletion", lambda: Job.objects.filter(pk=job.pk).delete()[0])
        contest._threads[0].join(GRACE_SECONDS if connection.vendor == "sqlite" else RACE_SECONDS)
    answers = contest.join()

    assert answers["deletion"] == (1 if connection.vendor == "sqlite" else 0)
    assert Job.objects.count() == 1 - answers["deletion"]


@pytest.mark.parametrize("verb", ["retry", "requeue"])
def test_a_job_that_is_just_deleted_is_not_set_going(verb):
    job = make_job(State.FAILED)
    contest, begun = Race(), threading.Event()

    def set_going():
        begun.set()
        return getattr(reload_or_same(job), verb)()

    with transaction.atomic():
        assert Job.objects.filter(pk=job.pk).delete()[0] == 1
        contest.start("operator", set_going)
        assert begun.wait(RACE_SECONDS)
        contest._threads[0].join(GRACE_SECONDS)
    answers = contest.join()

    assert answers["operator"] is False
    assert not Job.objects.exists()
    assert_totals_are_exact()


def reload_or_same(job):
    return Job.objects.filter(pk=job.pk).first() or job


@repeatedly
@pytest.mark.fault(53)
def test_cleanup_and_operators_at_the_same_moment_agree():
    made = [make_job(State.FAILED) for _ in range(4)]

    deleted, retried = race([lambda: Job.objects.delete_old(hours=0), lambda: Job.objects.all().retry()])

    left = Job.objects.filter(pk__in=[job.pk for job in made])
    assert left.count() == retried == len(made) - deleted
    assert not left.exclude(state=State.READY).exists()
    assert_totals_are_exact()


@repeatedly
def test_a_late_finish_and_a_rescue_do_not_both_count():
    job, worker = make_job(), make_worker()
    [claimed] = claim(worker=worker)

    accepted, freed = race(
        [
            lambda: insist(lambda: record(make_result(claimed))),
            lambda: transitions.rescue(dialect(), worker, "dbq.WorkerLost", "x"),
        ]
    )

    assert (len(accepted), freed) in ((1, 0), (0, 1))
    assert_state(job, State.READY if freed else State.COMPLETED)
    assert [outcome for *_, outcome in read_attempts(job)] == ["LOST" if freed else "COMPLETED"]
    assert_totals_are_exact()


def test_a_finish_that_waits_for_a_rescue_to_be_committed_is_not_accepted():
    job, worker = make_job(), make_worker()
    [claimed] = claim(worker=worker)
    contest, begun = Race(), threading.Event()

    def finish():
        begun.set()
        return insist(lambda: record(make_result(claimed)))

    with dialect().write():
        assert transitions.rescue(dialect(), worker, "dbq.WorkerLost", "x") == 1
        contest.start("finish", finish)
        assert begun.wait(RACE_SECONDS)
        contest._threads[0].join(GRACE_SECONDS)
    answers = contest.join()

    assert answers["finish"] == []
    assert [outcome for *_, outcome in read_attempts(job)] == ["LOST"]
    assert_state(job, State.READY)
    assert_totals_are_exact()


@repeatedly
def test_two_rescuers_free_each_job_once():
    made = [make_job() for _ in range(12)]
    worker = make_worker(threads=12)
    claim(12, worker=worker)

    freed = race([lambda: transitions.rescue(dialect(), worker, "dbq.WorkerLost", "x")] * 3)

    assert sum(freed) == len(made)
    assert set(Job.objects.values_list("crash_count", "fence")) == {(1, 2)}
    assert Attempt.objects.count() == len(made)


def test_two_promoters_promote_each_job_once():
    later = dialect().read_clock().replace(year=2100)
    Job.objects.bulk_create([Job(name="nothing", run_after=later) for _ in range(40)])
    Job.objects.update(run_after=dialect().read_clock())

    promoted = race([lambda: insist(promote)] * 3)

    assert sum(promoted) == 40
    assert set(Job.objects.values_list("lane", "version")) == {(Lane.CLAIMABLE, 1)}


@pytest.mark.fault(47)
def test_many_creators_with_one_key_make_one_job():
    def create():
        try:
            return Job.objects.create(name="nothing", unique_key="the one")
        except DuplicateJob as refusal:
            return refusal

    answers = race([create] * 16)

    made = [answer for answer in answers if isinstance(answer, Job)]
    assert len(made) == 1
    assert Job.objects.get().pk == made[0].pk
    for refusal in (answer for answer in answers if not isinstance(answer, Job)):
        assert refusal.job_id == made[0].pk


@repeatedly
def test_a_key_is_free_again_the_moment_its_job_ends():
    holder = make_job(unique_key="k")
    [claimed] = claim()

    def create(key=holder.unique_key):
        try:
            return Job.objects.create(name="nothing", unique_key=key, queue_name="other")
        except DuplicateJob:
            return None

    accepted, made = race([lambda: insist(lambda: record(make_result(claimed))), create])

    assert len(accepted) == 1
    assert Job.objects.filter(unique_key="k").count() == (1 if made else 0)


def test_of_many_who_pause_a_queue_one_does():
    answers = race([lambda n=n: transitions.pause_queue("mail", by=f"operator {n}") for n in range(6)])

    assert sorted(answers) == [False] * 5 + [True]
    assert Queue.objects.get(name="mail").paused_by == f"operator {answers.index(True)}"


@pytest.mark.fault(18)
def test_two_transactions_that_wait_for_each_other_both_end():
    """The database ends one of them, which then runs again. SQLite lets them in one by one."""
    jobs = [make_job(), make_job()]
    both_hold_one = threading.Barrier(1 if connection.vendor == "sqlite" else 2)
    tries = []

    def prefer(first, second):
        def transact():
            tries.append(first)
            with dialect().write():
                first.reschedule(priority=1)
                if tries.count(first) == 1:
                    both_hold_one.wait(RACE_SECONDS)
                second.reschedule(priority=2)

        return lambda: dialect().insist(transact)

    race([prefer(*jobs), prefer(*reversed(jobs))])

    assert [reload(job).version for job in jobs] == [2, 2]
    if connection.vendor == "sqlite":
        assert len(tries) == 2
    else:
        # One that comes back quickly may be in the other's way once more.
        assert len(tries) >= 3


def test_an_error_that_is_no_lost_race_is_not_tried_again():
    tries = []

    def transact():
        tries.append(1)
        Job.objects.create(name="nothing", id=taken.pk)

    taken = make_job()
    with pytest.raises(IntegrityError):
        dialect().insist(transact)

    assert len(tries) == 1


# Claims that were overtaken

STALE = {
    "complete": {"outcome": Outcome.COMPLETED},
    "advance": {"outcome": Outcome.COMPLETED, "next_task": "tests.jobs.edit"},
    "yield": {"outcome": Outcome.COMPLETED, "next_task": "tests.jobs.edit", "yields": True},
    "fail": {"outcome": Outcome.FAILED},
    "retry": {"outcome": Outcome.RETRIED, "delay": 5},
    "release": {"outcome": Outcome.RELEASED},
    "cancel": {"outcome": Outcome.CANCELLED},
    "checkpoint": {
        "outcome": Outcome.RUNNING,
        "workspace": '{"n":1}',
        "initial_workspace": "{}",
        "changes": "[]",
    },
}


def overtake(job):
    """A second worker claims the job after the first was taken for dead."""
    transitions.rescue(dialect(), job.worker or reload(job).worker, "dbq.WorkerLost", "x")
    [claimed] = claim(worker=make_worker(name="second:1"))
    assert claimed.pk == job.pk
    return claimed


@pytest.mark.parametrize("write", STALE)
def test_an_overtaken_worker_changes_nothing_and_holds_nobody_up(write):
    stale_job = make_job(priority=1)
    [stale] = claim(worker=make_worker(name="first:1"))
    second = overtake(stale)
    others = [make_job() for _ in range(3)]
    fresh = {job.pk: job for job in claim(3)}
    before = Job.objects.filter(pk=stale_job.pk).values().get()
    fields = dict(STALE[write])

    results = [make_result(fresh[job.pk]) for job in others]
    results.insert(1, make_result(stale, **fields))
    accepted = record(*results)

    assert [result.job.pk for result in accepted] == [job.pk for job in others]
    for job in others:
        assert_state(job, State.COMPLETED)
    assert Job.objects.filter(pk=stale_job.pk).values().get() == before
    assert [a.worker_name for a in Attempt.objects.filter(job=stale_job)] == ["first:1"]
    assert_totals_are_exact()
    assert len(record(make_result(second))) == 1, "The owner is not disturbed."


def test_an_overtaken_worker_writes_no_progress():
    job = make_job()
    [stale] = claim()
    fresh = overtake(stale)
    other = make_job()
    [held] = claim()
    text = '{"done":1,"total":2,"note":""}'

    transitions.write_progress(dialect(), [(stale, text), (held, text)])

    assert reload(job).progress is None
    assert reload(job).version == fresh.version
    assert reload(other).progress == {"done": 1, "total": 2, "note": ""}


def test_a_worker_cannot_finish_a_job_that_was_requeued_behind_its_back():
    job = make_job()
    [stale] = claim()
    transitions.rescue(dialect(), reload(job).worker, "dbq.WorkerLost", "x")
    job.cancel()
    job.requeue()

    assert record(make_result(stale)) == []

    assert_state(job, State.NEW)
