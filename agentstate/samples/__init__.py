"""Sample projects: a legacy table as an application leaves it that validated nothing for years."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from django.db import connection, transaction

from agentstate.samples.rows import FIND_LAST_NUMBER, MAKE_ROWS
from agentstate.samples.words import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.utils import CursorWrapper

CHUNK = 5_000

Parameters: TypeAlias = "dict[str, str | int | list[str]]"


class SamplesRefused(Exception):
    """Samples cannot be made in this database. Nothing was changed."""


class ProjectTableMissing(SamplesRefused):
    """The database has no ``"Project"`` table."""

    def __str__(self) -> str:
        return 'There is no table "Project" in this database: run manage.py migrate first.'


class ProjectTableNotOurs(SamplesRefused):
    """The table has a foreign key, as a legacy application's has, and samples have no rows to refer to."""

    def __init__(self, column: str, other_table: str) -> None:
        super().__init__(column, other_table)
        self.column = column
        self.other_table = other_table

    def __str__(self) -> str:
        return (
            f'"Project"."{self.column}" is a foreign key to "{self.other_table}", so this is a legacy application\'s '
            "database. Samples need one of their own: let DATABASE_URL name an empty database and migrate it."
        )


class ProjectTableNotEmpty(SamplesRefused):
    """The table holds rows, and the caller did not ask to append."""

    def __str__(self) -> str:
        return (
            'The table "Project" already holds rows. Nothing was added. '
            "Add to them with --append, or let DATABASE_URL name an empty database."
        )


def make_projects(
    count: int, seed: int, *, append: bool = False, progress: Callable[[int], None] | None = None
) -> int:
    """Make ``count`` rows in ``"Project"``, all or none, and return how many were made.

    Row number n of a random seed is the same on every server. Appended rows continue after the highest number of this
    seed in the table.

    Args:
        progress: called with the number of rows made so far.

    Raises:
        ProjectTableMissing: there is no table to fill.
        ProjectTableNotOurs: the table has a foreign key.
        ProjectTableNotEmpty: it has rows, and ``append`` is false.
    """
    parameters: Parameters = {**WORDS, "seed": str(seed)}
    with transaction.atomic(), connection.cursor() as cursor:
        refuse_unsuitable_table(cursor)
        # Compiling the large statement takes longer than running it.
        cursor.execute("SET LOCAL jit = off")
        # Conflicts with itself, and with no reader or writer.
        cursor.execute('LOCK TABLE "Project" IN SHARE UPDATE EXCLUSIVE MODE')
        if not append:
            _refuse_rows(cursor)
        start = _last_number(cursor, parameters)
        for made in range(0, count, CHUNK):
            until = min(made + CHUNK, count)
            cursor.execute(MAKE_ROWS, {**parameters, "first": start + made + 1, "last": start + until})
            if progress is not None:
                progress(until)
        # The next command reads these rows, before autovacuum runs.
        cursor.execute('ANALYZE "Project"')
    return count


def refuse_unsuitable_table(cursor: CursorWrapper) -> None:
    """Refuse a database that was not migrated, or that belongs to a legacy application.

    Raises:
        ProjectTableMissing, ProjectTableNotOurs: see :func:`make_projects`.
    """
    if "Project" not in connection.introspection.table_names(cursor):
        raise ProjectTableMissing
    for column, (_, other_table, *_) in connection.introspection.get_relations(cursor, "Project").items():
        raise ProjectTableNotOurs(column, other_table)


def _refuse_rows(cursor: CursorWrapper) -> None:
    cursor.execute('SELECT EXISTS (SELECT FROM "Project")')
    if cursor.fetchone() == (True,):
        raise ProjectTableNotEmpty


def _last_number(cursor: CursorWrapper, parameters: Parameters) -> int:
    cursor.execute(FIND_LAST_NUMBER, parameters)
    (number,) = cursor.fetchone()
    return int(number)
