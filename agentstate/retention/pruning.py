"""Delete old runs and events, in batches that are transactions of their own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import OperationalError, connection

from agentstate.backfill.errors import is_transient
from agentstate.backfill.ledger import ledger_entry
from agentstate.backfill.outcome import Outcome
from agentstate.backfill.pace import Throttle, Uncontrolled
from agentstate.backfill.poolers import refuse_transaction_pooling
from agentstate.backfill.transactions import pass_transaction
from agentstate.models.fields import new_id
from agentstate.retention.archive import new_archive
from agentstate.retention.selection import (
    CANDIDATES,
    MARKER,
    PRUNABLE,
    PRUNABLE_EVENTS,
    WITH_PRUNABLE_EVENTS,
    parameters_of,
)
from agentstate.row_security import refuse_hidden_rows
from agentstate.state.homes import next_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.db.backends.utils import CursorWrapper

    from agentstate.retention.archive import Archive
    from agentstate.retention.options import PruneOptions

ATTEMPTS = 3
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"

# A run that another transaction has locked stays for the next pruning.
_LOCK = 'SELECT id FROM "AgentWorkflowRun" WHERE id = ANY (%(runs)s::text[]) ORDER BY id FOR UPDATE SKIP LOCKED'

# One row for each run.
_COUNT = """
    SELECT run.id, run.workflow_id, count(event.id),
        coalesce(sum(pg_column_size(event)), 0){run_size}
    FROM "AgentWorkflowRun" run LEFT JOIN "AgentWorkflowRunEvent" event ON event.run_id = run.id AND {condition}
    WHERE run.id = ANY (%(runs)s::text[]) GROUP BY run.id"""
_RUN_SIZE = " + pg_column_size(run)"
_MARK = f"""
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT mark.id, mark.run, '{MARKER}', jsonb_build_object('events', mark.events),
        {next_clock('(SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = mark.run)')}
    FROM unnest(%(ids)s::text[], %(runs)s::text[], %(events)s::bigint[]) mark (id, run, events)"""


@dataclass
class Pruned:
    """What a pruning deleted; in a dry run, what it would delete.

    Attributes:
        runs: how many runs went, by workflow. With ``events_only`` the runs whose events went.
        events: how many events went, by workflow.
        size: their bytes as stored, without indexes.
        looked_at: how many runs are old enough, and of the workflow that the options name.
        archive: the file that holds them, None without an archive.
        stopped: whether it was interrupted.
        canceled_by: the operator who ended it by its entry in the ledger.
        seconds: how long it took.
    """

    runs: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    size: int = 0
    looked_at: int = 0
    archive: Path | None = None
    stopped: bool = False
    canceled_by: str = ""
    seconds: float = 0.0


def prune(
    options: PruneOptions,
    *,
    progress: Callable[[Pruned], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Pruned:
    """Delete the runs that the options select and that nothing needs any more (see :mod:`agentstate.retention`).

    Killed at any moment and started again, it continues: each batch is a transaction.

    Args:
        progress: called after each batch.
        stop: set it to end after the current batch.

    Raises:
        PooledConnection: the connection goes through a pooler in transaction mode.
        RowsHidden: row-level security hides rows from this role.
        OSError: the archive cannot be written. The batch is rolled back.
    """
    refuse_transaction_pooling()
    refuse_hidden_rows()
    stop, pruned, outcome, began = stop or threading.Event(), Pruned(), Outcome(), time.monotonic()
    parameters = parameters_of(options)
    ledger = nullcontext() if options.dry_run else ledger_entry(options, outcome, stop)
    with ledger as entry, new_archive(options) if not options.dry_run else nullcontext() as archive:
        pruned.archive = archive.path if archive else None
        throttle, worked = Throttle(entry or Uncontrolled(), stop, outcome), 0.0
        for runs in _batches(options, parameters):
            if not throttle.admit(worked):
                outcome.stopped = pruned.stopped = True
                pruned.canceled_by = outcome.canceled_by
                break
            batch_began = time.monotonic()
            _prune_batch(options, {**parameters, "runs": runs}, archive, pruned)
            worked = time.monotonic() - batch_began
            pruned.looked_at += len(runs)
            outcome.counts.runs = 0 if options.events_only else pruned.runs.total()
            outcome.counts.events = pruned.events.total()
            pruned.seconds = time.monotonic() - began
            if entry:
                entry.report()
            progress(pruned)
    pruned.seconds = time.monotonic() - began
    return pruned


def _batches(options: PruneOptions, parameters: dict[str, Any]) -> Iterator[list[str]]:
    """Return the ids of old runs by batches. The server keeps the list, as it was when the pruning began."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(CANDIDATES, parameters)
        while rows := cursor.fetchmany(options.batch_size):
            yield [run for (run,) in rows]


def _prune_batch(options: PruneOptions, parameters: dict[str, Any], archive: Archive | None, pruned: Pruned) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with pass_transaction(LOCK_TIMEOUT) as cursor:
                counts = _delete(options, parameters, archive, cursor)
        except OperationalError as error:
            if attempt == ATTEMPTS or not is_transient(error):
                raise
        else:
            break
    for _, workflow, events, size in counts:
        pruned.runs[workflow] += 1
        pruned.events[workflow] += events
        pruned.size += size


def _delete(
    options: PruneOptions, parameters: dict[str, Any], archive: Archive | None, cursor: CursorWrapper
) -> list[tuple[str, str, int, int]]:
    """Archive and delete those of the runs that may go, and return each with its workflow, events and bytes."""
    if not options.dry_run:
        cursor.execute(_LOCK, parameters)
        parameters = {**parameters, "runs": [run for (run,) in cursor.fetchall()]}
    cursor.execute(WITH_PRUNABLE_EVENTS if options.events_only else PRUNABLE, parameters)
    going = {"runs": [run for (run,) in cursor.fetchall()]}
    condition = PRUNABLE_EVENTS if options.events_only else "true"
    run_size = "" if options.events_only else _RUN_SIZE
    cursor.execute(_COUNT.format(condition=condition, run_size=run_size), going)
    counts: list[tuple[str, str, int, int]] = cursor.fetchall()
    if options.dry_run or not counts:
        return counts
    if archive:
        archive.add(going["runs"], with_runs=not options.events_only, condition=condition)
    cursor.execute(
        f'DELETE FROM "AgentWorkflowRunEvent" event WHERE run_id = ANY (%(runs)s::text[]) AND {condition}', going
    )
    if options.events_only:
        runs, _, events, _ = zip(*counts, strict=True)
        cursor.execute(_MARK, {"ids": [new_id() for _ in runs], "runs": list(runs), "events": list(events)})
    else:
        cursor.execute('DELETE FROM "AgentWorkflowRun" WHERE id = ANY (%(runs)s::text[])', going)
    return counts
