"""Hosts whose clocks are hours apart, or jump: leases and due times go by the database's clock."""

from datetime import timedelta
from pathlib import Path

import pytest

from dbq.dialects import get_dialect
from dbq.models import Attempt, Job
from dbq.states import State
from tests.process.workers import wait_until_all_ended

pytestmark = [pytest.mark.process, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

# The jobs do not sleep: libfaketime 0.9 refuses the waits of Python's time.sleep when it leaves the monotonic
# clock alone.
# By which a time may differ from the database's and still be called the same.
TOLERANCE = timedelta(seconds=5)


@pytest.mark.on("postgresql", "mysql")
@pytest.mark.fault(20)
def test_workers_whose_clocks_are_four_hours_apart_agree(workers, ledger, monkeypatch):
    began = get_dialect("default").read_clock()
    later = Job.objects.create(name="ask", run_after=began + timedelta(hours=1))
    for shift in ("+2h", "-2h"):
        pretend(monkeypatch, FAKETIME=shift)
        workers.start("--processes", "2")
    jobs = Job.objects.bulk_create([Job(name="ask") for _ in range(300)])
    soon = Job.objects.create(name="ask", run_after=began + timedelta(seconds=3))
    wait_until_all_ended([*jobs, soon], 120)

    ledger.judge([*jobs, soon]).assert_all_is_well()
    ended = get_dialect("default").read_clock()
    for attempt in Attempt.objects.all():
        assert began - TOLERANCE <= attempt.started <= attempt.finished <= ended + TOLERANCE
    later.refresh_from_db()
    assert later.state == State.NEW


@pytest.mark.fault(20)
def test_a_clock_that_jumps_neither_stops_a_worker_nor_ends_its_lease(workers, ledger, monkeypatch, tmp_path):
    moment = tmp_path / "moment"
    moment.write_text("+0")
    pretend(monkeypatch, FAKETIME_TIMESTAMP_FILE=str(moment), FAKETIME_NO_CACHE="1")
    command = workers.start()
    command.wait_until_ready()
    children = command.get_children()
    for shift in ("-3h", "+3h", "+0"):
        moment.write_text(shift)
        wait_until_all_ended(Job.objects.bulk_create([Job(name="ask") for _ in range(50)]))

    ledger.judge(Job.objects.all()).assert_all_is_well()
    assert command.get_children() == children
    assert not Attempt.objects.exclude(outcome="COMPLETED").exists()


def pretend(monkeypatch, **variables):
    """Let the processes that are started from now on see another time of day, but no other passing of it."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    assert library, "libfaketime is not installed (apt-get install faketime)."
    for name in ("FAKETIME", "FAKETIME_TIMESTAMP_FILE"):
        monkeypatch.delenv(name, raising=False)
    variables |= {"LD_PRELOAD": str(library), "DONT_FAKE_MONOTONIC": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
