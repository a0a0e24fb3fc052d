"""The jobs that a new demo begins with."""

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from dbq.demo import sources
from dbq.models import Job

CHECKSUMS = 200
PACKAGES_QUEUE = "packages"
PACKAGES = ("django", "asgiref", "sqlparse", "django_filters", "django_htmx", "jsonpatch", "pip")
# What a verification finds missing at first is written so many seconds later.
MANIFEST_SECONDS = 5
MODULES = ("argparse", "asyncio", "decimal", "email", "http.server", "json", "sqlite3", "unittest")
BROKEN_FILE = "broken.py"
BROKEN_SOURCE = '''\
def total(prices):
    """The bracket below is never closed."""
    return sum(price for price in prices


print(total([1, 2, 3]))
'''


def create_jobs() -> int:
    """Create the sample jobs, all or none; return how many."""
    write_broken_file(settings.DEMO_FOLDER)
    now = timezone.now()
    # Older first among equals: the verification must come too early, the census takes longest.
    jobs = [
        *make_manifest_jobs(now),
        Job(name="census", workspace={"tree": sources.LIBRARY}),
        *make_package_censuses(),
        Job(name="check_syntax", workspace={"path": BROKEN_FILE}),
        Job(name="measure_imports", workspace={"modules": list(MODULES)}),
        make_signing_job(),
        *make_scheduled_jobs(now),
        *make_checksums(),
    ]
    with transaction.atomic():
        Job.objects.bulk_create(jobs)
    return len(jobs)


def write_broken_file(folder: Path) -> None:
    """Write the file whose syntax check fails."""
    (folder / BROKEN_FILE).write_text(BROKEN_SOURCE)


def make_package_censuses() -> Iterator[Job]:
    for package in filter(sources.is_installed, PACKAGES):
        yield Job(name="census", queue_name=PACKAGES_QUEUE, workspace={"tree": package})


def make_manifest_jobs(now: datetime) -> Iterator[Job]:
    """A verification that comes too early, and what it waits for."""
    yield Job(name="verify_manifest")
    yield Job(
        name="write_manifest",
        workspace={"folder": "asyncio"},
        run_after=now + timedelta(seconds=MANIFEST_SECONDS),
    )


def make_signing_job() -> Job:
    """A job with secrets in its workspace, worth nothing outside of the demo."""
    return Job(
        name="sign",
        workspace={
            "path": "this.py",
            "api_token": f"demo-{secrets.token_hex(12)}",
            "account": {"user": "operator", "password": f"demo-{secrets.token_hex(6)}"},
        },
    )


def make_scheduled_jobs(now: datetime) -> Iterator[Job]:
    yield Job(name="verify_manifest", workspace={"note": "again"}, run_after=now + timedelta(seconds=30))
    yield Job(
        name="measure_imports",
        workspace={"modules": ["logging", "tomllib", "xml.dom.minidom"]},
        run_after=now + timedelta(minutes=2),
    )
    yield Job(
        name="census",
        workspace={"tree": sources.LIBRARY},
        run_after=now + timedelta(days=1),
    )


def make_checksums() -> Iterator[Job]:
    """A batch of low priority: files from all over the standard library."""
    files = sources.list_files(sources.LIBRARY)
    for path in files[:: max(1, len(files) // CHECKSUMS)][:CHECKSUMS]:
        yield Job(name="checksum", workspace={"path": path})
