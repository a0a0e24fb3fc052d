"""The rules of a job's row, in every order in which things may happen: SPIN walks through them all.

`job.pml` has the engine's statements and what must hold. It must hold as the model stands, and cease to
when a guard is taken out: else the model would say nothing about that guard.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

MODEL = Path(__file__).with_name("job.pml")
REQUIRE_ALL = os.environ.get("DBQ_REQUIRE_ALL") == "1"
# With two, twenty times as many states: a minute's work.
MISHAPS = os.environ.get("DBQ_MISHAPS", "1")
# Deeper than any path through the model.
DEPTH = "100000"
# Whether every job ends, besides the assertions, at twice the price.
LIVENESS = ("-O1",)
ASSERTIONS = ("-O0", "-DSAFETY", "-DNOCLAIM")
# What the model asserts, as SPIN writes it when it does not hold.
ONLY_THE_RUN_THAT_COUNTS_WRITES = "counts[_pid]"
TASKS_END_IN_ORDER_AND_ONCE = "(running==(done+1))"
NOBODY_LOSES_A_JOB_WHOSE_LEASE_IS_KEPT = "!(((state==5)&&in_time[owner]))"
NOTHING_IS_OVERWRITTEN_UNREAD = "has_read[((_pid-2)-2)]"
NOTHING_IS_DELETED_BEFORE_ITS_END = "has_ended"
WHAT_IS_CANCELLED_DOES_NOT_START = "!(is_stopped)"

# What is put in the place of a guard, and what must not hold any more.
VARIANTS = {
    "FENCE_IN_CHECKPOINT=true": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    "FENCE_IN_ADVANCE=true": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    "FENCE_IN_COMPLETE=true": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    "FENCE_IN_FAIL=true": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    "FENCE_IN_RELEASE=true MISHAPS=2": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    # That somebody runs the job does not tell who.
    "FENCE_IN_CHECKPOINT=RUNS": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    "FENCE_IN_COMPLETE=RUNS": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    "RISE_IN_RELEASE=0": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    "RISE_IN_RESCUE=0": ONLY_THE_RUN_THAT_COUNTS_WRITES,
    "LEASE_IN_RENEW=true": NOBODY_LOSES_A_JOB_WHOSE_LEASE_IS_KEPT,
    "LEASE_IN_DECLARE=true": NOBODY_LOSES_A_JOB_WHOSE_LEASE_IS_KEPT,
    "OWNER_IN_RESCUE=true": NOBODY_LOSES_A_JOB_WHOSE_LEASE_IS_KEPT,
    "STATE_IN_RESCUE=true": TASKS_END_IN_ORDER_AND_ONCE,
    "STATE_IN_CLAIM=true": TASKS_END_IN_ORDER_AND_ONCE,
    "STATE_IN_CLAIM=WAITS_OR_CANCELLED": WHAT_IS_CANCELLED_DOES_NOT_START,
    "STATE_IN_CANCEL=true": NOBODY_LOSES_A_JOB_WHOSE_LEASE_IS_KEPT,
    "STATE_IN_RETRY=true": TASKS_END_IN_ORDER_AND_ONCE,
    "STATE_IN_REQUEUE=true": NOBODY_LOSES_A_JOB_WHOSE_LEASE_IS_KEPT,
    "STATE_IN_DELETE=true": NOTHING_IS_DELETED_BEFORE_ITS_END,
    "VERSION_IN_EDIT=true": NOTHING_IS_OVERWRITTEN_UNREAD,
}
# Alone, each of these is implied by the others; the engine keeps them as a second rope.
IMPLIED = (
    "STATE_IN_EDIT=true",  # the version tells of every change of the state
    "RISE_IN_CLAIM=0",  # it has risen when the job was given back
    "RISE_AT_THE_END=0",  # nobody else holds the fence, and whoever sets the job going raises it
    "RISE_IN_ACTS=0",  # nobody holds the fence of a job that does not run
)


@pytest.fixture(scope="session")
def programs() -> None:
    missing = [name for name in ("spin", "gcc") if not shutil.which(name)]
    if missing:
        give_up = pytest.fail if REQUIRE_ALL else pytest.skip
        give_up(f"There is no {' and no '.join(missing)} (apt-get install spin gcc libc6-dev).")


def test_the_model_keeps_its_promises(programs, tmp_path):
    verdict = check(tmp_path, f"MISHAPS={MISHAPS}", flags=LIVENESS)

    assert find_violation(verdict) is None
    assert "errors: 0" in verdict
    assert count_states(verdict) > 100_000, "So few states are not all of them."


def test_without_a_rescuer_a_job_may_never_end(programs, tmp_path):
    verdict = check(tmp_path, "SOMEBODY_RESCUES=false", flags=LIVENESS)

    assert find_violation(verdict) == "acceptance cycle"


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_a_guard_the_model_breaks_a_promise(programs, tmp_path, variant):
    verdict = check(tmp_path, *variant.split())

    assert find_violation(verdict) == f"assertion violated {VARIANTS[variant]}"


@pytest.mark.parametrize("variant", IMPLIED)
def test_a_guard_that_others_imply_is_not_missed(programs, tmp_path, variant):
    verdict = check(tmp_path, variant)

    assert find_violation(verdict) is None
    assert "errors: 0" in verdict


def check(directory: Path, *definitions: str, flags: tuple[str, ...] = ASSERTIONS) -> str:
    """Walk through the model, to its end or to the first violation; return what SPIN says of it."""
    run(directory, "spin", *(f"-D{definition}" for definition in definitions), "-a", str(MODEL))
    run(directory, "gcc", *flags, "-w", "-o", "pan", "pan.c")
    search = ("-a",) if flags == LIVENESS else ()
    verdict = run(directory, "./pan", *search, f"-m{DEPTH}")
    assert "max search depth too small" not in verdict
    return verdict


def run(directory: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command} says:\n{done.stdout}{done.stderr}"
    return done.stdout


def find_violation(verdict: str) -> str | None:
    found = re.search(r"^pan:\d+: (.*?) \(at depth", verdict, re.MULTILINE)
    return found and " ".join(found[1].split())


def count_states(verdict: str) -> int:
    found = re.search(r"(\d+) states, stored", verdict)
    assert found, verdict
    return int(found[1])
