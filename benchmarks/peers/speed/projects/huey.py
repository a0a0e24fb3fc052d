"""huey's task and calls; it has none for many at once."""

import os
from urllib.parse import urlsplit

from huey import SqliteHuey

from benchmarks import lines

huey = SqliteHuey("bench", filename=urlsplit(os.environ["DATABASE_URL"]).path[1:])


@huey.task()
def perform(kind, job_id):
    if follower := lines.perform(kind, job_id):
        enqueue(follower, job_id)


def install():
    """It makes its tables when it is made."""


def enqueue(kind, job_id):
    perform(kind, job_id)
