"""Worker processes on the tests' database, and a place where their tasks note what they do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbq.models import Job
from tests.process.jobs import JOBS
from tests.process.ledger import Ledger
from tests.process.workers import Workers


@pytest.fixture(autouse=True)
def jobs_of_the_workers(settings) -> None:
    settings.JOBS = JOBS


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


@pytest.fixture
def workers(transactional_db, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    try:
        yield workers
    finally:
        workers.end()


class Gate:
    """What a job of the tests waits for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        self.path.touch()


@pytest.fixture
def make_gate(tmp_path: Path) -> Callable[[str], Gate]:
    return lambda name: Gate(tmp_path / f"{name}.gate")


@pytest.fixture
def create_waiting(ledger: Ledger) -> Callable[..., Job]:
    """Create a job whose first task runs until its gate is open."""

    def create(gate: Gate, name: str = "wait", **fields) -> Job:
        return Job.objects.create(name=name, workspace={"gate": str(gate.path)}, **fields)

    return create
