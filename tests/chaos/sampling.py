"""What a long run takes of the machine and of the database, sampled while it goes on."""

from __future__ import annotations

import os
from pathlib import Path

from django.db import connection

PAGE = os.sysconf("SC_PAGE_SIZE")
TABLES = ("dbq_job", "dbq_attempt", "dbq_queue_count_delta", "dbq_rollup", "dbq_rollup_delta")
MIB = 2**20


def sample(pids: list[int]) -> dict[str, float]:
    """One look at the processes of the workers and at the database: name of each figure and its value."""
    return sample_processes(pids) | sample_database()


def sample_processes(pids: list[int]) -> dict[str, float]:
    return {
        "memory, MiB": sum(read_memory(pid) for pid in pids) / MIB,
        "open files": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        "threads": sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
    }


def read_memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def sample_database() -> dict[str, float]:
    read = {"postgresql": read_postgresql, "mysql": read_mysql, "sqlite": read_sqlite}[connection.vendor]
    return read()


def read_postgresql() -> dict[str, float]:
    tables, indexes = ask(
        "SELECT SUM(pg_table_size(c.oid)), SUM(pg_indexes_size(c.oid)) FROM pg_class c"
        " WHERE c.relname = ANY(%s) AND c.relkind = 'r'",
        [list(TABLES)],
    )
    (connections,) = ask("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()")
    return {
        "tables, MiB": float(tables) / MIB,
        "indexes, MiB": float(indexes) / MIB,
        "connections": connections,
    }


def read_mysql() -> dict[str, float]:
    # The tables of the file system: what information_schema says is as old as its statistics.
    names = [f"{connection.settings_dict['NAME']}/{table}" for table in TABLES]
    (size,) = ask(
        "SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces WHERE name IN %s", [names]
    )
    (connections,) = ask("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()")
    return {"tables and indexes, MiB": float(size) / MIB, "connections": connections}


def read_sqlite() -> dict[str, float]:
    path = Path(connection.settings_dict["NAME"])
    log = path.with_name(f"{path.name}-wal")
    return {
        "file, MiB": path.stat().st_size / MIB,
        "write-ahead log, MiB": (log.stat().st_size if log.exists() else 0) / MIB,
    }


def ask(statement: str, values: list | None = None) -> tuple:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()
