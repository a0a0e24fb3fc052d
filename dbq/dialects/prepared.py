"""Statements that PostgreSQL parses and plans once for each connection of an engine.

A claim is short, and planning it takes longer than running it. Its plan is kept from the first time on, when
the table may be empty; so a session that prepares is kept from the plans that only suit small tables.
"""

from __future__ import annotations

import hashlib
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper

from dbq.dialects.base import Slot, Take

# Through indexes, or not at all: a table that is small now will not be for long. Before PostgreSQL 18 what is
# switched off has an enormous price, for which the server compiles a statement: 200 ms for one of 1 ms.
PLANS = (
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off;"
    " SET jit = off"
)


class Prepared:
    """What is prepared on one connection: statements by the takes that they belong to."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        # With the takes themselves, so that no other one gets the identity of one of them.
        self._calls: dict[int, tuple[Take, str, list[str]]] = {}

    def write_call(self, take: Take, values: dict[str, Any]) -> tuple[str, list[Any]]:
        """The statement, and its parameters, that runs a take of one; prepared before if it is new here."""
        _, call, names = self._calls.get(id(take)) or self._prepare(take)
        return call, [values[name] for name in names]

    def _prepare(self, take: Take) -> tuple[Take, str, list[str]]:
        name = f"dbq_take_{len(self._calls) + 1}"
        statement, names = self._write(*take.statements[0])
        with self._connection.cursor() as cursor:
            cursor.execute(f"PREPARE {name} AS {statement}")
        call = f"EXECUTE {name} ({', '.join(['%s'] * len(names))})"
        self._calls[id(take)] = take, call, names
        return self._calls[id(take)]

    def _write(self, statement: str, parameters: tuple) -> tuple[str, list[str]]:
        """The statement with numbered slots and, so that partial indexes fit, all else written out."""
        names: list[str] = []
        first, *parts = statement.split("%s")
        texts = [first]
        with self._connection.cursor() as cursor:
            for parameter, part in zip(parameters, parts, strict=True):
                if isinstance(parameter, Slot):
                    if parameter.name not in names:
                        names.append(parameter.name)
                    texts.append(f"${names.index(parameter.name) + 1}")
                else:
                    texts.append(cursor.mogrify("%s", (parameter,)))
                texts.append(part)
        return "".join(texts), names


# What comes so often on one connection is likely to come again, which pays for preparing it.
WORTH_TIMES = 10


class Repeated:
    """What a session repeats that is not an engine's: how often it came, and what it is prepared as."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._calls: dict[str, str] = {}
        # Whether the session is nobody else's; None until somebody looked.
        self.is_own: bool | None = None

    def count(self, statement: str) -> bool:
        """Note that it comes once more; return whether it is worth preparing by now."""
        self._times[statement] = self._times.get(statement, 0) + 1
        return self._times[statement] > WORTH_TIMES

    def get_call(self, statement: str, connection: BaseDatabaseWrapper) -> str:
        """What runs it, with the same parameters; prepared before if it is new here."""
        return self._calls.get(statement) or self._prepare(statement, connection)

    def _prepare(self, statement: str, connection: BaseDatabaseWrapper) -> str:
        first, *parts = statement.split("%s")
        numbered = first + "".join(f"${number}{part}" for number, part in enumerate(parts, 1))
        # By its text: should sessions be swapped unseen, a name means the same in each of them.
        name = f"dbq_{hashlib.sha256(numbered.encode()).hexdigest()[:16]}"
        with connection.cursor() as cursor:
            cursor.execute(f"PREPARE {name} AS {numbered}")
        self._calls[statement] = f"EXECUTE {name} ({', '.join(['%s'] * len(parts))})"
        return self._calls[statement]


# By the driver's connection.
_prepared: WeakKeyDictionary[Any, Prepared] = WeakKeyDictionary()
_repeated: WeakKeyDictionary[Any, Repeated] = WeakKeyDictionary()


def begin(connection: BaseDatabaseWrapper) -> None:
    """Prepare from now on what is run on this open connection, which nobody else uses."""
    if connection.connection in _prepared:
        return
    # Django binds on the server only if it is told to, and what is prepared in SQL cannot be run so.
    if not connection.settings_dict["OPTIONS"].get("server_side_binding"):
        with connection.cursor() as cursor:
            cursor.execute(PLANS)
        _prepared[connection.connection] = Prepared(connection)


def find(connection: BaseDatabaseWrapper) -> Prepared | None:
    """What is prepared on this connection; None if nothing is to be."""
    return _prepared.get(connection.connection) if connection.connection is not None else None


def find_repeated(connection: BaseDatabaseWrapper) -> Repeated:
    """What is repeated on this open connection."""
    return _repeated.setdefault(connection.connection, Repeated())
