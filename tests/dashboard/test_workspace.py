"""Editing a workspace: what is kept, what is refused, and why."""

import json
import re
from html import unescape

import pytest
from django.urls import reverse

from dashboard.workspace_tree import make_tree
from dbq.masking import MASK
from dbq.models import Attempt, Operation
from dbq.states import State
from tests.dashboard.console import log_in, read
from tests.helpers import assert_state, claim, make_job, reload

WORKSPACE = {"n": 1, "account": {"user": "ada", "password": "lovelace"}, "url": "https://ada:lovelace@db/"}

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def operator(client):
    return log_in(client, "change_workspace")


@pytest.fixture
def job():
    return reload(make_job(State.FAILED, workspace=dict(WORKSPACE)))


def address_of(job):
    return reverse("dbq:job-workspace", args=[job.pk])


def read_text(response):
    found = re.search(r"<textarea[^>]*>(.*?)</textarea>", response.content.decode(), re.DOTALL)
    return unescape(found[1]).lstrip("\n")


def save(client, job, text, **more):
    data = {"text": text, "version": job.version, **more}
    return client.post(address_of(job), data, follow=True)


def test_the_form_shows_the_workspace_without_its_secrets(operator, job):
    response = operator.get(address_of(job))
    assert "lovelace" not in response.content.decode()
    shown = json.loads(read_text(response))
    assert shown["account"]["user"] == "ada"
    assert re.fullmatch(r"\*{20}\(\d\)", shown["account"]["password"])
    assert "numbered placeholders" in read(response)


def test_secrets_survive_an_edit_of_something_else(operator, job):
    text = read_text(operator.get(address_of(job))).replace('"n": 1', '"n": 2')
    response = save(operator, job, text, reason="a wrong number")
    assert reload(job).workspace == {**job.workspace, "n": 2}
    assert "Workspace edited" in read(response)
    assert MASK not in json.dumps(reload(job).workspace)


def test_the_edit_is_in_the_history_and_in_the_record(operator, job):
    text = read_text(operator.get(address_of(job))).replace('"n": 1', '"n": 2')
    page = read(save(operator, job, text, reason="a wrong number"))
    assert Attempt.objects.get(outcome="EDITED").changes == [{"op": "replace", "path": "/n", "value": 2}]
    operation = Operation.objects.get()
    assert (operation.verb, operation.reason) == ("edit_workspace", "a wrong number")
    assert "lovelace" not in json.dumps(operation.options) + operation.message + page


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"n": 1,\n "m": }', "Expecting value (line 2, column 7)"),
        ("", "This field is required."),
        ("[1]", "must be an object"),
        ('{"n": NaN}', "which JSON does not have"),
        ('{"n": "\\u0000"}', "NUL"),
        ("[" * 100_000, "nested too deeply"),
        ('{"note": "' + MASK + '"}', "write the value itself"),
        ('{"note": "' + MASK + '(7)"}', "no masked value"),
        ('{"note": "' + MASK + '(1)"}', "not moved to where it would be shown"),
    ],
)
def test_what_cannot_be_kept_is_explained_and_not_lost(operator, job, text, sentence):
    response = save(operator, job, text)
    assert response.status_code == 200
    assert sentence in read(response).replace("&quot;", '"')
    assert read_text(response) == text
    assert reload(job).version == job.version


def test_an_error_shows_the_place_it_is_at(operator, job):
    page = save(operator, job, '{"n": 1,\n "m": }').content.decode()
    assert "&quot;m&quot;: }◂" in page
    assert 'aria-invalid="true"' in page


def test_a_stale_edit_is_refused_and_nothing_typed_is_lost(operator, job):
    text = read_text(operator.get(address_of(job)))
    job.edit_workspace({**job.workspace, "n": 5})
    response = save(operator, job, text.replace('"n": 1', '"n": 2'))
    assert response.status_code == 409
    page = read(response)
    assert "Nothing was saved." in page
    assert '"n": 2' in unescape(page)
    assert json.loads(read_text(response))["n"] == 5
    assert reload(job).workspace["n"] == 5
    assert Operation.objects.get().state == Operation.State.REFUSED


def test_a_form_without_a_version_is_stale(operator, job):
    assert operator.post(address_of(job), {"text": "{}"}).status_code == 409
    assert reload(job).workspace == job.workspace


@pytest.mark.parametrize("state", [State.PROCESSING, State.COMPLETED])
def test_a_job_that_runs_or_is_completed_cannot_be_edited(operator, state):
    job = make_job(state)
    assert "cannot be edited now" in read(operator.get(address_of(job)))
    before = reload(job).workspace
    response = save(operator, reload(job), '{"n": 99}')
    assert "Nothing was done." in read(response)
    assert_state(job, state)
    assert reload(job).workspace == before


def test_a_job_claimed_between_form_and_save_is_left_alone(operator):
    job = make_job(workspace={"n": 1})
    claim()
    response = save(operator, job, '{"n": 2}')
    assert response.status_code == 409
    assert reload(job).workspace == {"n": 1}


def test_who_may_not_edit_gets_no_form(client, job):
    response = log_in(client, "reveal_workspace").get(address_of(job))
    assert response.status_code == 403
    assert "textarea" not in response.content.decode()


# The tree


def test_large_lists_are_cut_and_can_be_opened():
    workspace = {"rows": list(range(1000)), "n": 1}
    tree = make_tree(workspace)
    assert tree.is_cut
    assert [line.size for line in tree.lines if line.step == "more"] == ["950"]
    opened = make_tree(workspace, opened="/rows")
    assert sum(line.step == "leaf" for line in opened.lines) == 501


def test_a_huge_workspace_has_a_bounded_tree():
    workspace = {f"k{i}": {f"l{j}": {"m": [1] * 40} for j in range(40)} for i in range(40)}
    assert len(make_tree(workspace).lines) < 2500


def test_begin_and_end_of_every_branch_belong_together():
    depth = 0
    for line in make_tree({"a": {"b": [{"c": 1}, []], "d": {}}, "e": [[[1]]]}).lines:
        depth += {"open": 1, "close": -1}.get(line.step, 0)
        assert depth >= 0
    assert depth == 0


def test_a_search_keeps_the_branches_that_lead_to_what_it_finds():
    tree = make_tree({"a": {"b": 1, "needle": 2}, "c": ["x", "Needles"], "d": 1}, find="needle")
    assert tree.found == 2
    assert [line.path for line in tree.lines if line.path] == ["a", "a.needle", "c", "c[1]"]
