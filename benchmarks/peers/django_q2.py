"""django-q2 with its ORM broker: what is not acknowledged in time is delivered again."""

from typing import Any

from benchmarks.peers.peer import GONE, Peer, Variant


def make_settings(**options: Any) -> dict[str, Any]:
    return {"Q_CLUSTER": {"name": "bench", "orm": "default", "workers": 2, **options}}


DJANGO_Q2 = Peer(
    name="django-q2",
    module="django_q2",
    requirements=("django-q2==1.11.1",),
    applications=("django.contrib.auth", "django.contrib.contenttypes", "django_q"),
    worker=("qcluster",),
    commands=2,
    promise="delivers again what was not acknowledged within `retry`",
    # It keeps the last 250 successes only; what was acknowledged leaves its queue.
    completed=frozenset({"success", GONE}),
    failed=frozenset({"failure"}),
    variants=(
        Variant("default", "retry 60 s, no timeout", make_settings(), recovery_seconds=60),
        Variant(
            "best",
            "retry 40 s, timeout 30 s, ack_failures, max_attempts 5",
            make_settings(timeout=30, retry=40, ack_failures=True, max_attempts=5),
            recovery_seconds=40,
        ),
    ),
)
