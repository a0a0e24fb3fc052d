"""oban's job and calls."""

import os

from oban import Oban, worker
from oban.schema import install as install_schema

from benchmarks import lines

_oban = None


# The decorator for functions takes no more than one argument when it enqueues, in 0.7.0.
@worker(queue="default")
class Perform:
    async def process(self, job):
        if follower := lines.perform(job.args["kind"], job.args["job_id"]):
            await Perform.enqueue({"kind": follower, "job_id": job.args["job_id"]})


async def open_oban():
    """For those who only enqueue; a worker has one already."""
    global _oban
    if _oban is None:
        _oban = Oban(pool=await Oban.create_pool(os.environ["DATABASE_URL"]))
    return _oban


async def install():
    await install_schema(await Oban.create_pool(os.environ["DATABASE_URL"]))


async def enqueue(kind, job_id):
    await open_oban()
    await Perform.enqueue({"kind": kind, "job_id": job_id})


async def enqueue_bulk(kind, ids):
    oban = await open_oban()
    await oban.enqueue_many([Perform.new({"kind": kind, "job_id": job_id}) for job_id in ids])
