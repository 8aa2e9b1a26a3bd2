"""Errors that an operator can mend, told in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import InternalError, OperationalError, ProgrammingError
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction, UndefinedColumn, UndefinedTable

from agentstate.backfill import BackfillError
from agentstate.row_security import RowsHidden

INTERRUPTED = 130


@contextmanager
def operator_errors() -> Iterator[None]:
    """Turn what an operator can mend into a ``CommandError``; what he cannot is a defect, and keeps its traceback.

    Raises:
        CommandError: the thing, the fact and the way out.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError("Interrupted at once.", returncode=INTERRUPTED) from None
    except (BackfillError, RowsHidden) as error:
        raise CommandError(str(error)) from error
    except ProgrammingError as error:
        if isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
            raise CommandError(
                f"This database lacks a table or column of agentstate ({_first_line(error)}): run manage.py migrate, "
                "or let DATABASE_URL name another database or schema."
            ) from error
        if isinstance(error.__cause__, InsufficientPrivilege):
            raise CommandError(
                f"The database does not let this role do that ({_first_line(error)}): use the role that migrated, or "
                "grant it the tables."
            ) from error
        raise
    except InternalError as error:
        if isinstance(error.__cause__, ReadOnlySqlTransaction):
            raise CommandError(
                f"This database is read-only ({_first_line(error)}): let DATABASE_URL name the primary server."
            ) from error
        raise
    except OperationalError as error:
        raise CommandError(
            f"The database server failed: {_first_line(error)}. What was moved stays moved: look at the server and at "
            "DATABASE_URL, then run the command again."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
