"""chancy's jobs and calls."""

import json
import logging
import os

from chancy import Chancy, Queue, job
from chancy.app import setup_default_logger

from benchmarks import lines

_app = None


def make_app():
    quiet = setup_default_logger(logging.WARNING) if os.environ["BENCH_QUEUE"] != "{}" else None
    return Chancy(os.environ["DATABASE_URL"], log=quiet)


@job()
async def perform(kind: str, job_id: str):
    if follower := lines.perform(kind, job_id):
        await enqueue(follower, job_id)


@job()
def perform_alone(kind: str, job_id: str):
    """The same for its executors of processes, which take no coroutines."""
    lines.perform(kind, job_id)


def get_app():
    """The one of this process; it opens its connections when they are needed."""
    global _app
    if _app is None:
        _app = make_app()
    return _app


async def install():
    app = get_app()
    await app.migrate()
    await app.declare(Queue("default", **json.loads(os.environ["BENCH_QUEUE"])))


async def enqueue(kind, job_id):
    await get_app().push(make_job(kind, job_id))


async def enqueue_bulk(kind, ids):
    async for _ in get_app().push_many([make_job(kind, job_id) for job_id in ids]):
        pass


def make_job(kind, job_id):
    return globals()[os.environ["BENCH_JOB"]].job.with_kwargs(kind=kind, job_id=job_id)
