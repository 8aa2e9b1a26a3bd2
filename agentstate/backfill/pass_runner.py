"""A pass from its start to its end: locks, plan, batches, ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from django.db import DatabaseError

from agentstate.backfill import ledger, locks
from agentstate.backfill.acceptance import still_accepted
from agentstate.backfill.batch import Batch
from agentstate.backfill.batches import Moved, Mover
from agentstate.backfill.chats import MakeSessions
from agentstate.backfill.counts import Counts, Failure
from agentstate.backfill.errors import ColumnsDropped, refuse_foreign_changes, refuse_unknown, timed_out
from agentstate.backfill.expectation import Expectation, expect
from agentstate.backfill.forward import AdoptOrphans, TakeIn
from agentstate.backfill.options import SELECTED, PassOptions
from agentstate.backfill.others import refuse_hidden_replicas
from agentstate.backfill.outcome import Outcome
from agentstate.backfill.pace import Control, Estimate, Throttle, Uncontrolled
from agentstate.backfill.planning import RANGE, plan
from agentstate.backfill.restore import Restore, without_earlier_state
from agentstate.backfill.reverse import FillColumns
from agentstate.backfill.settle import Settle
from agentstate.backfill.step import Step
from agentstate.backfill.transactions import pass_transaction
from agentstate.models.passes import Direction
from agentstate.row_security import refuse_hidden_rows
from agentstate.state.columns import legacy_columns_are_there
from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.standing import STANDING

NAMED = 10
MANY_ROWS = 1000


class Progress(NamedTuple):
    """The progress of a step: its name, and the candidates done and planned.

    ``held`` says why the pass waits and is empty while it works; ``throttled`` is how many seconds it has waited in
    all; ``left`` is how many seconds of work the rest takes, from the shortest to the longest probable time.
    """

    step: str
    done: int
    total: int
    held: str = ""
    throttled: float = 0.0
    left: tuple[float, float] | None = None


def run_pass(
    options: PassOptions,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
    announce: Callable[[Expectation], None] | None = None,
) -> Outcome:
    """Run a pass, or a dry run, which writes nothing.

    Args:
        options: what to do, and to which projects.
        progress: called when a step is planned, after each batch and when the pass begins or ends to wait for others.
        stop: set it to end the pass after the running batches.
        announce: called before the first batch with what the pass expects; None spares it the sample.

    Raises:
        OtherDirectionRunning: a pass of the other direction is running; nothing was done.
        RowsHidden: row-level security hides rows from this role; nothing was done.
        ColumnsDropped: a pass that writes the columns finds none; nothing was done.
        UnknownProjects: the selection names ids that no project has; nothing was done.
        DatabaseError: the server failed; what was moved stays moved.
    """
    started = time.monotonic()
    stop = stop or threading.Event()
    refuse_foreign_changes()
    refuse_hidden_rows()
    refuse_unknown(options.selection.projects)
    if options.pacing.max_lag is not None:
        refuse_hidden_replicas()
    this = _Pass(options, progress, stop)
    with locks.held_for(options):
        _refuse_without_columns(options)
        if options.dry_run:
            this.run(Uncontrolled(options.pacing), report=lambda: None)
        else:
            with ledger.ledger_entry(options, this.outcome, stop) as entry:
                this.run(entry, report=entry.report, announce=announce and _announcing(announce, entry))
                ledger.close_entries(options.direction, all_steps(options))
                refresh_statistics(this.outcome.counts)
                this.outcome.seconds = time.monotonic() - started
                _hold_against(this.outcome, entry)
    this.outcome.seconds = time.monotonic() - started
    return this.outcome


def _announcing(announce: Callable[[Expectation], None], entry: ledger.LedgerEntry) -> Callable[[Expectation], None]:
    def both(expected: Expectation) -> None:
        entry.expect(expected.as_json())
        announce(expected)

    return both


def _hold_against(outcome: Outcome, entry: ledger.LedgerEntry) -> None:
    """Write what happened beside what the pass expected."""
    if expected := outcome.expected:
        expected.hold_against(outcome.seconds - outcome.throttled)
        entry.expect(expected.as_json())


def expect_all(options: PassOptions, size: int) -> Expectation:
    """Return what a pass would write that is planned in ranges of so many projects. Changes nothing."""
    return _expect(options, _planned(options, size))


Planned = list[tuple[list[Step], list[list[Batch]]]]


def _planned(options: PassOptions, size: int = RANGE) -> Planned:
    """Plan each stage that can be planned before the first batch."""
    # Collisions with orphaned runs show only once the others have moved.
    return [(steps, [] if isinstance(steps[0], AdoptOrphans) else plan(steps, size)) for steps in _stages(options)]


def _expect(options: PassOptions, planned: Planned) -> Expectation:
    return expect(options, [each for steps, batches in planned for each in zip(steps, batches, strict=False)])


def run_steps(options: PassOptions, outcome: Outcome, stop: threading.Event, entry: ledger.LedgerEntry) -> None:
    """Run the steps of a range of a pass that an entry of the ledger exists for, and add to its outcome."""
    with locks.held_for(options):
        _refuse_without_columns(options)
        _Pass(options, lambda _: None, stop, outcome).run(entry, report=entry.report, rests_after=True)


def _refuse_without_columns(options: PassOptions) -> None:
    """Check that the columns exist if the pass writes them. A forward pass runs without them, for the sessions."""
    if (options.direction == Direction.REVERSE or options.prefer) and not legacy_columns_are_there():
        raise ColumnsDropped(
            "The legacy columns have been dropped, so there is nothing to write to. Nothing was done. "
            "AGENTSTATE_CONTRACT=1 manage.py migrate agentstate_contract zero brings them back with their content."
        )


def _stages(options: PassOptions) -> list[list[Step]]:
    """Return the steps in their order; those of one stage have one source and are planned in one query."""
    if options.force:
        return [[Restore(options)]]
    if options.direction == Direction.REVERSE:
        return [[Settle(options), FillColumns(options)]] if options.prefer else [[FillColumns(options)]]
    stages: list[list[Step]] = [[TakeIn(options), Settle(options)], [AdoptOrphans(options)]]
    return [*stages, [MakeSessions(options)]] if options.sessions else stages


def all_steps(options: PassOptions) -> list[Step]:
    """Return the steps that can have left projects aside, including those that this pass skips."""
    return [step for steps in _stages(replace(options, sessions=True)) for step in steps]


class _Pass:
    """A running pass."""

    def __init__(
        self,
        options: PassOptions,
        progress: Callable[[Progress], None],
        stop: threading.Event,
        outcome: Outcome | None = None,
    ) -> None:
        self.options = options
        self.outcome = outcome or Outcome()
        self._first_failures: dict[str, Failure] = {}
        self._progress = progress
        self._stop = stop
        self._at = Progress("", 0, 0)
        self._showing = threading.Lock()

    def run(
        self,
        control: Control,
        report: Callable[[], None],
        announce: Callable[[Expectation], None] | None = None,
        *,
        rests_after: bool = False,
    ) -> None:
        """Run the steps one after the other, reporting to the ledger after each batch.

        Args:
            rests_after: give the server its rest after the last batch too, since more work follows.
        """
        throttle = Throttle(control, self._stop, self.outcome, self._hold)
        stages = _planned(self.options)
        if announce:
            self.outcome.expected = _expect(self.options, stages)
            announce(self.outcome.expected)
        for steps, planned in stages:
            # No candidate, so no collision.
            if isinstance(steps[0], AdoptOrphans) and not self.outcome.candidates:
                continue
            for step, ranges in zip(steps, planned or plan(steps), strict=True):
                self._run_step(step, ranges, throttle, report)
            if self._stop.is_set():
                self.outcome.stopped = True
                return
        if rests_after:
            throttle.admit(throttle.unrested)
        if self.options.force:
            self.outcome.without_snapshot = without_earlier_state(self.options, NAMED)
        elif self.options.direction == Direction.REVERSE and not self.options.prefer:
            self.outcome.forked = _forked(self.options)
        else:
            forked = self.outcome.counts.forked
            self.outcome.forked = len(forked), sorted(forked)[:NAMED]

    def _run_step(self, step: Step, ranges: list[Batch], throttle: Throttle, report: Callable[[], None]) -> None:
        throttle.connections = workers = min(self.options.workers, len(ranges)) or 1
        estimate = Estimate(workers)
        if step.moves_state:
            self.outcome.candidates += sum(batch.size for batch in ranges)

        def moved(batch: Moved) -> None:
            self.outcome.counts += batch.counts
            if batch.counts.failures:
                self._leave_aside(step, batch.counts.failures)
            report()
            estimate.learn(batch.size, batch.seconds)
            done = self._at.done + batch.size
            self._show(done=done, left=estimate.seconds(self._at.total - done))

        self._show(step=step.name, done=0, total=sum(batch.size for batch in ranges), left=None)
        Mover(step, moved, self._stop, throttle).move_all(ranges)

    def _show(self, **changes: Any) -> None:
        # One connection has moved a batch while another begins to wait.
        with self._showing:
            self._at = self._at._replace(throttled=self.outcome.throttled, **changes)
            self._progress(self._at)

    def _hold(self, reason: str) -> None:
        self._show(held=reason)

    def _leave_aside(self, step: Step, failures: list[Failure]) -> None:
        """Leave projects aside. One that fails in two steps keeps the error of the first."""
        first, accepted = self._first_failures, self.outcome.accepted
        is_open = {each.project for each in failures if each.project in first and each.project not in accepted}
        failures = [first.setdefault(failure.project, failure) for failure in failures]
        look = still_accepted if self.options.dry_run else ledger.leave_aside
        found = look(self.options, failures, of_chats=isinstance(step, MakeSessions))
        accepted -= {failure.project for failure in failures} - found
        accepted |= found - is_open


def refresh_statistics(counts: Counts) -> None:
    """Update the planner's statistics after many new rows, without waiting for autovacuum."""
    if counts.runs + counts.sessions < MANY_ROWS:
        return
    try:
        with pass_transaction() as cursor:
            cursor.execute('ANALYZE "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession"')
    except DatabaseError as error:
        # Autovacuum does it later. What was moved is moved.
        if not timed_out(error):
            raise


def _forked(options: PassOptions) -> tuple[int, list[str]]:
    with pass_transaction() as cursor:
        cursor.execute(
            f"""
            SELECT p.id, count(*) OVER () FROM {PROJECTS} p {NEWEST}
            WHERE {SELECTED} AND ({STANDING}) = 'forked' ORDER BY p.id LIMIT %(named)s
            """,
            {**options.selection.parameters, "named": NAMED},
        )
        found = cursor.fetchall()
    return (found[0][1] if found else 0), [project_id for project_id, _ in found]
