"""How long modules take to import, each in a fresh interpreter: a task that is a coroutine."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbq.models import Job

AT_ONCE = 2
PROGRAM = """
import importlib, sys, time
start = time.perf_counter()
importlib.import_module(sys.argv[1])
print((time.perf_counter() - start) * 1000)
"""


async def measure(job: Job) -> None:
    """Put the import time of each of the workspace's modules, in ms, into the workspace."""
    modules = job.workspace["modules"]
    gate = asyncio.Semaphore(AT_ONCE)
    milliseconds: dict[str, float] = {}

    async def measure_one(module: str) -> None:
        async with gate:
            milliseconds[module] = await _time_import(module)
        job.set_progress(len(milliseconds), len(modules), note=module)

    await asyncio.gather(*(measure_one(module) for module in modules))
    job.workspace["milliseconds"] = dict(sorted(milliseconds.items()))


async def _time_import(module: str) -> float:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", PROGRAM, module),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, complaint = await process.communicate()
    finally:
        # Cancelled or timed out: the interpreter must not outlive its job.
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        reason = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f'"{module}" does not import: {"".join(reason)}')
    return round(float(output), 2)
