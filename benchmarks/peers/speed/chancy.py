"""chancy: asyncio on PostgreSQL, with a choice of executors."""

import json
from typing import Any

from benchmarks.peers.speed.contender import NEXT_YEAR, UUID, Contender, Copies, Pace, Tables

WORKER = ("chancy", "--app", "benchmarks.peers.speed.projects.chancy.make_app", "worker", "start")


def declare(**queue: Any) -> dict[str, str]:
    quick = {
        "polling_interval": 1,
        "eager_polling": True,
        "executor": "chancy.executors.asyncex.AsyncExecutor",
    }
    return {"BENCH_QUEUE": json.dumps(quick | queue), "BENCH_JOB": "perform"}


CONTENDER = Contender(
    name="chancy",
    module="chancy",
    requirements=("chancy[cli]==0.26.0",),
    tables=Tables(
        unfinished="SELECT count(*) FROM chancy_jobs"
        " WHERE state IN ('pending', 'running', 'retrying') AND scheduled_at <= now()",
        names=("chancy_jobs",),
        finished=(Copies("chancy_jobs", "state = 'succeeded'", {"id": UUID}),),
        scheduled=(Copies("chancy_jobs", "state = 'pending'", {"id": UUID, "scheduled_at": NEXT_YEAR}),),
    ),
    paces={
        "default": Pace(
            "worker start, default Queue: as many processes as cores, poll every 5 s",
            WORKER,
            variables={"BENCH_QUEUE": "{}", "BENCH_JOB": "perform_alone"},
        ),
        "tuned": Pace(
            "Queue(executor=AsyncExecutor, concurrency=1000, polling_interval=1, eager_polling=True),"
            " log WARNING, async job",
            WORKER,
            variables=declare(concurrency=1000),
        ),
        "two": Pace("two of the tuned", WORKER, 2, variables=declare(concurrency=1000)),
        "single": Pace("as tuned, concurrency=1", WORKER, variables=declare(concurrency=1)),
    },
    remarks=("chancy writes completions once a second, whatever its options",),
)
