"""One declaration of an index over some of the rows, whatever the database can do."""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.models import Index, Model, Q, UniqueConstraint

from dbq.states import Lane, State


class LaneIndex(Index):
    """A partial index where the database has them, and one that begins with the lane elsewhere.

    Django leaves conditional indexes out on MariaDB and MySQL; a claim there would scan the table.
    """

    def __init__(self, *, lane: int, fields: list[str], name: str) -> None:
        super().__init__(fields=fields, name=name)
        self.lane = lane

    def create_sql(
        self, model: type[Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        if schema_editor.connection.features.supports_partial_indexes:
            index = Index(fields=self.fields, name=self.name, condition=Q(lane=self.lane))
        else:
            index = Index(fields=["lane", *self.fields], name=self.name)
        return index.create_sql(model, schema_editor, using, **kwargs)

    def deconstruct(self) -> tuple:
        _, _, options = super().deconstruct()
        return "dbq.dialects.LaneIndex", (), {**options, "lane": self.lane}


class FailureIndex(Index):
    """A partial index of failed jobs where the database has them, and one of all jobs elsewhere.

    Without the lane and the state there: they change with every step of a job, a fingerprint seldom.
    """

    def create_sql(
        self, model: type[Model], schema_editor: BaseDatabaseSchemaEditor, using: str = "", **kwargs: Any
    ) -> Statement:
        if not schema_editor.connection.features.supports_partial_indexes:
            return super().create_sql(model, schema_editor, using, **kwargs)
        failed = Q(lane=Lane.FINISHED, state=State.FAILED)
        index = Index(fields=self.fields, name=self.name, condition=failed)
        return index.create_sql(model, schema_editor, using, **kwargs)

    def deconstruct(self) -> tuple:
        _, _, options = super().deconstruct()
        return "dbq.dialects.FailureIndex", (), options


class KeyConstraint(UniqueConstraint):
    """Keeps a key unique among the rows that have one, in an index of those rows where the database can.

    A full one would be written again by every step of every job, and few jobs have a key.
    """

    def __init__(self, *, field: str, name: str) -> None:
        super().__init__(fields=[field], name=name)

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._suit(schema_editor).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._suit(schema_editor).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._suit(schema_editor).remove_sql(model, schema_editor)

    def _suit(self, schema_editor: BaseDatabaseSchemaEditor) -> UniqueConstraint:
        has_key = Q(**{f"{self.fields[0]}__isnull": False})
        is_partial = schema_editor.connection.features.supports_partial_indexes
        return UniqueConstraint(fields=self.fields, name=self.name, condition=has_key if is_partial else None)

    def deconstruct(self) -> tuple:
        return "dbq.dialects.KeyConstraint", (), {"field": self.fields[0], "name": self.name}
