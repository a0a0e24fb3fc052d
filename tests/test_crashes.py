"""How the comparison of crashes judges, on ledgers written by hand."""

import pytest

from benchmarks.outcome import Kill, Outcome, judge
from benchmarks.peers.catalogue import PEERS
from benchmarks.runs import Ledger

pytestmark = pytest.mark.once

PEER = PEERS["django-ox"]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


def write(ledger, pid, *entries):
    lines = ["\t".join(map(str, entry)) + "\n" for entry in entries]
    (ledger.folder / f"{pid}.ledger").write_text("".join(lines))


def judged(ledger, states, *kills):
    outcome = Outcome(list(kills), len(states), 0.0, 0, True, False)
    judge(outcome, ledger.read_runs(), states, PEER)
    return outcome


def test_a_job_that_never_ran_to_its_end_is_lost_and_stuck_where_it_waits(ledger):
    write(ledger, 7, ("start", "a", 1.0))

    outcome = judged(ledger, {"a": "RUNNING"})

    assert (outcome.lost, outcome.stuck, outcome.phantom) == (1, 1, 0)


def test_a_job_recorded_as_completed_that_never_ran_to_its_end_is_a_phantom(ledger):
    write(ledger, 7, ("start", "a", 1.0))

    outcome = judged(ledger, {"a": "SUCCESSFUL"})

    assert (outcome.lost, outcome.stuck, outcome.phantom) == (1, 0, 1)


def test_a_repeat_is_explained_by_the_death_of_the_process_that_ran_it_first(ledger):
    write(ledger, 7, ("start", "a", 1.0), ("end", "a", 2.0), ("start", "b", 3.0), ("end", "b", 4.0))
    write(ledger, 8, ("start", "a", 5.0), ("end", "a", 6.0))

    alone = judged(ledger, {"a": "SUCCESSFUL", "b": "SUCCESSFUL"})
    killed = judged(ledger, {"a": "SUCCESSFUL", "b": "SUCCESSFUL"}, Kill(4.5, False, [7], []))

    assert (alone.repeated, alone.unexplained) == (1, 1)
    assert (killed.repeated, killed.unexplained) == (1, 0)


def test_recovery_is_the_time_from_the_kill_to_the_next_start_of_the_job_it_hit(ledger):
    write(ledger, 7, ("start", "a", 1.0))
    write(ledger, 8, ("start", "a", 9.0), ("end", "a", 10.0))
    write(ledger, 9, ("start", "b", 1.0))
    hit = {run.job_id: run for run in ledger.read_runs()[:2]}

    outcome = judged(
        ledger,
        {"a": "SUCCESSFUL", "b": "RUNNING"},
        Kill(2.0, False, [7], [hit["a"]]),
        Kill(3.0, True, [9], [hit["b"]]),
    )

    assert (outcome.recoveries, outcome.whole_recoveries, outcome.never) == ([7.0], [], 1)


def test_a_process_is_busy_with_what_it_has_started_and_not_ended(ledger):
    write(ledger, 7, ("start", "a", 1.0), ("end", "a", 2.0), ("start", "b", 3.0))
    write(ledger, 8, ("start", "a", 1.0), ("end", "a", 2.0))

    assert ledger.find_open_run(7).job_id == "b"
    assert ledger.find_open_run(8) is None
    assert ledger.find_open_run(9) is None
