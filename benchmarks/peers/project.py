"""A peer's project seen from outside: its environment, and what can be asked of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from environment import ROOT

from benchmarks.peers.environments import PeerEnvironment
from benchmarks.peers.peer import GONE, Peer, Variant

ASKING_SECONDS = 300


class Project:
    """One peer, set up in one way, on one database, with a folder for what its jobs write."""

    def __init__(self, peer: Peer, variant: Variant, url: str, folder: Path) -> None:
        self.peer = peer
        self.variant = variant
        self.folder = folder
        self.virtual = PeerEnvironment.of(peer)
        # Nothing of the caller's own Django or Python may reach the peer.
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = inherited | {
            "BENCH_PEER": peer.name,
            "BENCH_VARIANT": variant.name,
            "BENCH_LEDGER": str(folder),
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.peers.projects.settings",
            "PYTHONPATH": str(ROOT),
        }

    @property
    def worker_command(self) -> list[str]:
        return [str(self.virtual.python), "-m", "django", *self.peer.worker]

    def prepare(self) -> None:
        """Install what it needs and make its tables."""
        self.virtual.ensure()
        self._run("-m", "django", "migrate", "-v0")

    def enqueue(self, ids: list[str]) -> None:
        """Create a job for each id, in bulk if the peer can."""
        self._run("-m", "benchmarks.peers.projects.act", "enqueue", given=json.dumps(ids))

    def read_states(self, ids: Iterable[str]) -> dict[str, str]:
        """The state of each job, in the peer's own words."""
        states = json.loads(self._run("-m", "benchmarks.peers.projects.act", "states"))
        return {job_id: states.get(job_id, GONE) for job_id in ids}

    def _run(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [self.virtual.python, *arguments],
            cwd=ROOT,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=ASKING_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"{self.peer.name}: {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
        return done.stdout
