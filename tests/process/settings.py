"""The settings of the worker processes that tests start: the tests' database, short times."""

import json
import os

from tests.process.jobs import JOBS as SAMPLE_JOBS
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

# pytest-django, or the test, made it; a worker process is told of it.
DATABASES["default"].update(json.loads(os.environ.get("DBQ_TEST_DATABASE", "{}")))
DATABASES["default"].setdefault("OPTIONS", {}).update(json.loads(os.environ.get("DBQ_TEST_OPTIONS", "{}")))

if os.environ.get("DBQ_TEST_FAILPOINT"):
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.process.failpoints.Failpoints"]
if os.environ.get("DBQ_TEST_KEEPS_CLAIMED"):
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.process.claimed.KeepsClaimed"]

# What a test wants to have different for one worker, as JSON.
JOBS = SAMPLE_JOBS | json.loads(os.environ.get("DBQ_TEST_JOBS", "{}"))
DBQ = {
    "LEASE_SECONDS": 6,
    "HEARTBEAT_SECONDS": 1,
    "SWEEP_SECONDS": 1,
    "SHUTDOWN_SECONDS": 2,
} | json.loads(os.environ.get("DBQ_TEST_DBQ", "{}"))
