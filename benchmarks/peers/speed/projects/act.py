"""Do something within a peer's project, and print what came of it as JSON.

install
fill KIND JOBS [FIRST]      enqueue so many jobs, in bulk where the peer can
enqueue KIND SECONDS        enqueue one job a call, for so long
feed KIND JOBS FROM TO      enqueue one job at a time, and pause so many seconds after each
"""

import asyncio
import inspect
import json
import os
import sys
import time
from importlib import import_module

from benchmarks import lines
from benchmarks.peers.speed.catalogue import CONTENDERS

BULK = 1_000
# Of the golden ratio: pauses that are out of step with every poll, and the same in each run.
IRREGULAR = 0.618


def main():
    contender = CONTENDERS[os.environ["BENCH_PEER"]]
    if contender.applications:
        import django

        django.setup()
    project = import_module(f"benchmarks.peers.speed.projects.{contender.module}")
    act, *arguments = sys.argv[1:]
    calls = Calls(project)
    run = asyncio.run if calls.are_asyncio else run_alone
    print(json.dumps(run(ACTS[act](calls, *arguments))))


def run_alone(coroutine):
    """Run one that waits for nothing, without a loop, which Django's models refuse to work in."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("The project waits for a loop of events.")


class Calls:
    """What a project offers, whether it is of asyncio or not."""

    def __init__(self, project):
        self.project = project

    @property
    def are_asyncio(self):
        return inspect.iscoroutinefunction(self.project.enqueue)

    @property
    def has_bulk(self):
        return hasattr(self.project, "enqueue_bulk")

    async def call(self, name, *arguments):
        answer = getattr(self.project, name)(*arguments)
        return await answer if inspect.isawaitable(answer) else answer


async def install(calls):
    await calls.call("install")


async def fill(calls, kind, jobs, first="0"):
    ids = [make_id(int(first) + number) for number in range(int(jobs))]
    started = time.perf_counter()
    if calls.has_bulk:
        for start in range(0, len(ids), BULK):
            await calls.call("enqueue_bulk", kind, ids[start : start + BULK])
    else:
        for job_id in ids:
            await calls.call("enqueue", kind, job_id)
    return {"jobs": len(ids), "seconds": time.perf_counter() - started, "in_bulk": calls.has_bulk}


async def enqueue(calls, kind, seconds):
    await calls.call("enqueue", kind, make_id(0))
    started, number = time.perf_counter(), 0
    while time.perf_counter() - started < float(seconds):
        number += 1
        await calls.call("enqueue", kind, make_id(number))
    return {"jobs": number, "seconds": time.perf_counter() - started}


async def feed(calls, kind, jobs, shortest, longest):
    """Note when each job is about to be created; give how many a second there were."""
    # Opens the connection, which is not to count.
    started = moment = time.monotonic() + 0.1
    for number in range(int(jobs)):
        time.sleep(max(0, moment - time.monotonic()))
        lines.note(make_id(number))
        await calls.call("enqueue", kind, make_id(number))
        moment += float(shortest) + (float(longest) - float(shortest)) * (number * IRREGULAR % 1)
    return {"jobs": int(jobs), "seconds": time.monotonic() - started}


def make_id(number):
    return f"{number:08}"


ACTS = {"install": install, "fill": fill, "enqueue": enqueue, "feed": feed}

if __name__ == "__main__":
    main()
