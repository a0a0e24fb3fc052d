"""Job ids: unique, in the order of their making, and readable as a time."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
import time_machine

from dbq import identifiers
from dbq.identifiers import uuid7, uuid7_floor

pytestmark = pytest.mark.once


def test_an_id_is_a_uuid_of_version_7():
    made = uuid7()

    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_an_id_holds_the_time_of_its_making():
    before = time.time_ns() // 1_000_000
    milliseconds = uuid7().int >> 80
    after = time.time_ns() // 1_000_000

    assert before <= milliseconds <= after


def test_later_ids_sort_after_earlier_ones():
    made = [uuid7() for _ in range(5_000)]

    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert [str(each) for each in made] == sorted(str(each) for each in made)


def test_ids_go_on_growing_when_the_clock_steps_back():
    with time_machine.travel(datetime(2100, 1, 2, tzinfo=UTC), tick=False):
        later = [uuid7() for _ in range(3)]
    try:
        with time_machine.travel(datetime(2100, 1, 1, tzinfo=UTC), tick=False):
            earlier = [uuid7() for _ in range(3)]
        assert later + earlier == sorted(later + earlier)
    finally:
        forget_the_future()


def test_ids_of_one_moment_are_still_ordered():
    try:
        with time_machine.travel(datetime(2100, 1, 1, tzinfo=UTC), tick=False):
            made = [uuid7() for _ in range(5_000)]
    finally:
        forget_the_future()

    assert made == sorted(made)
    assert len(set(made)) == len(made)


def forget_the_future():
    """Later tests make jobs today."""
    identifiers._last = 0


def test_threads_never_make_the_same_id():
    made: list = []
    threads = [threading.Thread(target=lambda: made.extend([uuid7() for _ in range(500)])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(set(made)) == 3_000


def test_a_child_process_makes_ids_of_its_own():
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(into, b"".join(uuid7().bytes for _ in range(50)))
        os._exit(0)
    mine = {uuid7().bytes for _ in range(50)}
    os.close(into)
    theirs = os.read(out, 16 * 50)
    os.waitpid(pid, 0)
    os.close(out)

    assert len(theirs) == 16 * 50
    assert not mine & {theirs[i : i + 16] for i in range(0, len(theirs), 16)}


def test_the_floor_of_a_moment_is_below_every_id_made_from_then_on():
    now = datetime.now(UTC)

    assert uuid7_floor(now) <= uuid7()
    assert uuid7_floor(now + timedelta(seconds=5)) > uuid7()


def test_the_floor_does_not_depend_on_the_zone():
    moment = datetime(2030, 5, 1, 12, tzinfo=UTC)

    assert uuid7_floor(moment) == uuid7_floor(moment.astimezone(timezone(timedelta(hours=9))))
    assert uuid7_floor(moment).int >> 80 == int(moment.timestamp() * 1000)
