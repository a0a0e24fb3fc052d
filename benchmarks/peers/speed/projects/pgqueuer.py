"""pgqueuer's entrypoint and calls."""

import os
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.queries import Queries

from benchmarks import lines

_queries = None


async def open_queries():
    global _queries
    if _queries is None:
        _queries = Queries(AsyncpgPoolDriver(await asyncpg.create_pool(os.environ["DATABASE_URL"])))
    return _queries


@asynccontextmanager
async def make_manager():
    # Before there are jobs, each of which would open it.
    await open_queries()
    manager = PgQueuer(AsyncpgDriver(await asyncpg.connect(os.environ["DATABASE_URL"])))

    @manager.entrypoint("perform")
    async def perform(job):
        kind, job_id = job.payload.decode().split()
        if follower := lines.perform(kind, job_id):
            await enqueue(follower, job_id)

    yield manager


async def install():
    await (await open_queries()).install()


async def enqueue(kind, job_id):
    await (await open_queries()).enqueue("perform", make_payload(kind, job_id))


async def enqueue_bulk(kind, ids):
    payloads = [make_payload(kind, job_id) for job_id in ids]
    await (await open_queries()).enqueue(["perform"] * len(ids), payloads, [0] * len(ids))


def make_payload(kind, job_id):
    return f"{kind} {job_id}".encode()
