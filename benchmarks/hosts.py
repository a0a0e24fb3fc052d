"""Worker commands as a process manager runs them, and their deaths. Linux only: it reads /proc.

Signals go to processes that were started here, and to their descendants, and to nobody else.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

from environment import ROOT

from benchmarks.outcome import Kill
from benchmarks.peers.project import Project
from benchmarks.runs import Ledger

STOPPING_SECONDS = 5


class Host:
    """One worker command in a session of its own, started again whenever it has gone."""

    def __init__(self, project: Project, ledger: Ledger, log: Path) -> None:
        self.project = project
        self.ledger = ledger
        self.log = log
        self.exits = 0
        self.process = self._launch()

    def _launch(self) -> subprocess.Popen:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.project.worker_command,
                cwd=ROOT,
                env=self.project.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def tend(self) -> None:
        """Start the command again if it has left by itself."""
        if self.process.poll() is not None:
            self.exits += 1
            self.end()
            self.process = self._launch()

    def has_process(self, pid: int) -> bool:
        """Whether that one lives and is of this command; quicker than listing all."""
        state, parent, session = read_process(pid)
        return state not in "ZX" and self.process.pid in (pid, parent, session)

    def get_pids(self) -> list[int]:
        return find_family(self.process.pid)

    def strike(self, pid: int, is_whole: bool) -> Kill | None:
        """Kill that process, or all of them, if it is busy with a job at this very moment."""
        if not freeze(pid):
            return None
        if not self.ledger.find_open_run(pid):
            send(pid, signal.SIGCONT)
            return None
        if is_whole or pid == self.process.pid:
            return self._kill_whole()
        return self._kill_one(pid)

    def _kill_one(self, pid: int) -> Kill:
        run = self.ledger.find_open_run(pid)
        # Before the signal, as its job may start elsewhere sooner than this process goes on.
        moment = time.monotonic()
        send(pid, signal.SIGKILL)
        return Kill(moment, False, [pid], [run] if run else [])

    def _kill_whole(self) -> Kill:
        """As if the machine had died, where none sees another die; a new one takes its place at once."""
        pids = self._freeze_all()
        runs = [run for run in map(self.ledger.find_open_run, pids) if run]
        moment = time.monotonic()
        self._kill_all(pids)
        self.process = self._launch()
        return Kill(moment, True, pids, runs)

    def _freeze_all(self) -> list[int]:
        # The first first, so that it starts no others.
        freeze(self.process.pid)
        pids = self.get_pids()
        for pid in pids:
            freeze(pid)
        return pids

    def _kill_all(self, pids: list[int]) -> None:
        for pid in sorted(pids, key=lambda pid: pid == self.process.pid):
            send(pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Leave nothing running."""
        deadline = time.monotonic() + STOPPING_SECONDS
        while (pids := self.get_pids()) and time.monotonic() < deadline:
            for pid in pids:
                send(pid, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.01)
        self.process.wait()


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """A measurement that is killed cleans nothing up; the kernel does."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def freeze(pid: int) -> bool:
    """Stop a process and wait until it stands; say whether it does."""
    send(pid, signal.SIGSTOP)
    deadline = time.monotonic() + STOPPING_SECONDS
    while time.monotonic() < deadline:
        state = read_process(pid)[0]
        if state in "ZX":
            return False
        if state == "T":
            return True
        time.sleep(0.0005)
    return False


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have gone by now."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def find_family(root: int) -> list[int]:
    """The living processes of the session that `root` leads, and its descendants in other sessions."""
    table = {int(path.name): read_process(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    living = {pid: entry for pid, entry in table.items() if entry[0] not in "ZX"}
    family = {root}
    while more := {
        pid
        for pid, (_, parent, session) in living.items()
        if pid not in family and (session == root or parent in family)
    }:
        family |= more
    return sorted(family & set(living))


def read_process(pid: int) -> tuple[str, int, int]:
    """State, parent and session of a process; one that has gone is in state X."""
    try:
        state, parent, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return "X", 0, 0
    return state, int(parent), int(session)
