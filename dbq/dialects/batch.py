"""Rows on their way into a statement: what they share as parameters, the rest as JSON documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.models import DateTimeField, Field, JSONField, Model, TextField, UUIDField

if TYPE_CHECKING:
    from dbq.dialects.base import Dialect

Row = dict[str, Any]
Rows = list[Row]

# A document stays below every default packet size.
DOCUMENT_MAX_CHARACTERS = 4_000_000
# About what a row takes beside its long texts.
ROW_CHARACTERS = 500
# What a fenced update must match.
GUARD = {"id", "fence"}


class Batch:
    """Rows that all have the same values, by name; the name of a value is the attribute of its field."""

    def __init__(self, dialect: Dialect, fields: Iterable[Field], rows: Rows) -> None:
        self.dialect = dialect
        self.fields = {field.attname: field for field in fields}
        self.rows = rows
        self.shared = self._find_shared()
        self.varying = [name for name in self.fields if name not in self.shared]

    def _find_shared(self) -> Row:
        """The values that all rows share, which travel once."""
        first = self.rows[0]
        shared: Row = {}
        # A statement needs a table to read from, also for a single row.
        for name, field in self.fields.items() if len(self.rows) > 1 else ():
            value = first[name]
            if not is_key(field) and [row[name] for row in self.rows].count(value) == len(self.rows):
                shared[name] = self.dialect.adapt_value(value)
        return shared if len(shared) < len(self.fields) else {}

    # SQL

    @property
    def source(self) -> str:
        """SQL for a table `d` of what varies, read from one JSON parameter."""
        return self.dialect.source(self.fields[name] for name in self.varying)

    def read(self, name: str) -> str:
        """SQL for a value: a parameter if all rows share it, else a column of the source."""
        field = self.fields[name]
        return self.dialect.read_parameter(field) if name in self.shared else self.dialect.read_source(field)

    def get_parameters(self, names: Iterable[str]) -> list[Any]:
        """The parameters of `read`, for values read in this order."""
        return [self.shared[name] for name in names if name in self.shared]

    # Documents

    def make_documents(self) -> Iterator[tuple[Rows, str]]:
        """The rows in chunks small enough for one statement, and each chunk as its document."""
        for chunk in self._split() if self._wide else [self.rows]:
            yield chunk, self.write(chunk)

    @cached_property
    def _wide(self) -> list[str]:
        return [name for name in self.varying if isinstance(self.fields[name], JSONField | TextField)]

    def _split(self) -> Iterator[Rows]:
        chunk: Rows = []
        size = 0
        for row in self.rows:
            size += sum(len(row[name] or "") for name in self._wide) + ROW_CHARACTERS
            if chunk and size > DOCUMENT_MAX_CHARACTERS:
                yield chunk
                chunk, size = [], 0
            chunk.append(row)
        yield chunk

    def write(self, rows: Rows) -> str:
        """Rows as a JSON array; a column at a time, as that is most of what a batch costs in Python."""
        columns = [self._write_column(name, rows) for name in self.varying]
        return json.dumps(
            [dict(zip(self.varying, values, strict=True)) for values in zip(*columns, strict=True)]
        )

    def _write_column(self, name: str, rows: Rows) -> list[Any]:
        write = self._find_writer(self.fields[name])
        if write is None:
            return [row[name] for row in rows]
        return [None if row[name] is None else write(row[name]) for row in rows]

    def _find_writer(self, field: Field) -> Callable[[Any], str] | None:
        if is_uuid(field):
            return self.dialect.write_uuid
        return self.dialect.write_moment if isinstance(field, DateTimeField) else None


@dataclass(frozen=True, eq=False)
class Log:
    """Rows of another model that a fenced update writes, one for each row that it moves."""

    model: type[Model]
    # The names of its values in the rows of the update, by attribute.
    sources: dict[str, str]


@dataclass(frozen=True)
class FencedUpdate:
    """A fenced update of a batch."""

    table: str
    batch: Batch
    # Of the values that it sets, in this order.
    names: tuple[str, ...]
    assignments: str
    log: Log | None

    def get_parameters(self) -> list[Any]:
        return self.batch.get_parameters(self.names)


def is_key(field: Field) -> bool:
    """Whether a field names a row, and so differs from row to row."""
    return field.attname in GUARD or is_uuid(field)


def is_uuid(field: Field) -> bool:
    return isinstance(getattr(field, "target_field", field), UUIDField)
