"""Measure the speed of dbq beside that of its peers, each in an environment of its own.

    make bench
    make bench ARGS="peers --only dbq --only pgqueuer --measure drain_tuned --repeats 5"
    make bench ARGS="peers --quick"

All run the same jobs, which leave a line each: a run whose lines do not show every job exactly once is
an error. The repetitions go round all contenders, so that a slow minute of the machine hits all alike.
Writes benchmarks/throughput.json, whose figures a partial run replaces in part, and from it
docs/throughput.md and docs/throughput.svg, which `--document` writes again without measuring; `--quick`,
a rehearsal, keeps its records beside the others.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import servers
from environment import ROOT

from benchmarks.lines import NotExactlyOnce
from benchmarks.peers.environments import PeerEnvironment
from benchmarks.peers.speed.catalogue import CONTENDERS
from benchmarks.peers.speed.contender import Contender
from benchmarks.throughput.databases import serve
from benchmarks.throughput.document import write_documents
from benchmarks.throughput.measures import MEASURES, QUICK, Bench, Measure, Missing, Scale
from benchmarks.throughput.records import Record, Records, describe_contender, describe_run
from benchmarks.throughput.setups import Failure

REPEATS = 3
VENDORS = ("postgresql", "sqlite", "mariadb")


def main() -> None:
    options = parse()
    records = Records(ROOT / "benchmarks" / ("throughput-quick.json" if options.quick else "throughput.json"))
    failures = 0 if options.document else measure(records, options)
    if not options.quick:
        write_documents(records.content)
    sys.exit(f"{failures} measurements failed; the notes say why." if failures else 0)


def measure(records: Records, options: argparse.Namespace) -> int:
    """Measure all that is asked for; give how many measurements failed."""
    servers.stop_on_signals()
    chosen = [CONTENDERS[name] for name in CONTENDERS if name in (options.only or CONTENDERS)]
    records.begin(describe_run(shlex.join(sys.argv[1:])))
    contenders = [contender for contender in chosen if install(contender, records)]
    vendors = (options.database,) if options.database else VENDORS
    failures = len(chosen) - len(contenders)
    for vendor in vendors:
        try:
            failures += measure_on(vendor, contenders, records, options)
        except servers.ServerMissing as missing:
            print(f"{vendor}: {missing}", file=sys.stderr, flush=True)
            failures += 1
    return failures


def install(contender: Contender, records: Records) -> bool:
    """Make the contender's environment; say whether it is there."""
    try:
        PeerEnvironment.of(contender).ensure()
    except SystemExit as reason:
        error = f"its environment could not be made: {reason}"
        records.keep(Record(contender.name, contender.databases[0], "install", 0, {}, error, None, 0))
        return False
    records.describe(contender.name, describe_contender(contender))
    return True


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=sorted(CONTENDERS), help="may be repeated")
    parser.add_argument("--measure", action="append", choices=list(MEASURES), help="may be repeated")
    parser.add_argument("--database", choices=VENDORS)
    parser.add_argument("--repeats", type=int, help=f"of all; else {REPEATS} of a few")
    parser.add_argument("--quick", action="store_true", help="a rehearsal: little of everything, once")
    parser.add_argument("--document", action="store_true", help="measure nothing, write the documents")
    return parser.parse_args()


def measure_on(
    vendor: str, contenders: list[Contender], records: Records, options: argparse.Namespace
) -> int:
    measures = [MEASURES[name] for name in MEASURES if name in (options.measure or MEASURES)]
    if not any(measure.fits(contender, vendor) for measure in measures for contender in contenders):
        return 0
    failures = 0
    with serve(vendor) as site, ExitStack() as stack:
        records.note_server(vendor, site.read_version())
        scale = QUICK if options.quick else Scale()
        benches = [Bench(contender, site, scale, stack) for contender in contenders]
        for measure, repeat, bench in arrange(measures, benches, vendor, options):
            record = try_once(measure, bench, vendor, repeat)
            records.keep(record)
            failures += record.error is not None
            print(record, file=sys.stderr, flush=True)
    return failures


def arrange(
    measures: list[Measure], benches: list[Bench], vendor: str, options: argparse.Namespace
) -> Iterator[tuple[Measure, int, Bench]]:
    """Round after round, so that no contender has a good hour to itself."""
    for repeat in range(1 if options.quick else options.repeats or REPEATS):
        for measure in measures:
            if repeat and not (options.repeats or (measure.is_repeated and vendor == VENDORS[0])):
                continue
            for bench in benches:
                if measure.fits(bench.contender, vendor):
                    yield measure, repeat, bench


def try_once(measure: Measure, bench: Bench, vendor: str, repeat: int) -> Record:
    started = time.monotonic()
    figures: dict[str, Any] = {}
    error = missing = None
    try:
        figures = measure.run(bench)
    except Missing as reason:
        missing = str(reason)
    except (Failure, NotExactlyOnce) as reason:
        error = str(reason)
    except Exception as reason:
        # Whatever a peer, its driver or its server may raise: the run goes on, and says so.
        traceback.print_exc()
        error = f"{type(reason).__name__}: {reason}"
    took = time.monotonic() - started
    return Record(bench.contender.name, vendor, measure.name, repeat, figures, error, missing, round(took, 1))
