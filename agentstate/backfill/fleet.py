"""A forward pass that many workers share: its ranges of ids are tasks of the site's queue.

A range is idempotent and needs no order. A queue that delivers one twice does no harm, and one that was lost with its
worker is queued again by the next worker that ends a range, or by ``agentkit_pass resume``.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError, connection
from django.db.models import DurationField, F, Q, Sum
from django.db.models.functions import Coalesce

from agentstate.actors import actor
from agentstate.backfill import ledger
from agentstate.backfill.counts import Counts
from agentstate.backfill.errors import BackfillError, refuse_foreign_changes
from agentstate.backfill.expectation import Expectation
from agentstate.backfill.locks import release
from agentstate.backfill.options import Pacing, PassOptions, Selection
from agentstate.backfill.outcome import Outcome
from agentstate.backfill.pass_runner import all_steps, expect_all, refresh_statistics, run_steps
from agentstate.backfill.transactions import pass_transaction
from agentstate.lock_spaces import PASSES, RANGES
from agentstate.models.left_aside import LeftAside
from agentstate.models.passes import BackfillPass, Direction, PassRange, is_alive
from agentstate.models.runs import ClockTimestamp
from agentstate.row_security import refuse_hidden_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECTS_IN_RANGE = 10_000
# The last id of each range, of all projects that there are now. Later ones wait for the next pass.
_CUT = """
    SELECT max(id) FROM (SELECT id, (row_number() OVER (ORDER BY id) - 1) / %s AS range FROM "Project") numbered
    GROUP BY range ORDER BY range"""


class RangeOfNoPass(BackfillError):
    """The queue delivered a range that the ledger does not have."""


def begin(options: PassOptions, size: int) -> BackfillPass:
    """Record a pass with what it expects and its ranges, each of so many projects. None is queued yet.

    Raises:
        RowsHidden: row-level security hides rows from this role; nothing was done.
    """
    refuse_foreign_changes()
    refuse_hidden_rows()
    expected = expect_all(options, size)
    with pass_transaction() as cursor:
        BackfillPass.objects.mark_lost()
        entry = BackfillPass.objects.create(
            direction=options.direction,
            options=options.as_json(),
            requested_by=actor(),
            started_at=ClockTimestamp(),
            seen_at=ClockTimestamp(),
            expected=expected.as_json(),
            candidates=expected.projects,
        )
        cursor.execute(_CUT, [size])
        ends: list[str] = [end for (end,) in cursor.fetchall()]
        PassRange.objects.bulk_create(
            PassRange(entry=entry, number=number, above=above, up_to=up_to)
            for number, (above, up_to) in enumerate(zip([None, *ends[:-1]], ends, strict=True) if ends else (), 1)
        )
        if not ends:
            _end_if_done(entry.pk)
    return entry


def unqueued(entry: BackfillPass) -> list[int]:
    """Return the ranges of a pass that no worker is at and that are not done, and mark them as waiting."""
    with pass_transaction():
        _lock(entry.pk)
        ranges = PassRange.objects.filter(entry=entry).exclude(status=PassRange.Status.DONE)
        unattended = list(
            ranges.filter(Q(status=PassRange.Status.WAITING) | ~is_alive(RANGES)).values_list("pk", flat=True)
        )
        PassRange.objects.filter(pk__in=unattended).update(status=PassRange.Status.WAITING)
    return unattended


def work(range_id: int, queue_again: Callable[[int], object]) -> str:
    """Move a range, and return how that ended. Do nothing where the pass is paused or has ended.

    Args:
        range_id: from the queue.
        queue_again: called for each range that was lost with its worker.

    Raises:
        RangeOfNoPass: the ledger does not have the range.
        OtherDirectionRunning: a reverse pass is running; the queue may retry the task.
        DatabaseError: the server failed; the queue may retry the task.
    """
    part = PassRange.objects.select_related("entry").filter(pk=range_id).first()
    if part is None:
        raise RangeOfNoPass(f"There is no range {range_id}. Nothing was done.")
    entry = part.entry
    if part.status == PassRange.Status.DONE or entry.outcome != BackfillPass.Outcome.RUNNING:
        return "done before"
    if entry.wanted == BackfillPass.Wanted.PAUSE:
        return "paused"  # its resumption queues the range again
    outcome, stop = Outcome(), threading.Event()
    report = _RangeEntry(part, outcome, stop)
    with _at_work(part, report):
        run_steps(_options(part), outcome, stop, report)
    if outcome.stopped:
        return "canceled" if outcome.canceled_by else "paused"
    for lost in _lost(entry):
        queue_again(lost)
    return f"{outcome.counts.written} moved"


def _options(part: PassRange) -> PassOptions:
    recorded = part.entry.options
    names = ("batch_size", "workers", "sessions", "prefer")
    return PassOptions(
        direction=Direction(part.entry.direction),
        selection=Selection(above=part.above, up_to=part.up_to),
        **{name: recorded[name] for name in names},
    )


class _RangeEntry(ledger.LedgerEntry):
    """The entry of a pass as one of its workers reports to it: what it did since its last report is added."""

    def __init__(self, part: PassRange, outcome: Outcome, stop: threading.Event) -> None:
        super().__init__(part.entry_id, outcome, stop, Pacing.recorded(part.entry.options))
        self._part = part
        self._told = Counts()
        self._told_throttled = 0.0
        self._writing = threading.Lock()

    def refresh(self) -> None:
        """Read what operators ask for. A paused pass keeps no worker of the queue busy: the range ends here."""
        super().refresh()
        if self.held_by:
            self.held_by = ""
            self._stop.set()

    @property
    def outcome(self) -> Outcome:
        return self._outcome

    def report(self) -> None:
        """Write the counts after each batch: the range of a killed worker is repeated, but not what it moved."""
        self._write()

    def _write(self, **changes: object) -> None:
        with self._writing, pass_transaction():
            counts, told = self._outcome.counts, self._told
            names = ("written", "merged", "runs", "events", "sessions")
            now = {name: getattr(counts, name) for name in names}
            added = {name: F(name) + now[name] - getattr(told, name) for name in names}
            throttled = self._outcome.throttled
            BackfillPass.objects.filter(pk=self.id).update(
                seen_at=ClockTimestamp(),
                held=self._held,
                left_aside=_count_left_aside(self._part.entry),
                throttled_seconds=F("throttled_seconds") + throttled - self._told_throttled,
                **added,
            )
            PassRange.objects.filter(pk=self._part.pk).update(seen_at=ClockTimestamp(), written=added["written"])
            self._told, self._told_throttled = Counts(**now), throttled


@contextmanager
def _at_work(part: PassRange, report: _RangeEntry) -> Iterator[None]:
    """Hold a range while it is worked at, and record how that ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_lock_shared(%s, %s), pg_advisory_lock_shared(%s, %s)",
            [PASSES, part.entry_id, RANGES, part.pk],
        )
    # What earlier attempts at the range took counts as work on it too.
    worked = Coalesce(F("seen_at") - F("started_at"), timedelta(), output_field=DurationField())
    # The queue may have delivered the range to another worker too, who has done it.
    undone = PassRange.objects.filter(pk=part.pk).exclude(status=PassRange.Status.DONE)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    try:
        with pass_transaction():
            undone.update(
                status=PassRange.Status.RUNNING,
                worker=worker,
                attempts=F("attempts") + 1,
                started_at=ClockTimestamp() - worked,
                seen_at=ClockTimestamp(),
                error="",
            )
        with ledger.heartbeat(report):
            yield
        report.report()
        with pass_transaction():
            _lock(part.entry_id)
            if report.outcome.stopped:
                undone.update(status=PassRange.Status.WAITING)
            else:
                undone.update(status=PassRange.Status.DONE, ended_at=ClockTimestamp())
            _end_if_done(part.entry_id, canceled=bool(report.outcome.canceled_by))
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"

        def give_back() -> None:
            report.report()
            # With a lost connection its lock is gone, and another worker may have taken the range.
            undone.filter(worker=worker).update(status=PassRange.Status.WAITING, error=reason)

        with suppress(DatabaseError):  # the server may be what failed
            ledger.store(give_back)
        raise
    finally:
        release("pg_advisory_unlock_shared", (RANGES, part.pk))
        release("pg_advisory_unlock_shared", (PASSES, part.entry_id))


def _lost(entry: BackfillPass) -> list[int]:
    """Return the ranges that were lost with their workers, and mark them as waiting."""
    with pass_transaction():
        running = PassRange.objects.filter(entry=entry, status=PassRange.Status.RUNNING)
        lost = list(running.exclude(is_alive(RANGES)).values_list("pk", flat=True))
        return [pk for pk in lost if running.filter(pk=pk).update(status=PassRange.Status.WAITING)]


def cancel_unattended(entry: BackfillPass) -> None:
    """End a canceled pass that no worker is at."""
    with pass_transaction():
        _lock(entry.pk)
        if not PassRange.objects.filter(is_alive(RANGES), entry=entry, status=PassRange.Status.RUNNING).exists():
            _end_if_done(entry.pk, canceled=True)


def _lock(entry_id: int) -> None:
    """Let one worker at a time end a range: of two that end the last ones at once, the second sees that all are done.

    Every writer locks the pass before its ranges.
    """
    BackfillPass.objects.select_for_update().filter(pk=entry_id).values("pk").first()


def _end_if_done(entry_id: int, *, canceled: bool = False) -> None:
    """End a pass whose ranges are all done, or that was canceled."""
    open_ranges = PassRange.objects.filter(entry=entry_id).exclude(status=PassRange.Status.DONE)
    ended = canceled or not open_ranges.exists()
    how = BackfillPass.Outcome.CANCELED if canceled else BackfillPass.Outcome.FINISHED
    running = BackfillPass.objects.filter(Q(pk=entry_id) & Q(outcome=BackfillPass.Outcome.RUNNING))
    if ended and running.update(outcome=how, held="", ended_at=ClockTimestamp()):
        entry = BackfillPass.objects.get(pk=entry_id)
        _hold_against_expectation(entry)
        if not canceled:
            options = PassOptions(Direction(entry.direction), prefer=entry.options["prefer"])
            ledger.close_entries(options.direction, all_steps(options))
            BackfillPass.objects.filter(pk=entry_id).update(left_aside=_count_left_aside(entry))
            refresh_statistics(Counts(runs=entry.runs, sessions=entry.sessions))


def _count_left_aside(entry: BackfillPass) -> int:
    """Count the projects that a pass left aside: each once, however often its range was repeated."""
    return LeftAside.objects.open().filter(direction=entry.direction, last_seen_at__gte=entry.started_at).count()


def _hold_against_expectation(entry: BackfillPass) -> None:
    """Write what happened beside what the pass expected; as its time the work of all workers."""
    if expected := Expectation.recorded(entry.expected):
        worked = entry.ranges.aggregate(total=Sum(F("ended_at") - F("started_at")))["total"] or timedelta()
        expected.hold_against(max(0.0, worked.total_seconds() - entry.throttled_seconds))
        BackfillPass.objects.filter(pk=entry.pk).update(expected=expected.as_json())
