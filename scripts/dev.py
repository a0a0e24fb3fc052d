#!/usr/bin/env python3
"""One door for developers: make the virtual environment if need be, then run the command in it.

Needs nothing but Python 3.11: this file and the ones it imports use the standard library alone.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  (said before an import fails on something newer)
    sys.exit("dbq needs Python 3.11 or later; this one is " + sys.version.split()[0] + ".")

import argparse
import os
from dataclasses import dataclass, field

from environment import ROOT, Environment


@dataclass(frozen=True)
class Command:
    """A program of the checkout, the extras it needs installed and the variables it needs set."""

    help: str
    program: list[str]
    extras: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


COMMANDS = {
    "demo": Command(
        "migrate, fill and serve a demonstration with a worker",
        ["manage.py", "demo"],
        variables={"DJANGO_DEBUG": "1"},
    ),
    "test": Command(
        "run the tests on SQLite, PostgreSQL and MariaDB; pytest's arguments are passed on",
        ["scripts/suite.py"],
        extras=["test"],
    ),
    "chaos": Command(
        "try every fault of the catalogue on each database and write a report; --fault N, --only DATABASE",
        ["scripts/chaos.py"],
        extras=["test"],
    ),
    "guards": Command(
        "take out one guard of the engine at a time, and write which test misses it",
        ["scripts/mutants.py"],
        extras=["test"],
    ),
    "lint": Command("check style, types, layers and templates", ["scripts/checks.py"], ["lint"]),
    "format": Command("rewrite the code in the house style", ["scripts/checks.py", "--fix"], ["lint"]),
    "servers": Command(
        "keep a throw-away PostgreSQL and MariaDB until Ctrl-C; --durable for benchmarks",
        ["scripts/servers.py"],
        extras=["test"],
    ),
    "bench": Command(
        "measure beside the peers, or what is named: engine, console, growth, crashes",
        ["-m", "benchmarks"],
        extras=["test"],
    ),
    "screenshots": Command(
        "photograph every page into docs/screenshots, or those that are named",
        ["scripts/screenshots.py"],
        extras=["test"],
    ),
    "shell": Command("open Django's shell", ["manage.py", "shell"], variables={"DJANGO_DEBUG": "1"}),
}


def main() -> None:
    options, arguments = parse()
    command = COMMANDS[options.command]
    environment = Environment(options.python, options.django)
    environment.ensure(command.extras)
    os.chdir(ROOT)
    python = str(environment.python)
    # Replaced, not started: signals go straight to the program, and its exit status is ours.
    program = [python, *command.program, *arguments]
    os.execve(python, program, {**os.environ, **command.variables})  # noqa: S606


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="scripts/dev.py",
        description=__doc__.splitlines()[0],
        epilog="Each takes --python X.Y and --django X.Y, for an environment with just these. "
        "Other arguments, --help too, are passed on.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.help, add_help=False, allow_abbrev=False)
        own.add_argument("--python")
        own.add_argument("--django")
    return parser.parse_known_args()


if __name__ == "__main__":
    main()
