"""oban: the Python port of Elixir's Oban, on asyncio and PostgreSQL."""

from benchmarks.peers.speed.contender import Contender, Copies, Pace, Tables

# It would search the working directory for periodic jobs.
WORKER = ("oban", "start", "--cron-modules", "benchmarks.peers.speed.projects.oban")
TUNED = (*WORKER, "--log-level", "warning")
SCHEDULED = {"id": "-n", "state": "'scheduled'", "scheduled_at": "now() + interval '1 year'"}


def serve(limit: int) -> dict[str, str]:
    return {"OBAN_QUEUES": f"default:{limit}"}


CONTENDER = Contender(
    name="oban",
    module="oban",
    requirements=("oban==0.7.0",),
    tables=Tables(
        unfinished="SELECT count(*) FROM oban_jobs WHERE state IN ('available', 'executing', 'retryable')",
        names=("oban_jobs",),
        finished=(Copies("oban_jobs", "state = 'completed'", {"id": "-n"}),),
        scheduled=(Copies("oban_jobs", "state = 'available'", SCHEDULED),),
    ),
    paces={
        "default": Pace("oban start --queues default:10, as in its README", WORKER, variables=serve(10)),
        "tuned": Pace("--queues default:200 --log-level warning", TUNED, variables=serve(200)),
        "two": Pace("two of the tuned", TUNED, 2, variables=serve(200)),
        "single": Pace("--queues default:1", WORKER, variables=serve(1)),
    },
)
