"""Lock a table without making the applications that use it wait."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from django.db import OperationalError, connections
from psycopg.errors import LockNotAvailable

from agentstate.isolation import read_committed

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

# While ours waits for the lock, every later statement on the table waits behind it. pgroll uses the same limit.
LOCK_TIMEOUT = "500ms"
ATTEMPTS = 8
LONGEST_PAUSE = 4.0  # seconds


class StillLocked(Exception):
    """Other transactions held the lock at each attempt. Nothing was changed."""

    def __init__(self, table: str) -> None:
        super().__init__(f'"{table}" stayed locked by others through {ATTEMPTS} attempts of {LOCK_TIMEOUT}.')


def with_lock_timeout(
    act: Callable[[], Result], using: str, execute: Callable[[str], object] | None = None, table: str = "Project"
) -> Result:
    """Call a function that locks a table, in a transaction or savepoint that waits half a second at most.

    Retried a few times. Between attempts nothing is locked, and statements that queued behind this one proceed.

    Args:
        act: the function.
        using: the alias of the database.
        execute: runs a statement there, if not a cursor. sqlmigrate prints statements instead.
        table: the table.

    Raises:
        StillLocked: other transactions held the lock each time; nothing was changed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with read_committed(using), connections[using].cursor() as cursor:
                run = execute or cursor.execute
                run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                result = act()
                # The limit must not outlast this block in a transaction around it.
                run("SET LOCAL lock_timeout TO DEFAULT")
            return result
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            if attempt == ATTEMPTS:
                raise StillLocked(table) from error
        time.sleep(min(LONGEST_PAUSE, 0.25 * 2**attempt) * random.uniform(0.5, 1))
    raise AssertionError("the loop returns or raises")
