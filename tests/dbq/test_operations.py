"""One act, one record, one transaction; and a reason for every no."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from dbq import operations, signals, transitions
from dbq.exceptions import InvalidJob
from dbq.models import Attempt, Job, Operation, Queue, Worker
from dbq.operations import Actor, act
from dbq.states import State
from tests.helpers import (
    assert_state,
    claim,
    dialect,
    insist,
    let_lease_run_out,
    make_job,
    make_worker,
    race,
    reload,
)

ALICE = Actor("1", "alice")
BOB = Actor("2", "bob")

pytestmark = pytest.mark.usefixtures("transactional_db")


def assert_refused(operation, sentence):
    assert (operation.state, operation.message) == (Operation.State.REFUSED, sentence)
    assert Operation.objects.filter(pk=operation.pk, state="REFUSED", message=sentence).exists()


# What is done is recorded


def test_an_act_is_recorded_with_who_when_what_and_why():
    job = make_job(State.FAILED)
    operation = act(ALICE, "retry", job, reason="the disk has space again")
    assert_state(job, State.READY)
    operation.refresh_from_db()
    assert operation.state == Operation.State.DONE
    assert (operation.actor_id, operation.actor_name) == ("1", "alice")
    assert (operation.verb, operation.job_id) == ("retry", job.pk)
    assert operation.reason == "the disk has space again"
    assert abs(operation.created - dialect().read_clock()) < timedelta(seconds=5)
    assert operation.message.startswith("Goes on at the task")


def test_a_deleted_job_is_gone_with_its_history_and_the_record_stays():
    job = make_job(State.COMPLETED)
    operation = act(ALICE, "delete", job)
    assert not Job.objects.exists()
    assert not Attempt.objects.exists()
    assert operation.job_id == job.pk
    assert operation.message == 'Deleted "edit" (COMPLETED) with its history.'


def test_acting_on_a_deleted_job_says_who_deleted_it():
    job = make_job(State.COMPLETED)
    act(BOB, "delete", job)
    assert_refused(act(ALICE, "requeue", job), "The job does not exist any more: Deleted by bob 0 s ago.")


def test_a_second_cancel_of_a_running_job_is_refused():
    job = make_job(State.PROCESSING)
    act(BOB, "cancel", job)
    assert_refused(act(ALICE, "cancel", job), "The job was asked to end already.")


def test_requeueing_a_name_the_settings_lost_is_refused(settings):
    job = make_job(State.COMPLETED)
    settings.JOBS = {"other": ["tests.jobs.nothing"]}
    assert_refused(act(ALICE, "requeue", job), 'settings.JOBS has no "edit" any more.')


def test_resuming_from_a_task_that_is_not_the_jobs_is_refused():
    job = make_job(State.COMPLETED)
    operation = act(ALICE, "resume_from", job, task="os.system")
    assert operation.is_refused
    assert '"os.system" is not a task' in operation.message


def test_resuming_records_the_task():
    job = make_job(State.COMPLETED)
    operation = act(ALICE, "resume_from", job, task="tests.jobs.edit")
    assert_state(job, State.READY)
    assert operation.options == {"task": "tests.jobs.edit"}


def test_rescheduling_says_what_changed():
    job = make_job(priority=1)
    operation = act(ALICE, "reschedule", job, priority=7, queue_name="mail")
    fresh = reload(job)
    assert (fresh.priority, fresh.queue_name) == (7, "mail")
    assert operation.options == {"priority": 7, "queue_name": "mail"}
    assert operation.message == ("Priority changed from 1 to 7; Queue changed from default to mail.")


def test_an_edited_workspace_is_not_copied_into_the_record():
    job = make_job(State.FAILED)
    operation = act(ALICE, "edit_workspace", job, workspace={"token": "sk-123"})
    assert reload(job).workspace == {"token": "sk-123"}
    assert "sk-123" not in str(Operation.objects.filter(pk=operation.pk).values())


def test_an_invalid_workspace_is_refused_with_its_rule():
    operation = act(ALICE, "edit_workspace", make_job(), workspace=[1])
    assert_refused(operation, "A workspace must be an object (a dict), not list.")


def test_revealing_leaves_a_record():
    job = make_job()
    assert act(ALICE, "reveal", job).state == Operation.State.DONE
    assert Operation.objects.get().verb == "reveal"


def test_creating_leaves_a_record_in_the_same_transaction():
    job = operations.create_job(ALICE, name="edit", workspace={"a": 1})
    assert Operation.objects.get(verb="create").job_id == job.pk
    with pytest.raises(InvalidJob):
        operations.create_job(ALICE, name="edit", priority="high")
    assert Operation.objects.count() == Job.objects.count() == 1


# Queues and workers


def test_a_pause_is_recorded_and_a_second_one_is_told_of_the_first():
    operation = act(ALICE, "pause_queue", "mail", reason="the provider is down")
    assert operation.queue_name == "mail"
    assert operation.message == '"mail" is paused until it is resumed.'
    queue = Queue.objects.get(name="mail")
    assert (queue.paused_by, queue.paused_reason) == ("alice", "the provider is down")
    assert_refused(act(BOB, "pause_queue", "mail"), '"mail" was paused already, by alice 0 s ago.')
    assert act(BOB, "resume_queue", Queue(name="mail")).message == '"mail" is resumed.'
    assert_refused(act(BOB, "resume_queue", "mail"), '"mail" was not paused.')


def test_a_queue_name_that_breaks_the_rule_is_refused():
    assert act(ALICE, "pause_queue", "no/such").is_refused
    assert not Queue.objects.exists()


def test_a_worker_is_asked_to_stop_once():
    worker = make_worker(name="host:7")
    assert act(ALICE, "stop_worker", worker).options == {"worker": "host:7"}
    assert Worker.objects.get().stop_requested
    assert_refused(act(BOB, "stop_worker", worker), "host:7 was asked to stop already.")
    let_lease_run_out(worker)
    assert_refused(act(BOB, "stop_worker", worker), "host:7 does not live any more.")


def test_jobs_of_dead_workers_are_rescued_on_request():
    assert_refused(act(ALICE, "rescue_workers"), "No dead worker holds jobs.")
    job = make_job()
    worker = make_worker()
    claim(worker=worker)
    let_lease_run_out(worker)
    assert act(ALICE, "rescue_workers").message == "Rescued 1 job of 1 dead workers."
    assert_state(job, State.READY)


# Together or not at all


def test_without_its_record_an_act_does_not_happen(monkeypatch):
    job = make_job(State.FAILED)

    def break_down(*args, **kwargs):
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(operations, "record", break_down)
    with pytest.raises(DatabaseError):
        act(ALICE, "retry", job)
    assert_state(job, State.FAILED)


def test_listeners_hear_of_an_act_only_once_it_is_committed(monkeypatch):
    job = make_job(State.FAILED)
    heard = []

    def listen(job, **kwargs):
        heard.append((job.pk, connection.in_atomic_block))

    signals.job_retried.connect(listen)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(operations, "record", lambda *args: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                act(ALICE, "retry", job)
        assert heard == []
        act(ALICE, "retry", job)
        assert heard == [(job.pk, False)]
    finally:
        signals.job_retried.disconnect(listen)


# Two operators


def test_a_stale_act_is_told_who_was_faster():
    job = make_job(State.FAILED)
    seen = job.version
    act(BOB, "edit_workspace", job, workspace={"a": 2}, version=reload(job).version)
    operation = act(ALICE, "retry", job, version=seen)
    assert_refused(
        operation,
        "The job was changed by another operator: Workspace edited by bob 0 s ago.",
    )
    assert_state(job, State.FAILED)


def test_an_act_that_a_worker_overtook_says_so():
    job = make_job()
    claim()
    operation = act(ALICE, "reschedule", job, priority=3, version=job.version)
    assert_refused(operation, "The job is already running.")


def test_a_busy_job_is_cancelled_whatever_it_has_done_since_it_was_looked_at():
    job = make_job(State.PROCESSING)
    transitions.write_progress(dialect(), [(reload(job), '{"done": 1, "total": 2, "note": ""}')])
    assert reload(job).version > job.version

    assert act(ALICE, "cancel", job, version=job.version).state == Operation.State.DONE
    assert reload(job).cancel_requested


def test_of_two_retries_at_once_one_succeeds_and_one_is_explained():
    job = make_job(State.FAILED)
    version = reload(job).version
    answers = race(
        [
            lambda: insist(lambda: act(ALICE, "retry", job, version=version)),
            lambda: insist(lambda: act(BOB, "retry", job, version=version)),
        ]
    )
    done, refused = sorted(answers, key=lambda answer: answer.is_refused)
    assert (done.state, refused.state) == ("DONE", "REFUSED")
    assert refused.message.startswith("The job waits for a worker already (Ready). It was changed")
    assert f"Retried by {done.actor_name}" in refused.message
    assert Operation.objects.count() == 2


# Permissions


def test_what_the_account_may_not_do_is_recorded_as_refused():
    user = User.objects.create_user("carol")
    job = make_job(State.FAILED)
    assert not operations.permit(user, "retry", job)
    operation = Operation.objects.get()
    assert (operation.actor_name, operation.state) == ("carol", "REFUSED")
    assert operation.message == 'The account lacks the permission "dbq.retry_job".'


def test_every_verb_needs_a_permission_that_exists():
    from dbq.verbs import VERBS

    known = {
        f"{p.content_type.app_label}.{p.codename}" for p in Permission.objects.select_related("content_type")
    }
    needed = {verb.permission for verb in VERBS.values() if verb.permission}
    assert needed <= known


def test_a_permission_opens_its_verb_and_no_other():
    from dbq.verbs import VERBS

    user = User.objects.create_user("dora")
    user.user_permissions.add(Permission.objects.get(codename="cancel_job"))
    allowed = {name for name, verb in VERBS.items() if verb.permission and operations.may(user, name)}
    assert allowed == {"cancel"}


def test_a_deactivated_superuser_may_nothing():
    user = User.objects.create_superuser("root")
    user.is_active = False
    assert not operations.may(user, "retry")


# Cost


def test_an_act_costs_a_handful_of_statements():
    job = make_job(State.FAILED)
    with CaptureQueriesContext(connection) as queries:
        act(ALICE, "retry", job, version=reload(job).version)
    assert len(queries) <= 30, [query["sql"][:90] for query in queries]
