"""One job: what it says, what it offers, and what its verbs do."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dbq import operations
from dbq.models import Attempt, Job, Operation, Queue, Worker
from dbq.operations import Actor
from dbq.states import Lane, State
from tests import jobs as sample
from tests.dashboard.console import ask_for, log_in, make_user, read, reading_at_most
from tests.helpers import assert_state, claim, make_job, make_worker, reload, work_off

ALICE = Actor("1", "alice")
VERBS = {
    "retry": "retry_job",
    "requeue": "requeue_job",
    "resume": "retry_job",
    "cancel": "cancel_job",
    "reschedule": "change_job",
    "delete": "delete_job",
    "workspace": "change_workspace",
    "reveal": "reveal_workspace",
}
ALL = sorted(set(VERBS.values()))
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\u202e"

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def operator(client):
    return log_in(client, *ALL)


def address_of(job, verb="detail"):
    return reverse(f"dbq:job-{verb}", args=[job.pk])


def make_scripted(*steps, name="scripted"):
    """A job that has run, with these functions as its tasks' bodies."""
    sample.script[:] = steps
    job = Job.objects.create(name=name, workspace={"n": 1, "api_token": "lovelace"})
    work_off()
    return reload(job)


def sentence(client, job):
    page = client.get(address_of(job)).content.decode()
    found = re.search(r'id="job-reason".*?<span>(.*?)</span></p>', page, re.DOTALL)
    return found[1].replace("&quot;", '"').replace("&#x27;", "'")


# Why it is not running


def test_it_is_next(operator):
    make_worker(queue_names=["default"])
    assert sentence(operator, make_job()) == ("It is next: the first free worker of its queue claims it.")


def test_jobs_are_ahead_of_it(operator):
    make_worker(queue_names=["default"])
    for priority in (0, 0, 3):
        make_job(priority=priority)
    job = make_job()
    make_job()
    assert sentence(operator, job) == '3 jobs are ahead of it in the queue "default".'


def test_nobody_serves_its_queue(operator):
    make_worker(queue_names=["mail"])
    assert sentence(operator, make_job()) == 'No live worker serves the queue "default".'


def test_its_queue_is_paused_by_whom_why_and_until_when(operator):
    job = make_job(queue_name="mail")
    until = timezone.now() + timedelta(hours=2, minutes=1)
    operations.act(ALICE, "pause_queue", "mail", reason="the server moves", until=until)
    assert re.fullmatch(
        r'The queue "mail" was paused by alice (just now|\d s ago), because: the server moves\.'
        r" It resumes by itself in 2 h\.",
        sentence(operator, job),
    )


def test_it_is_scheduled(operator):
    job = make_job(run_after=timezone.now() + timedelta(minutes=3, seconds=30))
    assert sentence(operator, job) == "Scheduled: it is due in 3 min."


def test_it_backs_off(operator):
    job = Job.objects.create(name="fail_for_ever")
    work_off()
    assert re.fullmatch(r'The task "fail" failed 1 time; it tries again in \d+ s\.', sentence(operator, job))


def test_the_settings_do_not_have_its_name(operator):
    job = make_job()
    Job.objects.update(name="gone")
    assert 'has no "gone"' in sentence(operator, job)


def test_its_definition_does_not_have_its_task(operator):
    job = make_job()
    Job.objects.update(next_task="old.task")
    assert 'JOBS["edit"] has no task "old.task" any more' in sentence(operator, job)


def test_it_runs_and_its_worker_lives_is_silent_or_dead(operator):
    worker = make_worker(name="web-1:9")
    make_job()
    [job] = claim(worker=worker)
    assert sentence(operator, job) == 'The task "edit" runs on web-1:9.'
    Worker.objects.update(beat=timezone.now() - timedelta(seconds=40))
    assert re.fullmatch(
        r"Its worker web-1:9 stopped beating 40 s ago; its lease runs out in 5\d s\.",
        sentence(operator, job),
    )
    Worker.objects.update(expires_at=None)
    assert "its lease ran out; the next sweep" in sentence(operator, job)
    Worker.objects.all().delete()
    assert "Its worker is gone" in sentence(operator, job)


def test_it_was_asked_to_end(operator):
    make_job()
    [job] = claim()
    job.cancel()
    assert sentence(operator, job).startswith("Asked to end;")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.COMPLETED, "All its tasks ran to their end"),
        (State.FAILED, 'The task "fail" failed'),
        (State.CANCELLED, "It was cancelled"),
    ],
)
def test_it_has_ended(operator, state, words):
    assert sentence(operator, make_job(state)).startswith(words)


# What it shows


def test_what_each_task_changed_is_shown_before_and_after(operator):
    def count(job):
        job.workspace |= {"n": 2, "api_token": "babbage", "list": [1]}

    def fail(job):
        job.workspace["n"] = 3
        raise ValueError("no")

    page = operator.get(address_of(make_scripted(count, fail))).content.decode()
    assert re.search(r"<bdi>n</bdi>.*?<del><bdi>1</bdi></del>.*?<ins><bdi>2</bdi></ins>", page, re.S)
    assert re.search(r"<bdi>n</bdi>.*?<del><bdi>2</bdi></del>.*?<ins><bdi>3</bdi></ins>", page, re.S)
    assert "discarded with the failure" in page
    assert "lovelace" not in page
    assert "babbage" not in page


def test_the_applications_frames_stand_out(operator):
    page = operator.get(address_of(make_job(State.FAILED))).content.decode()
    assert "is told to fail" in page
    assert "data-own" in page
    assert re.search(r"Look here first:.*tests/jobs.py:\d+.*fail", page, re.S)


def test_runs_and_acts_are_one_timeline(operator):
    job = make_job(State.FAILED)
    operations.act(ALICE, "retry", job, reason="the disk has space again")
    work_off()
    operations.act(ALICE, "cancel", job)
    page = read(operator.get(address_of(job)))
    timeline = page[page.index("Timeline") :]
    for earlier, later in [("edit Completed", "fail Failed"), ("Retried by alice", "Cancel by alice")]:
        assert timeline.index(later) < timeline.index(earlier)
    assert "“ the disk has space again ”" in timeline
    assert "Refused" in timeline


def test_what_happened_before_a_requeue_is_told_apart(operator):
    job = make_job(State.FAILED)
    job.requeue()
    page = read(operator.get(address_of(job)))
    assert page.count("before the requeue") == 2


def test_the_strip_tells_how_long_and_how_often(operator):
    job = make_job(State.FAILED)
    job.retry()
    work_off()
    page = read(operator.get(address_of(job)))
    assert "2 attempts" in page[page.index(" Tasks ") : page.index(" Workspace ")]


def test_jobs_that_failed_the_same_way_are_named(operator):
    first, second = make_job(State.FAILED), make_job(State.FAILED)
    page = operator.get(address_of(first)).content.decode()
    similar = page[page.index("Failed the same way") :]
    assert address_of(second) in similar
    assert address_of(first) not in similar


def test_the_last_runs_of_the_name_are_drawn_and_each_bar_leads_to_its_job(operator):
    jobs = [make_job(State.COMPLETED) for _ in range(3)]
    page = operator.get(address_of(jobs[0])).content.decode()
    assert page.count('<rect class="bar"') == 3
    drawn = page[page.index('<svg class="runs"') :].partition("</svg>")[0]
    for job in jobs:
        label = f"{str(job.pk)[-8:]}: Completed after "
        assert f'<a href="{address_of(job)}" tabindex="-1" aria-label="{label}' in drawn
        assert f"<title>{label}" in drawn
    assert drawn.count('aria-current="page"') == 1
    assert "3 runs in numbers" in page


def test_the_page_costs_the_same_however_long_the_history(operator):
    job = make_job(State.FAILED)
    for _ in range(8):
        operations.act(ALICE, "retry", job, reason="again")
        work_off()
    for _ in range(8):
        make_job(State.FAILED)
    # The job, its history in three, a traceback, surroundings in two, and two for each of three legs.
    with reading_at_most(13):
        operator.get(address_of(job))


def test_a_long_history_is_cut_and_says_so(operator):
    job = make_job(State.FAILED)
    row = Attempt.objects.filter(job_id=job.pk).values().first()
    del row["id"]
    Attempt.objects.bulk_create(Attempt(**row) for _ in range(100))
    page = read(operator.get(address_of(job)))
    assert "Older entries are not shown." in page
    assert page.count("edit Completed") <= 61


def test_a_tick_of_the_clock_brings_nothing_while_nothing_changes(operator):
    job = make_job(State.FAILED)
    page = operator.get(address_of(job)).content.decode()
    here = re.search(r'id="job" class="job" hx-get="([^"]+)"', page)[1].replace("&amp;", "&")
    assert operator.get(here, headers=ask_for("job")).status_code == 204
    assert operator.get(here).status_code == 200
    job.retry()
    response = operator.get(here, headers=ask_for("job"))
    assert response.content.decode().lstrip().startswith('<div id="job"')


# What it offers


def test_only_verbs_that_make_sense_and_are_allowed_are_offered(client):
    job = make_job(State.FAILED)
    page = log_in(client, "retry_job").get(address_of(job)).content.decode()
    assert f'action="{address_of(job, "retry")}"' in page
    for verb in ("requeue", "cancel", "delete", "workspace", "reveal"):
        assert address_of(job, verb) not in page


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_asks_for_its_own_permission_and_records_who_lacks_it(client, verb):
    job = make_job(State.FAILED)
    log_in(client, *(name for name in ALL if name != VERBS[verb]))
    response = client.post(address_of(job, verb), {"version": job.version, "reason": "because"})
    assert response.status_code == 403
    assert f"dbq.{VERBS[verb]}" in read(response)
    assert reload(job).version == Job.objects.get(pk=job.pk).version
    assert_state(job, State.FAILED)
    assert Operation.objects.get().state == Operation.State.REFUSED


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"reveal"}))
def test_every_verb_says_beforehand_what_it_will_do_and_a_get_does_nothing(operator, verb):
    job = make_job(State.NEW if verb in ("cancel", "reschedule") else State.FAILED)
    response = operator.get(address_of(job, verb))
    assert response.status_code == 200
    assert "act-effect" in response.content.decode()
    assert Job.objects.values().get(pk=job.pk) == Job.objects.values().get(version=reload(job).version)
    assert not Operation.objects.exists()


def test_a_get_reveals_nothing(operator):
    job = make_job(workspace={"password": "lovelace"})
    response = operator.get(address_of(job, "reveal"), follow=True)
    assert "lovelace" not in response.content.decode()
    assert not Operation.objects.exists()


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("retry", State.FAILED, State.READY),
        ("requeue", State.COMPLETED, State.NEW),
        ("cancel", State.NEW, State.CANCELLED),
    ],
)
def test_a_verb_moves_the_job_records_it_and_says_so(operator, verb, before, after):
    job = make_job(before)
    response = operator.post(
        address_of(job, verb), {"version": reload(job).version, "reason": "because"}, follow=True
    )
    assert_state(job, after)
    operation = Operation.objects.get()
    assert (operation.actor_name, operation.reason, operation.job_id) == ("olga", "because", job.pk)
    assert operation.message in read(response).replace("&quot;", '"')
    assert response.redirect_chain == [(address_of(job), 302)]


def test_a_job_goes_on_at_a_chosen_task(operator):
    def write(job):
        job.workspace["n"] += 1

    def fail(job):
        raise ValueError("no")

    job = make_scripted(write, write, fail)
    task = job.definition.tasks[1]
    page = read(operator.get(address_of(job, "resume")))
    assert "It has not run yet." not in page
    assert "1 difference from the workspace as it is now" in page
    operator.post(address_of(job, "resume"), {"version": job.version, "task": task})
    job = assert_state(job, State.READY)
    assert (job.next_task, job.workspace["n"]) == (task, 2)


def test_a_task_that_is_none_of_the_jobs_is_refused(operator):
    job = make_job(State.FAILED)
    response = operator.post(address_of(job, "resume"), {"version": 1, "task": "os.system"})
    assert "Select a valid choice." in read(response)
    assert_state(job, State.FAILED)


def test_priority_queue_and_time_of_a_waiting_job_are_changed(operator):
    job = make_job()
    data = {"priority": 9, "queue_name": "mail", "run_after": "2030-01-01T10:00", "version": 0}
    operator.post(address_of(job, "reschedule"), data)
    job = reload(job)
    assert (job.priority, job.queue_name, job.lane) == (9, "mail", Lane.WAITING)
    assert job.run_after.isoformat() == "2030-01-01T10:00:00+00:00"
    operator.post(
        address_of(job, "reschedule"),
        {"priority": 9, "queue_name": "mail", "is_due_now": "on", "version": job.version},
    )
    assert reload(job).lane == Lane.CLAIMABLE


@pytest.mark.parametrize(
    "wrong", [{"priority": "x"}, {"priority": 99999}, {"queue_name": "no spaces"}, {"run_after": "soon"}]
)
def test_a_wrong_value_is_explained_at_its_field(operator, wrong):
    job = make_job()
    data = {"priority": 0, "queue_name": "default", "version": 0, **wrong}
    response = operator.post(address_of(job, "reschedule"), data)
    assert "field-error" in response.content.decode()
    assert reload(job).version == 0


def test_a_finished_job_is_deleted_and_the_way_leads_to_the_list(operator):
    job = make_job(State.FAILED)
    response = operator.post(address_of(job, "delete"), {"version": job.version})
    assert response["Location"] == reverse("dbq:job-list")
    assert not Job.objects.exists()
    assert Operation.objects.get().job_id == job.pk


# Attacks


def test_the_same_post_twice_does_it_once_and_explains_the_second(operator):
    job = make_job(State.FAILED)
    data = {"version": job.version}
    operator.post(address_of(job, "retry"), data)
    response = operator.post(address_of(job, "retry"), data, follow=True)
    assert "Nothing was done." in read(response)
    assert "Retried by olga" in read(response)
    assert list(Operation.objects.order_by("id").values_list("state", flat=True)) == ["DONE", "REFUSED"]


def test_two_operators_get_one_success_and_one_explanation(client):
    job = make_job(State.FAILED)
    answers = []
    for name in ("ada", "bob"):
        browser = log_in(Client(), "retry_job", name=name)
        response = browser.post(address_of(job, "retry"), {"version": job.version}, follow=True)
        answers.append(read(response))
    assert "Retried: fail_at_the_end." in answers[0]
    assert "Retried by ada" in answers[1]


def test_an_unknown_job_is_not_found_and_an_act_on_it_is_recorded(operator):
    unknown = Job(pk=uuid4())
    assert operator.get(address_of(unknown)).status_code == 404
    assert operator.get(address_of(unknown, "retry")).status_code == 404
    response = operator.post(address_of(unknown, "retry"), follow=True)
    assert "The job does not exist any more." in read(response)
    assert Operation.objects.get().state == Operation.State.REFUSED


def test_columns_that_no_form_has_cannot_be_set(operator):
    job = make_job()
    extra = {"state": "COMPLETED", "next_task": "os.system", "fence": 99, "lane": 0, "version": 0}
    operator.post(address_of(job, "reschedule"), {"priority": 1, "queue_name": "default", **extra})
    job = reload(job)
    assert (job.state, job.lane, job.fence, job.next_task) == ("NEW", 1, 0, "tests.jobs.edit")


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "https:evil"],
)
def test_the_way_back_never_leads_to_another_host(operator, elsewhere):
    job = make_job(State.FAILED)
    response = operator.post(address_of(job, "retry"), {"version": job.version, "next": elsewhere})
    assert response["Location"] == address_of(job)


def test_hostile_texts_are_texts(operator):
    job = make_job(State.FAILED, workspace={HOSTILE: HOSTILE, "deep": [{HOSTILE: [HOSTILE]}]})
    texts = {"error_type": HOSTILE, "error_message": HOSTILE}
    Job.objects.update(name=HOSTILE[:100], next_task=HOSTILE, unique_key=HOSTILE, **texts)
    Attempt.objects.update(traceback=HOSTILE, worker_name=HOSTILE, **texts)
    operations.act(Actor("1", HOSTILE), "retry", job, reason=HOSTILE, version=10**6)
    Queue(name="default", paused_at=timezone.now(), paused_by=HOSTILE, paused_reason=HOSTILE).save()
    for query in ("", f"?find={HOSTILE}", f"?open={HOSTILE}&attempt={HOSTILE}&seen={HOSTILE}"):
        page = operator.get(address_of(job) + query).content.decode()
        assert "<script>alert" not in page
        assert "<img" not in page


def test_secrets_are_masked_everywhere_on_the_page(operator):
    def leak(job):
        job.workspace["note"] = "see https://ada:lovelace@example.org"
        job.set_progress(1, 2, note="token=lovelace")
        raise ValueError("password=lovelace")

    job = make_scripted(lambda job: None, leak)
    Job.objects.update(error_message="password=lovelace")
    Attempt.objects.update(error_message="password=lovelace", traceback="x: password=lovelace")
    operations.act(ALICE, "retry", job, reason="token=lovelace", version=10**6)
    for query in ("", "?find=lovelace", "?find=api", "?open=/note"):
        assert "lovelace" not in operator.get(address_of(job) + query).content.decode().replace(
            'value="lovelace"', ""
        ).replace("“lovelace”", "").replace("find=lovelace", "")


def test_searching_the_tree_finds_what_is_shown_and_nothing_else(operator):
    job = make_job(workspace={"password": "lovelace", "customer": {"id": 42}})
    assert "0 places have" in read(operator.get(f"{address_of(job)}?find=lovelace"))
    assert "1 place has" in read(operator.get(f"{address_of(job)}?find=42"))


def test_revealing_shows_the_secrets_once_and_leaves_a_record(operator):
    job = make_job(workspace={"password": "lovelace"})
    response = operator.post(address_of(job, "reveal"), {"reason": "a customer asks"})
    assert "lovelace" in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    operation = Operation.objects.get()
    assert (operation.verb, operation.reason) == ("reveal", "a customer asks")
    assert "lovelace" not in str(operation.options) + operation.message


def test_a_revoked_permission_counts_at_once(client):
    job = make_job(State.FAILED)
    log_in(client, "retry_job")
    assert client.get(address_of(job, "retry")).status_code == 200
    client.user.user_permissions.set(make_user("x", "view_job").user_permissions.all())
    assert client.post(address_of(job, "retry"), {"version": job.version}).status_code == 403
    assert_state(job, State.FAILED)


def test_csrf_is_checked_on_every_act():
    job = make_job(State.FAILED)
    browser = log_in(Client(enforce_csrf_checks=True), *ALL)
    for verb in VERBS:
        assert browser.post(address_of(job, verb), {"version": job.version}).status_code == 403
    assert_state(job, State.FAILED)
    assert not Operation.objects.exists()
