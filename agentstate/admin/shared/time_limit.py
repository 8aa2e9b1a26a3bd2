"""Limits on how long the database works for one page."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, transaction
from psycopg.errors import QueryCanceled

from agentstate.read_database import read_alias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.backends.utils import CursorWrapper

_LIMIT = "SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, true)"


class TookTooLong(Exception):
    """The database canceled a statement at its time limit.

    Attributes:
        seconds: the limit.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The query took longer than {seconds:g} s and was canceled.")
        self.seconds = seconds


@contextmanager
def time_limit(seconds: float, using: str = DEFAULT_DB_ALIAS) -> Iterator[CursorWrapper]:
    """Run the block in a transaction whose statements may each take so long; yield a cursor for them.

    Raises:
        TookTooLong: a statement took longer.
    """
    with _canceled_as_too_long(seconds), transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute(_LIMIT, [_milliseconds(seconds)])
        before, _ = cursor.fetchone()
        yield cursor
        # The setting outlives a savepoint: restore it for the rest of an enclosing transaction.
        cursor.execute(_LIMIT, [before])


@contextmanager
def list_time_limit(seconds: float, *, reads_replica: bool = True) -> Iterator[None]:
    """Limit the statements of a list, which may read a replica, and of its columns, which may read the primary."""
    using = read_alias() if reads_replica else DEFAULT_DB_ALIAS
    with time_limit(seconds), nullcontext() if using == DEFAULT_DB_ALIAS else time_limit(seconds, using):
        yield


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let all statements of the block together take so long, for code that opens transactions of its own.

    Sets the limit inside transactions only: a setting of the session would stay on the connection of a pooler and
    cancel the statements of whoever gets that connection next. A statement outside a transaction gets one of its own.
    Inside an enclosing transaction, each statement may take so long.

    Raises:
        TookTooLong: they took longer.
    """
    if connection.in_atomic_block:
        with time_limit(seconds):
            yield
        return
    end = time.monotonic() + seconds

    def execute_in_time(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        left = end - time.monotonic()
        if left <= 0:
            raise TookTooLong(seconds)
        with nullcontext() if connection.in_atomic_block else transaction.atomic():
            # Bypasses Django's cursor: SET TRANSACTION must be the first query of its transaction, and this is none.
            connection.connection.execute(f"SET LOCAL statement_timeout = '{_milliseconds(left)}'")
            return execute(sql, params, many, context)

    with _canceled_as_too_long(seconds), connection.execute_wrapper(execute_in_time):
        yield


@contextmanager
def _canceled_as_too_long(seconds: float) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong(seconds) from error
        raise


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
