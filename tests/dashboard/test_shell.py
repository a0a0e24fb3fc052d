"""The frame of the console: preferences, words, numbers, times, limits."""

import hashlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from django.urls import reverse
from django.utils import timezone, translation

from dashboard import charts, durations, limits, looks, snapshots
from dashboard.checks import check_project
from dashboard.numbers import Number, Quality
from dashboard.preferences import find_patience
from dbq.states import Outcome, State
from tests.dashboard.console import log_in, read

VENDOR = Path(__file__).resolve().parent.parent.parent / "static/dbq/vendor"


def render(text, **context):
    return Template("{% load dbq %}" + text).render(Context(context)).strip()


# Preferences


@pytest.mark.django_db
def test_the_theme_is_chosen_without_a_script_and_kept(client):
    log_in(client)
    response = client.post(reverse("dbq:preference-theme"), {"value": "dark", "next": "/dbq/jobs/"})
    assert response["Location"] == "/dbq/jobs/"
    assert 'data-theme="dark"' in client.get(reverse("dbq:overview")).content.decode()


@pytest.mark.django_db
def test_a_made_up_preference_changes_nothing(client):
    log_in(client)
    client.cookies["dbq_theme"] = '"><script>'
    page = client.get(reverse("dbq:overview")).content.decode()
    assert 'data-theme="system"' in page
    response = client.post(reverse("dbq:preference-theme"), {"value": "pink"})
    assert "dbq_theme" not in response.cookies


@pytest.mark.django_db
def test_live_refresh_can_be_turned_off_and_stays_off(client):
    log_in(client)
    client.post(reverse("dbq:preference-refresh"), {"value": "0"})
    assert 'data-seconds="0"' in client.get(reverse("dbq:overview")).content.decode()


@pytest.mark.django_db
def test_a_page_says_when_it_was_made_whether_or_not_it_renews_itself(client):
    log_in(client)
    for seconds in ("5", "0"):
        client.cookies["dbq_refresh"] = seconds
        page = client.get(reverse("dbq:overview")).content.decode()
        [moment] = re.findall(r'<time datetime="([^"]+)" data-updated>\d\d:\d\d:\d\d</time>', page)
        age = timezone.now() - datetime.fromisoformat(moment)
        assert timedelta() <= age < timedelta(minutes=1)


@pytest.mark.django_db
def test_the_login_page_is_the_console_s_own_and_leads_in(client):
    from tests.dashboard.console import make_user

    user = make_user("olga", "view_job")
    user.set_password("secret")
    user.save()
    page = client.get("/login/?next=/dbq/queues/")
    assert "Log in to the console" in read(page)
    response = client.post("/login/", {"username": "olga", "password": "secret", "next": "/dbq/queues/"})
    assert response["Location"] == "/dbq/queues/"
    assert client.post("/logout/")["Location"] == "/login/"


@pytest.mark.django_db
def test_the_environment_is_on_every_page_where_the_project_names_one(client, settings):
    overview = reverse("dbq:overview")
    assert "Environment" not in read(log_in(client).get(overview))
    settings.DBQ = {"ENVIRONMENT": "staging <b>"}
    for address in (overview, reverse("dbq:job-list"), "/dbq/nothing/"):
        page = client.get(address)
        assert "Environment: staging &lt;b&gt;" in read(page)


# Words and looks


@pytest.mark.parametrize("value", [*State, looks.SCHEDULED, *Outcome])
def test_every_state_and_outcome_has_a_word_an_icon_and_a_colour(value):
    look = looks.find_look(value)
    assert look is not looks.UNKNOWN
    icons = (VENDOR.parent.parent.parent / "templates/dbq/components/_icons.html").read_text()
    tokens = (VENDOR.parent / "css/tokens.css").read_text()
    assert f'id="i-{look.icon}"' in icons
    assert f'[data-tone="{look.tone}"]' in tokens


def test_an_outcome_is_not_taken_for_a_state_of_the_same_name():
    assert str(looks.find_look(Outcome.CANCELLED).word) == "Cancelled"
    assert str(looks.find_look(Outcome.RETRIED).word) == "Failed, tries again"
    assert looks.find_look("nonsense") is looks.UNKNOWN


def test_a_state_is_a_word_first():
    text = render("{% state value %}", value="FAILED")
    assert "<span>Failed</span>" in text
    assert 'aria-hidden="true"' in text


def test_a_long_name_may_wrap_between_its_parts_and_a_short_one_may_not():
    template = '{% include "dbq/components/_name.html" %}'
    long = "billing.invoices:monthly-settlement_of_all"
    parts = "billing.<wbr>invoices:<wbr>monthly-<wbr>settlement_<wbr>of_<wbr>all"
    assert f"<bdi>{parts}</bdi>" in render(template, name=long)
    assert "<bdi>import_orders</bdi>" in render(template, name="import_orders")


def test_what_is_unknown_is_shown_as_text():
    assert "&lt;script&gt;" in render("{{ value|short_id }}", value="<script>")


# Numbers


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(0), "0"),
        (Number(9_999), "9,999"),
        (Number(10_000), "10k"),
        (Number(12_345), "12.3k"),
        (Number(999_999), "999k"),
        (Number(1_234_567), "1.2M"),
        (Number(50_000, Quality.AT_LEAST), "50k+"),
        (Number(50_000, Quality.ESTIMATE), "≈ 50k"),
        (Number.bounded(50_000), "50k"),
        (Number.bounded(50_001), "50k+"),
    ],
)
def test_a_number_says_how_good_it_is(number, text):
    with translation.override("en"):
        assert str(number) == text


def test_a_number_that_is_acted_on_has_every_digit():
    assert Number(23_114).full == "23,114"
    assert Number.bounded(50_001).full == "50,000+"


def test_a_sum_is_as_good_as_its_worst_part():
    total = Number(1) + Number(50_000, Quality.AT_LEAST)
    assert total == Number(50_001, Quality.AT_LEAST)
    assert "At least 50,001" in total.explanation


# Times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.0042, "4 ms"),
        (1.23, "1.2 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (600, "10 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_reads_at_a_glance(seconds, text):
    assert durations.describe(seconds) == text


def test_a_moment_is_relative_and_exact_at_once():
    moment = timezone.now() - timedelta(minutes=3, seconds=5)
    text = render("{% moment value %}", value=moment)
    assert ">3 min ago</time>" in text
    assert f'title="{moment:%Y-%m-%d %H:%M:%S} UTC"' in text
    assert "–" in render("{% moment value %}", value=None)


# Charts


def test_bars_stand_on_one_scale_and_a_single_failure_is_seen():
    chart = charts.stack([[("completed", 1000), ("failed", 1)], [("completed", 0)]], 240)
    assert chart.top == 1200
    assert chart.paths == {
        "completed": "M1 40h8v200h-8z",
        "failed": f"M1 {40 - charts.LEAST}h8v{charts.LEAST}h-8z",
    }
    assert [bar.x for bar in chart.bars] == [1, 11]
    assert chart.bars[1].pieces == []


@pytest.mark.parametrize(("value", "top"), [(0, 4), (3, 4), (5, 6), (10, 10), (999, 1000), (1300, 1600)])
def test_the_top_of_a_scale_is_round(value, top):
    assert charts.find_top(value) == top


# Limits


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_takes_too_long_is_stopped_and_the_next_one_runs():
    slow = {
        "postgresql": "SELECT pg_sleep(10)",
        # A SLEEP or BENCHMARK that is cut short answers and raises nothing.
        "mysql": f"SELECT COUNT(*) FROM {', '.join(f'information_schema.columns c{n}' for n in range(4))}",
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n",
    }[connection.vendor]
    with pytest.raises(limits.TookTooLong), limits.time_limit(0.2), connection.cursor() as cursor:
        cursor.execute(slow)
    with limits.time_limit(5), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone()[0] == 1


@pytest.mark.django_db(transaction=True)
def test_a_limit_leaves_nothing_behind_in_the_transaction_of_its_caller():
    read = {
        "postgresql": "SELECT current_setting('statement_timeout'), current_setting('enable_bitmapscan'),"
        " current_setting('jit')",
        "mysql": "SELECT @@max_statement_time",
        "sqlite": "SELECT 1",
    }[connection.vendor]

    def ask():
        with connection.cursor() as cursor:
            cursor.execute(read)
            return cursor.fetchone()

    with transaction.atomic():
        before = ask()
        with limits.time_limit(5):
            within = ask()
            if connection.vendor == "postgresql":
                assert within == ("5s", "off", "off")
        assert ask() == before


@pytest.mark.django_db(transaction=True)
def test_other_database_errors_pass_through_a_limit():
    from django.db import DatabaseError

    with pytest.raises(DatabaseError), limits.time_limit(), connection.cursor() as cursor:
        cursor.execute("SELECT nonsense FROM nowhere")


def test_shared_answers_are_made_once_and_know_their_age():
    calls = []

    @snapshots.shared(60)
    def count(alias):
        calls.append(alias)
        return len(calls)

    assert count("a").value == count("a").value == 1
    assert count("b").value == 2
    assert count("a").age >= 0
    snapshots.forget()
    assert count("a").value == 3
    assert count.within(60, "a").value == 3
    assert count.within(0, "a").value == 4


class Slow:
    """Something that takes as long to make as one likes."""

    def __init__(self):
        self.made = 0
        self.started, self.may_end = threading.Event(), threading.Event()
        self.ask = snapshots.shared(60)(self.make)

    def make(self):
        self.made += 1
        self.started.set()
        self.may_end.wait(10)
        return self.made


def test_many_who_ask_at_once_wait_for_one_that_makes_it():
    slow = Slow()
    with ThreadPoolExecutor(5) as threads:
        asked = [threads.submit(slow.ask) for _ in range(5)]
        slow.started.wait(10)
        slow.may_end.set()
        assert {future.result(10).value for future in asked} == {1}
    assert slow.made == 1


def test_what_could_not_be_made_is_tried_again():
    @snapshots.shared(60)
    def fail():
        raise limits.TookTooLong

    for _ in range(2):
        with pytest.raises(limits.TookTooLong):
            fail()


def test_what_was_being_made_when_all_was_forgotten_is_kept_for_nobody():
    slow = Slow()
    with ThreadPoolExecutor(1) as threads:
        before = threads.submit(slow.ask)
        slow.started.wait(10)
        snapshots.forget()
        slow.may_end.set()
        assert before.result(10).value == 1
    assert slow.ask().value == 2


@pytest.mark.parametrize(
    "pace, is_part, seconds",
    [("5", False, 1), ("5", True, 4.25), ("2", True, 1.7), ("60", True, 5), ("0", True, 1)],
)
def test_an_answer_may_be_as_old_as_the_page_would_be_anyway(pace, is_part, seconds):
    request = RequestFactory().get("/", headers={"HX-Request": "true"} if is_part else {})
    request.COOKIES["dbq_refresh"] = pace
    assert find_patience(request) == pytest.approx(seconds)


# The project around it


def test_the_checks_name_what_a_project_lacks():
    assert check_project() == []
    with override_settings(INSTALLED_APPS=["dbq"], MIDDLEWARE=[], TEMPLATES=[]):
        messages = [problem.msg for problem in check_project()]
    assert 'The dashboard needs "django_filters" in INSTALLED_APPS.' in messages
    assert any("HtmxMiddleware" in message for message in messages)
    assert any("context processor" in message for message in messages)


def test_vendored_files_are_what_their_list_says():
    listed = json.loads((VENDOR / "vendor.json").read_text())
    files = {path.name for path in VENDOR.glob("*.js")}
    assert files == set(listed)
    for name, entry in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == entry["sha256"]


def test_a_host_s_own_policy_is_kept(rf):
    from django.http import HttpResponse

    from dashboard.middleware import content_security_policy

    own = HttpResponse(headers={"Content-Security-Policy": "default-src 'self'"})
    assert (
        content_security_policy(lambda request: own)(rf.get("/"))["Content-Security-Policy"]
        == "default-src 'self'"
    )
