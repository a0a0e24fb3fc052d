"""The stand-alone project's settings, on the database that DATABASE_URL names, with the tests' jobs."""

import os

os.environ.setdefault("DJANGO_SECRET_KEY", "for tests only")

from dbq.settings import *  # noqa: F403
from dbq.settings import BASE_DIR, DATABASES
from tests.jobs import JOBS as JOBS

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: the worker processes of the tests open the same database.
    DATABASES["default"]["TEST"] = {"NAME": os.environ.get("DBQ_TEST_SQLITE", str(BASE_DIR / "test.sqlite3"))}
elif DATABASES["default"]["ENGINE"].endswith("mysql"):
    import pymysql

    pymysql.install_as_MySQLdb()

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
