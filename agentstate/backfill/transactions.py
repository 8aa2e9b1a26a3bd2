"""Transactions of the passes: what each begins with, whatever the server, the database or the role has as default."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection, transaction

from agentstate.isolation import READ_COMMITTED
from agentstate.row_security import SHOW_EVERY_ROW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

# The planner's guesses about jsonb are poor: memory for the batch's documents, and no time lost on compiling. Half the
# time of a pass goes into compressing JSON; lz4, where the server was built with it, takes a fraction of that.
TUNE = """
    SET LOCAL work_mem = '64MB'; SET LOCAL jit = off;
    SELECT set_config(name, 'lz4', true) FROM pg_settings
    WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)"""

# For batches, which find each row by an index. A connection keeps the plan it made for the check of a foreign key. If
# the table was nearly empty then, each new row would read all of it, until the table is analyzed.
BY_INDEX = "SET LOCAL enable_seqscan = off"


@contextmanager
def pass_transaction(*settings: str) -> Iterator[CursorWrapper]:
    """Open a READ COMMITTED transaction that reads every row, or fails; in the caller's transaction, a savepoint.

    Args:
        settings: further statements to begin with.
    """
    first = (READ_COMMITTED,) if connection.get_autocommit() else ()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("; ".join((*first, SHOW_EVERY_ROW, *settings)))
        yield cursor
