"""The console's name for the bound on what one screen may cost the database."""

from dbq.limits import SECONDS, TookTooLong, time_limit

__all__ = ["SECONDS", "TookTooLong", "time_limit"]
