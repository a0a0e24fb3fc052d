"""Running jobs inside a host project's own tests, without a worker process.

For example, in a TestCase::

    def test_a_new_account_gets_its_welcome_mail(self):
        register("ada@example.org")  # creates a job
        run_jobs()
        self.assertEqual(mail.outbox[0].to, ["ada@example.org"])
"""

from collections.abc import Sequence

from dbq.engine import Engine
from dbq.execution import execute, find_open_transactions


def run_jobs(queue_names: Sequence[str] = ("default",)) -> int:
    """Run all due jobs of these queues here and now, and those that they create in them.

    Tasks run one after the other in the caller's thread and on its connections, so it works within
    TestCase. A task that raises fails its job, or has it wait for its retry, as under a worker; look
    at the job, nothing is raised here. Jobs that are scheduled for later stay where they are.

    Returns: how many tasks ran.
    """
    engine = Engine(queue_names)
    ran = 0
    while True:
        moved = engine.turn()
        run = engine.next_run(0, wait_seconds=0)
        if run is not None:
            engine.put(0, run, execute(run, engine.clock, find_open_transactions()))
            ran += 1
        elif not moved and engine.is_exhausted():
            engine.deregister()
            return ran
