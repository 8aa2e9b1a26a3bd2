"""Errors that an operator can resolve, in a sentence each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.management.base import CommandError
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from psycopg import OperationalError as ConnectionFailed
from psycopg.errors import (
    InsufficientPrivilege,
    QueryCanceled,
    ReadOnlySqlTransaction,
    SerializationFailure,
    UndefinedColumn,
    UndefinedTable,
)

from agentstate.backfill import BackfillError
from agentstate.management.interrupts import INTERRUPTED
from agentstate.row_security import RowsHidden

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def operator_errors(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Turn an error that an operator can resolve into a ``CommandError``. Any other is a defect: it propagates.

    Args:
        using: the alias of the database that the block reads beside the primary server.

    Raises:
        CommandError: names the problem, the fact and what to do.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError("Interrupted. The server rolls unfinished batches back.", returncode=INTERRUPTED) from None
    except UnicodeEncodeError as error:
        raise CommandError("An argument is not valid UTF-8. Nothing was done.") from error
    except (BackfillError, RowsHidden) as error:
        raise CommandError(str(error)) from error
    except (ProgrammingError, InternalError, OperationalError, InterfaceError, ConnectionFailed) as error:
        if sentence := _sentence(error) if using == DEFAULT_DB_ALIAS else _sentence_of_replica(error, using):
            raise CommandError(sentence) from error
        raise


def _sentence_of_replica(error: DatabaseError | InterfaceError | ConnectionFailed, alias: str) -> str:
    fact = str(error).strip().splitlines()[0]
    if isinstance(error.__cause__, SerializationFailure):
        return (
            f"The replica {alias!r} canceled a query that took longer than it may ({fact}). Turn hot_standby_feedback "
            "on there, or raise max_standby_streaming_delay. Then run the command again."
        )
    return (
        f"The command reads the primary server and the replica {alias!r}, and one of them failed: {fact}. Check both "
        "servers and their addresses, then run the command again. Without a replica in the settings it reads the "
        "primary server alone."
    )


def _sentence(error: DatabaseError | InterfaceError | ConnectionFailed) -> str | None:
    fact = str(error).strip().splitlines()[0]
    match error.__cause__:
        case UndefinedTable() | UndefinedColumn():
            return (
                f"This database lacks a table or column of agentstate ({fact}). Run manage.py migrate, or correct the "
                "database or schema in DATABASE_URL."
            )
        case InsufficientPrivilege():
            return (
                f"This role lacks a privilege ({fact}). Use the role that ran migrate, or grant the privilege on the "
                "table."
            )
        case ReadOnlySqlTransaction():
            return f"This database is read-only ({fact}). Name the primary server in DATABASE_URL."
        case QueryCanceled():
            return (
                f"The server canceled a statement ({fact}). Projects that were moved stay moved. If statement_timeout "
                "of this role is too short for it, raise it with ALTER ROLE … SET statement_timeout. Then run the "
                "command again."
            )
    # Statements on psycopg's own connection, beside Django's cursors, raise psycopg's own errors.
    if isinstance(error, OperationalError | InterfaceError | ConnectionFailed):
        return (
            f"The database server failed: {fact}. Projects that were moved stay moved. Check the server and "
            "DATABASE_URL, then run the command again."
        )
    return None
