"""One contender at one pace, on a database of its own: its processes, and what they write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environment import ROOT

from benchmarks.engine import memory_kib, processor_seconds
from benchmarks.hosts import die_with_parent, find_family, send
from benchmarks.lines import Lines
from benchmarks.peers.environments import PeerEnvironment
from benchmarks.peers.speed.contender import Contender, Pace
from benchmarks.throughput.databases import SQLITE

ACT_SECONDS = 300
STOP_SECONDS = 15
LOG_LINES = 12


class Failure(Exception):
    """A contender did not do what was asked of it; the message is for the notes."""


class Setup:
    """A contender as its users would have it, in a folder for what its processes write."""

    def __init__(self, contender: Contender, pace: str, url: str, folder: Path) -> None:
        self.contender = contender
        self.name = pace
        self.pace: Pace = contender.paces[pace]
        self.url = url
        self.folder = folder
        self.lines = Lines(folder)
        self.virtual = PeerEnvironment.of(contender)
        # Nothing of the caller's own Django or Python may reach the contender.
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = inherited | {
            "BENCH_PEER": contender.name,
            "BENCH_PACE": pace,
            "BENCH_LINES": str(folder),
            "BENCH_SQLITE": json.dumps(SQLITE),
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.peers.speed.projects.settings",
            "PYTHONPATH": str(ROOT),
            "OBAN_DSN": url,
            **self.pace.variables,
        }

    def install(self) -> None:
        """Make the contender's tables."""
        if self.contender.applications:
            self._run(self.find_program("python"), "-m", "django", "migrate", "-v0")
        else:
            self.act("install")

    def act(self, *arguments: str | float, folder: Path | None = None) -> Any:
        """Have something done in the contender's own environment, and read what came of it."""
        module = "benchmarks.peers.speed.projects.act"
        variables = {"BENCH_LINES": str(folder)} if folder else {}
        output = self._run(self.find_program("python"), "-m", module, *map(str, arguments), **variables)
        return json.loads(output.splitlines()[-1]) if output.strip() else None

    def find_program(self, program: str) -> str:
        """Where its environment has it."""
        return str(self.virtual.python.with_name(program))

    def _run(self, *command: str, **variables: str) -> str:
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=self.environment | variables,
                capture_output=True,
                text=True,
                timeout=ACT_SECONDS,
            )
        except subprocess.TimeoutExpired as expired:
            raise Failure(f"{command[-2]} took longer than {ACT_SECONDS} s") from expired
        if done.returncode:
            raise Failure(f"{' '.join(command[3:])} failed: {shorten(done.stderr)}")
        return done.stdout

    @contextmanager
    def workers(self) -> Iterator[Workers]:
        workers = Workers(self)
        try:
            workers.start()
            yield workers
        finally:
            workers.stop()


class Workers:
    """The worker commands of a setup, while they run."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.peak_kib = 0
        self._processes: list[subprocess.Popen] = []

    def start(self) -> None:
        program, *arguments = self.setup.pace.worker
        for number in range(self.setup.pace.commands):
            with (self.setup.folder / f"worker-{number}.log").open("ab") as log:
                process = subprocess.Popen(
                    [self.setup.find_program(program), *arguments],
                    cwd=ROOT,
                    env=self.setup.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            self._processes.append(process)

    def stop(self) -> None:
        """Ask them to leave, and see to it that nothing is left."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(process.poll() is None for process in self._processes) and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in self._processes:
            self._end(process)

    def _end(self, process: subprocess.Popen) -> None:
        while family := find_family(process.pid):
            for pid in family:
                send(pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.01)
        process.wait()

    def check(self) -> None:
        """Raise if one has left by itself."""
        if any(process.poll() is not None for process in self._processes):
            raise Failure(f"the worker left: {self.read_log()}")

    def read_log(self) -> str:
        logs = sorted(self.setup.folder.glob("worker-*.log"))
        return shorten("\n".join(log.read_text() for log in logs))

    def get_pids(self) -> list[int]:
        return [pid for process in self._processes for pid in find_family(process.pid)]

    def measure_memory(self) -> int:
        """What their processes take together, shared pages shared out, in KiB."""
        return sum(read_or_zero(memory_kib, pid, "Pss") for pid in self.get_pids())

    def measure_processor(self) -> float:
        """The processor's seconds that their living processes have used."""
        return sum(read_or_zero(processor_seconds, pid) for pid in self.get_pids())

    @contextmanager
    def watching_memory(self, seconds: float = 1.0) -> Iterator[None]:
        """Keep the peak of their memory meanwhile."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(seconds):
                self.peak_kib = max(self.peak_kib, self.measure_memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def read_or_zero(read: Any, *arguments: Any) -> Any:
    # A process may end between being listed and being read.
    try:
        return read(*arguments)
    except (OSError, IndexError):
        return 0


def shorten(text: str) -> str:
    """The end of an output, on one line."""
    return " / ".join(line.strip() for line in text.strip().splitlines()[-LOG_LINES:])[-600:]
