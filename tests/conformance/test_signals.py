"""Whoever listens hears of what happened once it is committed, and cannot change it."""

from contextlib import contextmanager

import pytest
from django.db import transaction

from dbq import signals, transitions
from dbq.models import Worker
from dbq.states import State
from tests.helpers import (
    assert_state,
    claim,
    dialect,
    make_job,
    make_worker,
    reload,
    start_engine,
    step,
    work_off,
)


@contextmanager
def listening(*names):
    """Note what is heard: the signal's name and its job's state in the database at that moment."""
    heard = []
    receivers = []
    for name in names:

        def hear(job, name=name, **more):
            heard.append((name, reload(job).state, more.get("exception")))

        getattr(signals, name).connect(hear)
        receivers.append((name, hear))
    try:
        yield heard
    finally:
        for name, receiver in receivers:
            getattr(signals, name).disconnect(receiver)


ALL = ("job_created", "job_claimed", "job_completed", "job_failed", "job_retried", "job_cancelled")


def test_the_course_of_a_job_that_completes():
    with listening(*ALL) as heard:
        make_job(name="two")
        work_off()

    assert heard == [
        ("job_created", State.NEW, None),
        ("job_claimed", State.PROCESSING, None),
        ("job_completed", State.COMPLETED, None),
    ]


def test_the_course_of_a_job_that_fails():
    with listening(*ALL) as heard:
        make_job(name="fail")
        work_off()

    assert [name for name, *_ in heard] == ["job_created", "job_claimed", "job_failed"]
    assert isinstance(heard[-1][2], ValueError)
    assert heard[-1][1] == State.FAILED


def test_a_failure_that_will_be_tried_again_is_a_retry():
    with listening("job_retried", "job_failed") as heard:
        make_job(name="fail_for_ever")
        work_off()

    [(name, state, exception)] = heard
    assert (name, state) == ("job_retried", State.READY)
    assert isinstance(exception, ValueError)


@pytest.mark.parametrize(
    ("state", "verb", "signal"),
    [
        (State.FAILED, "retry", "job_retried"),
        (State.COMPLETED, "requeue", "job_retried"),
        (State.NEW, "cancel", "job_cancelled"),
    ],
)
def test_an_operators_act_is_heard_of(state, verb, signal):
    job = make_job(state)

    with listening(*ALL) as heard:
        getattr(job, verb)()
        getattr(job, verb)()

    assert [(name, exception) for name, _, exception in heard] == [(signal, None)]


def test_asking_a_running_job_to_end_is_no_cancellation_yet():
    job = make_job(State.PROCESSING)

    with listening("job_cancelled") as heard:
        job.cancel()

    assert heard == []


def test_a_job_that_ends_at_a_task_edge_is_heard_of_as_cancelled():
    job = make_job(name="two")
    engine = start_engine()
    with listening("job_cancelled", "job_completed") as heard:
        engine.cycle()
        job.cancel()
        step(engine)

    assert [name for name, *_ in heard] == ["job_cancelled"]


def test_a_crash_too_many_is_heard_of_as_a_failure():
    make_job()
    with listening("job_failed") as heard:
        for _ in range(3):
            worker = make_worker()
            claim(worker=worker)
            transitions.rescue(dialect(), worker, "dbq.WorkerLost", "gone")

    assert heard == [("job_failed", State.FAILED, None)]


def test_a_receiver_that_raises_changes_nothing(caplog):
    def explode(**_):
        raise RuntimeError("the receiver is broken")

    signals.job_completed.connect(explode)
    try:
        jobs = [make_job(), make_job()]
        work_off()
    finally:
        signals.job_completed.disconnect(explode)

    for job in jobs:
        assert_state(job, State.COMPLETED)
    assert "the receiver is broken" in caplog.text


def test_an_act_that_is_rolled_back_is_not_heard_of():
    job = make_job(State.FAILED)
    with listening("job_retried") as heard:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            job.retry()
            1 / 0  # noqa: B018
        assert heard == []
        job.retry()

    assert [name for name, *_ in heard] == ["job_retried"]


def test_workers_are_heard_of_when_they_come_and_go():
    heard = []

    def hear(worker, signal, **_):
        heard.append((signal is signals.worker_started, worker.pk))

    for signal in (signals.worker_started, signals.worker_stopped):
        signal.connect(hear)
    try:
        engine = start_engine()
        pk = engine.worker.pk
        engine.deregister()
    finally:
        for signal in (signals.worker_started, signals.worker_stopped):
            signal.disconnect(hear)

    assert heard == [(True, pk), (False, pk)]
    assert not Worker.objects.exists()
