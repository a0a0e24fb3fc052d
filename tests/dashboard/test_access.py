"""Who gets in: every address of the console, as everybody."""

from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLResolver, reverse

from dashboard.middleware import POLICY
from dashboard.urls import urlpatterns
from dbq.models import Job, Operation
from dbq.urls import urlpatterns as root_urlpatterns
from tests.dashboard.console import log_in, make_user, read

pytestmark = pytest.mark.django_db

EXAMPLES = {
    "uuid": str(uuid4()),
    "int": 1,
    "str": "mail",
}


def make_addresses():
    """Every address of the console, by name, with an example for each of its parameters."""
    for pattern in urlpatterns:
        if not pattern.name:
            continue
        arguments = {
            name: EXAMPLES[
                type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")
            ]
            for name, converter in pattern.pattern.converters.items()
        }
        yield pytest.param(reverse(f"dbq:{pattern.name}", kwargs=arguments), id=pattern.name)


ADDRESSES = list(make_addresses())
every_address = pytest.mark.parametrize("address", ADDRESSES)


@every_address
@pytest.mark.parametrize("method", ["get", "post", "head", "put", "delete"])
def test_who_is_not_logged_in_is_asked_to_and_comes_back(client, address, method):
    response = getattr(client, method)(address)
    assert response.status_code == 302
    assert response["Location"].startswith("/login/?next=/dbq/")


@every_address
@pytest.mark.parametrize("method", ["get", "post"])
def test_htmx_is_sent_to_the_login_page_and_never_given_it(client, address, method):
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/dbq/jobs/?state=FAILED"}
    response = getattr(client, method)(address, headers=headers)
    assert response.status_code == 401
    assert response["HX-Redirect"] == "/login/?next=%2Fdbq%2Fjobs%2F%3Fstate%3DFAILED"
    assert response.content == b""


@every_address
@pytest.mark.parametrize("method", ["get", "post", "put"])
def test_an_account_without_permissions_sees_nothing(client, address, method):
    client.force_login(make_user("nobody"))
    response = getattr(client, method)(address)
    assert response.status_code == 403
    assert "dbq.view_job" in read(response)


@every_address
def test_an_inactive_superuser_is_nobody(client, address):
    user = User.objects.create_superuser("root")
    client.force_login(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert client.get(address).status_code == 302


@every_address
def test_no_address_answers_a_stranger_s_form(address):
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    assert client.post(address).status_code in (403, 405)


@every_address
def test_no_answer_may_be_cached_or_framed(client, address):
    client.force_login(User.objects.create_superuser("root"))
    for response in (client.get(address), client.get(address, headers={"HX-Request": "true"})):
        assert "no-store" in response["Cache-Control"]
        assert "private" in response["Cache-Control"]
        assert response["X-Frame-Options"] == "DENY"
        assert response["Content-Security-Policy"] == POLICY
        assert "HX-Request" in response["Vary"]


# What the stand-alone project answers who is not logged in; every other address asks for the login.
OPEN_TO_ALL = {"favicon.ico", "login/", "healthz/live", "healthz/ready", "healthz/queue"}


def list_routes(patterns, prefix=""):
    """Every route below these patterns as one text, with what it leads to."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from list_routes(pattern.url_patterns, route)
        else:
            yield route, pattern


def test_whoever_is_not_logged_in_gets_the_login_page_and_the_probes_alone(client):
    outside = [
        route for route, _ in list_routes(root_urlpatterns) if not route.startswith(("dbq/", "admin/"))
    ]
    assert len(outside) == len(OPEN_TO_ALL) + 2
    answers = {route: client.get(f"/{route}") for route in outside}
    # The one leads to the overview, which asks for the login; the other only takes forms.
    assert (answers.pop("")["Location"], answers.pop("logout/").status_code) == ("/dbq/", 405)
    assert answers.keys() == OPEN_TO_ALL
    assert {answer.status_code for answer in answers.values()} <= {200, 302}


ACTS = {
    "queue-pause": ("pause_queue", "pause_queue", {"name": "mail"}),
    "queue-resume": ("pause_queue", "resume_queue", {"name": "mail"}),
    "worker-stop": ("change_worker", "stop_worker", {"pk": 1}),
    "workers-rescue": ("change_worker", "rescue_workers", {}),
    "cleanup": ("run_cleanup", "cleanup", {}),
}


@pytest.mark.parametrize("name", ACTS)
def test_an_act_without_its_permission_is_refused_and_recorded(client, name):
    permission, verb, arguments = ACTS[name]
    log_in(client)
    response = client.post(reverse(f"dbq:{name}", kwargs=arguments))
    assert response.status_code == 403
    assert f"dbq.{permission}" in read(response)
    [record] = Operation.objects.all()
    assert (record.verb, record.state, record.actor_name) == (verb, "REFUSED", "olga")
    assert f"dbq.{permission}" in record.message


@pytest.mark.parametrize("name", ["queue-resume", "preference-theme", "preference-refresh"])
def test_nothing_is_done_by_looking(client, name):
    client.force_login(User.objects.create_superuser("root"))
    arguments = {"name": "mail"} if name == "queue-resume" else {}
    assert client.get(reverse(f"dbq:{name}", kwargs=arguments)).status_code == 405


def test_buttons_that_would_be_refused_are_absent(client):
    Job.objects.create(name="edit")
    log_in(client)
    page = client.get(reverse("dbq:overview")).content.decode()
    assert reverse("dbq:queue-pause", args=["default"]) not in page
    assert reverse("dbq:cleanup") not in page


def test_a_job_that_is_gone_has_a_page_that_says_so(client):
    log_in(client)
    response = client.get(reverse("dbq:job-detail", args=[uuid4()]))
    assert response.status_code == 404
    assert "dbq" in read(response)


def test_an_address_that_leads_nowhere_says_so_to_those_inside(client):
    assert client.get("/dbq/nowhere/").status_code == 302
    log_in(client)
    response = client.get("/dbq/nowhere/")
    assert response.status_code == 404
    assert "leads nowhere" in read(response)
    assert client.get("/dbq/jobs")["Location"] == "/dbq/jobs/"


def test_a_form_without_its_token_gets_a_page_of_ours():
    client = log_in(Client(enforce_csrf_checks=True), "pause_queue")
    response = client.post(reverse("dbq:queue-pause", args=["mail"]))
    assert response.status_code == 403
    assert "Nothing was done" in read(response)


@pytest.mark.parametrize(
    "evil",
    ["//evil.example", "https://evil.example/dbq/", "javascript:alert(1)", "/\\evil.example", "http:evil"],
)
def test_a_form_leads_back_to_this_host_only(client, evil):
    log_in(client)
    response = client.post(reverse("dbq:preference-theme"), {"value": "dark", "next": evil})
    assert response["Location"] == reverse("dbq:overview")
