"""Every fault of the catalogue, on each database, with a report of what came of each."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import packages
import suite
from databases import DATABASES
from environment import ROOT
from runs import Run
from servers import stop_on_signals

sys.path.insert(0, str(ROOT))
from tests.chaos.catalogue import FAULTS

Outcomes = dict[str, dict]

# They last, and load a machine little: all databases at the same time, when the others are done.
SIDE_BY_SIDE = {50}


def main() -> None:
    options, arguments = parse()
    chosen = options.only or list(DATABASES)
    options.folder.mkdir(parents=True, exist_ok=True)
    packages.install(missing_packages(chosen))
    stop_on_signals()
    began = time.monotonic()
    wanted = options.fault or list(FAULTS)
    with ExitStack() as stack:
        runs, left_out = suite.prepare(chosen, stack)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbq-suite-")))
        lasting = [stack.enter_context(replace(run, directory=directory)) for run in runs]
        run_in_turn(runs, set(wanted) - SIDE_BY_SIDE, options.folder, arguments)
        run_together(lasting, set(wanted) & SIDE_BY_SIDE, options.folder, arguments)
        results = {
            run.name: read_outcomes(run) | read_outcomes(last)
            for run, last in zip(runs, lasting, strict=True)
        }
    text = write_report(wanted, results, runs, left_out, time.monotonic() - began)
    report = options.folder / "report.md"
    report.write_text(text)
    print(f"\n{text}\nWritten to {report}.")
    is_whole = not options.fault and not arguments
    has_failed = any(run.has_failed for run in (*runs, *lasting) if run.process)
    sys.exit(has_failed or (is_whole and bool(find_gaps(results))))


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="scripts/dev.py chaos",
        description=__doc__,
        epilog="Everything else goes to pytest.",
        allow_abbrev=False,
    )
    parser.add_argument("--only", action="append", choices=DATABASES, help="may be repeated")
    parser.add_argument("--fault", action="append", type=int, choices=FAULTS, metavar="NUMBER")
    parser.add_argument("--folder", type=Path, default=ROOT / "chaos-report", help="for the report")
    return parser.parse_known_args()


def missing_packages(chosen: list[str]) -> list[str]:
    missing = suite.missing_packages(chosen)
    # Debian keeps servers where only root's PATH looks.
    if "postgresql" in chosen and not shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"):
        missing.append("pgbouncer")
    if not shutil.which("faketime"):
        missing.append("faketime")
    return missing


def run_in_turn(runs: list[Run], faults: set[int], folder: Path, arguments: list[str]) -> None:
    for run in runs if faults else []:
        start(run, faults, folder, arguments, aside=False)
        run.wait()


def run_together(runs: list[Run], faults: set[int], folder: Path, arguments: list[str]) -> None:
    for run in runs if faults else []:
        start(run, faults, folder, arguments, aside=True)
    for run in runs if faults else []:
        run.wait()
        print(f"== {run.name}\n{run.output.read_text(errors='replace')}", flush=True)


def start(run: Run, faults: set[int], folder: Path, arguments: list[str], *, aside: bool) -> None:
    """Run the tests of these faults on one database."""
    markers = "fault" if run.name == "sqlite" else "fault and not once"
    selection = ["-p", "tests.chaos.report", "-m", markers]
    variables = {
        "DBQ_CHAOS_REPORT": str(get_path(run)),
        "DBQ_CHAOS_FOLDER": str(folder),
        "DBQ_CHAOS_FAULTS": ",".join(map(str, sorted(faults))),
    }
    run.start([*selection, *arguments], variables, aside=aside)


def read_outcomes(run: Run) -> Outcomes:
    path = get_path(run)
    return json.loads(path.read_text()) if path.exists() else {}


def get_path(run: Run) -> Path:
    return run.directory / f"{run.name}.json"


# The report


def write_report(
    numbers: list[int], results: dict[str, Outcomes], runs: list[Run], left_out: list[str], seconds: float
) -> str:
    lines = ["# Faults, and what came of them", ""]
    lines += [f"- {run.product}" for run in runs]
    lines += [f"- left out: {reason}" for reason in left_out]
    lines += [f"- Python {platform.python_version()}, Django {version('django')}, {os.cpu_count()} cores"]
    lines += [f"- {seconds / 60:.0f} minutes in all", ""]
    lines += [f"| | fault | {' | '.join(results)} |", f"|--:|---|{'---|' * len(results)}"]
    for number in numbers:
        cells = [describe(number, name, results) for name in results]
        lines.append(f"| {number} | {FAULTS[number].title} | {' | '.join(cells)} |")
    lines += ["", "## Figures", "", *write_figures(results)]
    return "\n".join(lines) + "\n"


def describe(number: int, database: str, results: dict[str, Outcomes]) -> str:
    """What came of one fault on one database, in a cell of the table."""
    tried = find_tried(number, results[database])
    failed = [test for test in tried if test["outcome"] != "passed"]
    if failed:
        return f"**failed** ({len(failed)} of {len(tried)})"
    if tried:
        seconds = sum(test["seconds"] for test in tried)
        return f"survived ({len(tried)} test{'s' if len(tried) > 1 else ''}, {seconds:.0f} s)"
    if reason := FAULTS[number].explain(database):
        return reason
    if any(test["is_once"] for test in find_tried(number, results.get("sqlite", {}))):
        return "as on SQLite: no database takes part"
    return "**not tried**"


def find_tried(number: int, tests: Outcomes) -> list[dict]:
    return [test for test in tests.values() if number in test["faults"] and test["outcome"] != "skipped"]


def write_figures(results: dict[str, Outcomes]) -> list[str]:
    lines = []
    for database, tests in results.items():
        for name, test in tests.items():
            for figure, value in test["figures"].items():
                lines.append(f"- {database}, {name.rpartition('::')[2]}: {figure} {value}")
    return lines or ["None were taken."]


def find_gaps(results: dict[str, Outcomes]) -> list[tuple[int, str]]:
    """Faults that no test tried on a database, without a reason."""
    return [
        (number, database)
        for number in FAULTS
        for database in results
        if describe(number, database, results) == "**not tried**"
    ]


if __name__ == "__main__":
    main()
