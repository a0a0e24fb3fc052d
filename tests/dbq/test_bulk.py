"""Acts on all that match: the set is frozen, done in chunks, by anyone, once."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.core import signing
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from dbq import bulk, transitions
from dbq.exceptions import InvalidCriteria
from dbq.identifiers import uuid7
from dbq.models import Attempt, Job, Operation, OperationItem
from dbq.operations import Actor, act
from dbq.states import Lane, State
from tests.helpers import (
    RACE_SECONDS,
    Race,
    assert_state,
    assert_totals_are_exact,
    claim,
    dialect,
    insist,
    let_time_pass,
    make_job,
    make_worker,
    race,
    reload,
    start_engine,
)

ALICE = Actor("1", "alice")
# Long enough to run into a lock.
GRACE_SECONDS = 0.2
FAILED = [["state", "in", ["FAILED"]]]

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 10)
    monkeypatch.setattr(bulk, "FREEZE_MAX", 30)
    monkeypatch.setattr(bulk, "WINDOW", 25)


def make_finished(amount, state=State.FAILED, **fields):
    """Jobs as if they had ended, without running them one by one."""
    jobs = [Job(name="edit", **fields) for _ in range(amount)]
    Job.objects.bulk_create(jobs)
    now = dialect().read_clock()
    ended = Job.objects.filter(pk__in=[job.pk for job in jobs])
    ended.update(state=state, lane=Lane.FINISHED, started=now, finished=now)
    from dbq.counts import Tally

    tally = Tally()
    for job in jobs:
        tally.finished(job, state, now)
    tally.write(dialect())
    return jobs


def count_outcomes(operation):
    return Counter(operation.items.values_list("outcome", flat=True))


def run_out(operation):
    bulk.run_to_end(operation)
    operation.refresh_from_db()
    return operation


# Proposing


def test_a_proposal_counts_shows_a_sample_and_changes_nothing():
    jobs = make_finished(15)
    make_finished(2, State.COMPLETED)
    proposal = bulk.propose("retry", FAILED)
    assert (proposal.matched, proposal.is_at_least) == (15, False)
    assert [job.pk for job in proposal.find_sample()] == [job.pk for job in reversed(jobs)][:10]
    assert proposal.words == ["state is Failed"]
    assert not Operation.objects.exists()
    assert Job.objects.filter(state="FAILED").count() == 15


def test_a_count_that_would_take_long_stops_and_says_so(monkeypatch):
    monkeypatch.setattr(bulk, "COUNT_MAX", 5)
    make_finished(6)
    proposal = bulk.propose("retry", FAILED)
    assert (proposal.matched, proposal.is_at_least) == (5, True)


def test_a_proposal_never_loads_a_workspace():
    make_finished(3)
    with CaptureQueriesContext(connection) as queries:
        proposal = bulk.propose("retry", FAILED)
        assert len(proposal.find_sample()) == 3
    assert "workspace" not in str([query["sql"] for query in queries])


@pytest.mark.parametrize("verb", ["create", "reveal", "edit_workspace", "explode", ""])
def test_only_bulk_verbs_are_proposed(verb):
    with pytest.raises(InvalidCriteria):
        bulk.propose(verb, FAILED)


def test_a_packed_proposal_is_the_same_for_its_actor_and_nobody_else(monkeypatch):
    make_finished(2)
    proposal = bulk.propose("retry", FAILED, filters="state=FAILED")
    text = proposal.pack(ALICE)
    assert bulk.Proposal.unpack(text, ALICE) == proposal
    with pytest.raises(InvalidCriteria, match="another account"):
        bulk.Proposal.unpack(text, Actor("2", "bob"))
    with pytest.raises(InvalidCriteria, match="not made by this console"):
        bulk.Proposal.unpack(text[:-1] + ("A" if text[-1] != "A" else "B"), ALICE)
    monkeypatch.setattr(bulk, "PROPOSAL_MAX_AGE", timedelta(seconds=-1))
    with pytest.raises(InvalidCriteria, match="too old"):
        bulk.Proposal.unpack(text, ALICE)


def test_a_packed_text_of_another_kind_is_refused():
    with pytest.raises(InvalidCriteria):
        bulk.Proposal.unpack(signing.dumps({"actor": "1"}, salt="other"), ALICE)


# Carrying out


def test_a_small_set_is_acted_on_at_once():
    jobs = make_finished(5)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED), reason="fixed")
    assert operation.state == Operation.State.DONE
    assert (operation.matched, operation.done, operation.skipped) == (5, 5, 0)
    assert operation.finished and operation.reason == "fixed"
    for job in jobs:
        assert_state(job, State.READY)
    assert count_outcomes(operation) == {"DONE": 5}
    assert_totals_are_exact()


def test_a_set_of_nobody_is_done_at_once():
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    assert (operation.state, operation.seen) == (Operation.State.DONE, 0)


@pytest.mark.parametrize("amount", [9, 10, 11, 29, 30, 31, 65])
@pytest.mark.parametrize("verb", ["retry", "requeue", "delete"])
def test_every_job_is_acted_on_once_whatever_the_size(small_chunks, verb, amount):
    make_finished(amount)
    others = make_finished(5, State.COMPLETED)
    operation = run_out(bulk.start(ALICE, bulk.propose(verb, FAILED)))
    assert (operation.state, operation.done) == (Operation.State.DONE, amount)
    assert operation.message == ""
    assert count_outcomes(operation) == {"DONE": amount}
    assert operation.items.values("job_id").distinct().count() == amount
    assert not Job.objects.filter(state="FAILED").exists()
    assert Job.objects.filter(pk__in=[job.pk for job in others], state="COMPLETED").count() == 5
    assert_totals_are_exact()


def test_cancelling_asks_the_running_ones_and_ends_the_others():
    running = make_job(State.PROCESSING)
    waiting = make_job()
    operation = bulk.start(ALICE, bulk.propose("cancel", []))
    assert operation.done == 2
    assert reload(running).cancel_requested
    assert_state(waiting, State.CANCELLED)


@pytest.mark.parametrize("amount", [20, 60])
def test_jobs_made_or_finished_after_the_confirmation_are_left_alone(small_chunks, amount):
    make_finished(amount)
    proposal = bulk.propose("retry", FAILED)
    newer = make_finished(3)
    operation = bulk.start(ALICE, proposal)
    newest = make_finished(3)
    run_out(operation)
    assert operation.done == amount
    for job in (*newer, *newest):
        assert_state(job, State.FAILED)


@pytest.mark.parametrize("amount", [3, 40])
def test_jobs_made_while_a_proposal_is_read_are_left_alone(small_chunks, amount):
    Job.objects.bulk_create([Job(name="edit") for _ in range(amount)])
    proposal = bulk.propose("cancel", [["state", "in", ["NEW"]]])
    late = make_job()

    operation = run_out(bulk.start(ALICE, proposal))

    assert_state(late, State.NEW)
    assert (operation.done, operation.skipped) == (amount, 0)


def test_a_job_that_fails_again_is_not_retried_twice(small_chunks):
    jobs = make_finished(60)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    last = jobs[-1]
    # While the first chunks are done, somebody sets the last one going and it fails again.
    bulk.run_chunk("default")
    last.retry()
    Job.objects.filter(pk=last.pk).update(
        state=State.FAILED, lane=Lane.FINISHED, finished=dialect().read_clock()
    )
    run_out(operation)
    assert_state(last, State.FAILED)
    assert operation.done == 59


def test_rows_that_changed_meanwhile_are_skipped_with_a_reason(small_chunks):
    jobs = make_finished(20)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    assert operation.is_running
    jobs[12].retry()
    claim()
    jobs[13].requeue()
    jobs[14].delete()
    run_out(operation)
    assert (operation.done, operation.skipped) == (17, 3)
    skipped = operation.items.filter(outcome="SKIPPED")
    reasons = {item.job_id: item.reason for item in skipped}
    assert reasons == {
        jobs[12].pk: "The job is already running.",
        jobs[13].pk: "The job waits for a worker already (New).",
        jobs[14].pk: "The job does not exist any more.",
    }


def test_a_row_that_is_just_being_changed_is_skipped_with_the_reason_that_then_holds():
    [job] = make_finished(1)
    proposal = bulk.propose("retry", ids=[job.pk])
    contest, begun = Race(), threading.Event()

    def carry_out():
        begun.set()
        return bulk.start(ALICE, proposal)

    with dialect().write():
        assert Job.objects.get(pk=job.pk).retry() is True
        contest.start("operation", carry_out)
        assert begun.wait(RACE_SECONDS)
        contest._threads[0].join(GRACE_SECONDS)
    operation = contest.join()["operation"]

    [item] = operation.items.all()
    assert (item.outcome, item.reason) == ("SKIPPED", "The job waits for a worker already (Ready).")


def test_a_large_set_tells_how_many_did_not_match_any_more(small_chunks):
    jobs = make_finished(40)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    jobs[35].retry()
    run_out(operation)
    assert operation.done == 39
    assert operation.message == "1 of 40 did not match any more when their turn came."


def test_a_verb_that_cannot_act_on_what_was_ticked_says_so_for_each():
    failed, waiting = make_job(State.FAILED), make_job()
    proposal = bulk.propose("retry", ids=[failed.pk, waiting.pk])
    operation = bulk.start(ALICE, proposal)
    assert (operation.done, operation.skipped) == (1, 1)
    assert operation.items.get(job_id=waiting.pk).reason.startswith("The job waits")


def test_ticked_ids_that_do_not_exist_are_reported():
    operation = bulk.start(ALICE, bulk.propose("retry", ids=[uuid7()]))
    assert operation.items.get().reason == "The job does not exist any more."


def test_a_row_that_the_database_refuses_does_not_stop_the_others(monkeypatch):
    jobs = make_finished(5)
    broken = jobs[2].pk
    real = transitions.retry

    def refuse_one(query):
        if query.filter(pk=broken).exists():
            raise IntegrityError("this one is broken")
        return real(query)

    monkeypatch.setitem(bulk.TRANSITIONS, "retry", refuse_one)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    assert (operation.state, operation.done, operation.failed) == (Operation.State.DONE, 4, 1)
    item = operation.items.get(outcome="FAILED")
    assert (item.job_id, item.reason) == (broken, "IntegrityError: this one is broken")


def test_a_fault_in_our_own_code_is_shown_to_the_operator(small_chunks, monkeypatch):
    make_finished(40)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    monkeypatch.setitem(bulk.TRANSITIONS, "retry", lambda query: 1 / 0)
    bulk.run_for("default")
    operation.refresh_from_db()
    assert operation.state == Operation.State.STOPPED
    assert operation.message == "Stopped by an error: ZeroDivisionError: division by zero"


def test_criteria_that_rot_stop_the_operation_and_not_the_worker(small_chunks):
    make_finished(40)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    Operation.objects.update(criteria=[["workspace__token", "startswith", "a"]])
    assert bulk.run_for("default") >= 1
    operation.refresh_from_db()
    assert operation.state == Operation.State.STOPPED
    assert operation.message.startswith("Stopped by an error: InvalidCriteria:")
    assert Job.objects.filter(state="FAILED").count() == 40


# Workers


def test_the_engine_carries_operations_out_by_itself(small_chunks):
    make_finished(45)
    operation = bulk.start(ALICE, bulk.propose("delete", FAILED))
    assert operation.is_running
    engine = start_engine("elsewhere")
    for _ in range(20):
        engine.act_in_bulk()
    operation.refresh_from_db()
    assert operation.state == Operation.State.DONE
    assert not Job.objects.filter(state="FAILED").exists()


def test_a_stopping_engine_leaves_operations_to_others(small_chunks):
    make_finished(45)
    bulk.start(ALICE, bulk.propose("delete", FAILED))
    engine = start_engine()
    engine.stopping = True
    engine.act_in_bulk()
    assert Job.objects.count() == 45


def test_an_idle_look_is_one_statement():
    with CaptureQueriesContext(connection) as queries:
        assert bulk.run_for("default") == 0
    assert len(queries) == 1


def test_two_operations_take_turns(small_chunks):
    make_finished(40)
    make_finished(40, State.CANCELLED)
    first = bulk.start(ALICE, bulk.propose("delete", FAILED))
    second = bulk.start(ALICE, bulk.propose("delete", [["state", "in", ["CANCELLED"]]]))
    turns = [bulk.run_chunk("default").pk for _ in range(4)]
    assert turns == [first.pk, second.pk, first.pk, second.pk]


def test_two_workers_and_live_claims_never_act_on_a_job_twice(small_chunks):
    make_finished(150)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    worker = make_worker()

    def carry_out():
        for _ in range(40):
            insist(lambda: bulk.run_chunk("default"))

    def work():
        for _ in range(20):
            insist(lambda: claim(3, worker=worker))

    race([carry_out, carry_out, work])
    run_out(operation)
    assert (operation.state, operation.done, operation.skipped) == (Operation.State.DONE, 150, 0)
    assert operation.items.values("job_id").distinct().count() == operation.items.count() == 150
    # Each was set going once: one fence for the retry, one more for those that were claimed.
    for job in Job.objects.only("state", "fence"):
        assert job.fence == (2 if job.state == State.PROCESSING else 1)
    assert_totals_are_exact()


def test_a_retry_of_all_and_a_cleanup_of_all_share_the_jobs_between_them(small_chunks):
    make_finished(100)
    let_time_pass(7200)
    retry = bulk.start(ALICE, bulk.propose("retry", FAILED))
    cleanup = bulk.start(ALICE, bulk.propose_cleanup(1))

    def carry_out():
        for _ in range(60):
            insist(lambda: bulk.run_chunk("default"))

    race([carry_out, carry_out])
    run_out(retry), run_out(cleanup)
    assert Job.objects.filter(state="READY").count() == Job.objects.count() == retry.done
    assert retry.done + cleanup.done == 100
    assert_totals_are_exact()


def test_a_worker_that_dies_within_a_chunk_leaves_no_half_of_it(small_chunks, monkeypatch):
    make_finished(45)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    bulk.run_chunk("default")

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Operation, "save", die)
        bulk.run_chunk("default")
    operation.refresh_from_db()
    assert operation.done == OperationItem.objects.count() == 10
    assert Job.objects.filter(state="READY").count() == 10
    run_out(operation)
    assert (operation.state, operation.done) == (Operation.State.DONE, 45)
    assert count_outcomes(operation) == {"DONE": 45}


def test_a_lost_connection_is_not_the_end_of_an_operation(small_chunks, monkeypatch):
    make_finished(45)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))

    def lose(*args):
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch, pytest.raises(OperationalError):
        patch.setattr(bulk, "_act_on", lose)
        bulk.run_chunk("default")
    assert run_out(operation).done == 45


# Stopping


@pytest.mark.parametrize("amount", [30, 60])
def test_stopping_half_way_keeps_what_is_done_and_does_no_more(small_chunks, amount):
    make_finished(amount)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    bulk.run_chunk("default")
    record = bulk.stop(Actor("2", "bob"), operation, reason="the wrong ones")
    assert bulk.run_chunk("default") is None
    operation.refresh_from_db()
    assert (operation.state, operation.done) == (Operation.State.STOPPED, 10)
    assert operation.message == "Stopped by bob. the wrong ones"
    assert operation.finished is not None
    assert Job.objects.filter(state="READY").count() == 10
    assert (record.verb, record.state, record.options) == (
        "stop_operation",
        "DONE",
        {"operation": operation.pk},
    )


def test_stopping_what_has_ended_is_refused():
    make_finished(3)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    record = bulk.stop(ALICE, operation)
    assert (record.state, record.message) == ("REFUSED", "The operation was not running any more.")
    operation.refresh_from_db()
    assert operation.state == Operation.State.DONE


def test_stop_and_chunks_at_once_agree_about_the_end(small_chunks):
    make_finished(100)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    _, record = race(
        [
            lambda: sum(insist(lambda: bulk.run_chunk("default")) is not None for _ in range(30)),
            lambda: insist(lambda: bulk.stop(ALICE, operation)),
        ]
    )
    operation.refresh_from_db()
    assert operation.state == ("STOPPED" if record.state == "DONE" else "DONE")
    assert operation.done == Job.objects.filter(state="READY").count() == operation.items.count()


# Clean-up


def test_a_cleanup_deletes_exactly_what_its_preview_showed():
    make_finished(4, State.COMPLETED, queue_name="mail")
    make_finished(3, State.FAILED, queue_name="mail")
    old = make_finished(2, State.CANCELLED)
    let_time_pass(48 * 3600)
    young = make_finished(2, State.COMPLETED)
    waiting = make_job()
    proposal = bulk.propose_cleanup(24)
    summary = bulk.summarize(proposal)
    assert summary.groups == [
        ("mail", "COMPLETED", 4),
        ("mail", "FAILED", 3),
        ("default", "CANCELLED", 2),
    ]
    assert (summary.amount, summary.is_at_least, proposal.matched) == (9, False, 9)
    assert summary.oldest <= summary.newest < dialect().read_clock() - timedelta(hours=24)
    operation = bulk.start(ALICE, proposal)
    assert (operation.done, operation.verb) == (9, "cleanup")
    assert set(Job.objects.values_list("pk", flat=True)) == {j.pk for j in (*young, waiting)}
    assert not Attempt.objects.filter(job_id__in=[job.pk for job in old]).exists()
    assert_totals_are_exact()


def test_a_cleanup_keeps_no_row_per_deleted_job():
    make_finished(5)
    let_time_pass(7200)
    operation = bulk.start(ALICE, bulk.propose_cleanup(1))
    assert (operation.done, operation.items.count()) == (5, 0)


def test_a_cleanup_of_some_queues_and_states_leaves_the_rest():
    make_finished(2, State.COMPLETED, queue_name="mail")
    make_finished(2, State.FAILED, queue_name="mail")
    make_finished(2, State.COMPLETED)
    let_time_pass(7200)
    operation = bulk.start(ALICE, bulk.propose_cleanup(1, ["mail"], ["COMPLETED"]))
    assert (operation.done, Job.objects.count()) == (2, 4)


@pytest.mark.parametrize("state", ["NEW", "READY", "PROCESSING", "GONE"])
def test_a_cleanup_of_unfinished_jobs_cannot_be_proposed(state):
    with pytest.raises(InvalidCriteria):
        bulk.propose_cleanup(1, [], [state])


def test_a_summary_of_very_many_says_that_there_are_more(monkeypatch):
    monkeypatch.setattr(bulk, "SUMMARY_MAX", 3)
    monkeypatch.setattr(bulk, "COUNT_MAX", 3)
    make_finished(5)
    let_time_pass(7200)
    summary = bulk.summarize(bulk.propose_cleanup(1))
    assert (summary.amount, summary.is_at_least) == (3, True)


def test_a_summary_of_a_queue_looks_at_no_more_jobs_than_one_of_all(monkeypatch):
    monkeypatch.setattr(bulk, "SUMMARY_MAX", 3)
    make_finished(1, State.FAILED, queue_name="rare")
    make_finished(4)
    make_finished(1, State.COMPLETED, queue_name="rare")
    let_time_pass(7200)
    summary = bulk.summarize(bulk.propose_cleanup(1, ["rare"], count=False))
    assert (summary.groups, summary.is_at_least) == ([("rare", "FAILED", 1)], True)
    summary = bulk.summarize(bulk.propose_cleanup(1, ["rare"], ["COMPLETED"], count=False))
    assert (summary.groups, summary.oldest, summary.is_at_least) == ([], None, True)


# Commands


def test_a_command_carries_out_what_waits(small_chunks, capsys):
    make_finished(45)
    bulk.start(ALICE, bulk.propose("delete", FAILED))
    call_command("run_operations")
    assert not Job.objects.exists()
    assert capsys.readouterr().out == "Did 5 chunks of 10 jobs at most.\n"


def test_a_cleanup_by_command_is_recorded_with_the_user_of_the_system(capsys):
    make_finished(3, queue_name="mail")
    let_time_pass(7200)
    call_command("delete_old_jobs", hours=1, queue_name="mail", dry_run=True)
    assert not Operation.objects.exists()
    call_command("delete_old_jobs", hours=1, queue_name="mail")
    operation = Operation.objects.get()
    assert (operation.verb, operation.done, operation.state) == ("cleanup", 3, "DONE")
    assert operation.actor_name.endswith("(command line)")
    assert ["queue_name", "in", ["mail"]] in operation.criteria


# Upkeep


def test_items_of_long_finished_operations_are_forgotten_and_the_operations_kept():
    make_finished(3)
    old = bulk.start(ALICE, bulk.propose("retry", FAILED))
    make_finished(2)
    bulk.start(ALICE, bulk.propose("retry", FAILED))
    Operation.objects.filter(pk=old.pk).update(finished=dialect().read_clock() - timedelta(days=91))
    assert bulk.delete_old_items("default") == 3
    assert Operation.objects.count() == 2
    assert OperationItem.objects.count() == 2


def test_an_operation_is_served_while_a_worker_lives():
    assert not bulk.is_served()
    make_worker()
    assert bulk.is_served()


def test_an_item_tells_the_next_operator_what_happened():
    job = make_job(State.FAILED)
    version = reload(job).version
    bulk.start(ALICE, bulk.propose("retry", FAILED))
    answer = act(Actor("2", "bob"), "retry", job, version=version)
    assert answer.message == (
        "The job waits for a worker already (Ready)."
        " It was changed by another operator: Retried by alice 0 s ago."
    )


# Cost


@pytest.mark.parametrize("verb", ["retry", "requeue", "cancel", "delete"])
def test_a_chunk_costs_the_same_for_any_number_of_jobs(verb):
    costs = []
    for amount in (2, 100):
        if verb == "cancel":
            Job.objects.bulk_create(Job(name="edit") for _ in range(amount))
            proposal = bulk.propose(verb, [["state", "in", ["NEW"]]])
        else:
            make_finished(amount)
            proposal = bulk.propose(verb, FAILED)
        with CaptureQueriesContext(connection) as queries:
            assert bulk.start(ALICE, proposal).done == amount
        # PostgreSQL's wake-up call is left out while the last one still rings.
        costs.append(sum("pg_notify" not in query["sql"] for query in queries))
    assert costs[0] == costs[1] <= 70, costs
