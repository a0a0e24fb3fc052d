"""procrastinate, as its documentation installs it in a Django project."""

from typing import Any

from benchmarks.peers.peer import Peer, Variant


def make_settings(retry_stalled: bool) -> dict[str, Any]:
    return {
        "PROCRASTINATE_IMPORT_PATHS": ["benchmarks.peers.projects.procrastinate"],
        "BENCH_RETRY_STALLED": retry_stalled,
    }


PROCRASTINATE = Peer(
    name="procrastinate",
    module="procrastinate",
    requirements=("procrastinate[django]==3.10.0",),
    applications=("procrastinate.contrib.django",),
    worker=("procrastinate", "worker"),
    commands=4,
    promise="none by itself; its documentation has a periodic task that retries jobs of dead workers",
    completed=frozenset({"succeeded"}),
    failed=frozenset({"failed", "cancelled", "aborted"}),
    variants=(
        Variant("default", "without the periodic task", make_settings(False)),
        Variant(
            "best",
            "the documented periodic task, every minute (there: every ten), heartbeats 30 s old",
            make_settings(True),
            recovery_seconds=100,
        ),
    ),
)
