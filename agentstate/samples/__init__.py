"""Sample projects: a legacy table full of what years of an application that validates nothing leave behind."""

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


class SeedingRefused(Exception):
    """This database is not one to fill with samples; nothing was changed."""


class ProjectTableMissing(SeedingRefused):
    """The database was not migrated."""

    def __str__(self) -> str:
        return 'There is no table "Project" in this database: run manage.py migrate first.'


class ProjectTableNotOurs(SeedingRefused):
    """The table refers to another one, as in a legacy application's database, and samples have no rows there."""

    def __init__(self, column: str, other_table: str) -> None:
        super().__init__(column, other_table)
        self.column = column
        self.other_table = other_table

    def __str__(self) -> str:
        return (
            f'"Project"."{self.column}" is a foreign key to "{self.other_table}", as in a legacy application\'s '
            "database: samples are for a database of our own, so let DATABASE_URL name an empty one and migrate it."
        )


class ProjectTableNotEmpty(SeedingRefused):
    """The table holds rows, and the caller did not mean to add to them."""

    def __str__(self) -> str:
        return (
            'The table "Project" already holds rows, and nothing was added: '
            "add to them with --append, or let DATABASE_URL name an empty database."
        )


def seed_projects(
    count: int, seed: int, *, append: bool = False, progress: Callable[[int], None] | None = None
) -> int:
    """Make ``count`` rows in ``"Project"``, all or none of them, and return how many were made.

    Row number n of a seed is the same on every server and whatever its settings. Rows are appended under the numbers
    that follow the highest one of this seed that the table holds. ``progress`` hears how many rows are made so far.

    Raises:
        ProjectTableMissing: there is no table to fill.
        ProjectTableNotOurs: the table has a foreign key.
        ProjectTableNotEmpty: it has rows, and ``append`` is false.
    """
    parameters: Parameters = {**WORDS, "seed": str(seed)}
    with transaction.atomic(), connection.cursor() as cursor:
        refuse_unsuitable_table(cursor)
        # Compiling the large statement would take longer than running it.
        cursor.execute("SET LOCAL jit = off")
        # Keeps other seeders out, and nobody else.
        cursor.execute('LOCK TABLE "Project" IN SHARE UPDATE EXCLUSIVE MODE')
        if not append:
            _refuse_rows(cursor)
        start = _last_number(cursor, parameters)
        for made in range(0, count, CHUNK):
            until = min(made + CHUNK, count)
            cursor.execute(MAKE_ROWS, {**parameters, "first": start + made + 1, "last": start + until})
            if progress is not None:
                progress(until)
        # Whoever reads these rows does so at once, before autovacuum has looked at them.
        cursor.execute('ANALYZE "Project"')
    return count


def refuse_unsuitable_table(cursor: CursorWrapper) -> None:
    """Refuse a database that was not migrated, or whose table is part of a legacy application.

    Raises:
        ProjectTableMissing, ProjectTableNotOurs: see :func:`seed_projects`.
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
