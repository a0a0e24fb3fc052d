"""Real `manage.py worker` processes: started, signalled and ended by the tests, and nobody else's."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from dbq.models import Job, Worker
from dbq.states import Lane
from tests.process import ledger

# Far more than anything takes, on a machine that does much else.
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.02


def wait_until(is_so: Callable[[], Any], seconds: float = WAIT_SECONDS, what: str = "") -> Any:
    """Return what `is_so` returns as soon as that is true; fail when it never is."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (answer := is_so()):
        assert time.monotonic() < deadline, f"Not within {seconds:g} s: {what or is_so.__name__}"
        pause.wait(LOOK_SECONDS)
    return answer


def wait_until_all_ended(jobs: list[Job], seconds: float = WAIT_SECONDS) -> None:
    """Wait until these jobs are finished, and read them again."""
    ids = [job.pk for job in jobs]
    unfinished = Job.objects.filter(pk__in=ids).exclude(lane=Lane.FINISHED)
    wait_until(lambda: not unfinished.exists(), seconds, f"{len(jobs)} jobs end")
    for job in jobs:
        job.refresh_from_db()


def wait_until_drained(seconds: float = WAIT_SECONDS) -> None:
    """Wait until no job is waiting or running."""
    unfinished = Job.objects.exclude(lane=Lane.FINISHED)
    wait_until(lambda: not unfinished.exists(), seconds, "all jobs end")


class WorkerCommand:
    """One worker command in a session of its own: a supervisor and its children."""

    def __init__(self, process: subprocess.Popen, output: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.output = output
        # Which of its processes were killed, and when.
        self.kills: dict[int, float] = {}
        # Its pids may be somebody else's by now.
        self.is_gone = False

    def read_output(self) -> str:
        return self.output.read_text(errors="replace")

    def get_children(self) -> list[int]:
        """The worker processes under the supervisor."""
        return [pid for pid in self.get_pids() if pid != self.pid]

    def get_pids(self) -> list[int]:
        """All processes of it that live, orphans included."""
        return [] if self.is_gone else find_processes(self.pid)

    def wait_until_ready(self, processes: int = 1) -> None:
        """Wait until so many of its processes have registered."""
        mine = Worker.objects.alive().filter(supervisor_pid=self.pid)

        def has_registered() -> bool:
            assert self.process.poll() is None, f"The worker left with {self.process.returncode}."
            return mine.count() >= processes

        wait_until(has_registered, what="the worker registers")

    def wait_until_it_says(self, words: str, seconds: float = WAIT_SECONDS) -> None:
        wait_until(lambda: words in self.read_output(), seconds, f'the worker says "{words}"')

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor, as a shell or systemd would."""
        os.kill(self.pid, number)

    def freeze(self) -> list[int]:
        """Stop all its processes, the supervisor first, so that it notices nothing; return their pids."""
        self.signal(signal.SIGSTOP)
        frozen = self.get_pids()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        return frozen

    def kill(self, pid: int) -> float:
        """Kill one of its processes; return when that was."""
        os.kill(pid, signal.SIGKILL)
        self.kills[pid] = time.monotonic()
        return self.kills[pid]

    def kill_all(self) -> None:
        """Kill supervisor and children as if their machine had died: none sees another die."""
        pids = self.freeze()
        for pid in sorted(pids, key=lambda pid: pid == self.pid):
            self.kill(pid)
        self.wait()

    def wait(self, seconds: float = WAIT_SECONDS) -> int:
        """Wait until the supervisor and all its children have left; return the exit code."""
        code = self.process.wait(seconds)
        wait_until(lambda: not self.get_pids(), seconds, "no process stays behind")
        self.is_gone = True
        return code

    def end(self) -> None:
        """Leave nothing running, whatever the test did."""
        while pids := self.get_pids():
            for pid in pids:
                send(pid, signal.SIGKILL)
            self.process.poll()
        self.process.wait()
        self.is_gone = True


class Workers:
    """The worker commands of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[WorkerCommand] = []

    def start(
        self,
        *arguments: str,
        database: dict | None = None,
        options: dict | None = None,
        stdout: Any = None,
        **extra: Any,
    ) -> WorkerCommand:
        """Start a worker command.

        Args:
            stdout: an open file for what it says, instead of the one that the tests read.
            database: entries of DATABASES for this worker, where it is not to use the test's own.
            options: database options of this worker.
            extra: keys of the DBQ setting for this worker, or JOBS for jobs of its own.
        """
        environment = self.make_environment(database or {}, options or {}, extra)
        output = self.folder / f"worker-{len(self.commands)}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "worker", *arguments],
                cwd=settings.BASE_DIR,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout or file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_the_tests,
            )
        self.commands.append(WorkerCommand(process, output))
        return self.commands[-1]

    def make_environment(self, database: dict, options: dict, extra: dict[str, Any]) -> dict[str, str]:
        jobs = extra.pop("JOBS", {})
        own = {key: str(connection.settings_dict[key]) for key in ("NAME", "HOST", "PORT")}
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.process.settings",
            "DBQ_TEST_DATABASE": json.dumps(own | database),
            "DBQ_TEST_OPTIONS": json.dumps(options),
            "DBQ_TEST_JOBS": json.dumps(jobs),
            "DBQ_TEST_DBQ": json.dumps(extra),
            ledger.FOLDER: str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")]),
        }

    @property
    def kills(self) -> dict[int, float]:
        return {pid: moment for command in self.commands for pid, moment in command.kills.items()}

    def end(self) -> None:
        for command in self.commands:
            command.end()
            lines = command.read_output().splitlines()
            # pytest shows them when the test has failed.
            print(command.output.name, *lines if len(lines) < 50 else find_trouble(lines), sep="\n")  # noqa: T201


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _die_with_the_tests() -> None:
    """Tests that are killed clean nothing up; the kernel does."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def find_trouble(lines: list[str]) -> list[str]:
    """The lines of a long log that do not say that all goes well."""
    return [line for line in lines if " INFO " not in line]


# Linux tells all about its processes in files.


def find_processes(root: int) -> list[int]:
    """The living processes of the session that `root` leads, and its descendants in other sessions."""
    found = {root}
    table = _read_processes()
    while True:
        more = {
            pid
            for pid, (parent, session) in table.items()
            if pid not in found and (session == root or parent in found)
        }
        if not more:
            return sorted(pid for pid in found if pid in table)
        found |= more


def _read_processes() -> dict[int, tuple[int, int]]:
    """Parent and session of each process that lives; a zombie does not."""
    processes = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has just gone
        if state not in "ZX":
            processes[int(path.parent.name)] = (int(parent), int(session))
    return processes


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have gone by now."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
