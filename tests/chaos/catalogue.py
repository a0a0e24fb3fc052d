"""The faults that dbq must survive: a number each, which tests name with `@pytest.mark.fault(number)`."""

from __future__ import annotations

from dataclasses import dataclass, field

DATABASES = {"S": "sqlite", "P": "postgresql", "M": "mariadb"}


@dataclass(frozen=True)
class Fault:
    """One fault, where it can happen, and why it is not made to happen where it could."""

    title: str
    databases: str = "SPM"
    # By the letter of the database, or "" for all of them.
    left_out: dict[str, str] = field(default_factory=dict)

    def explain(self, database: str) -> str:
        """Why it is not run on a database; empty if it has to be."""
        letter = next(letter for letter, name in DATABASES.items() if name == database)
        if letter not in self.databases:
            return "cannot happen here"
        return self.left_out.get(letter) or self.left_out.get("", "")


FAULTS: dict[int, Fault] = {
    1: Fault("a storm of kill -9 among workers"),
    2: Fault("kill -9 at chosen points of a cycle"),
    3: Fault("kill -9 of the supervisor alone"),
    4: Fault("a worker frozen past its lease, and woken"),
    5: Fault("a worker frozen while it rescues"),
    6: Fault("every connection cut, again and again", "PM"),
    7: Fault("the server restarted: politely, at once, away for 30 s", "PM"),
    8: Fault("a fail-over to a standby", "P"),
    9: Fault("the database turned read-only"),
    10: Fault("a partition, both directions, longer than the lease", "PM"),
    11: Fault("a connection that is half open", "PM"),
    12: Fault("a database half a second away", "PM"),
    13: Fault("PgBouncer with transaction pooling", "P"),
    14: Fault("NOTIFY lost, or its queue full", "P"),
    15: Fault(
        "the disk full",
        "SP",
        {"P": "needs a file system of its own; a full log ends the server, which is fault 7"},
    ),
    16: Fault("SQLite locked by somebody else for 10 s", "S"),
    17: Fault("kill -9 in the middle of SQLite's commits", "S"),
    18: Fault("deadlocks between acts, claims and clean-ups", "PM"),
    19: Fault("another isolation level as the server's default", "PM"),
    20: Fault("hosts whose clocks are hours apart, or jump"),
    21: Fault("summer time begins or ends"),
    22: Fault("a task that outlives the lease"),
    23: Fault("a task that holds the interpreter's lock"),
    24: Fault("time-outs, soft and hard"),
    25: Fault("sys.exit in a task, a hook or a thread"),
    26: Fault("a task that ends its process, or runs it out of memory"),
    27: Fault("exceptions that are no Exception, or cannot be printed"),
    28: Fault("a transaction left open"),
    29: Fault("an aborted transaction swallowed", "PM"),
    30: Fault("a session that the task has changed", "PM"),
    31: Fault("connections closed or killed by the task"),
    32: Fault("a task that forks"),
    33: Fault("threads, signal handlers, folder and environment left changed"),
    34: Fault("a workspace that is too large"),
    35: Fault("a NUL in the workspace"),
    36: Fault("a lone surrogate in the workspace"),
    37: Fault("NaN and infinity in the workspace"),
    38: Fault("a workspace nested deeply"),
    39: Fault("values that JSON does not know"),
    40: Fault("a task that cannot be imported"),
    41: Fault("a job whose name the settings no longer have"),
    42: Fault("a job whose tasks the settings have changed"),
    43: Fault("a migration while workers run", "PM"),
    44: Fault("a stop: of short and long jobs, once and twice"),
    45: Fault("64 workers started at once", "PM"),
    46: Fault("a queue that is flooded with high priority"),
    47: Fault("the same unique key from many creators at once"),
    48: Fault("a rollback after a job was created"),
    49: Fault("a commit whose answer never arrived", "PM"),
    50: Fault("half an hour at 200 jobs a second"),
    51: Fault("statistics that make a planner err", "PM"),
    52: Fault("a transaction of somebody else that stays open", "P"),
    53: Fault("operators who act at random on a running fleet"),
    54: Fault("a standard output that is closed or full"),
}
