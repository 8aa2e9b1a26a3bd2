"""The errors of a pass, and which database errors are transient or concern single rows."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from django.db import DEFAULT_DB_ALIAS, DatabaseError

from agentstate.models.projects import Project
from agentstate.state.foreign_changes import read_foreign_changes


class BackfillError(Exception):
    """A pass cannot start or continue. The text says why, and what to do."""


class OtherDirectionRunning(BackfillError):
    """A pass of the other direction holds the lock."""


class ColumnsDropped(BackfillError):
    """The legacy columns have been dropped, so nothing can be written to them."""


class UnknownProjects(BackfillError):
    """No project has one of the named ids."""


def refuse_unknown(projects: Collection[str], using: str = DEFAULT_DB_ALIAS) -> None:
    """Check that each id is a project's.

    Raises:
        UnknownProjects: names the ids that no project has.
    """
    unknown = Project.objects.using(using).unknown(projects)
    if unknown:
        raise UnknownProjects(f"No project has the id {', '.join(map(shlex.quote, unknown))}. Nothing was done.")


# Transient, so that a retry can succeed: a deadlock, a serialization failure, a lock time-out, a project deleted
# during a batch.
_LOCK_NOT_AVAILABLE = "55P03"
_TRANSIENT = {"40P01", "40001", _LOCK_NOT_AVAILABLE, "23503"}

# Classes of errors that one project's content can cause: data, integrity, limits of PostgreSQL, another trigger of
# the table, a damaged page. Any other error concerns the server, and every batch would fail.
_CLASSES_OF_ROWS = ("21", "22", "23", "44", "54", "P0", "XX")
_CANCELED = "57014"  # above all by statement_timeout
_OF_ROWS = {"53200", _CANCELED}  # the first is out of memory


def sqlstate(error: DatabaseError) -> str:
    """Return PostgreSQL's five-character code of an error, empty if the server sent none."""
    return getattr(error.__cause__, "sqlstate", None) or ""


def is_transient(error: DatabaseError) -> bool:
    """Return whether a retry of the batch can succeed."""
    return sqlstate(error) in _TRANSIENT


def waited_for_lock(error: DatabaseError) -> bool:
    """Return whether another transaction held a lock for too long."""
    return sqlstate(error) == _LOCK_NOT_AVAILABLE


def timed_out(error: DatabaseError) -> bool:
    """Return whether a statement exceeded a time limit: its own, or that of waiting for a lock."""
    return sqlstate(error) in (_LOCK_NOT_AVAILABLE, _CANCELED)


def concerns_rows(error: DatabaseError) -> bool:
    """Return whether a single project of the batch can be the cause, which splitting then finds."""
    code = sqlstate(error)
    return code.startswith(_CLASSES_OF_ROWS) or code in _OF_ROWS


class ChangedByOthers(BackfillError):
    """Another tool dropped a column, the clock or its trigger from ``"Project"``. Nothing was changed."""


def refuse_foreign_changes(using: str = DEFAULT_DB_ALIAS) -> None:
    """Check that the legacy home is as agentstate left it.

    Raises:
        ChangedByOthers: with the statements that undo the changes.
    """
    if (changes := read_foreign_changes(using)) and changes.blocks_steps:
        raise ChangedByOthers(str(changes))
