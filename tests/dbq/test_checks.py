"""System checks: a wrong JOBS or DBQ is refused at start, each with its sentence."""

from contextlib import contextmanager

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections

from dbq import checks

# Django's own checks ask the database what it can do.
pytestmark = pytest.mark.django_db

TASK = "tests.jobs.succeed"


def check() -> list[tuple[str, str]]:
    return [(message.id, message.msg) for message in checks.check_settings()]


def test_the_projects_own_settings_pass():
    assert [m for m in run_checks() if (m.id or "").startswith("dbq.")] == []


def test_a_worker_refuses_what_it_cannot_work_with_and_asks_nobody_else(settings):
    settings.DBQ = {"LEASE_SECOND": 5}
    settings.ROOT_URLCONF = "no.such.module"

    with pytest.raises(SystemCheckError) as raised:
        call_command("worker", "--burst", skip_checks=False)

    assert "dbq.E001" in str(raised.value)
    assert "no.such.module" not in str(raised.value)


def test_a_broken_dbq_setting_is_an_error(settings):
    settings.DBQ = {"LEASE_SECOND": 5}

    assert check() == [
        (
            "dbq.E001",
            'settings.DBQ["LEASE_SECOND"] is not a setting of dbq. Did you mean "LEASE_SECONDS"?',
        )
    ]


def test_every_broken_rule_of_jobs_is_an_error(settings):
    settings.JOBS = {"a": [], "b": {"tasks": [TASK], "timeout": -1}}

    assert check() == [
        ("dbq.E002", 'JOBS["a"] has no tasks.'),
        ("dbq.E002", 'JOBS["b"]["timeout"] must be a number of seconds above 0, not -1.'),
    ]


@pytest.mark.fault(40)
def test_a_task_that_does_not_import_is_an_error(settings):
    settings.JOBS = {"a": ["tests.nowhere.task"]}

    assert check() == [
        (
            "dbq.E003",
            'JOBS["a"]: "tests.nowhere.task" does not import: ModuleNotFoundError:'
            " No module named 'tests.nowhere'",
        )
    ]


def test_a_task_that_takes_no_job_is_an_error(settings):
    settings.JOBS = {"a": ["tests.jobs.run_bad_sql"]}

    assert check() == [("dbq.E003", 'JOBS["a"]: "tests.jobs.run_bad_sql" must take one argument: the job.')]


def test_nothing_is_imported_while_a_rule_is_broken(settings):
    settings.JOBS = {"a": [], "b": ["tests.nowhere.task"]}

    assert [message_id for message_id, _ in check()] == ["dbq.E002"]


def test_naive_times_are_an_error(settings):
    settings.USE_TZ = False

    assert check() == [("dbq.E004", "dbq needs USE_TZ = True: its times are moments.")]


def test_broken_settings_stop_a_command(settings):
    settings.JOBS = {"a": []}

    with pytest.raises(SystemCheckError, match=r'\(dbq.E002\) JOBS\["a"\] has no tasks.'):
        call_command("check")


def test_another_distribution_of_the_same_import_name_is_an_error(monkeypatch):
    monkeypatch.setattr(checks, "packages_distributions", lambda: {"dbq": ["dbq-django", "dbq"]})

    [message] = checks.check_distribution()

    assert message.id == "dbq.E005"
    assert message.msg == 'The distribution "dbq" also installs a package named dbq.'
    assert message.hint == "Uninstall dbq, then install dbq-django again."


def test_our_own_distribution_is_no_error():
    assert checks.check_distribution() == []


# Databases


@contextmanager
def database(**changes):
    """The default connection as if it were another; nothing is opened."""
    connection = connections["default"]
    before = {name: getattr(connection, name) for name in changes}
    for name, value in changes.items():
        setattr(connection, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(connection, name, value)


def test_a_database_of_another_vendor_is_an_error():
    with database(vendor="oracle"):
        [message] = checks.check_databases(databases=["default"])

    assert message.id == "dbq.E006"
    assert message.msg == (
        'dbq supports SQLite, PostgreSQL, MariaDB and MySQL, not the database vendor "oracle".'
    )


def test_databases_that_are_not_checked_are_not_looked_at():
    with database(vendor="oracle"):
        assert checks.check_databases(databases=None) == []
        assert checks.check_databases(databases=["other"]) == []


def test_the_database_of_these_tests_passes():
    assert checks.check_databases(databases=["default"]) == []


SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"transaction_mode": "immediate", "init_command": "pragma journal_mode = wal"}, None),
        (SQLITE, None),
        (
            {"init_command": SQLITE["init_command"]},
            "transactions that begin as writers (transaction_mode)",
        ),
        ({"transaction_mode": "IMMEDIATE"}, "write-ahead logging (journal_mode)"),
        (
            {"transaction_mode": "DEFERRED"},
            "transactions that begin as writers (transaction_mode) and without"
            " write-ahead logging (journal_mode)",
        ),
    ],
)
def test_a_plain_sqlite_is_a_warning(options, missing):
    with database(vendor="sqlite", settings_dict={"OPTIONS": options}):
        messages = [message.msg for message in checks.check_sqlite()]

    expected = (
        f'DATABASES["default"] is SQLite without {missing}: workers and web requests will refuse'
        ' each other with "database is locked".'
    )
    assert messages == ([expected] if missing else [])


def test_other_databases_are_not_warned_about_sqlite():
    with database(vendor="postgresql", settings_dict={"OPTIONS": {}}):
        assert checks.check_sqlite() == []


@pytest.mark.parametrize(
    "options", [{}, {"isolation_level": "read committed"}, {"isolation_level": "READ COMMITTED"}]
)
def test_a_mysql_that_reads_what_is_committed_passes(options):
    with database(vendor="mysql", settings_dict={"OPTIONS": options}):
        assert checks.check_isolation() == []


@pytest.mark.parametrize("level", ["repeatable read", "serializable", None])
def test_a_mysql_of_another_isolation_is_an_error(level):
    with database(vendor="mysql", settings_dict={"OPTIONS": {"isolation_level": level}}):
        [message] = checks.check_isolation()

    assert message.id == "dbq.E007"
    assert message.msg == (
        f'DATABASES["default"] uses the isolation level "{level}"; dbq needs "read committed",'
        " Django's default: claims would lock the gaps between rows."
    )
