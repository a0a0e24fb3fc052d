"""A standby takes over: workers follow, and no committed job is lost."""

import signal
import time

import pytest

from dbq.models import Job
from dbq.states import State
from tests.chaos.load import assert_all_is_well, make_jobs
from tests.chaos.servers import ask, find_servers, lead_to, serve
from tests.process.workers import wait_until, wait_until_drained

pytestmark = [
    pytest.mark.process,
    pytest.mark.chaos,
    pytest.mark.on("postgresql"),
    pytest.mark.django_db(transaction=True),
]

JOBS = 800


@pytest.mark.fault(8)
def test_workers_follow_a_fail_over_to_a_synchronous_standby(workers, ledger, record_property):
    with serve() as primary, find_servers().serve_standby(primary) as standby:
        with lead_to(primary.port):
            ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
            ask("SELECT pg_reload_conf()")
            wait_until(lambda: ask("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))
            either = {"HOST": "127.0.0.1,127.0.0.1", "PORT": f"{primary.port},{standby.port}"}
            options = {"target_session_attrs": "read-write"}
            command = workers.start("--processes", "2", "--threads", "2", database=either, options=options)
            command.wait_until_ready(2)
            children = command.get_children()
            make_jobs(JOBS)
            wait_until(lambda: ledger.get_size() > 5000, what="tasks run")
            primary.stop(signal.SIGQUIT)
        with lead_to(standby.port):
            began = time.monotonic()
            assert ask("SELECT pg_promote(true, 30)") == [(True,)]
            promoted = time.monotonic()
            completed = Job.objects.filter(state=State.COMPLETED)
            before = completed.count()
            assert before < JOBS
            wait_until(lambda: completed.count() > before, what="a job completes")
            record_property("seconds to promote", round(promoted - began, 2))
            record_property("seconds from then to a completed job", round(time.monotonic() - promoted, 2))

            wait_until_drained()
            assert Job.objects.count() == JOBS
            assert_all_is_well(ledger)
            assert command.get_children() == children
            command.end()
