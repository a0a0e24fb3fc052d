"""A virtual environment for each peer, with pinned versions, made when it is first asked for."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from environment import ROOT, Environment

from benchmarks.peers.peer import Peer
from benchmarks.peers.speed.contender import Contender

# The same for all. django-ox needs Python 3.12.
PYTHON = (3, 12)
SHARED = ("django==6.1.3", "psycopg[binary]==3.3.9", "pymysql==1.2.4")


@dataclass(frozen=True)
class PeerEnvironment(Environment):
    """The checkout's kind of environment, with a peer in it instead of the checkout."""

    name: str = ""
    requirements: tuple[str, ...] = ()

    @classmethod
    def of(cls, peer: Peer | Contender) -> PeerEnvironment:
        version = None if sys.version_info >= PYTHON else ".".join(map(str, PYTHON))
        environment = cls(python_version=version, name=peer.name, requirements=peer.requirements + SHARED)
        if peer.name == "dbq":
            environment = replace(environment, requirements=("--editable", f"{ROOT}[postgres]", *SHARED))
        return environment

    @property
    def directory(self) -> Path:
        return ROOT / ".venv-peers" / self.name

    def key(self) -> str:
        return hashlib.sha256("\n".join(self.requirements).encode()).hexdigest()

    def install(self, extras: list[str]) -> None:
        print(f"Installing {self.name} in {self.directory}.", file=sys.stderr)
        for installer in self.installers():
            if subprocess.run([*installer, *self.requirements], cwd=ROOT).returncode == 0:
                return
        sys.exit("The installation failed; the reason is above.")

    def read_versions(self) -> dict[str, str]:
        """What is installed, by the name of the distribution."""
        code = (
            "import importlib.metadata as m, json;"
            "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
        )
        asked = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)
        return json.loads(asked.stdout)
