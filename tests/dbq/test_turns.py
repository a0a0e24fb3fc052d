"""Task threads begin nothing while the control thread computes."""

import threading

import pytest

from dbq import turns
from dbq.turns import Turns


@pytest.fixture
def long_waits(monkeypatch):
    """Whoever does not get the turn does not get it by patience."""
    monkeypatch.setattr(turns, "WAIT_SECONDS", 30)


def begin(subject: Turns) -> threading.Event:
    """Have a thread begin a task; give what says that it has begun."""
    begun = threading.Event()
    threading.Thread(target=lambda: (subject.wait(), begun.set()), daemon=True).start()
    return begun


def test_a_task_begins_at_once_when_nobody_computes():
    Turns().wait()


def test_a_task_begins_when_the_computing_is_over(long_waits):
    subject = Turns()
    with subject.hold():
        begun = begin(subject)
        assert not begun.wait(0.05)
    assert begun.wait(10)


def test_a_task_begins_while_the_database_works(long_waits):
    subject = Turns()

    def execute(sql):
        assert begun.wait(10)
        return sql

    with subject.hold():
        begun = begin(subject)
        assert subject.note_statement(execute, "SELECT 1") == "SELECT 1"
        assert not begin(subject).wait(0.05), "The statement is over, the computing is not."


def test_a_statement_outside_of_a_turn_takes_none(long_waits):
    subject = Turns()
    subject.note_statement(lambda: None)
    assert begin(subject).wait(10)


def test_the_turn_ends_with_an_error(long_waits):
    subject = Turns()
    with pytest.raises(ZeroDivisionError), subject.hold():
        subject.note_statement(lambda: 1 / 0)
    assert begin(subject).wait(10)


def test_no_task_waits_longer_than_its_patience(monkeypatch):
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.01)
    subject = Turns()
    with subject.hold():
        assert begin(subject).wait(10)
