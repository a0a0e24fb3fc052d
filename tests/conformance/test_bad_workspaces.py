"""What JSON, or one of the databases, cannot hold is refused, or fails the task that leaves it."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbq.exceptions import InvalidWorkspace
from dbq.models import Job
from dbq.states import State
from tests import jobs
from tests.helpers import EXAMPLES, assert_state, make_job, reload, work_off

REFUSALS = {
    "keep_not_a_number": "workspace['value'] is nan, which JSON does not have.",
    "keep_a_nul": "workspace['value'] holds a NUL character, which PostgreSQL cannot store.",
    "keep_half_a_surrogate_pair": (
        "workspace['value'] holds half of a surrogate pair, which is not valid Unicode."
    ),
    "keep_two_megabytes": ("The workspace is 2,000,024 bytes of JSON; at most 1,048,576 are allowed."),
    "keep_a_set": "workspace['value'] is of type set, which JSON does not have.",
    "keep_a_time": "workspace['value'] is of type datetime, which JSON does not have.",
    "keep_a_number_as_key": "workspace has the key 1; keys must be strings.",
    "replace_the_workspace_by_a_list": "A workspace must be an object (a dict), not list.",
    "replace_the_workspace_by_none": "A workspace must be an object (a dict), not NoneType.",
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.fault(34, 35, 36, 37, 39)
def test_a_task_that_leaves_a_bad_workspace_fails_with_the_rule_it_broke(name):
    job = make_job(name=name, workspace={"kept": 1})

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert fresh.error_type == "dbq.exceptions.InvalidWorkspace"
    assert fresh.error_message == REFUSALS[name]
    assert fresh.workspace == {"kept": 1}


@pytest.mark.parametrize("name", ["keep_itself", "keep_a_deep_nest"])
@pytest.mark.fault(38)
def test_a_task_that_leaves_a_bottomless_workspace_fails(name):
    job = make_job(name=name)

    work_off()

    message = assert_state(job, State.FAILED).error_message
    assert message.startswith("workspace['")
    assert message.endswith(" is nested deeper than 20 levels.")


@pytest.mark.parametrize("name", REFUSALS)
def test_the_next_job_runs_after_a_bad_workspace(name):
    make_job(name=name)
    good = make_job(name="edit")

    work_off()

    assert_state(good, State.COMPLETED)


@pytest.mark.parametrize("name", [n for n in REFUSALS if n != "keep_two_megabytes"])
@pytest.mark.fault(34, 35, 36, 37, 38, 39)
def test_a_job_is_not_created_with_a_bad_workspace(name):
    carrier = Job(name=name, workspace={})
    getattr(jobs, name)(carrier)

    if carrier.workspace is None:
        # Not given at all.
        assert Job.objects.create(name="nothing", workspace=None).workspace == {}
        return
    with pytest.raises(InvalidWorkspace) as raised:
        Job.objects.create(name="nothing", workspace=carrier.workspace)

    assert str(raised.value) == REFUSALS[name]
    assert not Job.objects.exists()


def nest(levels: int, key: str = "deeper") -> dict:
    """A workspace whose innermost value is so many levels deep."""
    workspace: dict = {key: 1}
    for _ in range(levels - 1):
        workspace = {key: workspace}
    return workspace


@pytest.mark.parametrize("limit", [20, 29])
@pytest.mark.fault(38)
def test_the_deepest_workspace_that_is_allowed_can_be_stored_and_changed(limit, settings):
    settings.DBQ = {"WORKSPACE_MAX_DEPTH": limit}
    deepest = nest(limit)
    job = make_job(name="scripted_once", workspace=deepest)
    assert reload(job).workspace == deepest

    def rewrite(job):
        job.workspace = {"text": "x" * 2_000, "other": nest(limit - 1, "other")}

    jobs.script[:] = [rewrite]
    work_off()

    assert_state(job, State.COMPLETED)
    assert reload(job).workspace_before("tests.jobs.follow_the_script") == deepest
    with pytest.raises(InvalidWorkspace, match=f"is nested deeper than {limit} levels."):
        make_job(workspace=nest(limit + 1))


@pytest.mark.fault(34)
def test_the_largest_workspace_that_is_allowed_can_be_stored_and_changed(settings):
    settings.DBQ = {"WORKSPACE_MAX_BYTES": 1_000_000}
    largest = {"text": "\\" * ((1_000_000 - len('{"text":""}')) // 2)}
    job = make_job(name="scripted_once", workspace=largest)
    assert reload(job).workspace == largest

    def rewrite(job):
        job.workspace["text"] = "/" + largest["text"][1:]

    jobs.script[:] = [rewrite]
    work_off()

    assert assert_state(job, State.COMPLETED).workspace["text"][:2] == "/\\"


def test_many_large_results_are_written_together():
    made = [make_job(name="scripted_once") for _ in range(5)]

    def fill(job):
        job.workspace["text"] = "\N{SNOWMAN}" * 150_000

    jobs.script[:] = [fill] * 5
    work_off()

    for job in made:
        assert len(assert_state(job, State.COMPLETED).workspace["text"]) == 150_000


# Whatever is accepted comes back as it was


def is_storable(text: str) -> bool:
    return "\0" not in text


Text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(is_storable)
Json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.integers(-(2**63) - 2, 2**64 + 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | Text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(Text, inner, max_size=4),
    max_leaves=12,
)


def assert_same(found, expected) -> None:
    """Equal, with the types that JSON tells apart.

    PostgreSQL stores numbers by their decimal digits: 1e22 comes back as a whole number, -0.0 as 0.0.
    """
    if isinstance(expected, float):
        assert isinstance(found, int | float) and not isinstance(found, bool)
        assert float(found) == expected
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected and type(found) is type(expected)


@settings(max_examples=EXAMPLES * 2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(workspaces=st.lists(st.dictionaries(Text, Json, max_size=4), min_size=1, max_size=8))
@pytest.mark.fault(39)
def test_a_workspace_comes_back_as_it_was_created(workspaces):
    made = Job.objects.bulk_create([Job(name="nothing", workspace=each) for each in workspaces])

    found = Job.objects.in_bulk([job.pk for job in made])

    for job, workspace in zip(made, workspaces, strict=True):
        assert_same(found[job.pk].workspace, workspace)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(workspace=st.dictionaries(Text, Json, max_size=4))
def test_a_workspace_comes_back_as_a_task_left_it(workspace):
    job = make_job(name="scripted_once", workspace={"before": True})

    def leave(job):
        job.workspace = workspace

    jobs.script[:] = [leave]
    work_off()

    fresh = assert_state(job, State.COMPLETED)
    assert_same(fresh.workspace, workspace)
    assert_same(fresh.initial_workspace, {"before": True})
    assert_same(fresh.workspace_before("tests.jobs.follow_the_script"), {"before": True})


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63) - 1, 10**300, 0.1, 5e-324, 1.7976931348623157e308])
@pytest.mark.fault(39)
def test_extreme_numbers_keep_their_value(value):
    job = make_job(workspace={"value": value})

    assert float(reload(job).workspace["value"]) == float(value)
    if isinstance(value, int):
        assert reload(job).workspace["value"] == value


def test_a_number_of_more_digits_than_python_writes_is_refused():
    with pytest.raises(InvalidWorkspace):
        make_job(workspace={"value": 10**5000})


def test_the_order_of_keys_is_no_promise_but_their_values_are():
    workspace = {"bb": 1, "a": 2, "ccc": 3}
    job = make_job(workspace=workspace)

    assert json.dumps(reload(job).workspace, sort_keys=True) == json.dumps(workspace, sort_keys=True)
