"""The logging that the README shows to hosts, in a process of its own."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

# As in the README.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "dbq": {"()": "dbq.logs.JobFormatter", "format": "%(asctime)s %(levelname)s %(message)s"},
    },
    "handlers": {"dbq": {"class": "logging.StreamHandler", "formatter": "dbq"}},
    "loggers": {"dbq": {"handlers": ["dbq"], "level": "INFO"}},
}
PROGRAM = f"""
import logging, logging.config, os
import django
from django.conf import settings
settings.LOGGING = {LOGGING}
django.setup()
from dbq.logs import about
from dbq.models import Job
job = Job(name="import", queue_name="mail", next_task="shop.jobs.fetch", attempt=2)

def complain():
    try:
        raise ValueError("password=" + os.environ["A_PASSWORD"])
    except ValueError:
        logging.getLogger("dbq").exception("Job %s: alas.", job.id, extra=about(job))

complain()
# A host may configure its logging again.
logging.config.dictConfig(settings.LOGGING)
complain()
"""


def test_a_host_s_handlers_show_the_fields_and_no_secret():
    # The program reads its secret, as programs do: a traceback quotes the source.
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "A_PASSWORD": "correct-horse",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    told = done.stderr
    assert told.count("alas. [queue_name=mail task=shop.jobs.fetch attempt=2]\nTraceback") == 2, told
    assert told.count("ValueError: password=**") == 2
    assert "horse" not in told
