"""JSON columns of claimed rows: text as the database wrote it, decoded only if somebody reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from dbq import workspaces

read_json = json.JSONDecoder().raw_decode


class TextAttribute(DeferredAttribute):
    """Reads a JSON column from its text; Django's own way there takes as long as the rest of a small task."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        values, name = instance.__dict__, self.field.attname
        if name not in values and name in instance._texts:
            text = instance._texts[name]
            values[name] = None if text is None else read_json(text)[0]
            return values[name]
        return super().__get__(instance, owner)


class LazyJSONField(models.JSONField):
    """A JSON column whose text, where there is one, is decoded by the first who reads it."""

    descriptor_class = TextAttribute

    def deconstruct(self) -> Any:
        # To a migration it is what it is to the database.
        name, _, arguments, options = super().deconstruct()
        return name, "django.db.models.JSONField", arguments, options


class KeepsTexts(models.Model):
    """A model whose JSON columns come with a claim as text.

    Most of what a worker does with a job needs no look into its workspace, nor does every task.
    """

    _texts: Mapping[str, str | None] = MappingProxyType({})

    class Meta:
        abstract = True

    def refresh_from_db(
        self, using: str | None = None, fields: Iterable[str] | None = None, from_queryset: Any = None
    ) -> None:
        """Read the job, or some of its fields, again; what its claim brought along is forgotten."""
        wanted = None if fields is None else list(fields)
        if wanted is None:
            # Django reads again what has been read before.
            for name in self._texts:
                getattr(self, name)
        self._texts = {name: text for name, text in self._texts.items() if wanted and name not in wanted}
        super().refresh_from_db(using, wanted, from_queryset)

    def has_read(self, name: str) -> bool:
        """Whether anybody has looked at a JSON column since the job was claimed."""
        return name in self.__dict__

    def get_text(self, name: str) -> str | None:
        """A JSON column as the database has it; of a job that was not claimed, as it would write it."""
        if name in self._texts:
            return self._texts[name]
        value = getattr(self, name)
        return None if value is None else workspaces.write(value)

    def set_text(self, name: str, text: str) -> None:
        """Take note of what the database has been given for a column; who holds its value keeps it."""
        self._texts = {**self._texts, name: text}

    def forget(self, name: str) -> None:
        """Have a JSON column decoded again for the next who reads it."""
        if name in self._texts:
            self.__dict__.pop(name, None)
