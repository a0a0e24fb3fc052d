"""Pausing and resuming queues; what a pause does to claims is told in test_claim."""

from datetime import timedelta

import pytest

from dbq import transitions
from dbq.exceptions import InvalidJob
from dbq.models import Queue
from dbq.states import State
from tests.helpers import (
    assert_state,
    dialect,
    flush,
    let_time_pass,
    make_job,
    run,
    start_engine,
    take_up,
    work_off,
)


def test_a_pause_says_who_why_since_when_and_until_when():
    until = dialect().read_clock() + timedelta(hours=1)

    assert transitions.pause_queue("mail", by="ada", reason="Provider is down", until=until) is True

    queue = Queue.objects.get(name="mail")
    assert (queue.paused_by, queue.paused_reason) == ("ada", "Provider is down")
    assert queue.paused_until == until
    assert abs(queue.paused_at - dialect().read_clock()) < timedelta(seconds=5)


def test_a_paused_queue_is_not_paused_again():
    transitions.pause_queue("mail", by="ada", reason="first")

    assert transitions.pause_queue("mail", by="bob", reason="second") is False

    queue = Queue.objects.get(name="mail")
    assert (queue.paused_by, queue.paused_reason) == ("ada", "first")


def test_a_pause_and_its_end_are_of_one_queue_only():
    transitions.pause_queue("sms", by="ada")
    transitions.pause_queue("mail", by="bob")
    transitions.resume_queue("sms")
    transitions.pause_queue("push", by="cyd")

    assert dict(Queue.objects.values_list("name", "paused_by")) == {"sms": "", "mail": "bob", "push": "cyd"}


def test_a_queue_whose_pause_has_run_out_can_be_paused_again():
    transitions.pause_queue("mail", by="ada", until=dialect().read_clock() + timedelta(hours=1))
    let_time_pass(3601)

    assert transitions.pause_queue("mail", by="bob") is True

    queue = Queue.objects.get(name="mail")
    assert (queue.paused_by, queue.paused_until) == ("bob", None)


def test_a_resumed_queue_remembers_nothing_of_its_pause():
    transitions.pause_queue("mail", by="ada", reason="x")

    assert transitions.resume_queue("mail") is True

    queue = Queue.objects.get(name="mail")
    assert (queue.paused_at, queue.paused_by, queue.paused_reason) == (None, "", "")


@pytest.mark.parametrize("name", ["mail", "never seen"])
def test_a_queue_that_is_not_paused_is_not_resumed(name):
    Queue.objects.create(name="mail")

    assert transitions.resume_queue(name) is False


@pytest.mark.parametrize("name", ["", "a b", "x" * 51, None, "a\n"])
def test_a_name_that_no_queue_can_have_is_refused(name):
    with pytest.raises(InvalidJob) as raised:
        transitions.pause_queue(name)

    rule = 'A queue name must be 1 to 50 letters, digits, "_", ".", ":" or "-"'
    assert str(raised.value) == f"{rule}, not {name!r}."
    assert not Queue.objects.exists()


def test_a_queue_without_jobs_can_be_paused_in_advance():
    Queue(name="default").pause()
    job = make_job()

    work_off()

    assert_state(job, State.NEW)


def test_a_running_task_ends_in_spite_of_the_pause():
    job = make_job()
    engine = start_engine()
    held = take_up(engine)
    Queue(name="default").pause()
    engine.refresh()

    run(engine, held)
    flush(engine)

    assert_state(job, State.COMPLETED)


def test_only_queues_that_are_paused_now_count_as_paused():
    now = dialect().read_clock()
    transitions.pause_queue("a")
    transitions.pause_queue("b", until=now + timedelta(hours=1))
    transitions.pause_queue("c", until=now + timedelta(hours=3))
    Queue.objects.create(name="d")
    let_time_pass(7200)

    assert {queue.name for queue in Queue.objects.paused()} == {"a", "c"}
