"""Do something within a peer's project: `enqueue` the ids given as JSON, or tell the `states` of all."""

import json
import os
import sys
from importlib import import_module
from types import ModuleType

import django

from benchmarks.peers.catalogue import PEERS


def main() -> None:
    django.setup()
    project = import_module(f"benchmarks.peers.projects.{PEERS[os.environ['BENCH_PEER']].module}")
    if sys.argv[1] == "enqueue":
        enqueue(project, json.load(sys.stdin))
    else:
        print(json.dumps(project.read_states()))


def enqueue(project: ModuleType, ids: list[str]) -> None:
    if hasattr(project, "enqueue_bulk"):
        project.enqueue_bulk(ids)
    else:
        for job_id in ids:
            project.enqueue(job_id)


if __name__ == "__main__":
    main()
