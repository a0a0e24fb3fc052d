"""The database's clock, read rarely and carried on by the process's own steady one."""

import time
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """Tells the database's time between two readings of it.

    Every time that a worker writes comes from here, so that hosts with wrong clocks agree.
    """

    def __init__(self) -> None:
        self._moment = datetime.now(UTC)
        self._reading = time.monotonic()

    def set(self, moment: datetime) -> None:
        """Take over a reading of the database's clock that was made just now."""
        self._moment = moment
        self._reading = time.monotonic()

    def now(self) -> datetime:
        return self._moment + timedelta(seconds=time.monotonic() - self._reading)
