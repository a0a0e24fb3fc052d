"""huey with its storage in SQLite."""

from benchmarks.peers.speed.contender import Contender, Pace, Tables

CONSUMER = ("huey_consumer", "benchmarks.peers.speed.projects.huey.huey")

CONTENDER = Contender(
    name="huey",
    module="huey",
    requirements=("huey==3.5.4",),
    databases=("sqlite",),
    # A task leaves its table when it is taken.
    tables=Tables(unfinished="SELECT count(*) FROM task", names=("task",)),
    paces={
        "default": Pace("huey_consumer: one thread, SqliteHuey as it is", CONSUMER),
        "tuned": Pace("-w 1 -k process -q (no log)", (*CONSUMER, "-w", "1", "-k", "process", "-q")),
        "two": Pace("-w 2 -k process -q", (*CONSUMER, "-w", "2", "-k", "process", "-q")),
        "single": Pace("huey_consumer: one thread", CONSUMER),
    },
    remarks=("huey takes a task out of its table before it runs: one that is interrupted is lost",),
)
