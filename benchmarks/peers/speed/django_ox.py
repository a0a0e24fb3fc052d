"""django-ox: Django's own tasks in the database, with a lease per task."""

from benchmarks.peers.django_ox import DJANGO_OX, make_settings
from benchmarks.peers.speed.contender import NEXT_YEAR, UUID, Contender, Copies, Pace, Tables

WORKER = ("python", "-m", "django", "ox_worker")
TUNED = (*WORKER, "--concurrency", "4")
PERSISTENT = {"CONN_MAX_AGE": None}

CONTENDER = Contender(
    name="django-ox",
    module="django_ox",
    requirements=DJANGO_OX.requirements,
    applications=DJANGO_OX.applications,
    databases=("postgresql", "sqlite", "mariadb"),
    tables=Tables(
        unfinished="SELECT count(*) FROM django_ox_oxtask"
        " WHERE status IN ('READY', 'RUNNING') AND (run_after IS NULL OR run_after <= now())",
        names=("django_ox_oxtask",),
        finished=(Copies("django_ox_oxtask", "status = 'SUCCESSFUL'", {"id": UUID}),),
        scheduled=(Copies("django_ox_oxtask", "status = 'READY'", {"id": UUID, "run_after": NEXT_YEAR}),),
    ),
    paces={
        "default": Pace(
            "manage.py ox_worker: concurrency 1, interval 1 s, CONN_MAX_AGE=0",
            WORKER,
            settings=make_settings(),
        ),
        "tuned": Pace("CONN_MAX_AGE=None, --concurrency 4", TUNED, 1, make_settings(), PERSISTENT),
        "two": Pace("two of the tuned", TUNED, 2, make_settings(), PERSISTENT),
        "single": Pace("CONN_MAX_AGE=None, concurrency 1", WORKER, 1, make_settings(), PERSISTENT),
    },
)
