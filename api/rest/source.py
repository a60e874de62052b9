"""One use of a model's tables in a statement."""

from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Table, inspect
from sqlalchemy.orm import Mapper

from core.db import Base


@cache
def _first_alias(table: Table) -> FromClause:
    return table.alias(f"first_{table.name}")


class Source:
    """A model's tables under aliases of their own; a parent's table joins in when one of its columns is asked for.

    Statements are built from tables rather than mapped classes: rows then come without ORM objects, and the same
    table can stand in one statement several times."""

    def __init__(self, model: type[Base]) -> None:
        self._take(model, Table.alias)

    @classmethod
    def first(cls, model: type[Base]) -> "Source":
        """The rows that a statement is about. Its aliases are the same every time, since making one costs more than
        many a query; a statement has one such source, all others are new."""
        made = cls.__new__(cls)
        made._take(model, _first_alias)
        return made

    def _take(self, model: type[Base], make_alias: Callable[[Table], FromClause]) -> None:
        mapper: Mapper[Any] = inspect(model)
        tables = [each.local_table for each in mapper.iterate_to_root()]
        self._own, *self._parents = [table for table in tables if isinstance(table, Table)]
        self._make_alias = make_alias
        self._own_alias = make_alias(self._own)
        self._joined: dict[Table, FromClause] = {}
        self.id: ColumnElement[int] = self._own_alias.c.id

    def col(self, name: str) -> ColumnElement[Any]:
        """The column behind a mapped attribute; KeyError when there is none."""
        column: ColumnElement[Any]
        if name in self._own.c:
            column = self._own_alias.c[name]
            return column
        for table in self._parents:
            if name in table.c:
                if table not in self._joined:
                    self._joined[table] = self._make_alias(table)
                column = self._joined[table].c[name]
                return column
        raise KeyError(f"{self._own.name} has no column {name}")

    def copy(self) -> "Source":
        """The same source, for a statement that goes on from where this one has come to."""
        made = copy(self)
        made._joined = dict(self._joined)
        return made

    def table(self) -> FromClause:
        """What to select from: ask last, when all columns have been asked for."""
        joined: FromClause = self._own_alias
        for alias in self._joined.values():
            joined = joined.join(alias, alias.c.id == self._own_alias.c.id)
        return joined
