"""Retry: what was left aside is tried again, project by project or all together."""

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
    """What became of entries.

    ``closed``: moved, or nothing was left to move. ``failed``: with an error, and open. ``unsettled``: without an
    error, and open, since the project is forked and a person must settle it. ``untried``: stopped before.
    """

    closed: list[LeftAside] = field(default_factory=list)
    failed: list[LeftAside] = field(default_factory=list)
    unsettled: list[LeftAside] = field(default_factory=list)
    untried: list[LeftAside] = field(default_factory=list)


def retry(
    entries: Iterable[LeftAside],
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Retried:
    """Run a pass for the projects of these entries, in each entry's direction. What fails again is open again.

    Args:
        entries: what to try.
        progress: called as by a pass.
        stop: set it to end after the batches under way.

    Raises:
        RowsHidden: row-level security hides rows from this role; nothing was done.
        ColumnsDropped: what was given up went with the columns; nothing was done.
        BackfillError: a pass could not start; what an earlier one moved stays moved.
        DatabaseError: the server failed; what was moved stays moved.
    """
    refuse_hidden_rows()
    stop = stop or threading.Event()
    entries = list(entries)
    if any(entry.accepted_clock for entry in entries) and not legacy_columns_are_there():
        raise ColumnsDropped("The legacy columns have been dropped: what was given up cannot be moved any more.")
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
        _judge(entry, stopped, retried)


def _judge(entry: LeftAside, stopped: bool, retried: Retried) -> None:
    """Look what became of an entry."""
    attempts = entry.attempts
    entry.refresh_from_db()
    if entry.closed_at:
        retried.closed.append(entry)
    elif stopped and entry.attempts == attempts:
        retried.untried.append(entry)
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
