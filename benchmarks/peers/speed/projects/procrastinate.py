"""procrastinate's task and calls."""

import os

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from benchmarks import lines

_size = {"max_size": int(os.environ["BENCH_POOL"])} if "BENCH_POOL" in os.environ else {}
app = App(
    connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"], **_size),
    import_paths=["benchmarks.peers.speed.projects.procrastinate"],
)
_caller = None


@app.task(name="perform")
async def perform(kind, job_id):
    if follower := lines.perform(kind, job_id):
        await perform.defer_async(kind=follower, job_id=job_id)


def open_caller():
    global _caller
    if _caller is None:
        # It knows the task by its name.
        _caller = App(connector=SyncPsycopgConnector(conninfo=os.environ["DATABASE_URL"]))
        _caller.open()
    return _caller


def install():
    open_caller().schema_manager.apply_schema()


def enqueue(kind, job_id):
    open_caller().configure_task("perform").defer(kind=kind, job_id=job_id)


def enqueue_bulk(kind, ids):
    jobs = ({"kind": kind, "job_id": job_id} for job_id in ids)
    open_caller().configure_task("perform").batch_defer(*jobs)
