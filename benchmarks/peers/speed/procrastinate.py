"""procrastinate with its own connector, which is quicker than the one for Django."""

from benchmarks.peers.procrastinate import PROCRASTINATE
from benchmarks.peers.speed.contender import NEXT_YEAR, NUMBER, Contender, Copies, Pace, Tables

WORKER = ("procrastinate", "--app", "benchmarks.peers.speed.projects.procrastinate.app", "worker")
TUNED = (*WORKER, "--concurrency", "5")
POOL = {"BENCH_POOL": "4"}

CONTENDER = Contender(
    name="procrastinate",
    module="procrastinate",
    requirements=PROCRASTINATE.requirements,
    tables=Tables(
        unfinished="SELECT count(*) FROM procrastinate_jobs"
        " WHERE status IN ('todo', 'doing') AND (scheduled_at IS NULL OR scheduled_at <= now())",
        names=("procrastinate_jobs", "procrastinate_events"),
        finished=(
            Copies("procrastinate_jobs", "status = 'succeeded'", {"id": NUMBER}),
            Copies("procrastinate_events", "type = 'deferred'", {"id": "-3 * n", "job_id": NUMBER}),
            Copies("procrastinate_events", "type = 'started'", {"id": "-3 * n - 1", "job_id": NUMBER}),
            Copies("procrastinate_events", "type = 'succeeded'", {"id": "-3 * n - 2", "job_id": NUMBER}),
        ),
        scheduled=(
            Copies("procrastinate_jobs", "status = 'todo'", {"id": NUMBER, "scheduled_at": NEXT_YEAR}),
        ),
    ),
    paces={
        "default": Pace("procrastinate worker: concurrency 1, PsycopgConnector, async task", WORKER),
        "tuned": Pace("--concurrency 5, pool of 4 connections, async task", TUNED, variables=POOL),
        "two": Pace("two of the tuned", TUNED, 2, variables=POOL),
        "single": Pace("as default: concurrency 1", WORKER),
    },
)
