"""The demo: its sample tasks one by one, then all of it as a user starts it."""

import ast
import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as project
from django.core.management.base import CommandError
from django.utils import timezone

from dbq import definitions
from dbq.demo import census, checksums, imports, manifest, seeds, sources, syntax
from dbq.demo.jobs import JOBS
from dbq.demo.processes import Children
from dbq.exceptions import JobCancelled
from dbq.management.commands.demo import find_port
from dbq.models import Job

LIBRARY_FOLDER = Path(sysconfig.get_paths()["stdlib"])
START_SECONDS = 60
WORK_SECONDS = 240
STOP_SECONDS = 60


class StandIn:
    """What a task sees of its job, without a queue."""

    def __init__(self, **workspace):
        self.workspace = workspace
        self.attempt = 1
        self.cancel_requested = False
        self.progress = []
        self.checkpoints = []

    def set_progress(self, done, total, note=""):
        self.progress.append((done, total, note))

    def checkpoint(self):
        self.checkpoints.append(json.dumps(self.workspace))
        if self.cancel_requested:
            raise JobCancelled


@pytest.fixture
def folder(settings, tmp_path):
    settings.DEMO_FOLDER = tmp_path
    return tmp_path


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A package of three files, one of them no Python."""
    package = tmp_path / "surveyed"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "deep" / "area.py").write_text(
        "class Field:\n    def area(self):\n        return len(self.rows) * len(self.columns)\n"
    )
    (package / "torn.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "surveyed"


# Sources


def test_the_standard_library_lists_its_files_and_nothing_installed_beside_it():
    files = sources.list_files(sources.LIBRARY)
    assert "json/decoder.py" in files
    assert files == sorted(files)
    assert not [path for path in files if "site-packages" in path or path.startswith("/")]


def test_a_package_that_is_one_module_is_a_tree_of_one_file():
    assert sources.list_files("jsonpatch") == ["jsonpatch.py"]
    assert sources.find_file("jsonpatch", "jsonpatch.py").is_file()


def test_a_path_that_leads_out_of_its_folder_is_refused(tmp_path):
    for path in ("../secret.py", "/etc/passwd", "deep/../../secret.py"):
        with pytest.raises(LookupError, match=re.escape(f'"{path}" leads out of {tmp_path}')):
            sources.find_below(tmp_path, path)


@pytest.mark.parametrize("name", ["not_installed_here", "os.path", "sys", ""])
def test_a_name_that_is_no_source_tree_is_refused_with_the_rule(name):
    with pytest.raises(LookupError, match=f'"{name}" is no source tree here: it must be "stdlib"'):
        sources.find_root(name)
    assert not sources.is_installed(name)


# Census


def test_a_census_counts_what_its_tree_holds(tree):
    job = StandIn(tree=tree)
    census.scan(job)
    assert job.workspace["files"] == ["__init__.py", "deep/area.py", "torn.py"]
    census.parse(job)
    census.report(job)
    assert job.workspace == {
        "tree": tree,
        "packages": {
            "(top level)": {"files": 2, "bytes": 7},
            "deep": {"files": 1, "bytes": 83},
        },
        "report": {
            "files": 3,
            "lines": 3,
            "functions": 1,
            "classes": 1,
            "names": 4,
            "largest": {"deep/area.py": 3, "__init__.py": 0},
            "most_used": {"len": 2},
            "unparsable": ["torn.py"],
        },
    }


def test_a_census_shows_how_far_it_is(tree):
    job = StandIn(tree=tree)
    census.scan(job)
    census.parse(job)
    assert job.progress == [(1, 3, "__init__.py"), (2, 3, "deep/area.py"), (3, 3, "torn.py")]


def test_a_census_goes_on_where_its_last_checkpoint_left_off(tree, monkeypatch):
    monkeypatch.setattr(census, "CHECKPOINT_FILES", 2)
    whole = StandIn(tree=tree)
    census.scan(whole)
    census.parse(whole)
    resumed = StandIn(**json.loads(whole.checkpoints[0]))
    census.parse(resumed)
    assert resumed.progress == [(3, 3, "torn.py")]
    assert resumed.workspace == whole.workspace


def test_a_cancelled_census_ends_at_the_next_file(tree):
    job = StandIn(tree=tree)
    census.scan(job)
    job.cancel_requested = True
    with pytest.raises(JobCancelled):
        census.parse(job)
    assert job.workspace["parsed"] == 1


# The other tasks


def test_a_checksum_is_that_of_the_file():
    job = StandIn(path="this.py")
    checksums.checksum(job)
    content = (LIBRARY_FOLDER / "this.py").read_bytes()
    assert job.workspace["sha256"] == hashlib.sha256(content).hexdigest()
    assert job.workspace["bytes"] == len(content)


def test_a_signature_depends_on_the_token():
    one, other = StandIn(path="this.py", api_token="a"), StandIn(path="this.py", api_token="b")
    checksums.sign(one)
    checksums.sign(other)
    assert one.workspace["signed"] != other.workspace["signed"]


def test_a_manifest_is_verified_once_it_is_written(folder):
    verification = StandIn()
    with pytest.raises(FileNotFoundError, match=re.escape(str(folder / "manifest.json"))):
        manifest.verify(verification)
    writing = StandIn(folder="json")
    manifest.write(writing)
    manifest.verify(verification)
    assert verification.workspace["verified"] == writing.workspace["files"] > 0


def test_a_verification_names_the_file_that_differs(folder):
    (folder / "manifest.json").write_text(json.dumps({"this.py": "0"}))
    with pytest.raises(ValueError, match=r"this\.py differs from manifest\.json; changed files: 1"):
        manifest.verify(StandIn())


def test_a_syntax_check_fails_for_the_file_that_the_demo_broke(folder):
    seeds.write_broken_file(folder)
    with pytest.raises(SyntaxError) as raised:
        syntax.check(StandIn(path=seeds.BROKEN_FILE))
    assert raised.value.filename == str(folder / seeds.BROKEN_FILE)


def test_imports_are_measured_in_fresh_interpreters():
    job = StandIn(modules=["json", "http.client"])
    asyncio.run(imports.measure(job))
    assert list(job.workspace["milliseconds"]) == ["http.client", "json"]
    assert min(job.workspace["milliseconds"].values()) > 0
    assert job.progress[-1][:2] == (2, 2)


def test_a_module_that_does_not_import_is_named_with_its_reason():
    job = StandIn(modules=["not_installed_here"])
    with pytest.raises(RuntimeError, match='"not_installed_here" does not import: ModuleNotFound'):
        asyncio.run(imports.measure(job))


# Seeds


def test_the_definitions_of_the_demo_keep_the_rules(settings):
    settings.JOBS = JOBS
    assert list(definitions.find_problems(JOBS)) == []
    assert list(definitions.find_import_problems()) == []


@pytest.mark.django_db
def test_a_new_demo_has_something_of_everything(settings, folder):
    settings.JOBS = JOBS
    created = seeds.create_jobs()
    now = timezone.now()
    jobs = Job.objects.all()
    assert created == jobs.count()
    assert {job.name for job in jobs} == set(JOBS)
    assert jobs.filter(name="checksum", priority=-10, queue_name="default").count() == 200
    assert jobs.filter(name="census", queue_name="packages").count() >= 3
    assert jobs.filter(run_after__gt=now + timedelta(seconds=20)).count() == 3
    assert jobs.filter(run_after__gt=now + timedelta(hours=23)).count() == 1
    assert jobs.get(name="sign").workspace["api_token"].startswith("demo-")
    with pytest.raises(SyntaxError):
        ast.parse((folder / seeds.BROKEN_FILE).read_text())


# Ports and processes


def test_a_port_that_is_taken_is_refused_when_it_was_asked_for():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        with pytest.raises(CommandError, match=rf"Port {taken} of 127\.0\.0\.1 cannot be used"):
            find_port(taken)


def test_another_port_is_found_when_the_preferred_one_is_taken(monkeypatch):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        monkeypatch.setattr("dbq.management.commands.demo.PREFERRED_PORT", taken)
        assert find_port(None) not in {taken, 0}


@pytest.mark.process
@pytest.mark.once
def test_a_program_that_does_not_stop_is_killed(tmp_path):
    log = tmp_path / "log"
    children = Children()
    program = "from signal import *; signal(15, SIG_IGN); print(1, flush=True); pause()"
    child = children.start("stubborn", (sys.executable, "-c", program), log=log)
    wait_until(lambda: log.exists() and log.read_text(), START_SECONDS)
    assert children.stop(0.5, lambda: 0) == [child]
    assert not child.is_running


# All of it


class Demo:
    """The demo as a process of its own, its database read from the outside."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.output = folder.with_name(f"{folder.name}-{time.monotonic_ns()}.out")
        environment = {**os.environ, "DJANGO_DEBUG": "1", "DJANGO_SETTINGS_MODULE": "dbq.settings"}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--folder", str(folder), *options],
                cwd=project.BASE_DIR,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def read_output(self):
        return self.output.read_text()

    def wait_until(self, condition, seconds):
        def is_met_while_it_runs():
            met = condition()
            assert met or self.process.poll() is None, self.read_output()
            return met

        try:
            wait_until(is_met_while_it_runs, seconds)
        except TimeoutError as error:
            raise AssertionError(self.read_output()) from error

    def wait_for_login(self):
        self.wait_until(lambda: "password" in self.read_output(), START_SECONDS)
        return re.search(r"password +(\S+)", self.read_output())[1]

    def query(self, statement):
        with closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=20)) as database:
            return database.execute(statement).fetchall()

    def wait_for_job(self, condition, state):
        """Wait until the oldest job that meets the condition is in that state."""
        oldest = f"SELECT state FROM dbq_job WHERE {condition} ORDER BY id LIMIT 1"
        self.wait_until(lambda: self.query(oldest) == [(state,)], WORK_SECONDS)

    def find_pids(self):
        """The web server, the workers and the processes under them."""
        started = re.findall(r"as process (\d+)\.", self.read_output())
        workers = self.query("SELECT pid FROM dbq_worker WHERE expires_at IS NOT NULL")
        return {int(pid) for pid in started} | {pid for (pid,) in workers}

    def press_ctrl_c(self):
        os.killpg(self.process.pid, signal.SIGINT)

    def stop(self):
        """End it if it still runs: the second signal waits for no task."""
        for _ in range(STOP_SECONDS):
            if self.process.poll() is not None:
                return
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_demo(tmp_path):
    demos = []

    def start(*options):
        demos.append(Demo(tmp_path / "demo", *options))
        return demos[-1]

    yield start
    for demo in demos:
        demo.stop()


@pytest.mark.process
@pytest.mark.once
def test_the_demo_works_through_its_jobs_and_leaves_no_process(start_demo):
    demo = start_demo()
    demo.wait_for_login()
    the_census = "name = 'census' AND queue_name = 'default' AND run_after IS NULL"
    demo.wait_for_job(the_census, "COMPLETED")
    demo.wait_for_job("name = 'verify_manifest'", "COMPLETED")
    demo.wait_for_job("name = 'check_syntax'", "FAILED")

    [[workspace]] = demo.query(f"SELECT workspace FROM dbq_job WHERE {the_census}")
    assert_describes_the_library(json.loads(workspace)["report"])
    [[traceback]] = demo.query("SELECT traceback FROM dbq_attempt WHERE outcome = 'FAILED'")
    assert f'File "{demo.folder / seeds.BROKEN_FILE}", line 3' in traceback
    assert "SyntaxError" in traceback
    retried = "SELECT DISTINCT error_type FROM dbq_attempt WHERE outcome = 'RETRIED'"
    assert demo.query(retried) == [("FileNotFoundError",)]

    pids = demo.find_pids()
    assert len(pids) == 5
    demo.press_ctrl_c()
    assert demo.process.wait(STOP_SECONDS) == 0, demo.read_output()
    assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.process
@pytest.mark.once
def test_the_demo_ends_with_the_name_of_the_program_that_died(start_demo):
    demo = start_demo("--no-seed")
    demo.wait_for_login()
    demo.wait_until(lambda: len(demo.find_pids()) == 5, START_SECONDS)
    pids = demo.find_pids()
    web_server = re.search(r"the web server as process (\d+)", demo.read_output())
    os.kill(int(web_server[1]), signal.SIGKILL)
    assert demo.process.wait(STOP_SECONDS) == 1
    assert "The web server was killed by signal 9 (Killed); see " in demo.read_output()
    assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.process
@pytest.mark.once
def test_two_demos_do_not_share_a_folder(start_demo):
    start_demo("--no-seed").wait_for_login()
    other = start_demo("--no-seed")
    assert other.process.wait(STOP_SECONDS) == 1
    assert f"Another demo uses {other.folder}; stop it" in other.read_output()


@pytest.mark.process
@pytest.mark.once
def test_a_kept_demo_goes_on_with_its_jobs_and_a_new_password(start_demo):
    first = start_demo()
    old_password = first.wait_for_login()
    first.press_ctrl_c()
    # Once more: what is running goes on in the next run.
    first.press_ctrl_c()
    assert first.process.wait(STOP_SECONDS) == 0
    jobs = first.query("SELECT id FROM dbq_job ORDER BY id")

    second = start_demo("--keep")
    assert second.wait_for_login() != old_password
    assert second.query("SELECT id FROM dbq_job ORDER BY id") == jobs
    assert "Created" not in second.read_output()


def assert_describes_the_library(report):
    files = [
        path
        for path in LIBRARY_FOLDER.rglob("*.py")
        if not {"site-packages", "dist-packages"} & set(path.parts) and path.is_file()
    ]
    broken = {LIBRARY_FOLDER / path for path in report["unparsable"]}
    lines = {path: len(path.read_bytes().splitlines()) for path in files if path not in broken}
    assert report["files"] == len(files)
    assert report["lines"] == sum(lines.values())
    assert list(report["largest"].values()) == sorted(lines.values(), reverse=True)[:10]
    assert report["names"] > report["functions"] > report["classes"] > 1000
    assert report["most_used"]["len"] > 1000


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {seconds} s.")
        pause.wait(0.2)
