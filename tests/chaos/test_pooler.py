"""PgBouncer between workers and their database: a session is theirs for one transaction only."""

import pytest
from django.db import connection

from dbq.models import Job
from tests.chaos.load import assert_all_is_well, make_jobs
from tests.chaos.servers import ask, find_servers
from tests.process.workers import wait_until, wait_until_drained

pytestmark = [
    pytest.mark.process,
    pytest.mark.chaos,
    pytest.mark.on("postgresql"),
    pytest.mark.django_db(transaction=True),
]

SESSIONS = 4
KILLS = 6


@pytest.mark.fault(13)
def test_workers_share_few_sessions_through_a_pooler_and_lose_nothing_when_killed(
    workers, ledger, record_property
):
    port = int(connection.settings_dict["PORT"])
    with find_servers().serve_pgbouncer(port, f"default_pool_size={SESSIONS}") as pooler:
        where = {"HOST": "127.0.0.1", "PORT": str(pooler.port), "DISABLE_SERVER_SIDE_CURSORS": True}
        command = workers.start("--processes", "3", "--threads", "2", database=where)
        command.wait_until_ready(3)
        command.wait_until_it_says("A pooler in front of the database keeps calls away")
        for _ in range(KILLS):
            make_jobs(300)
            goal = ledger.get_size() + 5000
            wait_until(lambda goal=goal: ledger.get_size() > goal, what="tasks run")
            command.kill(wait_until(command.get_children)[0])
        wait_until_drained()

        used = ask("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()")[0][0] - 1
        record_property("sessions on the server", used)
        verdict = ledger.judge(Job.objects.all(), workers.kills)
        record_property("repeats", len(verdict.duplicated))
        verdict.assert_all_is_well()
        assert used <= SESSIONS
        assert not ask(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        command.end()


@pytest.mark.fault(13)
def test_a_pooler_that_is_restarted_is_an_outage_like_any_other(workers, ledger):
    port = int(connection.settings_dict["PORT"])
    with find_servers().serve_pgbouncer(port, f"default_pool_size={SESSIONS}") as pooler:
        where = {"HOST": "127.0.0.1", "PORT": str(pooler.port), "DISABLE_SERVER_SIDE_CURSORS": True}
        command = workers.start("--processes", "2", database=where)
        command.wait_until_ready(2)
        children = command.get_children()
        make_jobs(600)
        wait_until(lambda: ledger.get_size() > 5000, what="tasks run")
        pooler.stop()
        pooler.start()
        wait_until_drained()

        assert_all_is_well(ledger)
        assert command.get_children() == children
        command.end()
