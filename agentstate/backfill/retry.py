"""Retry projects that were left aside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agentstate.actors import actor
from agentstate.backfill.errors import ColumnsDropped
from agentstate.backfill.options import PassOptions, Selection
from agentstate.backfill.pass_runner import Progress, run_pass
from agentstate.backfill.transactions import pass_transaction
from agentstate.models import LeftAside, Project
from agentstate.models.passes import Direction
from agentstate.row_security import refuse_hidden_rows
from agentstate.state.columns import legacy_columns_are_there


@dataclass
class Retried:
    """The entries of a retry, by result.

    Attributes:
        closed: the project was moved, or nothing was left to move.
        failed: the project failed again; the entry is open.
        accepted: the project failed again, and an operator accepted that while the retry ran.
        unsettled: the project is forked, and an operator must settle it; the entry is open.
        untried: the retry was interrupted before.
    """

    closed: list[LeftAside] = field(default_factory=list)
    failed: list[LeftAside] = field(default_factory=list)
    accepted: list[LeftAside] = field(default_factory=list)
    unsettled: list[LeftAside] = field(default_factory=list)
    untried: list[LeftAside] = field(default_factory=list)


def retry(
    entries: Iterable[LeftAside],
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Retried:
    """Run a pass for the projects of these entries, in each entry's direction. An entry that fails again is open.

    Args:
        entries: what to retry.
        progress: called as by a pass.
        stop: set it to end after the running batches.

    Raises:
        RowsHidden: row-level security hides rows from this role; nothing was done.
        ColumnsDropped: what was given up was dropped with the columns; nothing was done.
        BackfillError: a pass could not start; what an earlier one moved stays moved.
        DatabaseError: the server failed; what was moved stays moved.
    """
    refuse_hidden_rows()
    stop = stop or threading.Event()
    entries = list(entries)
    if any(entry.accepted_clock for entry in entries) and not legacy_columns_are_there():
        raise ColumnsDropped("The legacy columns have been dropped, so what was given up can no longer be moved.")
    retried = Retried()
    for direction in Direction:
        tried = [entry for entry in entries if entry.direction == direction]
        if tried:
            _retry(direction, tried, progress, stop, retried)
    return retried


def _retry(
    direction: Direction,
    entries: list[LeftAside],
    progress: Callable[[Progress], None],
    stop: threading.Event,
    retried: Retried,
) -> None:
    _close_those_of_deleted_projects(entries)
    projects = tuple(entry.project_id for entry in entries if not entry.closed_at)
    stopped = stop.is_set()
    if projects and not stopped:
        stopped = run_pass(PassOptions(direction, Selection(projects)), progress=progress, stop=stop).stopped
    for entry in entries:
        _sort(entry, stopped, retried)


def _sort(entry: LeftAside, stopped: bool, retried: Retried) -> None:
    """Add an entry to the list of its result."""
    attempts, acceptance = entry.attempts, entry.accepted_at
    entry.refresh_from_db()
    if entry.closed_at:
        retried.closed.append(entry)
    elif stopped and entry.attempts == attempts:
        retried.untried.append(entry)
    elif entry.accepted_at not in (None, acceptance):
        retried.accepted.append(entry)
    else:
        with pass_transaction():
            entry.reopen("A retry failed.", actor())
        (retried.failed if entry.attempts > attempts else retried.unsettled).append(entry)


def _close_those_of_deleted_projects(entries: list[LeftAside]) -> None:
    gone = set(Project.objects.unknown([entry.project_id for entry in entries]))
    for entry in entries:
        if entry.project_id in gone:
            with pass_transaction():
                LeftAside.objects.filter(pk=entry.pk).close()
            entry.refresh_from_db()
