"""When a failed task runs again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbq.retries import delay_seconds, may_retry

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("attempt", "max_attempts", "again"),
    [(1, 1, False), (1, 2, True), (2, 2, False), (3, 2, False), (29, 30, True)],
)
def test_a_task_runs_again_until_its_attempts_are_used_up(attempt, max_attempts, again):
    assert may_retry(attempt, max_attempts) is again


@pytest.mark.parametrize(("attempt", "middle"), [(1, 5), (2, 10), (3, 20), (8, 640), (50, 3600)])
def test_the_wait_doubles_up_to_the_ceiling(attempt, middle):
    for _ in range(50):
        assert middle * 0.8 <= delay_seconds(attempt, 5, 3600) <= middle * 1.2


def test_the_waits_are_spread():
    assert len({delay_seconds(1, 5, 3600) for _ in range(20)}) > 10


@settings(deadline=None)
@given(attempt=st.integers(1, 10_000), base=st.floats(0.001, 1e6), ceiling=st.floats(0.001, 1e6))
def test_no_wait_is_negative_or_beyond_the_ceiling_and_its_jitter(attempt, base, ceiling):
    assert 0 < delay_seconds(attempt, base, ceiling) <= ceiling * 1.2
