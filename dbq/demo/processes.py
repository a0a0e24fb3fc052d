"""The demo's children: started in sessions of their own, watched, and stopped together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

LOOK_SECONDS = 0.1
PR_SET_PDEATHSIG = 1


class StopSignals:
    """Counts the signals that ask for an end and does no more, so that they may come any time."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: object) -> None:
        self.count += 1


@dataclass
class Child:
    """A running program; with `log`, what it prints goes to that file."""

    name: str
    process: subprocess.Popen
    log: Path | None = None

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def describe_end(self) -> str:
        code = self.process.returncode
        if code < 0:
            return f"was killed by signal {-code} ({signal.strsignal(-code)})"
        return f"left with exit status {code}"

    def send(self, number: int) -> None:
        """Send a signal to the program and what it started in its process group."""
        if self.is_running:
            os.killpg(self.process.pid, number)


@dataclass
class Children:
    """All programs of the demo, in the order of their start."""

    running: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], log: Path | None = None) -> Child:
        """Start a program that Ctrl-C on the terminal does not reach."""
        with log.open("ab") if log else nullcontext() as output:
            process = subprocess.Popen(  # noqa: S603  (the demo's own programs)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        child = Child(name, process, log)
        self.running.append(child)
        return child

    def take_ended(self) -> list[Child]:
        """The programs that have ended since the last call."""
        ended = [child for child in self.running if not child.is_running]
        self.running = [child for child in self.running if child not in ended]
        return ended

    def stop(self, grace_seconds: float, count_signals: Callable[[], int]) -> list[Child]:
        """Ask all programs to end, again with each signal; return those that had to be killed."""
        deadline = time.monotonic() + grace_seconds
        heard = count_signals() - 1
        while self.running and time.monotonic() < deadline:
            while heard < count_signals():
                heard += 1
                self._send_all(signal.SIGTERM)
            time.sleep(LOOK_SECONDS)
            self.take_ended()
        killed = self.running
        self._send_all(signal.SIGKILL)
        for child in killed:
            child.process.wait()
        self.running = []
        return killed

    def _send_all(self, number: int) -> None:
        for child in self.running:
            child.send(number)


def _die_with(parent: int) -> Callable[[], None] | None:
    """Have the kernel end a child when this process is killed and cannot (Linux has a way)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
