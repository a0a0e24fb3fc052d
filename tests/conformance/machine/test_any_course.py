"""Whatever workers and operators do, in whatever order: the rows are what a plain model says."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conformance.machine.fleet import Fleet
from tests.helpers import EXAMPLES

ANY_COURSE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def test_any_course_of_acts_leaves_the_rows_that_the_model_says():
    run_state_machine_as_test(Fleet, settings=ANY_COURSE)
