"""The benchmarks' settings: the stand-alone project's, with a job that does nothing but log itself."""

import os

os.environ.setdefault("DJANGO_SECRET_KEY", "for benchmarks only")

from dbq.settings import *  # noqa: F403
from dbq.settings import DATABASES

if DATABASES["default"]["ENGINE"].endswith("mysql"):
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()

JOBS = {
    "log": ["benchmarks.jobs.log"],
    "three": ["benchmarks.jobs.log", "benchmarks.jobs.log_again", "benchmarks.jobs.log_at_last"],
    "stamp": ["benchmarks.jobs.stamp"],
    "rest": ["benchmarks.jobs.rest"],
}
