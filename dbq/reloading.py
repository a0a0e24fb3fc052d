"""`worker --reload`: a worker command as a child, ended gracefully and started afresh on changes."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

from django.utils.autoreload import iter_all_python_module_files

from dbq import definitions
from dbq.exceptions import DbqError

logger = logging.getLogger("dbq")

LOOK_SECONDS = 1.0


def run_reloading() -> int:
    """Run this command without --reload, again and again; return its exit code after a signal."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    command = [sys.executable, *(argument for argument in sys.argv if argument != "--reload")]
    _import_tasks()
    while True:
        # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
        child = subprocess.Popen(command, start_new_session=True)  # noqa: S603
        changed = _watch(child, stop)
        child.terminate()
        code = child.wait()
        if stop.is_set() or not changed:
            return code


def _import_tasks() -> None:
    """So that their files are among those to be watched."""
    for definition in definitions.get_definitions().values():
        for task in definition.tasks:
            try:
                definitions.load(task)
            except DbqError as error:
                logger.warning("%s", error)


def _watch(child: subprocess.Popen, stop: threading.Event) -> bool:
    """Return True when a file changed, False when the child ended or a signal came."""
    before = _read_times()
    while child.poll() is None:
        if stop.wait(LOOK_SECONDS):
            return False
        now = _read_times()
        changed = [path for path, time in now.items() if before.get(path) != time]
        if changed:
            logger.info("%s changed; starting afresh.", changed[0].name)
            return True
    return False


def _read_times() -> dict[Path, float]:
    times = {}
    for path in iter_all_python_module_files():
        try:
            times[path] = path.stat().st_mtime
        except OSError:
            continue
    return times
