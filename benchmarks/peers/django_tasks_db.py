"""django-tasks-db: the reference backend of Django's own tasks."""

from benchmarks.peers.peer import Peer, Variant

DJANGO_TASKS_DB = Peer(
    name="django-tasks-db",
    module="django_tasks_db",
    requirements=("django-tasks-db==0.13.0",),
    applications=("django_tasks_db",),
    worker=("db_worker",),
    commands=4,
    promise="none: a task of a dead worker stays RUNNING",
    completed=frozenset({"SUCCESSFUL"}),
    failed=frozenset({"FAILED"}),
    variants=(
        Variant(
            "default",
            "there is no option about dead workers",
            {"TASKS": {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}},
        ),
    ),
)
