"""What is shipped: the wheel holds the right files, and a fresh project needs nothing else."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
# The stand-alone project's own files, which a host project must not find in its packages.
LEFT_OUT = (
    "dbq/settings.py",
    "dbq/urls.py",
    "dbq/asgi.py",
    "dbq/wsgi.py",
    "dbq/demo/",
    "dbq/management/commands/demo.py",
)
SETTINGS = """
SCREENS = ["django_filters", "django_htmx", "dashboard"]
INSTALLED_APPS += ["dbq", *SCREENS]
MIDDLEWARE += ["django_htmx.middleware.HtmxMiddleware"]
JOBS = {"my_job": ["host.jobs.my_task"]}
"""
URLS = """
from django.urls import include
urlpatterns += [path("dbq/", include("dashboard.urls"))]
"""
WITHOUT_SCREENS = """
from host.settings import *
INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in SCREENS]
MIDDLEWARE = [path for path in MIDDLEWARE if "htmx" not in path]
ROOT_URLCONF = "host.no_urls"
"""
TASK = """
def my_task(job):
    job.workspace["answer"] = job.workspace["key"] + "!"
"""
PRELUDE = """
import json
import django
django.setup()
import dashboard, dbq
from dbq.models import Job
from django.contrib.auth.models import User
from django.contrib.staticfiles.finders import find
from django.template.loader import get_template
from django.test import Client
client = Client(SERVER_NAME="localhost")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as a release is."""
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module")
def shipped(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


class Host:
    """A new project in an environment of its own, into which only the wheel was installed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "venv" / "bin" / "python"
        self.project = directory / "host"

    def set_up(self, wheel: Path) -> None:
        self.run(sys.executable, "-m", "venv", self.directory / "venv")
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self.run(*pip, wheel, f"django=={version('django')}")
        self.run(self.python, "-m", "django", "startproject", "host")
        self.append("settings.py", SETTINGS)
        self.append("urls.py", URLS)
        self.append("jobs.py", TASK)
        self.append("without_screens.py", WITHOUT_SCREENS)
        self.append("no_urls.py", "urlpatterns = []")

    def append(self, name: str, text: str) -> None:
        with (self.project / "host" / name).open("a") as file:
            file.write(text)

    def manage(self, *arguments: str) -> str:
        return self.run(self.python, "manage.py", *arguments, cwd=self.project).stdout.strip()

    def evaluate(self, expression: str) -> object:
        """The value of an expression in the project, with the names of PRELUDE at hand."""
        code = f"{PRELUDE}print(json.dumps({expression}))"
        return json.loads(self.run(self.python, "-c", code, cwd=self.project).stdout)

    def run(
        self, *command: object, cwd: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            list(map(str, command)),
            cwd=cwd or self.directory,
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def environment(self) -> dict[str, str]:
        """Ours, without what would lead back to the checkout or to its settings."""
        ours = ("DJANGO_", "DBQ_", "DATABASE_URL", "PYTHONPATH", "PYTHONHOME")
        others = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**others, "DJANGO_SETTINGS_MODULE": "host.settings"}


@pytest.fixture(scope="module")
def host(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Host:
    host = Host(tmp_path_factory.mktemp("fresh"))
    host.set_up(wheel)
    host.manage("migrate")
    return host


def test_the_wheel_holds_every_module_of_the_queue_and_the_dashboard(shipped: set[str]) -> None:
    modules = {path for path in checkout("dbq") | checkout("dashboard") if path.endswith(".py")}
    expected = {path for path in modules if not path.startswith(LEFT_OUT)}
    assert "dbq/migrations/0001_initial.py" in expected
    assert expected - shipped == set()


def test_the_wheel_holds_templates_and_static_files_inside_the_packages(shipped: set[str]) -> None:
    moves = {
        "templates/dbq/": "dashboard/templates/dbq/",
        "templates/admin/": "dbq/templates/admin/",
        "static/dbq/": "dashboard/static/dbq/",
    }
    expected = {
        path.replace(source, target, 1) for source, target in moves.items() for path in checkout(source)
    }
    assert expected - shipped == set()


def test_the_wheel_holds_nothing_else(shipped: set[str]) -> None:
    assert {path for path in shipped if path.startswith(LEFT_OUT)} == set()
    metadata = f"dbq_django-{version('dbq-django')}.dist-info"
    assert {path.partition("/")[0] for path in shipped} == {"dbq", "dashboard", metadata}


def test_nothing_of_the_checkout_is_used(host: Host) -> None:
    for path in host.evaluate("[dbq.__file__, dashboard.__file__]"):
        assert Path(path).is_relative_to(host.directory / "venv")


def test_a_fresh_project_passes_the_checks_and_needs_no_migration(host: Host) -> None:
    host.manage("check")
    assert host.manage("makemigrations", "--check") == "No changes detected"


def test_every_shipped_template_loads_and_every_static_file_is_found(host: Host, shipped: set[str]) -> None:
    templates = below("dashboard/templates/", shipped) + below("dbq/templates/", shipped)
    assert host.evaluate(f"[get_template(name) and name for name in {templates}]") == templates
    files = below("dashboard/static/", shipped)
    assert host.evaluate(f"[name for name in {files} if find(name)]") == files


def test_the_screens_need_one_include(host: Host) -> None:
    assert host.evaluate("client.get('/dbq/').status_code") == 302  # to the project's login
    host.evaluate("User.objects.create_superuser('operator').pk")
    pages = "[client.force_login(User.objects.get()), client.get('/dbq/').status_code]"
    assert host.evaluate(pages) == [None, 200]


def test_the_queue_needs_no_screens(host: Host) -> None:
    host.manage("check", "--settings", "host.without_screens")


def test_a_job_runs_from_the_command_line_to_its_deletion(host: Host) -> None:
    job_id = host.manage("create_job", "my_job", "--workspace", '{"key": "value"}')
    assert host.manage("queue_depth") == "event=queue_depths default=1"

    host.manage("worker", "--burst")

    job = host.evaluate(f"Job.objects.values('state', 'workspace').get(id='{job_id}')")
    assert job == {"state": "COMPLETED", "workspace": {"key": "value", "answer": "value!"}}
    assert host.manage("queue_depth") == "event=queue_depths default=0"
    assert "1 finished job" in host.manage("delete_old_jobs", "--hours", "0", "--dry-run")
    assert "1 finished job" in host.manage("delete_old_jobs", "--hours", "0")
    assert host.evaluate("Job.objects.count()") == 0


@pytest.fixture
def unchanged(host: Host) -> Iterator[None]:
    before = host.evaluate("Job.objects.count()")
    yield
    assert host.evaluate("Job.objects.count()") == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nobodys_job"], "nobodys_job"),
        (["my_job", "--workspace", "{key: value}"], "JSON"),
        (["my_job", "--workspace", '["key", "value"]'], "object"),
    ],
    ids=["an unknown name", "a workspace that is not JSON", "a workspace that is no object"],
)
def test_create_job_refuses_in_one_line(host: Host, arguments: list[str], named: str) -> None:
    refused = host.run(host.python, "manage.py", "create_job", *arguments, cwd=host.project, check=False)
    assert refused.returncode == 1
    assert refused.stdout == ""
    [line] = refused.stderr.splitlines()
    assert named in line


def below(folder: str, paths: set[str]) -> list[str]:
    return sorted(path.removeprefix(folder) for path in paths if path.startswith(folder))


def checkout(folder: str) -> set[str]:
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
