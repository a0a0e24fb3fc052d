"""The queue in Django's admin: who may what, what is asked first, what nobody learns."""

import re

import pytest
from django.contrib.admin import ModelAdmin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.html import parse_html
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.http import urlencode

from dbq import bulk
from dbq.admin import lists
from dbq.models import Attempt, Job, Operation, Queue, Worker
from dbq.operations import Actor
from dbq.states import Lane, State
from tests.helpers import dialect, let_time_pass, make_worker

ALICE = Actor("1", "alice")
LIST = reverse("admin:dbq_job_changelist")
ADD = reverse("admin:dbq_job_add")
ACT = reverse("admin:dbq_job_act")
CLEANUP = reverse("admin:dbq_job_cleanup")

pytestmark = pytest.mark.django_db


def make_user(name, *permissions, **fields):
    user = User.objects.create_user(name, is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def root(client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def viewer(client):
    client.force_login(make_user("vera", "view_job", "view_worker", "view_queue", "view_operation"))
    return client


def make_finished(amount=1, state=State.FAILED, **fields):
    jobs = [Job(name="edit", **fields) for _ in range(amount)]
    Job.objects.bulk_create(jobs)
    now = dialect().read_clock()
    ended = Job.objects.filter(pk__in=[job.pk for job in jobs])
    ended.update(state=state, lane=Lane.FINISHED, started=now, finished=now)
    return jobs


def address(job, verb=None):
    if verb:
        return reverse("admin:dbq_job_verb", args=[job.pk, verb])
    return reverse("admin:dbq_job_change", args=[job.pk])


def choose(client, action, *jobs, **more):
    data = {"action": action, "_selected_action": [str(job.pk) for job in jobs], **more}
    return client.post(more.pop("at", LIST), data)


def read_packed(response):
    return re.search(r'name="proposal" value="([^"]+)"', response.content.decode())[1]


def read(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def count_rows(response):
    return response.content.decode().count('name="_selected_action"')


# The list


def test_the_list_shows_jobs_newest_first_without_their_workspaces(root, django_assert_max_num_queries):
    make_finished(20, workspace={"plan": "gold"})
    newest = Job.objects.create(name="edit", workspace={"plan": "gold"})
    with django_assert_max_num_queries(16) as queries:
        response = root.get(LIST)
    assert count_rows(response) == 21
    assert response.content.decode().index(str(newest.pk)) > 0
    rows = re.findall(r'name="_selected_action" value="([^"]+)"', response.content.decode())
    assert rows[0] == str(newest.pk)
    assert "gold" not in response.content.decode()
    listing = [q["sql"] for q in queries.captured_queries if "dbq_job" in q["sql"]]
    assert not any('"workspace"' in sql or "`workspace`" in sql for sql in listing)


def test_the_list_costs_the_same_for_one_row_and_for_a_full_page(root, django_assert_max_num_queries):
    for amount in (1, 60):
        make_finished(amount)
        with django_assert_max_num_queries(16):
            root.get(LIST)


def test_no_count_goes_further_than_its_bound(root, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(lists, "COUNT_MAX", 60)
    make_finished(80)
    with django_assert_max_num_queries(16) as queries:
        response = root.get(LIST, {"p": 2})
    assert count_rows(response) == 60 - lists.PER_PAGE
    assert "Counted up to 60;" in read(response)
    counts = [q["sql"] for q in queries.captured_queries if "COUNT(" in q["sql"].upper()]
    assert counts and all("LIMIT 60" in sql for sql in counts if "dbq_job" in sql)


@pytest.mark.parametrize(
    ("asked", "amount"),
    [
        ({"stands": "failed"}, 3),
        ({"stands": "completed"}, 2),
        ({"stands": "waiting"}, 1),
        ({"stands": "scheduled"}, 0),
        ({"stands": "processing"}, 0),
        ({"stands": "failed", "queue": "mail"}, 3),
        ({"queue": "mail"}, 3),
        ({"queue": "nowhere"}, 0),
        ({"name": "edit"}, 6),
        ({"age": "hour"}, 6),
        ({"age": "hour", "queue": "mail", "stands": "failed"}, 3),
        ({"q": "edit"}, 6),
        ({"q": "edi"}, 0),
    ],
)
def test_the_list_can_be_narrowed_down(root, asked, amount):
    make_finished(3, queue_name="mail")
    make_finished(2, State.COMPLETED)
    Job.objects.create(name="edit")
    assert count_rows(root.get(LIST, asked)) == amount


def test_an_id_finds_its_job(root):
    first, _ = make_finished(2)
    response = root.get(LIST, {"q": f" {first.pk} "})
    assert count_rows(response) == 1 and str(first.pk) in response.content.decode()


def test_a_filter_without_an_index_looks_through_a_bounded_part_and_says_so(root, monkeypatch):
    from dbq.admin import jobs

    monkeypatch.setattr(jobs, "WINDOW", 3)
    make_finished(2, queue_name="mail")
    make_finished(3)
    for state in ({}, {"stands": "failed"}):
        with CaptureQueriesContext(connection) as queries:
            response = root.get(LIST, {"queue": "mail", **state})
        for sql in (query["sql"] for query in queries if 'FROM "dbq_job"' in query["sql"]):
            assert "LIMIT" in sql or "queue_name" in sql, sql
        assert count_rows(response) == 0
        assert "looked through the first" in read(response)
    assert "looked through" not in read(root.get(LIST, {"stands": "failed"}))


@pytest.mark.parametrize("matching", [0, 2, 30, 31, 65])
def test_what_fits_on_a_page_is_looked_for_once(root, matching):
    make_finished(matching, queue_name="mail")
    with CaptureQueriesContext(connection) as queries:
        page = root.get(LIST, {"queue": "mail"})
    searches = [sql["sql"] for sql in queries if "queue_name" in sql["sql"] and "dbq_job" in sql["sql"]]
    assert len(searches) == (1 if matching <= 30 else 2)
    assert count_rows(page) == min(matching, 30)
    assert page.context["cl"].result_count == matching
    numbers = range(1, page.context["cl"].paginator.num_pages + 1)
    pages = [root.get(LIST, {"queue": "mail", "p": number}) for number in numbers]
    shown = [job.pk for page in pages for job in page.context["cl"].result_list]
    assert len(set(shown)) == matching


def test_a_row_of_the_list_has_the_address_and_the_box_that_django_gives_it(root):
    (job,) = make_finished(1)
    page = root.get(LIST)
    assert f'href="{address(job)}"' in page.content.decode()
    listed = page.context["cl"].model_admin
    box = ModelAdmin.action_checkbox(listed, job)
    assert parse_html(listed.action_checkbox(job)) == parse_html(box)


def test_waiting_jobs_stand_in_the_order_of_their_turn_queue_by_queue(root, monkeypatch):
    from dbq.admin import jobs

    places = [("mail", 0), ("default", 0), ("default", 5), ("default", 0), ("mail", 9)]
    made = [Job.objects.create(name="edit", queue_name=name, priority=rank) for name, rank in places]
    order = [made[n].pk for n in (2, 1, 3, 4, 0)]
    assert [job.pk for job in root.get(LIST, {"stands": "waiting"}).context["cl"].result_list] == order
    monkeypatch.setattr(jobs, "WINDOW", 4)
    page = root.get(LIST, {"stands": "waiting", "name": "edit"})
    assert [job.pk for job in page.context["cl"].result_list] == order[:4]
    assert "looked through the first" in read(page)


# Secrets


@pytest.fixture
def secret_job():
    return Job.objects.create(name="edit", workspace={"api_token": "sk-SECRET-0123456789", "n": 1})


@pytest.mark.parametrize(
    "lookup",
    [
        "workspace__api_token__startswith",
        "workspace__api_token__gte",
        "workspace__api_token__regex",
        "workspace__api_token",
        "workspace__icontains",
        "workspace",
        "initial_workspace__api_token",
        "error_message__contains",
        "error_message",
        "unique_key__startswith",
        "attempts__traceback__contains",
        "attempts__changes__contains",
        "worker__host",
        "state",
        "state__exact",
        "id__gte",
        "fence__gt",
        "pk__in",
        "_state",
    ],
)
@pytest.mark.parametrize("value", ["sk-S", "sk-X"])
def test_a_lookup_in_the_address_is_refused_the_same_way_whatever_it_asks(viewer, secret_job, lookup, value):
    response = viewer.get(LIST, {lookup: value})
    # e=1 is the admin's own "there was something wrong with the address".
    assert response.status_code == 400 or response.headers.get("Location", "").endswith("?e=1")
    assert "result" not in read(response)


@pytest.mark.parametrize("order", ["1", "-1", "5.-3", "99", "-workspace", "0"])
def test_the_order_is_not_the_addresss_to_choose(viewer, secret_job, order):
    other = Job.objects.create(name="edit", workspace={"api_token": "sk-AAAA"}, priority=9)
    response = viewer.get(LIST, {"o": order})
    page = response.content.decode()
    assert page.index(str(other.pk)) < page.index(str(secret_job.pk))


@pytest.mark.parametrize("asked", [{"_facets": "True"}, {"all": ""}, {"e": "1"}, {"p": "999999"}])
def test_the_admins_own_parameters_give_nothing_away(viewer, secret_job, asked):
    response = viewer.get(LIST, asked)
    assert response.status_code in (200, 302)
    assert "SECRET" not in response.content.decode()


@pytest.mark.parametrize("field", ["workspace", "unique_key", "name"])
def test_a_row_cannot_be_addressed_by_another_column(viewer, secret_job, field):
    assert viewer.get(LIST, {"_to_field": field}).status_code == 400
    assert viewer.get(address(secret_job), {"_to_field": field}).status_code == 400


def test_what_a_search_asks_is_never_a_pattern(viewer, secret_job):
    for term in ("sk-", "%", "_", "workspace__api_token=sk-S", "edi%", "'", "\\", "\0", "x" * 9999):
        assert count_rows(viewer.get(LIST, {"q": term})) == 0


def test_a_job_shows_its_workspace_masked_and_pretty(viewer, secret_job):
    response = viewer.get(address(secret_job))
    page = response.content.decode()
    assert "SECRET" not in page
    assert "&quot;api_token&quot;: &quot;********************&quot;" in page
    assert "&quot;n&quot;: 1" in page


def test_errors_and_tracebacks_are_masked(viewer):
    [job] = make_finished()
    Job.objects.update(error_type="ValueError", error_message="password=hunter2 refused")
    Attempt.objects.create(
        job_id=job.pk,
        task="tests.jobs.edit",
        number=1,
        fence=1,
        outcome="FAILED",
        error_type="ValueError",
        error_message="password=hunter2 refused",
        traceback="Traceback:\n    login(password='hunter2')\nValueError: password=hunter2",
    )
    page = viewer.get(address(job)).content.decode()
    assert "hunter2" not in page
    assert "Traceback" in page and "refused" in page


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7|add:7 }}"]
)
def test_hostile_text_is_shown_as_text(viewer, text):
    job = Job.objects.create(name="edit", workspace={text: text}, unique_key=text)
    Job.objects.filter(pk=job.pk).update(error_type=text, error_message=text)
    for where in (address(job), LIST):
        page = viewer.get(where).content.decode()
        assert "<script>alert" not in page and "<img src=x" not in page


def test_the_autocomplete_of_other_models_tells_nothing_of_jobs(viewer, secret_job):
    response = viewer.get(
        reverse("admin:autocomplete"),
        {"app_label": "dbq", "model_name": "attempt", "field_name": "job", "term": "sk-"},
    )
    assert response.json()["results"] == []


# Acting on many


@pytest.mark.parametrize(
    ("action", "effect", "button"),
    [
        ("act_retry", "goes on at the task that did not end", "Retry"),
        ("act_requeue", "starts again from its first task", "Requeue"),
        ("act_cancel", "is cancelled at once; a running one is asked", "Cancel"),
        ("act_delete", "is deleted with its history. This cannot be undone.", "Delete"),
    ],
)
def test_an_action_says_its_effect_and_number_before_it_happens(root, action, effect, button):
    jobs = make_finished(3)
    response = choose(root, action, *jobs)
    page = read(response)
    assert effect in page and "3 jobs" in page
    assert f'value="{button}"' in response.content.decode()
    assert not Operation.objects.exists()
    assert Job.objects.filter(state="FAILED").count() == 3


@pytest.mark.parametrize(
    ("action", "state"), [("act_retry", "READY"), ("act_requeue", "NEW"), ("act_delete", None)]
)
def test_a_confirmed_action_is_done_told_and_recorded(root, action, state):
    jobs = make_finished(3)
    packed = read_packed(choose(root, action, *jobs))
    response = root.post(ACT, {"proposal": packed, "reason": "because"}, follow=True)
    assert re.search(r"(Retried|Requeued|Deleted) 3 jobs\.", read(response))
    operation = Operation.objects.get()
    assert (operation.done, operation.actor_name, operation.reason) == (3, "root", "because")
    assert Job.objects.filter(state=state).count() == (3 if state else 0)
    assert LogEntry.objects.count() == 3


def test_what_was_skipped_is_told_with_its_reason(root):
    [failed] = make_finished()
    [completed] = make_finished(1, State.COMPLETED)
    response = choose(root, "act_retry", failed, completed)
    assert "Completed: 1 (will be skipped)" in read(response)
    response = root.post(ACT, {"proposal": read_packed(response)}, follow=True)
    assert "Retried 1 job. Skipped 1: The job is completed." in read(response)


def test_all_that_match_means_the_filters_not_the_page(root):
    mail = make_finished(70, queue_name="mail")
    make_finished(5)
    response = root.post(
        f"{LIST}?{urlencode({'stands': 'failed', 'queue': 'mail'})}",
        {"action": "act_retry", "select_across": "1", "_selected_action": [str(mail[0].pk)]},
    )
    page = read(response)
    assert "70 jobs" in page and "queue is mail" in page and "state is Failed" in page
    root.post(ACT, {"proposal": read_packed(response)})
    assert Operation.objects.get().done == 70
    assert Job.objects.filter(state="FAILED").count() == 5


def test_a_forged_or_foreign_proposal_does_nothing(root):
    [job] = make_finished()
    packed = bulk.propose("delete", ids=[job.pk]).pack(Actor("stranger", "alice"))
    for text in ("", "forged", packed):
        response = root.post(ACT, {"proposal": text}, follow=True)
        assert "This confirmation was" in read(response)
    assert Job.objects.count() == 1 and not Operation.objects.exists()


# Acting on one


@pytest.mark.parametrize(("verb", "state"), [("retry", "READY"), ("requeue", "NEW"), ("delete", None)])
def test_a_button_asks_first_and_then_acts(root, verb, state):
    [job] = make_finished()
    assert address(job, verb) in root.get(address(job)).content.decode()
    response = root.get(address(job, verb))
    assert response.status_code == 200
    assert Job.objects.filter(state="FAILED").count() == 1
    root.post(address(job, verb), {"version": job.version, "reason": "why not"})
    assert Job.objects.filter(state=state).count() == (1 if state else 0)
    operation = Operation.objects.get()
    assert (operation.verb, operation.reason) == (verb, "why not")
    assert LogEntry.objects.count() == 1


def test_a_stale_button_is_explained(root):
    [job] = make_finished()
    version = job.version
    job.retry()
    response = root.post(address(job, "retry"), {"version": version}, follow=True)
    assert "The job waits for a worker already (Ready)." in read(response)
    assert Operation.objects.get().is_refused
    assert not LogEntry.objects.exists()


def test_a_workspace_is_edited_without_its_secrets_being_seen_or_lost(root, secret_job):
    response = root.get(address(secret_job, "edit_workspace"))
    page = response.content.decode()
    assert "SECRET" not in page
    text = '{"api_token": "********************(1)", "n": 2}'
    root.post(address(secret_job, "edit_workspace"), {"version": secret_job.version, "text": text})
    secret_job.refresh_from_db()
    assert secret_job.workspace == {"api_token": "sk-SECRET-0123456789", "n": 2}


def test_a_workspace_that_is_no_json_is_refused_with_line_and_column(root, secret_job):
    response = root.post(
        address(secret_job, "edit_workspace"), {"version": secret_job.version, "text": '{"a": }'}
    )
    assert "(line 1, column 7)" in read(response)


def test_a_job_is_resumed_from_a_chosen_task(root):
    [job] = make_finished()
    Job.objects.filter(pk=job.pk).update(name="two", next_task="tests.jobs.succeed")
    response = root.post(address(job, "resume_from"), {"version": job.version, "task": "tests.jobs.succeed"})
    assert response.status_code == 302
    job.refresh_from_db()
    assert job.state == State.READY
    response = root.post(address(job, "resume_from"), {"version": 1, "task": "os.system"})
    assert "not one of the available choices" in read(response)


def test_a_waiting_job_is_rescheduled(root):
    job = Job.objects.create(name="edit")
    root.post(
        address(job, "reschedule"),
        {"version": job.version, "priority": "7", "queue_name": "mail", "run_after_0": ""},
    )
    job.refresh_from_db()
    assert (job.priority, job.queue_name) == (7, "mail")


@pytest.mark.parametrize("verb", ["explode", "reveal", "pause_queue", "cleanup"])
def test_there_is_no_page_for_what_is_not_a_verb_of_jobs(root, verb):
    [job] = make_finished()
    assert root.get(address(job, verb)).status_code == 404


def test_buttons_are_those_that_make_sense_now(root):
    page = root.get(address(Job.objects.create(name="edit"))).content.decode()
    assert "/act/cancel/" in page and "/act/reschedule/" in page
    assert "/act/retry/" not in page and "/act/delete/" not in page


def test_a_job_has_no_form_of_columns(root):
    [job] = make_finished()
    response = root.post(address(job), {"state": "COMPLETED", "name": "other"})
    assert response.status_code == 403
    job.refresh_from_db()
    assert (job.state, job.name) == (State.FAILED, "edit")
    assert b'name="state"' not in root.get(address(job)).content


def test_a_job_links_to_its_dashboard_page(root):
    [job] = make_finished()
    assert reverse("dbq:job-detail", args=[job.pk]) in root.get(address(job)).content.decode()
    assert reverse("dbq:job-list") in root.get(LIST).content.decode()


@pytest.mark.urls("tests.dbq.admin_urls")
def test_without_a_dashboard_there_is_no_link_and_no_error(root):
    [job] = make_finished()
    for where in (LIST, address(job)):
        response = root.get(where)
        assert response.status_code == 200 and "Dashboard" not in read(response)


def test_a_jobs_page_reads_a_bounded_number_of_attempts(root, django_assert_max_num_queries):
    from dbq.admin import jobs

    [job] = make_finished()
    Attempt.objects.bulk_create(
        Attempt(job_id=job.pk, task="tests.jobs.edit", number=n, fence=n, outcome="FAILED")
        for n in range(jobs.ATTEMPTS_MAX + 30)
    )
    with django_assert_max_num_queries(16):
        response = root.get(address(job))
    assert response.content.decode().count("field-short_task") <= jobs.ATTEMPTS_MAX + 1


# A new job


def test_a_job_is_created_through_its_definition(root):
    response = root.post(
        ADD,
        {"name": "edit", "workspace": '{"a": 1}', "queue_name": "", "priority": "", "unique_key": ""},
        follow=True,
    )
    job = Job.objects.get()
    assert "was added successfully" in read(response)
    assert (job.name, job.workspace, job.queue_name, job.unique_key) == ("edit", {"a": 1}, "default", None)
    assert job.next_task == "tests.jobs.edit"
    assert Operation.objects.get().verb == "create"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "os.system"}, "not one of the available choices"),
        ({"workspace": "[1]"}, "A workspace must be an object"),
        ({"workspace": '{"a": }'}, "line 1, column 7"),
        ({"queue_name": "no/such"}, "A queue name must be"),
        ({"priority": "99999"}, "less than or equal to 32767"),
        ({"unique_key": "held"}, "already exists"),
    ],
)
def test_a_job_that_breaks_a_rule_is_refused_at_its_field(root, fields, sentence):
    Job.objects.create(name="edit", unique_key="held")
    response = root.post(ADD, {"name": "edit", "workspace": "", **fields})
    assert response.status_code == 200
    assert sentence in read(response)
    assert Job.objects.count() == 1


def test_what_a_creation_hook_says_is_shown_over_the_form(root, settings):
    settings.JOBS = {
        **settings.JOBS,
        "hooked": {"tasks": ["tests.jobs.edit"], "creation_hook": "tests.jobs.fail"},
    }
    response = root.post(ADD, {"name": "hooked", "workspace": '{"kept": 1}'})
    page = read(response)
    assert "is told to fail" in page and "kept" in page
    assert not Job.objects.exists() and not Operation.objects.exists()


# Clean-up


def test_a_cleanup_is_shown_confirmed_and_told(root):
    make_finished(3, State.COMPLETED, queue_name="mail")
    make_finished(2)
    let_time_pass(48 * 3600)
    young = make_finished(1)
    assert CLEANUP in root.get(LIST).content.decode()
    response = root.get(CLEANUP, {"hours": "24", "states": ["COMPLETED", "FAILED"]})
    page = read(response)
    assert "5 jobs" in page and "mail Completed 3" in page and "default Failed 2" in page
    assert Job.objects.count() == 6
    response = root.post(ACT, {"proposal": read_packed(response)}, follow=True)
    assert "Cleaned up 5 jobs." in read(response)
    assert list(Job.objects.values_list("pk", flat=True)) == [young[0].pk]
    assert "Last:" in read(root.get(CLEANUP))


def test_a_cleanup_of_nonsense_is_refused_at_its_field(root):
    for asked in ({"hours": "-1", "states": "FAILED"}, {"hours": "24", "states": "NEW"}):
        assert b'name="proposal"' not in root.get(CLEANUP, asked).content


# Permissions


ACTIONS = {
    "act_retry": "retry_job",
    "act_requeue": "requeue_job",
    "act_cancel": "cancel_job",
    "act_delete": "delete_job",
}


@pytest.mark.parametrize("granted", [*ACTIONS.values(), "change_job", "change_workspace", None])
@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_needs_its_own_permission(client, granted, action):
    client.force_login(make_user("olga", "view_job", granted or "view_job"))
    [job] = make_finished()
    response = choose(client, action, job)
    is_allowed = ACTIONS[action] == granted
    assert response.status_code == (200 if is_allowed else 403)
    assert (f'value="{action}"' in client.get(LIST).content.decode()) == is_allowed
    if not is_allowed:
        assert Operation.objects.get().is_refused


VERBS = {
    "retry": "retry_job",
    "requeue": "requeue_job",
    "resume_from": "retry_job",
    "cancel": "cancel_job",
    "reschedule": "change_job",
    "edit_workspace": "change_workspace",
    "delete": "delete_job",
}


@pytest.mark.parametrize("granted", [*sorted(set(VERBS.values())), "reveal_workspace", "run_cleanup"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_page_of_a_verb_needs_its_own_permission(client, granted, verb):
    client.force_login(make_user("olga", "view_job", granted))
    [job] = make_finished()
    is_allowed = VERBS[verb] == granted
    assert client.get(address(job, verb)).status_code == (200 if is_allowed else 403)
    if not is_allowed:
        assert not Operation.objects.exists()
        assert client.post(address(job, verb), {"version": job.version}).status_code == 403
        assert Operation.objects.get().is_refused
        job.refresh_from_db()
        assert job.state == State.FAILED


def test_the_cleanup_needs_its_own_permission(client):
    client.force_login(make_user("olga", "view_job", "delete_job"))
    assert client.get(CLEANUP).status_code == 403
    assert CLEANUP not in client.get(LIST).content.decode()
    actor = Actor.from_user(User.objects.get())
    packed = bulk.propose_cleanup(1).pack(actor)
    assert client.post(ACT, {"proposal": packed}).status_code == 403


def test_creating_needs_its_own_permission(client):
    client.force_login(make_user("olga", "view_job", "change_job"))
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, {"name": "edit"}).status_code == 403
    client.force_login(make_user("otto", "view_job", "add_job"))
    assert client.get(ADD).status_code == 200


@pytest.mark.parametrize("who", ["anonymous", "user", "staff"])
def test_without_the_permission_to_see_there_is_nothing(client, who):
    [job] = make_finished()
    if who == "user":
        client.force_login(User.objects.create_user("ute"))
    elif who == "staff":
        client.force_login(make_user("sven"))
    expected = 403 if who == "staff" else 302
    pages = [LIST, ADD, CLEANUP, address(job), address(job, "retry")]
    pages += [reverse(f"admin:dbq_{m}_changelist") for m in ("worker", "queue", "operation")]
    for page in pages:
        assert client.get(page).status_code in (expected, 404 if who == "staff" else expected)


def test_every_action_names_its_permission():
    from django.contrib import admin

    for model in (Job, Worker, Queue, Operation):
        registered = admin.site._registry[model]
        for name in registered.actions:
            assert getattr(type(registered), name).allowed_permissions, name


def test_every_act_wants_a_csrf_token(root):
    [job] = make_finished()
    root.handler.enforce_csrf_checks = True
    for where in (LIST, ACT, ADD, address(job, "retry")):
        assert root.post(where, {"action": "act_retry"}).status_code == 403
    assert Job.objects.filter(state="FAILED").count() == 1


# Operations, queues, workers


@pytest.mark.parametrize("model", ["operation", "worker"])
def test_records_cannot_be_added_changed_or_deleted_even_by_a_superuser(root, model):
    make_worker()
    bulk.start(ALICE, bulk.propose("retry", []))
    row = {"operation": Operation, "worker": Worker}[model].objects.get()
    assert root.get(reverse(f"admin:dbq_{model}_add")).status_code == 403
    assert root.get(reverse(f"admin:dbq_{model}_delete", args=[row.pk])).status_code == 403
    change = reverse(f"admin:dbq_{model}_change", args=[row.pk])
    assert root.get(change).status_code == 200
    assert root.post(change, {"reason": "forged", "name": "forged"}).status_code == 403
    response = root.post(
        reverse(f"admin:dbq_{model}_changelist"),
        {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"},
    )
    assert type(row).objects.filter(pk=row.pk).exists(), response


def test_a_running_operation_is_stopped_and_a_stranger_is_not_let(root, client):
    make_finished(300)
    operation = bulk.start(ALICE, bulk.propose("retry", [["state", "in", ["FAILED"]]]))
    where = reverse("admin:dbq_operation_changelist")
    data = {"action": "stop", "_selected_action": [operation.pk]}
    client.force_login(make_user("olga", "view_operation", "delete_job"))
    client.post(where, data)
    operation.refresh_from_db()
    assert operation.is_running
    assert Operation.objects.filter(state="REFUSED", actor_name="olga").count() == 1
    client.force_login(User.objects.get(username="root"))
    client.post(where, data)
    operation.refresh_from_db()
    assert operation.state == Operation.State.STOPPED


def test_an_operation_tells_what_was_left_and_why(root):
    [failed] = make_finished()
    [completed] = make_finished(1, State.COMPLETED)
    operation = bulk.start(ALICE, bulk.propose("retry", ids=[failed.pk, completed.pk]))
    page = read(root.get(reverse("admin:dbq_operation_change", args=[operation.pk])))
    assert "1 done, 1 skipped" in page
    assert f"{completed.pk}: Skipped. The job is completed." in page


def test_a_queue_is_paused_by_its_name_and_resumed(root):
    where = reverse("admin:dbq_queue_changelist")
    add = reverse("admin:dbq_queue_add")
    response = root.post(add, {"name": "mail", "reason": "down", "minutes": "30"}, follow=True)
    assert "is paused until" in read(response)
    queue = Queue.objects.get()
    assert (queue.paused_by, queue.paused_reason) == ("root", "down")
    response = root.post(add, {"name": "mail"}, follow=True)
    assert "was paused already, by root" in read(response)
    response = root.post(where, {"action": "resume", "_selected_action": ["mail"]}, follow=True)
    assert "is resumed" in read(response)
    response = root.post(where, {"action": "pause", "_selected_action": ["mail"]}, follow=True)
    assert "is paused until it is resumed" in read(response)
    assert "A queue name must be" in read(root.post(add, {"name": "no/such"}))


def test_who_may_only_look_pauses_nothing_and_stops_nobody(viewer):
    worker = make_worker()
    Queue.objects.create(name="mail")
    for model, action, pk in (("queue", "pause", "mail"), ("worker", "stop", worker.pk)):
        where = reverse(f"admin:dbq_{model}_changelist")
        viewer.post(where, {"action": action, "_selected_action": [pk]})
    assert viewer.get(reverse("admin:dbq_queue_add")).status_code == 403
    worker.refresh_from_db()
    assert not worker.stop_requested and not Queue.objects.paused().exists()


def test_a_worker_is_asked_to_stop(root):
    worker = make_worker()
    where = reverse("admin:dbq_worker_changelist")
    root.post(where, {"action": "stop", "_selected_action": [worker.pk]})
    worker.refresh_from_db()
    assert worker.stop_requested
    response = root.post(where, {"action": "rescue", "_selected_action": [worker.pk]}, follow=True)
    assert "No dead worker holds jobs." in read(response)


@pytest.mark.parametrize("model", ["worker", "queue", "operation"])
def test_the_other_lists_are_closed_to_lookups_too(viewer, model):
    where = reverse(f"admin:dbq_{model}_changelist")
    for lookup in ("name__startswith", "reason__contains", "options__contains", "host", "jobs__state"):
        response = viewer.get(where, {lookup: "a"})
        assert response.status_code == 400 or response.headers.get("Location", "").endswith("e=1")
