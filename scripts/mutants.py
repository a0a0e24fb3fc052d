"""Take each guard out of a copy of the engine, and see which test misses it; write docs/guards.md."""

import argparse
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

import packages
from benches import Bench, Benches
from databases import DATABASES
from guards import IMPLIED, TABLE, Guard, Loss, find_guards, read_table, write_table
from servers import stop_on_signals
from suite import missing_packages

Losses = dict[str, Loss | None]

# Where the statements of one dialect can be seen.
PLACES = {"sqlite": ["sqlite"], "postgresql": ["postgresql"], "mysql": ["mariadb"]}


def main() -> None:
    options = parse()
    chosen = options.on or list(DATABASES)
    packages.install(missing_packages([name for name in chosen if name != "sqlite"]))
    stop_on_signals()
    began = time.monotonic()
    known = read_table()
    guards = [guard for guard in find_guards() if is_wanted(guard, known, options)]
    with ExitStack() as stack:
        urls = {name: stack.enter_context(DATABASES[name].serve()) for name in chosen}
        benches = Benches(urls, stack, options.at_once)
        found = try_all(guards, known, benches)
        false = find_false(found, benches)
    sys.exit(report(found, false, time.monotonic() - began))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/dev.py guards", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", metavar="TEXT", default="", help="guards whose name has this text")
    parser.add_argument("--on", action="append", choices=DATABASES, help="a database; may be repeated")
    parser.add_argument("--missing", action="store_true", help="guards that no test is known to miss")
    parser.add_argument("--implied", action="store_true", help="those that others are said to imply")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="how many at the same time")
    return parser.parse_args()


def is_wanted(guard: Guard, known: Losses, options: argparse.Namespace) -> bool:
    if options.missing and known.get(guard.name):
        return False
    return options.only in guard.name and (guard.name in IMPLIED) == options.implied


def try_all(guards: list[Guard], known: Losses, benches: Benches) -> Losses:
    def try_one(guard: Guard) -> tuple[str, Loss | None]:
        with benches.borrow() as bench, bench.changed(guard.path, guard.remove_from):
            return guard.name, find_loss(guard, known.get(guard.name), bench, benches)

    found: Losses = {}
    with ThreadPoolExecutor(benches.amount) as pool:
        for future in as_completed([pool.submit(try_one, guard) for guard in guards]):
            name, loss = future.result()
            found[name] = loss
            print(name, f"    {loss or 'NO TEST FAILS'}", sep="\n", flush=True)
            # Each at once: whoever breaks off keeps what was found.
            TABLE.write_text(write_table(known | found))
    return found


def find_loss(guard: Guard, known: Loss | None, bench: Bench, benches: Benches) -> Loss | None:
    """The first test that fails, beginning with the one that failed last time."""
    if known and known.database in bench.urls and bench.find_failure([known.test], known.database):
        return known
    for database in find_places(guard):
        if database in bench.urls:
            tests = find_tests(guard, benches.get_callers(database))
            if tests and (test := bench.find_failure(tests, database)):
                return Loss(test, database)
    return None


def find_places(guard: Guard) -> list[str]:
    own = PLACES.get(Path(guard.path).stem)
    if own:
        return own
    # Django leaves locks of rows out on SQLite.
    return [name for name in DATABASES if name != "sqlite" or guard.kind != "lock"]


def find_tests(guard: Guard, callers: dict[str, list[str]]) -> list[str]:
    """The tests that call its function, those that are named like it first, and those of plans last."""
    words = set(guard.function.split("_"))
    own = f"{guard.path} {guard.function}"

    def rank(test: str) -> tuple[bool, bool, int]:
        named = set(re.split(r"[\W_]", test))
        return "plans" in named, not words & named, len(callers[test])

    return sorted((test for test, functions in callers.items() if own in functions), key=rank)


def find_false(found: Losses, benches: Benches) -> list[str]:
    """Of the tests that failed one that does so with every guard in its place, on each database."""
    false = []
    for database in benches.urls:
        tests = {loss.test for loss in found.values() if loss and loss.database == database}
        if tests and (test := benches.unchanged.find_failure(sorted(tests), database)):
            false.append(f"{test} on {database}")
    return false


def report(found: Losses, false: list[str], seconds: float) -> int:
    """Say what came of it; give the exit status."""
    missed = [name for name, loss in found.items() if loss is None and name not in IMPLIED]
    shown = [name for name, loss in found.items() if loss and name in IMPLIED]
    print(f"\n{len(found)} guards taken out in {seconds / 60:.0f} minutes.")
    for name in missed:
        print(f"   NO TEST FAILS  {name}")
    for name in shown:
        print(f"   NOT IMPLIED    {name}")
    for test in false:
        print(f"   FAILS ANYWAY   {test}")
    return bool(missed or shown or false)


if __name__ == "__main__":
    main()
