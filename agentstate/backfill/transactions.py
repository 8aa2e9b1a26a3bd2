"""Transactions of the passes: what each begins with, whatever the server, the database or the role has as default."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection, transaction

from agentstate.row_security import SHOW_EVERY_ROW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

# Under a stricter level a statement does not see what others committed while it waited for a lock, and fails where
# they changed the row. It must come before the transaction's first query.
READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
# The planner's guesses about jsonb are poor: memory for the batch's documents, and no time lost on compiling.
TUNE = "SET LOCAL work_mem = '64MB'; SET LOCAL jit = off"


@contextmanager
def pass_transaction(*settings: str) -> Iterator[CursorWrapper]:
    """Open a transaction that sees what others commit, and every row, or fails.

    Args:
        settings: further statements to begin with.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("; ".join((READ_COMMITTED, SHOW_EVERY_ROW, *settings)))
        yield cursor
