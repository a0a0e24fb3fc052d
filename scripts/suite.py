"""The whole test suite, once on each database, with a summary of what ran and what could not."""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import packages
from databases import DATABASES, version_of
from runs import Run
from servers import ServerMissing, stop_on_signals

SPIN_PACKAGES = ["spin", "gcc", "libc6-dev"]
BROWSER = "browser"
REQUIRE_ALL = os.environ.get("DBQ_REQUIRE_ALL") == "1"


def main() -> None:
    options, arguments = parse()
    chosen = options.only or list(DATABASES)
    packages.install(missing_packages(chosen))
    stop_on_signals()
    began = time.monotonic()
    with ExitStack() as stack:
        runs, left_out = prepare(chosen, stack)
        if "sqlite" in chosen:
            prepare_browser(stack, runs, left_out)
        execute(runs, options, arguments)
        succeeded = summarize(runs, left_out, time.monotonic() - began)
    sys.exit(not succeeded)


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="scripts/dev.py test",
        description=__doc__,
        epilog="Everything else goes to pytest. DBQ_REQUIRE_ALL=1 lets nothing be left out.",
        allow_abbrev=False,
    )
    parser.add_argument("--only", action="append", choices=DATABASES, help="may be repeated")
    parser.add_argument("--together", action="store_true", help="all databases at once")
    parser.add_argument("-m", dest="markers", metavar="EXPRESSION", help="as pytest's own")
    return parser.parse_known_args()


def missing_packages(chosen: list[str]) -> list[str]:
    missing = []
    if "mariadb" in chosen and not shutil.which("mariadb-install-db"):
        missing.append("mariadb-server")
    if "sqlite" in chosen and not find_chromium():
        missing.append("chromium")
    if "sqlite" in chosen and not has_spin():
        missing += SPIN_PACKAGES
    return missing


def find_chromium() -> str | None:
    return os.environ.get("DBQ_CHROMIUM") or shutil.which("chromium")


def has_spin() -> bool:
    """Whether a model can be made a program that walks through it."""
    return bool(shutil.which("spin") and shutil.which("gcc"))


def prepare(chosen: list[str], stack: ExitStack) -> tuple[list[Run], list[str]]:
    """Start the databases that there are; say of the others why not."""
    runs, left_out = [], []
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="dbq-suite-"))
    for name in chosen:
        try:
            url = stack.enter_context(DATABASES[name].serve())
        except ServerMissing as missing:
            left_out.append(f"{name}: {missing}")
        else:
            run = Run(name, str(DATABASES[name]), url, Path(directory))
            runs.append(stack.enter_context(run))
    if "sqlite" in chosen and not has_spin():
        left_out.append(f"model: spin is not installed (apt-get install {' '.join(SPIN_PACKAGES)})")
    return runs, left_out


def prepare_browser(stack: ExitStack, runs: list[Run], left_out: list[str]) -> None:
    """The tests of the screens are a run of their own, beside the others: they take as long as a database."""
    chromium = find_chromium()
    if not chromium:
        left_out.append("browser: chromium is not installed (apt-get install chromium)")
        return
    url = stack.enter_context(DATABASES["sqlite"].serve())
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="dbq-suite-"))
    run = Run(BROWSER, f"Chromium {version_of(chromium)}", url, Path(directory))
    runs.append(stack.enter_context(run))


def execute(runs: list[Run], options: argparse.Namespace, arguments: list[str]) -> None:
    variables = {"DBQ_CHROMIUM": find_chromium() or ""}
    for run in runs:
        selection = ["-m", choose_tests(run.name, options.markers)]
        run.start([*selection, *arguments], variables, aside=options.together)
        if not options.together:
            run.wait()
    if options.together:
        for run in runs:
            run.wait()
            print(f"== {run.name}\n{run.output.read_text(errors='replace')}", flush=True)


def choose_tests(name: str, markers: str | None) -> str:
    """What depends on the database runs on each; a browser and a built wheel run on one."""
    conditions = [f"({markers})"] if markers else ["not chaos"]
    if name == BROWSER:
        return " and ".join([*conditions, "browser"])
    if name != "sqlite":
        conditions.append("not once")
    return " and ".join([*conditions, "not browser"])


def summarize(runs: list[Run], left_out: list[str], seconds: float) -> bool:
    """Say what ran and, last, what did not; give whether that is a success."""
    print(f"\n== Python {platform.python_version()}, Django {version('django')}, {seconds:.0f} s in all")
    for run in runs:
        print(f"   {run}")
    ran_any = any(run.process.returncode == 0 for run in runs)
    for reason in left_out:
        print(f"   LEFT OUT    {reason}")
    if not left_out:
        print("   Nothing was left out.")
    complete = ran_any and not (REQUIRE_ALL and left_out)
    return complete and not any(run.has_failed for run in runs)


if __name__ == "__main__":
    main()
