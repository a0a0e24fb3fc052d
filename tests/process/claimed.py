"""A worker of the tests that keeps what it claimed ahead, however long the task before it takes.

A worker gives such jobs back after a quarter of a second; a test that kills it while it holds some would have
to be quicker than that, on any machine. An app of the worker processes' settings alone.
"""

from __future__ import annotations

from django.apps import AppConfig

KEEPS = "DBQ_TEST_KEEPS_CLAIMED"
LONG_SECONDS = 3600.0


class KeepsClaimed(AppConfig):
    name = "tests.process"
    label = "claimed"

    def ready(self) -> None:
        from dbq import engine

        engine.PREFETCH_SECONDS = LONG_SECONDS
        engine.HELD_UP_SECONDS = LONG_SECONDS
        engine.UNSTARTED_MAX_SECONDS = LONG_SECONDS
