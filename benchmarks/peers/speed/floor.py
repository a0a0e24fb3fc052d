"""No queue at all: the least that a worker on PostgreSQL does, as a floor under the others."""

from benchmarks.peers.speed.contender import NUMBER, Contender, Copies, Pace, Tables

WORKER = ("python", "-m", "benchmarks.peers.speed.projects.floor")

CONTENDER = Contender(
    name="floor",
    module="floor",
    requirements=("psycopg[binary]==3.3.9",),
    tables=Tables(
        unfinished="SELECT count(*) FROM floor_job WHERE state IN (0, 1)",
        names=("floor_job",),
        finished=(Copies("floor_job", "state = 2", {"id": NUMBER}),),
        scheduled=(Copies("floor_job", "state = 0", {"id": NUMBER, "state": "3"}),),
    ),
    paces={
        "default": Pace("claims 1 and completes 1, each in a transaction", (*WORKER, "1")),
        "tuned": Pace("claims 100 and completes 100, each in a transaction", (*WORKER, "100")),
        "two": Pace("two of the tuned", (*WORKER, "100"), commands=2),
        "single": Pace("claims 1 and completes 1", (*WORKER, "1")),
    },
    remarks=(
        "floor is not a queue: one table and a loop over psycopg, without retries, leases or history; it"
        " shows what the server and the driver leave to everything else",
    ),
)
