"""pgqueuer: asyncio on PostgreSQL; what is done leaves its table for a log."""

from benchmarks.peers.speed.contender import NEXT_YEAR, NUMBER, Contender, Copies, Pace, Tables

RUN = ("pgq", "run", "benchmarks.peers.speed.projects.pgqueuer:make_manager")
TUNED = (*RUN, "--batch-size", "250", "--log-level", "WARNING")

CONTENDER = Contender(
    name="pgqueuer",
    module="pgqueuer",
    # A later typer hands the log level to pgqueuer 1.6.0 as a text, over which it stumbles.
    requirements=("pgqueuer[asyncpg]==1.6.0", "uvloop==0.22.1", "typer==0.16.0"),
    tables=Tables(
        unfinished="SELECT count(*) FROM pgqueuer WHERE execute_after <= now()",
        names=("pgqueuer", "pgqueuer_log"),
        # What it has counted already, as it does every half minute.
        finished=(
            Copies(
                "pgqueuer_log",
                "status = 'successful'",
                {"id": NUMBER, "job_id": NUMBER, "aggregated": "true"},
            ),
        ),
        scheduled=(Copies("pgqueuer", "status = 'queued'", {"id": NUMBER, "execute_after": NEXT_YEAR}),),
    ),
    paces={
        "default": Pace("pgq run: batch size 10, asyncpg, uvloop, async job", RUN),
        "tuned": Pace("--batch-size 250 --log-level WARNING", TUNED),
        "two": Pace("two of the tuned", TUNED, commands=2),
        "single": Pace("pgq run; an async job that sleeps holds the loop: one at a time", RUN),
    },
)
