"""Copies of the tree to take apart: one can be changed, and the tests run in it, beside the others."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

from environment import ROOT
from guards import SOURCES, add_first

COPIED = ("dbq", "dashboard", "templates", "static", "tests", "scripts", "pyproject.toml", "manage.py")
TESTS = ("conformance", "dbq/test_bulk.py", "dbq/test_operations.py", "dbq/test_job.py")
SELECTION = "not once and not browser and not process and not chaos"
# A property that fails is made small first, which takes its time, and says less than a case of its own.
NAMES = "not any_course"
# A test that says nothing for so long has no end.
SILENT_SECONDS = 90
FAILED = re.compile(r"^tests/(.+?) (?:FAILED|ERROR) +\[ *\d+%\]$", re.MULTILINE)
BEGUN = re.compile(r"^tests/(.+?::.+?) *$", re.MULTILINE)


@dataclass
class Bench:
    """One copy, with a database of its own on each server."""

    directory: Path
    urls: dict[str, str]
    # The databases whose tables a run that was ended may have left in disorder.
    unsure: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.unsure.update(self.urls)

    @contextmanager
    def changed(self, path: str, change: Callable[[str], str]) -> Iterator[None]:
        file = self.directory / path
        source = file.read_text()
        file.write_text(change(source))
        try:
            yield
        finally:
            file.write_text(source)

    def find_failure(self, tests: list[str], database: str) -> str | None:
        """Run these tests until one fails or does not end; give its name."""
        status, text = self.run(["-x", *(f"tests/{test}" for test in tests)], database)
        if status is None:
            return BEGUN.findall(text)[-1]
        failed = FAILED.findall(text)
        if status and not failed:
            raise RuntimeError(f"The tests did not run:\n{text[-3000:]}")
        return failed[0] if failed else None

    def find_callers(self, database: str) -> dict[str, list[str]]:
        """Of each test that passes, the guarded functions that it calls."""
        answer = self.directory / f"{database}.json"
        with ExitStack() as stack:
            for path in SOURCES:
                line = f'__import__("callers").note("{path} {{}}")'
                stack.enter_context(self.changed(path, partial(add_first, path, line)))
            arguments = ["-p", "callers", *(f"tests/{test}" for test in TESTS)]
            _, text = self.run(arguments, database, DBQ_CALLERS=str(answer))
        if not answer.exists():
            raise RuntimeError(f"The tests did not run:\n{text[-3000:]}")
        by_test = json.loads(answer.read_text())
        return {test.removeprefix("tests/"): functions for test, functions in by_test.items()}

    def run(self, arguments: list[str], database: str, **variables: str) -> tuple[int | None, str]:
        """The exit status of pytest, None if it had to be ended, and what it printed."""
        command = [sys.executable, "-m", "pytest", "-v", "--tb=no", "-p", "no:cacheprovider"]
        command += ["-m", SELECTION, "-k", NAMES]
        command += ["--create-db" if database in self.unsure else "--reuse-db", *arguments]
        with tempfile.TemporaryFile("w+") as output:
            status = self.execute(command, self.variables(database) | variables, output)
            output.seek(0)
            text = output.read()
        if status is None:
            self.unsure.add(database)
        else:
            self.unsure.discard(database)
        return status, text

    def execute(self, command: list[str], variables: dict[str, str], output: Any) -> int | None:
        process = subprocess.Popen(
            command, cwd=self.directory, env=variables, stdout=output, stderr=output, process_group=0
        )
        size = -1
        while size < (size := os.fstat(output.fileno()).st_size):
            with suppress(subprocess.TimeoutExpired):
                return process.wait(SILENT_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None

    def variables(self, database: str) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return {
            **outside,
            "DATABASE_URL": self.urls[database],
            "DBQ_TEST_SQLITE": str(self.directory / "test.sqlite3"),
            "PYTHONPATH": os.pathsep.join(map(str, (self.directory, self.directory / "scripts"))),
            # Two sources of the same second and size would share their compiled form.
            "PYTHONDONTWRITEBYTECODE": "1",
        }


class Benches:
    """As many copies as are changed at once, and one that is not."""

    def __init__(self, urls: dict[str, str], stack: ExitStack, amount: int) -> None:
        self.urls = urls
        self.amount = amount
        self.unchanged = self._make(stack, 0)
        self._free: SimpleQueue[Bench] = SimpleQueue()
        for number in range(amount):
            self._free.put(self._make(stack, number + 1))
        self._callers: dict[str, dict[str, list[str]]] = {}
        self._lock = Lock()

    def _make(self, stack: ExitStack, number: int) -> Bench:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbq-guards-")))
        copy_tree(directory)
        urls = {name: f"{url.rpartition('/')[0]}/guards{number}" for name, url in self.urls.items()}
        return Bench(directory, urls)

    @contextmanager
    def borrow(self) -> Iterator[Bench]:
        bench = self._free.get()
        try:
            yield bench
        finally:
            self._free.put(bench)

    def get_callers(self, database: str) -> dict[str, list[str]]:
        """As Bench.find_callers, found once."""
        with self._lock:
            if database not in self._callers:
                self._callers[database] = self.unchanged.find_callers(database)
            return self._callers[database]


def copy_tree(directory: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, directory)
