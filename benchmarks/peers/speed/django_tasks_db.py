"""django-tasks-db: the reference backend of Django's own tasks."""

from benchmarks.peers.django_tasks_db import DJANGO_TASKS_DB
from benchmarks.peers.speed.contender import NEXT_YEAR, UUID, Contender, Copies, Pace, Tables

SETTINGS = {"TASKS": {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}}
WORKER = ("python", "-m", "django", "db_worker")
TUNED = (*WORKER, "-v0")
PERSISTENT = {"CONN_MAX_AGE": None}
TABLE = "django_tasks_database_dbtaskresult"

CONTENDER = Contender(
    name="django-tasks-db",
    module="django_tasks_db",
    requirements=DJANGO_TASKS_DB.requirements,
    applications=DJANGO_TASKS_DB.applications,
    databases=("postgresql", "sqlite", "mariadb"),
    tables=Tables(
        # What is due at once bears the year 9999.
        unfinished=f"SELECT count(*) FROM {TABLE} WHERE status IN ('READY', 'RUNNING')"
        " AND (run_after <= now() OR run_after > '9000-01-01')",
        names=(TABLE,),
        finished=(Copies(TABLE, "status = 'SUCCESSFUL'", {"id": UUID}),),
        scheduled=(Copies(TABLE, "status = 'READY'", {"id": UUID, "run_after": NEXT_YEAR}),),
    ),
    paces={
        "default": Pace(
            "manage.py db_worker: one task at a time, interval 1 s, CONN_MAX_AGE=0",
            WORKER,
            settings=SETTINGS,
        ),
        "tuned": Pace("CONN_MAX_AGE=None, -v0 (no log of each task)", TUNED, 1, SETTINGS, PERSISTENT),
        "two": Pace("two of the tuned", TUNED, 2, SETTINGS, PERSISTENT),
        "single": Pace("as tuned", TUNED, 1, SETTINGS, PERSISTENT),
    },
)
