"""Workers of a peer are killed while they drain a queue; the ledger says what came of it.

The same for every peer: the dice fall alike, a kill counts only if its victim was busy, and what was
killed is started again at once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.hosts import Host
from benchmarks.outcome import Kill, Outcome, judge
from benchmarks.peers.project import Project
from benchmarks.runs import Ledger

SEED = 20
LOOK_SECONDS = 0.02
# Between two questions to the database, each of which starts a Python.
ASK_SECONDS = 4.0
# The longest wait for a worker that is busy, whatever the peer; then no further kills are tried.
VICTIM_SECONDS = 60.0
# Every third is the death of a whole command, the others of one process in it.
WHOLE = 3


class Storm:
    """The drain of one queue under kills."""

    def __init__(self, project: Project, jobs: int, kills: int, bound: float) -> None:
        self.project = project
        self.ids = [f"{number:06}" for number in range(jobs)]
        self.wanted = kills
        self.bound = bound
        self.ledger = Ledger(project.folder)
        self.dice = random.Random(SEED)
        self.kills: list[Kill] = []
        self.hosts: list[Host] = []
        self.states: dict[str, str] = {}

    def run(self) -> Outcome:
        self.project.enqueue(self.ids)
        began = time.monotonic()
        with self.workers():
            self.kill_workers()
            has_drained, is_out_of_time = self.drain(began + self.bound)
        outcome = Outcome(
            self.kills,
            len(self.ids),
            time.monotonic() - began,
            sum(host.exits for host in self.hosts),
            has_drained,
            is_out_of_time,
        )
        judge(outcome, self.ledger.read_runs(), self.states, self.project.peer)
        return outcome

    @contextmanager
    def workers(self) -> Iterator[None]:
        try:
            for number in range(self.project.peer.commands):
                log = self.project.folder / f"worker-{number}.log"
                self.hosts.append(Host(self.project, self.ledger, log))
            yield
        finally:
            for host in self.hosts:
                host.end()

    # Kills

    def kill_workers(self) -> None:
        # All of them within the first half of the work.
        share = len(self.ids) // (2 * max(self.wanted, 1))
        for number in range(self.wanted):
            gap = self.dice.randrange(share // 2, share) if share > 1 else 1
            if not (self.wait_for_starts(gap) and self.kill_busy(number % WHOLE == 1)):
                return

    def wait_for_starts(self, amount: int) -> bool:
        goal = self.ledger.count_starts() + amount
        deadline = time.monotonic() + VICTIM_SECONDS
        while self.ledger.count_starts() < goal:
            if time.monotonic() > deadline or self.has_nothing_left():
                return False
            self.tend()
        return True

    def has_nothing_left(self) -> bool:
        """Whether every job has run, so that nobody will be busy any more."""
        return self.ledger.count_ends() >= len(self.ids) and self.ledger.have_ended(self.ids)

    def kill_busy(self, is_whole: bool) -> bool:
        """Kill one that is busy, as soon as the dice find it."""
        deadline = time.monotonic() + VICTIM_SECONDS
        while time.monotonic() < deadline and not self.has_nothing_left():
            host = self.dice.choice(self.hosts)
            workers = [pid for pid in self.ledger.get_pids() if host.has_process(pid)]
            if workers and (kill := host.strike(self.dice.choice(workers), is_whole)):
                self.kills.append(kill)
                return True
            self.tend()
        return False

    def tend(self) -> None:
        for host in self.hosts:
            host.tend()
        time.sleep(LOOK_SECONDS * self.dice.random())

    # The end

    def drain(self, deadline: float) -> tuple[bool, bool]:
        """Wait until all is finished or nothing moves; say whether it drained, and whether time was up."""
        moved = time.monotonic()
        seen: tuple[int, Counter[str]] | None = None
        while True:
            self.states = self.project.read_states(self.ids)
            if all(state in self.project.peer.finished for state in self.states.values()):
                return True, False
            now = self.ledger.get_size(), Counter(self.states.values())
            if now != seen:
                seen, moved = now, time.monotonic()
            if time.monotonic() - moved > self.project.variant.fair_seconds:
                return False, False
            if time.monotonic() > deadline:
                return False, True
            self.wait_a_little()

    def wait_a_little(self) -> None:
        until = time.monotonic() + ASK_SECONDS
        while time.monotonic() < until:
            self.tend()
