"""System checks: a wrong JOBS or DBQ is refused at start, not at the first job."""

from collections.abc import Iterable
from importlib.metadata import packages_distributions
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections, router

from dbq import conf, definitions
from dbq.dialects import find_dialect_class
from dbq.exceptions import ConfigurationError
from dbq.models import Job

# What a worker must know before it starts; the other checks would have it load every view of the project.
OF_WORKERS = "dbq"


@register(OF_WORKERS)
def check_settings(**_: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for problem in conf.find_problems(getattr(settings, "DBQ", {})):
        messages.append(Error(problem, id="dbq.E001"))
    problems = list(definitions.find_problems(getattr(settings, "JOBS", {})))
    messages += [Error(problem, id="dbq.E002") for problem in problems]
    if not problems:
        messages += [Error(problem, id="dbq.E003") for problem in definitions.find_import_problems()]
    if not settings.USE_TZ:
        messages.append(Error("dbq needs USE_TZ = True: its times are moments.", id="dbq.E004"))
    return messages


@register()
def check_distribution(**_: Any) -> list[CheckMessage]:
    owners = set(packages_distributions().get("dbq", [])) - {"dbq-django"}
    return [
        Error(
            f'The distribution "{owner}" also installs a package named dbq.',
            hint=f"Uninstall {owner}, then install dbq-django again.",
            id="dbq.E005",
        )
        for owner in sorted(owners)
    ]


@register(Tags.database)
def check_databases(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    alias = router.db_for_write(Job)
    if alias not in (databases or ()):
        return []
    connection = connections[alias]
    try:
        find_dialect_class(connection.vendor)
    except ConfigurationError as error:
        return [Error(str(error), id="dbq.E006")]
    return []


@register(OF_WORKERS)
def check_sqlite(**_: Any) -> list[CheckMessage]:
    """Warn from the settings alone: a plain `check` does not open the database."""
    alias = router.db_for_write(Job)
    if connections[alias].vendor != "sqlite":
        return []
    options = connections[alias].settings_dict.get("OPTIONS", {})
    missing = []
    if str(options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        missing.append("transactions that begin as writers (transaction_mode)")
    if "journal_mode=wal" not in str(options.get("init_command", "")).lower().replace(" ", ""):
        missing.append("write-ahead logging (journal_mode)")
    if not missing:
        return []
    return [
        checks.Warning(
            f'DATABASES["{alias}"] is SQLite without {" and without ".join(missing)}: workers and web'
            ' requests will refuse each other with "database is locked".',
            hint='Set OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command":'
            ' "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}.',
            id="dbq.W001",
        )
    ]


@register(OF_WORKERS)
def check_isolation(**_: Any) -> list[CheckMessage]:
    """Refuse another level from the settings alone, so that a worker hears of it before it starts."""
    alias = router.db_for_write(Job)
    if connections[alias].vendor != "mysql":
        return []
    # As Django reads it; None leaves it to the server.
    options = connections[alias].settings_dict.get("OPTIONS", {})
    level = options.get("isolation_level", "read committed")
    if str(level).lower() == "read committed":
        return []
    return [
        Error(
            f'DATABASES["{alias}"] uses the isolation level "{level}"; dbq needs "read committed",'
            " Django's default: claims would lock the gaps between rows.",
            id="dbq.E007",
        )
    ]
