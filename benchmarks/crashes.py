"""Kill workers of dbq and of its peers with kill -9 and count what becomes of their jobs.

    make bench ARGS="crashes"
    make bench ARGS="crashes --only django-ox --jobs 200 --kills 4"

Every peer runs in an environment of its own, on a durable PostgreSQL of its own, once with its defaults
and once with what its documentation offers for this case; the dice are the same for all. Prints a table
and keeps it as JSON beside this file, peer by peer, so that a part can be measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import servers
from environment import ROOT, version_of

from benchmarks.engine import describe_machine
from benchmarks.outcome import Outcome, summarize
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.peer import Peer, Variant
from benchmarks.peers.project import Project
from benchmarks.storm import Storm

JOBS = 2_000
KILLS = 20
# For one peer in one setting: a third more than the longest recovery that a default promises takes.
BOUND_SECONDS = 600.0
LOG_LINES = 20


def main() -> None:
    options = parse()
    servers.stop_on_signals()
    for peer, variant in choose(options.only, options.setting):
        record = measure(peer, variant, options)
        keep(options.output, record)
        print(f"{peer.name}, {variant.name}: {record['outcome']}", file=sys.stderr, flush=True)
    print(make_table(records := read(options.output)), make_notes(records), sep="\n\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="crashes", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=sorted(PEERS))
    parser.add_argument("--setting", choices=("default", "best"))
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--bound", type=float, default=BOUND_SECONDS, help="seconds for each setting")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "crashes.json")
    return parser.parse_args()


def choose(names: list[str] | None, setting: str | None) -> Iterator[tuple[Peer, Variant]]:
    for peer in PEERS.values():
        for variant in peer.variants:
            if (not names or peer.name in names) and setting in (None, variant.name):
                yield peer, variant


def measure(peer: Peer, variant: Variant, options: argparse.Namespace) -> dict[str, Any]:
    with servers.postgresql(durable=True) as url, tempfile.TemporaryDirectory() as folder:
        project = Project(peer, variant, url, Path(folder))
        project.prepare()
        outcome = Storm(project, options.jobs, options.kills, options.bound).run()
        if not outcome.runs:
            sys.exit(f"No job of {peer.name} ever started:\n{read_logs(Path(folder))}")
    return describe(project, outcome, options)


def read_logs(folder: Path) -> str:
    logs = sorted(folder.glob("*.log"))
    return "\n".join(line for log in logs for line in log.read_text().splitlines()[-LOG_LINES:])


# What is kept


def describe(project: Project, outcome: Outcome, options: argparse.Namespace) -> dict[str, Any]:
    versions = project.virtual.read_versions()
    figures = asdict(outcome)
    kills = figures.pop("kills")
    figures |= {
        "kills": sum(not kill["is_whole"] for kill in kills),
        "whole_kills": sum(kill["is_whole"] for kill in kills),
        "seconds": round(outcome.seconds, 1),
        "recoveries": summarize(outcome.recoveries),
        "whole_recoveries": summarize(outcome.whole_recoveries),
    }
    return {
        "peer": project.peer.name,
        "setting": project.variant.name,
        "options": project.variant.options,
        "promise": project.peer.promise,
        "version": versions[project.peer.distribution],
        "versions": versions,
        "python": version_of(project.virtual.python),
        "machine": describe_machine()["cores"],
        "day": date.today().isoformat(),
        "commit": read_commit(),
        "wanted_kills": options.kills,
        "bound": options.bound,
        "fair_seconds": project.variant.fair_seconds,
        "outcome": figures,
    }


def read_commit() -> str | None:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    asked = subprocess.run(command, capture_output=True, text=True)
    return asked.stdout.strip() or None


def keep(output: Path, record: dict[str, Any]) -> None:
    """Put a record in the place of the one it replaces."""
    others = [each for each in read(output) if not is_same(each, record)]
    output.write_text(json.dumps([*others, record], indent=1) + "\n")


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["peer"], one["setting"]) == (other["peer"], other["setting"])


def read(output: Path) -> list[dict[str, Any]]:
    return json.loads(output.read_text()) if output.exists() else []


# The table

HEAD = (
    "peer",
    "setting",
    "jobs",
    "kills: process / whole",
    "lost",
    "stuck",
    "failed",
    "phantom",
    "run again",
    "without a kill",
    "hit, never again",
    "recovery: process",
    "recovery: whole",
    "end",
)


def make_table(records: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|" + "--:|" * (len(HEAD) - 3) + "---|"]
    lines += ["| " + " | ".join(make_row(record)) + " |" for record in arrange(records)]
    return "\n".join(lines)


def arrange(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    order = [(peer.name, variant.name) for peer, variant in choose(None, None)]
    return sorted(records, key=lambda record: order.index((record["peer"], record["setting"])))


def make_row(record: dict[str, Any]) -> list[str]:
    figures = record["outcome"]
    counts = [
        figures[name] for name in ("lost", "stuck", "failed", "phantom", "repeated", "unexplained", "never")
    ]
    return [
        f"{record['peer']} {record['version']}",
        record["setting"],
        f"{figures['jobs']:,}",
        f"{figures['kills']} / {figures['whole_kills']}",
        *map(str, counts),
        show_times(figures["recoveries"]),
        show_times(figures["whole_recoveries"]),
        show_end(record),
    ]


def show_times(times: dict[str, float] | None) -> str:
    return f"{times['p50']} / {times['worst']} s" if times else "–"


def show_end(record: dict[str, Any]) -> str:
    figures = record["outcome"]
    if figures["has_drained"]:
        return f"drained in {figures['seconds']:.0f} s"
    if figures["is_out_of_time"]:
        return f"not drained within {record['bound']:.0f} s"
    return f"nothing moved for {record['fair_seconds']:.0f} s"


def make_notes(records: list[dict[str, Any]]) -> str:
    """The settings and the promises behind the table, and with what it was measured."""
    return "\n".join(
        f"- **{record['peer']} {record['version']}, {record['setting']}**: {record['options']}. "
        f"Promise: {record['promise']}. "
        f"Python {record['python']}, Django {record['versions']['django']}, {record['day']}."
        for record in arrange(records)
    )
