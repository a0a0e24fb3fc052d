"""What was measured, kept as JSON after every measurement, so that a part can be measured again."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from environment import version_of

from benchmarks.crashes import read_commit
from benchmarks.peers.environments import PeerEnvironment
from benchmarks.peers.speed.contender import Contender
from benchmarks.throughput.databases import SETTINGS

# What figures depend on beside the queue itself.
DRIVERS = ("psycopg", "asyncpg", "pymysql", "uvloop", "typer")


@dataclass(frozen=True)
class Record:
    """One measurement of one contender."""

    contender: str
    database: str
    measure: str
    repeat: int
    figures: dict[str, Any]
    # Why there are none: something went wrong, or there is no such thing.
    error: str | None
    missing: str | None
    took: float

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {show(value)}" for name, value in self.figures.items())
        outcome = f"FAILED: {self.error}" if self.error else self.missing or shown
        return f"[{self.took:5.1f} s] {self.database} {self.measure} {self.contender}: {outcome}"


def show(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and value < 1000 else f"{value:,.0f}"


class Records:
    """The file of records: new ones take the place of those of an earlier run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = json.loads(path.read_text()) if path.exists() else {}
        for part in ("runs", "records"):
            self.content.setdefault(part, [])
        for part in ("servers", "contenders"):
            self.content.setdefault(part, {})
        self._renewed: set[tuple[str, str, str]] = set()

    def begin(self, run: dict[str, Any]) -> None:
        self.content["runs"].append(run)

    def describe(self, name: str, description: dict[str, Any]) -> None:
        self.content["contenders"][name] = description
        # An earlier failure to install it is history.
        self.content["records"] = [
            each
            for each in self.content["records"]
            if (each["contender"], each["measure"]) != (name, "install")
        ]

    def note_server(self, vendor: str, version: str) -> None:
        self.content["servers"][vendor] = {"version": version, "settings": SETTINGS[vendor]}

    def keep(self, record: Record) -> None:
        key = (record.contender, record.database, record.measure)
        if key not in self._renewed:
            self._renewed.add(key)
            self.content["records"] = [each for each in self.content["records"] if find_key(each) != key]
        self.content["records"].append(asdict(record))
        self._drop_unused_runs()
        self.path.write_text(json.dumps(self.content, indent=1) + "\n")

    def _drop_unused_runs(self) -> None:
        """Forget earlier runs once a whole one has begun."""
        if self.content["runs"][-1]["command"] == "":
            self.content["runs"] = self.content["runs"][-1:]


def find_key(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["contender"], record["database"], record["measure"]


def describe_run(arguments: str) -> dict[str, Any]:
    return {
        "command": arguments,
        "day": date.today().isoformat(),
        "commit": read_commit(),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "architecture": platform.machine(),
            "system": platform.system(),
        },
    }


def describe_contender(contender: Contender) -> dict[str, Any]:
    environment = PeerEnvironment.of(contender)
    versions = environment.read_versions()
    wanted = [*DRIVERS, "django"] if contender.applications else DRIVERS
    return {
        "version": versions[contender.distribution.lower()],
        "python": version_of(environment.python),
        "libraries": {name: versions[name] for name in wanted if name in versions},
        "paces": {name: pace.options for name, pace in contender.paces.items()},
        "remarks": list(contender.remarks),
    }
