"""Isolation: our transactions are READ COMMITTED, whatever the default is.

Our statements lock a row, then read it again to see what the transaction that held the lock has committed. Under
repeatable read or serializable, which a server, a role or a host's settings may make the default, they would read an
old snapshot or fail with a serialization error. A transaction of the caller's keeps its own level.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from psycopg.errors import SerializationFailure

from agentstate.rounds import Statement, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.models import QuerySet

# The first statement of a transaction.
READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"


@contextmanager
def read_committed(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Open a READ COMMITTED transaction; inside the caller's transaction, a savepoint of its level."""
    is_outermost = connections[using].get_autocommit()
    with transaction.atomic(using):
        if is_outermost:
            with connections[using].cursor() as cursor:
                cursor.execute(READ_COMMITTED)
        yield


def stricter_level(using: str = DEFAULT_DB_ALIAS) -> str | None:
    """Return the transaction's isolation level if it is stricter than READ COMMITTED, else None."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_isolation')")
        (level,) = cursor.fetchone()
    return str(level) if level in ("repeatable read", "serializable") else None


def update(rows: QuerySet[Any], **changes: Any) -> int:
    """Update rows in one statement, and return how many there were.

    Outside a transaction, a serialization failure under a stricter default level is repeated as READ COMMITTED.
    """
    try:
        return rows.update(**changes)
    except OperationalError as error:
        if not (isinstance(error.__cause__, SerializationFailure) and connections[rows.db].get_autocommit()):
            raise
    with read_committed(rows.db):
        return rows.update(**changes)


def one_round(statements: str, parameters: Mapping[str, Any], using: str = DEFAULT_DB_ALIAS) -> tuple[Any, ...] | None:
    """Run statements in one round trip, and return the first row of the last one; see :func:`agentstate.rounds.run`.

    Outside a transaction they are a READ COMMITTED transaction of their own.

    Args:
        statements: separated by semicolons, with none in a literal; see :class:`agentstate.rounds.Statement`.
        parameters: text, numbers, booleans, moments, None and lists of text.
    """
    return run(_separate(statements), parameters, alone=READ_COMMITTED, using=using)[-1]


@cache
def _separate(statements: str) -> tuple[Statement, ...]:
    return tuple(Statement(each) for each in map(str.strip, statements.split(";")) if each)
