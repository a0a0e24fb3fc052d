"""The server is restarted under load: no worker exits, no job is lost or run twice."""

import signal
import threading
import time

import pytest
from django.db import connection

from dbq.models import Job
from dbq.states import State
from tests.chaos.load import assert_all_is_well, make_jobs
from tests.process.workers import wait_until, wait_until_drained

pytestmark = [
    pytest.mark.process,
    pytest.mark.chaos,
    pytest.mark.on("postgresql", "mysql"),
    pytest.mark.django_db(transaction=True),
]

JOBS = 400
# From the moment at which the server takes connections again to the next completed job.
RECOVERY_SECONDS = 5
WAYS = {
    "postgresql": {"politely": signal.SIGINT, "at once": signal.SIGQUIT, "killed": signal.SIGKILL},
    "mysql": {"politely": signal.SIGTERM, "killed": signal.SIGKILL},
}


@pytest.mark.fault(7)
@pytest.mark.parametrize("away", [0, 30])
@pytest.mark.parametrize("way", WAYS.get(connection.vendor, {"politely": None}))
def test_workers_outlive_a_restart_of_the_server(way, away, server, workers, ledger, record_property):
    command = workers.start("--processes", "2", "--threads", "2")
    command.wait_until_ready(2)
    children = command.get_children()
    make_jobs(JOBS)
    wait_until(lambda: ledger.get_size() > 5000, what="tasks run")

    server.stop(WAYS[connection.vendor][way])
    threading.Event().wait(away)
    server.start()
    seconds = measure_recovery()

    make_jobs(JOBS)
    wait_until_drained()
    record_property("seconds from the server's answer to a completed job", round(seconds, 2))
    assert_all_is_well(ledger)
    assert command.get_children() == children
    assert seconds <= RECOVERY_SECONDS


def measure_recovery():
    """Seconds until one more job is completed, on a server that has just come back."""
    began = time.monotonic()
    connection.close()
    completed = Job.objects.filter(state=State.COMPLETED)
    before = completed.count()
    assert before < JOBS, "The server was stopped too late: nothing was left to do."
    wait_until(lambda: completed.count() > before, what="a job completes")
    return time.monotonic() - began
