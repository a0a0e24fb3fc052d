"""Columns that mean the same on every database."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField


class ExactCharField(CharField):
    """Text that is equal only to itself: case, accents and blanks at the end count.

    The usual collations of MariaDB and MySQL see no difference; the same job would be claimed by
    workers that know its name and by workers that do not.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            is_mariadb = connection.mysql_is_mariadb  # type: ignore[attr-defined]
            parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        return parameters

    def deconstruct(self) -> tuple:
        name, _, arguments, options = super().deconstruct()
        return name, "dbq.dialects.ExactCharField", arguments, options
