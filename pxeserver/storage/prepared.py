"""Statements that are worked out once and run for many rows at a time.

SQLAlchemy looks a statement up in its cache each time it is run, and turns every row into parameters one by
one: for what comes with each event of each boot that is most of the work. What is compiled here is plain SQL
that takes the rows as tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

_encode = msgspec.json.Encoder().encode


class Prepared:
    """An INSERT with these columns, in the order of the table. `make` builds it when it is first run."""

    def __init__(self, columns: Sequence[str], make: Callable[[], Insert]) -> None:
        self.columns = tuple(columns)
        self._make = make

    @cached_property
    def _compiled(self) -> tuple[str, tuple[Any, ...]]:
        """The SQL, and the constants that its parameters end with, behind the columns."""
        compiled = self._make().compile(dialect=dialect(paramstyle="qmark"), column_keys=list(self.columns))
        names: list[str] = compiled.positiontup or []
        count = len(self.columns)
        if tuple(names[:count]) != self.columns:
            raise ValueError(f"the statement takes {names[:count]}, not {self.columns}")
        return str(compiled), tuple(compiled.params[name] for name in names[count:])

    async def run(self, connection: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run it for every row: values in the order of the columns, as SQLite takes them (see `json`)."""
        if rows:
            sql, constants = self._compiled
            given = [row + constants for row in rows] if constants else list(rows)
            await connection.exec_driver_sql(sql, given)


def json(value: object) -> str:
    """A value for a JSON column."""
    return _encode(value).decode()
