"""Downloads: everything that matches, nothing secret, and no cell that runs."""

import csv
import io
import json

import pytest
from django.urls import reverse

from dashboard import exports
from dbq.models import Job, Operation
from dbq.states import State
from tests.dashboard.console import log_in, make_finished, read

EXPORT = reverse("dbq:jobs-export")

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client):
    return log_in(client)


def download(client, query=""):
    response = client.get(EXPORT + query)
    assert response.status_code == 200
    assert response.streaming
    return response, b"".join(response.streaming_content).decode()


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def make(**fields):
    return Job.objects.create(**{"name": "edit", **fields})


def test_csv_and_json_lines_hold_what_the_filter_matches(operator):
    wanted = {str(make(queue_name="mail", workspace={"n": n}).pk) for n in range(3)}
    make()
    response, text = download(operator, "?queue=mail&format=csv")
    assert {row["id"] for row in read_csv(text)} == wanted
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="jobs.csv"'
    assert response["X-Content-Type-Options"] == "nosniff"
    _, text = download(operator, "?queue=mail&format=jsonl")
    records = [json.loads(line) for line in text.splitlines()]
    assert {record["id"] for record in records} == wanted
    assert sorted(record["workspace"]["n"] for record in records) == [0, 1, 2]


def test_many_rows_come_in_chunks_and_none_is_left_out(operator, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(exports, "CHUNK", 7)
    make_finished(20, State.COMPLETED)
    make_finished(20, State.FAILED)
    with django_assert_max_num_queries(42):
        _, text = download(operator)
    assert len({row["id"] for row in read_csv(text)}) == 40


def test_the_number_of_rows_is_bounded(operator, monkeypatch):
    monkeypatch.setattr(exports, "ROWS_MAX", 3)
    monkeypatch.setattr(exports, "CHUNK", 2)
    for _ in range(5):
        make()
    assert len(read_csv(download(operator)[1])) == 3


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_secrets_are_masked(operator, form):
    job = make(
        workspace={"password": "lovelace", "body": '{"token": "lovelace"}', "l": [{"dsn": "lovelace"}]}
    )
    Job.objects.filter(pk=job.pk).update(
        error_message="password=lovelace",
        progress={"note": "token=lovelace"},
        unique_key="https://ada:lovelace@db/",
    )
    _, text = download(operator, f"?format={form}")
    assert "lovelace" not in text
    assert str(job.pk) in text


@pytest.mark.parametrize(
    "value",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        '=HYPERLINK("http://evil","x")',
        "  =1",
        "|cmd",
        "\uff1d1",
    ],
)
def test_no_cell_is_a_formula(operator, value):
    make(queue_name="default")
    Job.objects.update(error_message=value, error_type=value, name=value[:50])
    [row] = read_csv(download(operator)[1])
    assert row["error_message"] == row["error_type"] == f"'{value}"
    assert row["priority"] == "0"


def test_quotes_and_line_breaks_stay_within_their_cell(operator):
    make()
    Job.objects.update(error_message='a "b",\r\nc')
    [row] = read_csv(download(operator)[1])
    assert row["error_message"] == 'a "b",\r\nc'


def test_a_filter_that_is_not_understood_is_an_error_and_no_empty_file(operator):
    response = operator.get(f"{EXPORT}?id=abc")
    assert response.status_code == 400
    assert "“abc” is no id" in response.content.decode()


def test_what_is_masked_cannot_be_exported_by_guessing(operator):
    make(workspace={"api_token": "lovelace"})
    assert operator.get(f"{EXPORT}?workspace=api_token%3Dlovelace").status_code == 400


def test_an_export_leaves_a_record_of_who_took_what(operator):
    make(queue_name="mail")
    download(operator, "?queue=mail&format=jsonl")
    operation = Operation.objects.get()
    assert (operation.verb, operation.state, operation.filters) == ("export", "DONE", "queue=mail")
    assert operation.actor_name == "olga"
    page = read(log_in(operator, "view_operation", name="vera").get(reverse("dbq:operation-list")))
    assert "Exported" in page
    assert "queue is mail" in page
    operator.get(f"{EXPORT}?id=abc")
    operator.head(EXPORT)
    assert Operation.objects.count() == 1


def test_an_unknown_format_is_not_found(operator):
    assert operator.get(f"{EXPORT}?format=xlsx").status_code == 404
    assert operator.post(EXPORT).status_code == 405
