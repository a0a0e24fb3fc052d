"""The threads of a worker that run tasks: take a run, execute it, hand in the result."""

import logging
import threading

from django.db import connections

from dbq import failures
from dbq.engine import Engine
from dbq.execution import execute
from dbq.logs import about
from dbq.results import Result
from dbq.run import TaskRun
from dbq.states import Outcome

logger = logging.getLogger("dbq")

# A thread without work keeps its connections for so long. After that whoever has work wakes it: to look every
# second costs each thread of an idle worker a fiftieth of a percent of a core.
KEEP_SECONDS = 1.0
REST_SECONDS = 60.0


class TaskThread(threading.Thread):
    def __init__(self, engine: Engine, place: int) -> None:
        # A daemon: a task that never ends must not keep a stopped worker alive.
        super().__init__(name=f"dbq-task-{place}", daemon=True)
        self.engine = engine
        self.place = place
        self.stopping = False

    def run(self) -> None:
        wait_seconds = KEEP_SECONDS
        while not self.stopping:
            run = self.engine.next_run(self.place, wait_seconds)
            if run is not None:
                self.engine.put(self.place, run, self._execute(run))
                wait_seconds = KEEP_SECONDS
            else:
                self._close_idle_connections()
                wait_seconds = REST_SECONDS
        connections.close_all()

    def _close_idle_connections(self) -> None:
        """A thread without work holds no connection, unless the settings want to keep it."""
        for connection in connections.all(initialized_only=True):
            if connection.settings_dict["CONN_MAX_AGE"] == 0:
                connection.close()

    def _execute(self, run: TaskRun) -> Result:
        try:
            return execute(run, self.engine.clock)
        except BaseException as error:
            # A time-out that struck between the task and its bookkeeping.
            logger.exception(
                "Job %s: the run of %s ended badly.",
                run.job.id,
                run.task,
                extra=about(run.job, run.task, run.number),
            )
            result = run.make_result(Outcome.FAILED)
            result.failure = failures.describe(error)
            result.exception = error
            result.finished = self.engine.clock.now()
            return result
