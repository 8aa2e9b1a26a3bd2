"""A limit on how long the database may take for what a person waits for."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.backends.utils import CursorWrapper

_LIMIT = "SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, true)"


class TookTooLong(Exception):
    """A statement reached its time limit, and was stopped.

    Attributes:
        seconds: the limit.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The query took longer than {seconds:g} s, and was ended.")
        self.seconds = seconds


@contextmanager
def time_limit(seconds: float) -> Iterator[CursorWrapper]:
    """Let each statement of this block take so long, and give a cursor for them. The block is one transaction.

    Raises:
        TookTooLong: one took longer.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LIMIT, [f"{max(1, round(seconds * 1000))}ms"])
            before, _ = cursor.fetchone()
            yield cursor
            # A transaction around this one keeps the setting, unless it is rolled back.
            cursor.execute(_LIMIT, [before])
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong(seconds) from error
        raise


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let all statements of this block together take so long. For code that has transactions of its own.

    Raises:
        TookTooLong: they took longer.
    """
    end = time.monotonic() + seconds

    def in_time(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        left = end - time.monotonic()
        if left <= 0:
            raise TookTooLong(seconds)
        # Beside Django's cursors, so that it may come before what must be the first query of its transaction.
        context["connection"].connection.execute(f"SET statement_timeout = {max(1, round(left * 1000))}")
        return execute(sql, params, many, context)

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout')")
        (before,) = cursor.fetchone()
    try:
        with connection.execute_wrapper(in_time):
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong(seconds) from error
        raise
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [before])
