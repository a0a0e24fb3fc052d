"""One run of the suite: pytest, on one database, in a process of its own."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from environment import ROOT

NO_TESTS_COLLECTED = 5
TEARDOWN_SECONDS = 15


@dataclass
class Run:
    """The suite on one database, from its start to its figures."""

    name: str
    product: str
    url: str
    directory: Path
    process: subprocess.Popen | None = None

    def start(self, arguments: list[str], variables: dict[str, str], aside: bool) -> None:
        """Start pytest; what it prints goes here or, `aside`, into a file."""
        print(f"== {self.name}: {self.product}", flush=True)
        # The older family of reports, because the newer one has no place for what tests record.
        report = [f"--junitxml={self.report}", "--override-ini=junit_family=xunit1"]
        tidy = ["--override-ini=tmp_path_retention_policy=failed"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *report, *tidy, *arguments],
            cwd=ROOT,
            env={**os.environ, **variables, **self.variables()},
            stdout=self.output.open("wb") if aside else None,
            stderr=subprocess.STDOUT if aside else None,
            # In a terminal, in its group: a debugger reads from there and Ctrl-C gets there.
            # Elsewhere out of reach of what stops the group, for that would end it untidily.
            process_group=None if in_terminal() else 0,
        )

    def variables(self) -> dict[str, str]:
        path = self.directory / f"{self.name}.sqlite3"
        return {"DATABASE_URL": self.url, "DBQ_TEST_SQLITE": str(path)}

    def wait(self) -> None:
        self.process.wait()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self.process and self.process.poll() is None:
            by_ctrl_c = getattr(error, "code", None) == 128 + signal.SIGINT
            self.interrupt(told=by_ctrl_c and in_terminal())

    def interrupt(self, told: bool) -> None:
        """Let pytest tear down, which it may have been told to already; then insist."""
        for number in (None, signal.SIGINT, signal.SIGKILL)[not told :]:
            if number:
                self.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(TEARDOWN_SECONDS)
                return

    @property
    def report(self) -> Path:
        return self.directory / f"{self.name}.xml"

    @property
    def output(self) -> Path:
        return self.directory / f"{self.name}.txt"

    @property
    def has_failed(self) -> bool:
        return self.process.returncode not in (0, NO_TESTS_COLLECTED)

    @property
    def figures(self) -> str:
        """How many tests passed, failed and were skipped, by pytest's own account."""
        if not self.report.exists():
            return "no figures"
        suite = ElementTree.parse(self.report).getroot()[0].attrib  # noqa: S314  (our own)
        failed = int(suite["failures"]) + int(suite["errors"])
        passed = int(suite["tests"]) - failed - int(suite["skipped"])
        seconds = float(suite["time"])
        return f"{passed} passed, {failed} failed, {suite['skipped']} skipped in {seconds:.0f} s"

    def __str__(self) -> str:
        verdict = "FAILED" if self.has_failed else "ok"
        return f"{self.name:<10}  {verdict:<6}  {self.product:<22}  {self.figures}"


def in_terminal() -> bool:
    return os.isatty(0)
