"""django-ox: Django's own tasks in the database, with a lease per task."""

from typing import Any

from benchmarks.peers.peer import Peer, Variant


def make_settings(**options: Any) -> dict[str, Any]:
    return {"TASKS": {"default": {"BACKEND": "django_ox.backend.OxBackend", "OPTIONS": options}}}


DJANGO_OX = Peer(
    name="django-ox",
    module="django_ox",
    requirements=("django-ox==1.9.1",),
    applications=("django_ox",),
    worker=("ox_worker",),
    commands=4,
    promise="at least once; a task whose lease has run out goes back on the queue",
    completed=frozenset({"SUCCESSFUL"}),
    failed=frozenset({"FAILED", "LOST", "DISCARDED"}),
    variants=(
        # Reapers look every half lease, but at least every 30 s.
        Variant("default", "LOCK_TIMEOUT 300 s", make_settings(), recovery_seconds=330),
        Variant("best", "LOCK_TIMEOUT 15 s", make_settings(LOCK_TIMEOUT=15), recovery_seconds=23),
    ),
)
