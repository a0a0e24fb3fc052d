"""django-q2 with its ORM broker."""

from typing import Any

from benchmarks.peers.django_q2 import DJANGO_Q2
from benchmarks.peers.speed.contender import Contender, Copies, Pace, Tables

WORKER = ("python", "-m", "django", "qcluster")
PERSISTENT = {"CONN_MAX_AGE": None}


def make_settings(**options: Any) -> dict[str, Any]:
    return {"Q_CLUSTER": {"name": "bench", "orm": "default", **options}}


def make_fast_settings(**options: Any) -> dict[str, Any]:
    return make_settings(bulk=50, queue_limit=500, save_limit=-1, log_level="WARNING", **options)


CONTENDER = Contender(
    name="django-q2",
    module="django_q2",
    requirements=DJANGO_Q2.requirements,
    applications=DJANGO_Q2.applications,
    databases=("postgresql", "sqlite", "mariadb"),
    tables=Tables(
        unfinished="SELECT count(*) FROM django_q_ormq",
        names=("django_q_ormq", "django_q_task"),
        finished=(Copies("django_q_task", "success", {"id": "md5(n::text)"}),),
    ),
    paces={
        "default": Pace(
            "manage.py qcluster: as many worker processes as cores, bulk 1, save_limit 250",
            WORKER,
            settings=make_settings(),
        ),
        "tuned": Pace(
            "workers=1, bulk=50, queue_limit=500, save_limit=-1 (successes are not stored),"
            " CONN_MAX_AGE=None, log WARNING",
            WORKER,
            settings=make_fast_settings(workers=1),
            database=PERSISTENT,
        ),
        "two": Pace(
            "as tuned, workers=2",
            WORKER,
            settings=make_fast_settings(workers=2),
            database=PERSISTENT,
        ),
        "single": Pace(
            "as tuned: workers=1", WORKER, settings=make_fast_settings(workers=1), database=PERSISTENT
        ),
    },
    remarks=(
        "django-q2 runs four processes around its worker processes; what is scheduled does not wait in its"
        " queue; the finished jobs beside its drain are such as its default keeps the last 250 of",
    ),
)
