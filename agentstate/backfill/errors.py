"""What can go wrong in a pass, sorted by what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from django.db import DatabaseError

from agentstate.models.projects import Project
from agentstate.state.foreign_changes import read_foreign_changes


class BackfillError(Exception):
    """A pass cannot start or go on; the text says why, and the way out."""


class OtherDirectionRunning(BackfillError):
    """A pass of the other direction holds the lock."""


class ColumnsDropped(BackfillError):
    """The legacy columns have been dropped: there is nothing to write to."""


class UnknownProjects(BackfillError):
    """Ids were named that no project has."""


def refuse_unknown(projects: Collection[str]) -> None:
    """Check that every id is some project's.

    Raises:
        UnknownProjects: naming those that are not.
    """
    unknown = Project.objects.unknown(projects)
    if unknown:
        raise UnknownProjects(f"No project has the id {', '.join(map(shlex.quote, unknown))}. Nothing was done.")


# A deadlock, a serialization failure, a lock time-out, a project deleted in the middle of a batch: what came between
# is gone when the batch is repeated.
_LOCK_NOT_AVAILABLE = "55P03"
_PASSING = {"40P01", "40001", _LOCK_NOT_AVAILABLE, "23503"}

# Classes of errors that one project's content can cause: data, integrity, limits of PostgreSQL, another trigger of
# the table, a damaged page. Everything else concerns the server, and no batch would fare better.
_CLASSES_OF_ROWS = ("21", "22", "23", "44", "54", "P0", "XX")
_OF_ROWS = {"53200", "57014"}  # out of memory, and a statement that took longer than the server lets it


def sqlstate(error: DatabaseError) -> str:
    """Return PostgreSQL's five-character code of an error, empty where the server sent none."""
    return getattr(error.__cause__, "sqlstate", None) or ""


def is_passing(error: DatabaseError) -> bool:
    """Return whether repeating the batch can succeed."""
    return sqlstate(error) in _PASSING


def waited_for_lock(error: DatabaseError) -> bool:
    """Return whether others kept a lock for too long."""
    return sqlstate(error) == _LOCK_NOT_AVAILABLE


def concerns_rows(error: DatabaseError) -> bool:
    """Return whether a single project of the batch can be the cause, so that splitting finds it."""
    code = sqlstate(error)
    return code.startswith(_CLASSES_OF_ROWS) or code in _OF_ROWS


class ChangedByOthers(BackfillError):
    """Another tool dropped a column, the clock or its trigger from ``"Project"``. Nothing was changed."""


def refuse_foreign_changes() -> None:
    """Check that the legacy home is as agentstate left it.

    Raises:
        ChangedByOthers: with the statements that undo the changes.
    """
    if (changes := read_foreign_changes()) and changes.blocks_steps:
        raise ChangedByOthers(str(changes))
