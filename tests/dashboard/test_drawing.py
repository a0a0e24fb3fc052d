"""What pages draw once, for many rows or many readers, is what they would draw anew each time."""

import uuid
from datetime import timedelta

import pytest
from django.template import Context, Template
from django.test import override_settings
from django.urls import NoReverseMatch, reverse, set_script_prefix
from django.utils import timezone, translation

from dashboard.addresses import find_address, write_address
from dashboard.reasons import Reason
from dashboard.task_strip import Strip
from dashboard.templatetags.dbq import cut, job_row
from dashboard.views.jobs import Row
from dbq.models import Job

HOSTILE = """<b title="x">'&\0name\0"""


def render(text: str, **context: object) -> str:
    return Template("{% load dbq %}" + text).render(Context(context))


# Addresses


@pytest.mark.parametrize("name", ["mail", "two words", "größe", "a&b=c?d#e", "a~b:c@d+e", "50%", "~any~"])
def test_an_address_is_the_one_that_django_writes(name):
    assert write_address("dbq:queue-pause", name) == reverse("dbq:queue-pause", args=[name])


def test_an_address_of_a_job_is_the_one_that_django_writes():
    pk = uuid.uuid4()
    assert write_address("dbq:job-retry", pk) == reverse("dbq:job-retry", args=[pk])


@pytest.mark.parametrize("value", ["", "a/b"])
def test_what_a_route_does_not_take_has_no_address(value):
    with pytest.raises(NoReverseMatch):
        write_address("dbq:queue-pause", value)


def test_addresses_follow_the_place_that_the_project_is_served_at():
    before = write_address("dbq:queue-pause", "mail"), find_address("dbq:job-list")
    set_script_prefix("/below/")
    try:
        assert write_address("dbq:queue-pause", "mail") == reverse("dbq:queue-pause", args=["mail"])
        assert find_address("dbq:job-list") == f"/below{before[1]}"
    finally:
        set_script_prefix("/")
    assert (write_address("dbq:queue-pause", "mail"), find_address("dbq:job-list")) == before


# Rows


def make_row(**fields: object) -> Row:
    shown = {"strip": Strip(), "reason": None, "error": "", "can_retry": False, "address": "/a/"}
    job = Job(id=uuid.uuid4(), name="edit", queue_name="default", created=timezone.now(), **fields)
    return Row(job=job, short_id="12345678", **shown)


def test_what_jobs_say_of_themselves_is_never_markup():
    row = make_row(error_type=HOSTILE, state="FAILED", finished=timezone.now())
    row = Row(**{**vars(row), "error": HOSTILE, "reason": Reason(HOSTILE, HOSTILE, HOSTILE)})
    row.job.name = row.job.queue_name = HOSTILE
    text = job_row(row, ["retry"], "")
    assert "<b title" not in text
    # A text that looks like a blank is not filled in either.
    assert text.count("&lt;b title=&quot;x&quot;&gt;&#x27;&amp;\0name\0") == 9


def test_rows_of_one_shape_keep_their_own_texts():
    first, second = make_row(priority=3), make_row(priority=4)
    assert "priority 3</p>" in job_row(first, [], "")
    assert "priority 4</p>" in job_row(second, [], "")
    assert "priority" not in job_row(make_row(), [], "")


def test_a_row_speaks_the_language_of_its_reader():
    moment = timezone.now() - timedelta(hours=3)
    with translation.override("de"):
        render("{% moment value %}{% state 'FAILED' %}", value=moment)
    with translation.override("en"):
        assert ">3 h ago<" in render("{% moment value %}", value=moment)
        assert "Failed" in render("{% state 'FAILED' %}")


def test_a_long_text_is_cut_and_a_short_one_is_not():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"


# Parts


PART = '{% draw_once kept "part" other %}{{ words }}{% enddraw_once %}'


def test_a_part_is_drawn_once_for_all_who_see_a_snapshot():
    kept: dict = {}
    assert render(PART, kept=kept, other=1, words="first") == "first"
    assert render(PART, kept=kept, other=1, words="second") == "first"
    assert render(PART, kept={}, other=1, words="third") == "third"


def test_a_part_is_drawn_again_for_what_it_depends_on():
    kept: dict = {}
    render(PART, kept=kept, other=1, words="first")
    assert render(PART, kept=kept, other=2, words="second") == "second"
    with translation.override("de"):
        assert render(PART, kept=kept, other=1, words="third") == "third"
    with timezone.override("Asia/Tokyo"):
        assert render(PART, kept=kept, other=1, words="fourth") == "fourth"


def test_in_development_a_changed_component_is_seen_at_once(monkeypatch):
    drawn = []
    monkeypatch.setattr("dashboard.drawing.render_to_string", lambda *arguments: drawn.append(1) or "x")
    with override_settings(DEBUG=True):
        render("{% state 'READY' 'a note of its own' %}" * 2)
    assert len(drawn) == 2
    render("{% state 'READY' 'another note' %}" * 2)
    assert len(drawn) == 3
