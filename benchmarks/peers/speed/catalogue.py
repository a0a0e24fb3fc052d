"""All that are measured for speed, by name."""

from benchmarks.peers.speed import (
    chancy,
    dbq,
    django_ox,
    django_q2,
    django_tasks_db,
    floor,
    huey,
    oban,
    pgqueuer,
    procrastinate,
)

MODULES = (floor, dbq, pgqueuer, chancy, oban, procrastinate, django_q2, django_ox, django_tasks_db, huey)
CONTENDERS = {module.CONTENDER.name: module.CONTENDER for module in MODULES}
