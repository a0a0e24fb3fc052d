"""dbq itself, from this checkout."""

from benchmarks.peers.peer import Peer, Variant

JOBS = {"perform": ["benchmarks.peers.projects.dbq.perform"]}

DBQ = Peer(
    name="dbq",
    module="dbq",
    requirements=("dbq-django[postgres]",),
    applications=("django.contrib.auth", "django.contrib.contenttypes", "dbq"),
    worker=("worker", "--processes", "2"),
    commands=2,
    promise="no job is lost; those of a dead worker run again within lease + sweep, those of a dead child "
    "of a living supervisor within 2 s",
    completed=frozenset({"COMPLETED"}),
    failed=frozenset({"FAILED", "CANCELLED"}),
    variants=(
        Variant("default", "lease 60 s, sweep 10 s", {"JOBS": JOBS}, recovery_seconds=75),
        Variant(
            "best",
            "lease 15 s, heartbeat 5 s, sweep 5 s",
            {"JOBS": JOBS, "DBQ": {"LEASE_SECONDS": 15, "HEARTBEAT_SECONDS": 5, "SWEEP_SECONDS": 5}},
            recovery_seconds=23,
        ),
    ),
)
