"""Jobs that do next to nothing, and leave a line in a file that proves that they did."""

import os
import time

_file: int | None = None


def log(job):
    """Append the job's id: one line a run, so that a count shows what ran how often."""
    _write(f"{job.id}\n")


def log_again(job):
    log(job)


def log_at_last(job):
    log(job)


def stamp(job):
    """Append how many seconds passed since the job was created."""
    _write(f"{time.time() - job.workspace['created']}\n")


def rest(job):
    """Take the seconds of the workspace, and a line."""
    time.sleep(job.workspace["seconds"])
    log(job)


def _write(line):
    global _file
    if _file is None:
        path = os.path.join(os.environ["DBQ_BENCH_FOLDER"], f"{os.getpid()}.log")
        _file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_file, line.encode())
