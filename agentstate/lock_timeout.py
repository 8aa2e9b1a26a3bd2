"""Locking the legacy table without holding up those who use it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from django.db import OperationalError, connections, transaction
from psycopg.errors import LockNotAvailable

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

# Longer waits would queue the legacy application's statements behind ours; pgroll waits as long.
LOCK_TIMEOUT = "500ms"
ATTEMPTS = 8
LONGEST_PAUSE = 4.0  # seconds


class StillLocked(Exception):
    """Others held the lock at each attempt. Nothing was changed."""

    def __init__(self) -> None:
        super().__init__(f'"Project" stayed locked by others through {ATTEMPTS} attempts of {LOCK_TIMEOUT}.')


def with_lock_timeout(act: Callable[[], Result], using: str, execute: Callable[[str], object] | None = None) -> Result:
    """Do something that locks ``"Project"``, in a transaction or savepoint: it waits half a second at most.

    Tried again a few times. Given up in between it holds no lock, so that what queued behind it goes on.

    Args:
        using: the alias of the database.
        execute: what runs a statement there, if not a cursor: a migration may only be printed.

    Raises:
        StillLocked: others held the lock each time; nothing was changed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic(using), connections[using].cursor() as cursor:
                run = execute or cursor.execute
                run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                result = act()
                # A transaction around this one goes on without the limit.
                run("SET LOCAL lock_timeout TO DEFAULT")
            return result
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            if attempt == ATTEMPTS:
                raise StillLocked from error
        time.sleep(min(LONGEST_PAUSE, 0.25 * 2**attempt) * random.uniform(0.5, 1))
    raise AssertionError("the loop returns or raises")
