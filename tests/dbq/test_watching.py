"""A worker on SQLite sees writes without asking for them."""

import os
import select
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dbq.dialects import watching
from dbq.engine import Engine
from dbq.runner import COMMIT_PAUSES, Runner

WRITE = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('INSERT INTO t VALUES (1)'); c.commit()"
)
MODES = ["wal", "delete"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture(params=MODES)
def database(request, tmp_path):
    import sqlite3

    path = tmp_path / "jobs.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA journal_mode = {request.param}")
        connection.execute("CREATE TABLE t (n)")
    # Kept open: whoever closes it last would put the log into the database.
    yield path
    connection.close()


@pytest.fixture
def watch(database):
    watch = watching.watch(str(database))
    yield watch
    watch.close()


def is_readable(watch) -> bool:
    return bool(select.select([watch], [], [], 0)[0])


def test_a_commit_of_another_process_is_seen_once(database, watch):
    assert not is_readable(watch)
    subprocess.run([sys.executable, "-c", WRITE, str(database)], check=True)
    assert is_readable(watch)
    assert watch.read()
    assert not is_readable(watch)
    assert not watch.read()


def test_reading_is_no_change(database, watch):
    read = WRITE.replace("INSERT INTO t VALUES (1)", "SELECT * FROM t")
    subprocess.run([sys.executable, "-c", read, str(database)], check=True)
    assert not watch.read()


def test_other_files_of_the_folder_are_none_of_its_business(database, watch):
    for name in ("notes.txt", "jobs.sqlite3.bak", "x" * 200):
        (database.parent / name).write_text("something")
    assert not watch.read()


def test_more_changes_than_the_kernel_remembers_are_a_change(watch, monkeypatch):
    overflow = [watching.RECORD.pack(-1, watching.IN_Q_OVERFLOW, 0, 0), b""]
    monkeypatch.setattr(watch, "_read_some", lambda: overflow.pop(0))
    assert watch.read()


@pytest.mark.parametrize(
    "name", [":memory:", "file:memory?mode=memory&cache=shared", "/nowhere/jobs.sqlite3"]
)
def test_what_is_no_file_is_not_watched(name):
    assert watching.watch(name) is None


def test_without_watches_to_be_had_a_worker_looks_often(database, monkeypatch, caplog):
    libc = SimpleNamespace(inotify_init1=lambda flags: -1)
    monkeypatch.setattr(watching.ctypes, "CDLL", lambda name, use_errno: libc)
    with caplog.at_level("INFO", "dbq"):
        assert watching.watch(str(database)) is None
    assert "looking often instead" in caplog.text


def test_a_watch_leaves_no_descriptor_behind(database):
    before = len(os.listdir("/proc/self/fd"))
    watching.watch(str(database)).close()
    assert len(os.listdir("/proc/self/fd")) == before


# The runner


class Changes:
    """Changes that a pipe stands for."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        os.set_blocking(self.out, False)

    def fileno(self) -> int:
        return self.out

    def read(self) -> bool:
        os.read(self.out, 100)
        return True


@pytest.fixture
def runner():
    return Runner(Engine())


def test_whoever_saw_a_write_looks_again_when_its_commit_is_done(runner, monkeypatch):
    runner._changes = Changes()
    os.write(runner._changes.into, b"x")
    waits = []
    wait = runner._wait
    monkeypatch.setattr(runner, "_wait", lambda seconds, *sources: waits.append(seconds) or wait(0, *sources))
    runner._wait_for_work(30)
    os.write(runner._changes.into, b"x")
    # Not by the next write: many of them would have it look without a pause.
    for _ in COMMIT_PAUSES:
        runner._wait_for_work(30)
    assert waits == [30, *COMMIT_PAUSES]
    assert is_readable(runner._changes)


def test_a_worker_that_sees_changes_looks_rarely(runner, monkeypatch):
    dialect = SimpleNamespace(poll_seconds=(0.2, 0.2), uncalled_poll_seconds=(0.1, 0.1))
    monkeypatch.setattr("dbq.runner.get_dialect", lambda alias: dialect)
    monkeypatch.setattr("dbq.runner.random.uniform", lambda low, high: 1)
    assert runner._next_poll(0) == 0.1
    runner._changes = Changes()
    runner._poll = 0
    assert runner._next_poll(0) == 0.2
