"""dbq itself, from this checkout."""

from benchmarks.peers.dbq import DBQ
from benchmarks.peers.speed.contender import NEXT_YEAR, Contender, Copies, Pace, Tables

FOLDER = "benchmarks.peers.speed.projects.dbq"
JOBS = {kind: [f"{FOLDER}.perform"] for kind in ("note", "rest-1", "rest-20")}
JOBS["first"] = [f"{FOLDER}.{task}" for task in ("first", "second", "third")]
WORKER = ("python", "-m", "django", "worker")
# In the order of time, as those that dbq makes, and before all of them.
UUID7 = "(lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid"
TUNED = {"JOBS": JOBS, "DBQ": {"PREFETCH": 2000}}

CONTENDER = Contender(
    name="dbq",
    module="dbq",
    requirements=DBQ.requirements,
    applications=DBQ.applications,
    databases=("postgresql", "sqlite", "mariadb"),
    tables=Tables(
        # Claimable and running, each by its index: a walk through ten million rows takes as long
        # as a drain, and would be counted to it.
        unfinished="SELECT (SELECT count(*) FROM dbq_job WHERE lane = 1)"
        " + (SELECT count(*) FROM dbq_job WHERE lane = 3)",
        names=("dbq_job", "dbq_attempt"),
        finished=(
            Copies("dbq_attempt", "outcome = 'COMPLETED'", {"id": "-n", "job_id": UUID7}),
            Copies("dbq_job", "state = 'COMPLETED'", {"id": UUID7}),
        ),
        scheduled=(Copies("dbq_job", "lane = 1", {"id": UUID7, "lane": "2", "run_after": NEXT_YEAR}),),
    ),
    paces={
        "default": Pace("manage.py worker", WORKER, settings={"JOBS": JOBS}),
        "tuned": Pace("PREFETCH 2000", WORKER, settings=TUNED),
        "two": Pace("PREFETCH 2000, --processes 2", (*WORKER, "--processes", "2"), settings=TUNED),
        "single": Pace("manage.py worker", WORKER, settings={"JOBS": JOBS}),
    },
)
