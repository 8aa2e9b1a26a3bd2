"""The ledger of passes, and the projects left aside.

Operators read both, and ask a running pass to pause, to resume or to end by its entry. No pass depends on either.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from django.db import DatabaseError, connection

from agentstate.actors import actor
from agentstate.backfill.acceptance import still_accepted
from agentstate.backfill.errors import concerns_rows
from agentstate.backfill.locks import release
from agentstate.backfill.options import Pacing
from agentstate.backfill.transactions import pass_transaction
from agentstate.lock_spaces import PASSES
from agentstate.models.left_aside import LeftAside
from agentstate.models.passes import BackfillPass
from agentstate.models.runs import ClockTimestamp
from agentstate.state.columns import legacy_columns_are_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentstate.backfill.counts import Failure
    from agentstate.backfill.options import PassOptions
    from agentstate.backfill.outcome import Outcome
    from agentstate.backfill.step import Step
    from agentstate.models.passes import Direction

REPORT_EVERY = 2.0  # seconds
NO_LONGER_ACCEPTED = "A pass failed over other content, or with another error, than was accepted."


class Recorded(Protocol):
    """The options of a pass as its entry has them."""

    @property
    def direction(self) -> str: ...

    def as_json(self) -> dict[str, Any]: ...


@contextmanager
def ledger_entry(options: Recorded, outcome: Outcome, stop: threading.Event) -> Iterator[LedgerEntry]:
    """Record a pass in the ledger from its start to its end, however it ends.

    Args:
        stop: set when an operator cancels the pass.
    """
    recorded = options.as_json()
    with pass_transaction() as cursor:
        BackfillPass.objects.mark_lost()
        row = BackfillPass.objects.create(
            direction=options.direction,
            options=recorded,
            requested_by=actor(),
            started_at=ClockTimestamp(),
            seen_at=ClockTimestamp(),
        )
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [PASSES, row.pk])
    entry = LedgerEntry(row.pk, outcome, stop, Pacing.recorded(recorded))
    try:
        with heartbeat(entry):
            yield entry
    except KeyboardInterrupt:
        with suppress(DatabaseError):
            entry.close(BackfillPass.Outcome.INTERRUPTED)
        raise
    except BaseException as error:
        with suppress(DatabaseError):  # the server may be what failed
            entry.close(BackfillPass.Outcome.FAILED, f"{type(error).__name__}: {error}")
        raise
    entry.close(outcome.how)


@contextmanager
def heartbeat(entry: LedgerEntry) -> Iterator[None]:
    """Report every two seconds that the pass is alive, also while a batch takes long or the pass waits."""
    ended = threading.Event()

    def beat() -> None:
        try:
            while not ended.wait(REPORT_EVERY):
                with suppress(DatabaseError):  # the pass itself meets the error
                    entry.report()
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def store(write: Callable[[], None]) -> None:
    """Write how a pass or a part of it ended; on another connection if this one is lost."""
    try:
        write()
    except DatabaseError:
        if connection.in_atomic_block:
            raise
        connection.close()
        write()


class LedgerEntry:
    """A running pass's row in the ledger, and what operators ask of it there."""

    def __init__(self, entry_id: int, outcome: Outcome, stop: threading.Event, pacing: Pacing) -> None:
        self.id = entry_id
        self.pacing = pacing
        self.held_by = ""
        self._held = ""
        self._outcome = outcome
        self._stop = stop
        self._reported_at = time.monotonic()

    def refresh(self) -> None:
        """Read what operators ask for."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT wanted, coalesce((
                    SELECT request ->> 'by'
                    FROM jsonb_path_query(requests, '$[*]') WITH ORDINALITY asked (request, number)
                    WHERE request ->> 'what' IN ('paused', 'canceled') ORDER BY number DESC LIMIT 1
                ), 'an operator'), options FROM "AgentStatePass" WHERE id = %s
                """,
                [self.id],
            )
            wanted, by, options = cursor.fetchone() or ("", "", None)
        self.held_by = by if wanted == BackfillPass.Wanted.PAUSE else ""
        if options:
            self.pacing = Pacing.recorded(json.loads(options))
        if wanted == BackfillPass.Wanted.CANCEL:
            self._outcome.canceled_by = by
            self._stop.set()

    def hold(self, reason: str) -> None:
        """Note why the pass waits; empty when it works again. The next report has it."""
        self._held = reason
        self.report()

    def expect(self, expected: dict[str, Any]) -> None:
        """Write what the pass expects before it begins."""
        with pass_transaction():
            BackfillPass.objects.filter(pk=self.id).update(expected=expected)

    def report(self) -> None:
        """Write the counts, at most every two seconds."""
        if time.monotonic() - self._reported_at >= REPORT_EVERY:
            self._reported_at = time.monotonic()
            self._write(held=self._held)

    def close(self, how: BackfillPass.Outcome, error: str = "") -> None:
        """Write the final counts and how the pass ended."""
        store(lambda: self._write(outcome=how, error=error, held="", ended_at=ClockTimestamp()))
        release("pg_advisory_unlock", (PASSES, self.id))

    def _write(self, **changes: Any) -> None:
        counts = self._outcome.counts
        with pass_transaction():
            BackfillPass.objects.filter(pk=self.id).update(
                seen_at=ClockTimestamp(),
                candidates=self._outcome.candidates,
                written=counts.written,
                merged=counts.merged,
                left_aside=self._outcome.left_aside,
                runs=counts.runs,
                events=counts.events,
                sessions=counts.sessions,
                throttled_seconds=self._outcome.throttled,
                **changes,
            )


def leave_aside(options: PassOptions, failures: list[Failure], *, of_chats: bool) -> set[str]:
    """Record the projects that could not be moved, with their errors; a known one counts one more attempt.

    Args:
        options: of the pass.
        failures: of one of its steps.
        of_chats: the step moves chats, not states.

    Returns:
        The projects whose failure an operator has accepted. All others are open from now on.
    """
    with pass_transaction():
        accepted = still_accepted(options, failures, of_chats=of_chats, lock=True)
        known = LeftAside.objects.filter(
            direction=options.direction, project_id__in=[failure.project for failure in failures]
        )
        known.exclude(project_id__in=accepted).reopen(NO_LONGER_ACCEPTED, actor())
        _upsert(options.direction, failures)
    return accepted


def _upsert(direction: Direction, failures: list[Failure]) -> None:
    # By SQL: Django's bulk_create neither adds to a column on a conflict nor names an expression as its target.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO "AgentStateLeftAside" AS known
                (project_id, direction, error_class, error, attempts, first_seen_at, last_seen_at)
            SELECT DISTINCT ON (project_id) project_id, %s, error_class, error, 1, clock_timestamp(), clock_timestamp()
            FROM unnest(%s::text[], %s::text[], %s::text[]) failure (project_id, error_class, error)
            ON CONFLICT (md5(project_id), direction) DO UPDATE SET
                error_class = EXCLUDED.error_class, error = EXCLUDED.error, attempts = known.attempts + 1,
                last_seen_at = EXCLUDED.last_seen_at, closed_at = NULL
            """,
            [direction, *(list(values) for values in zip(*failures, strict=True))],
        )


def _candidates(step: Step, projects: list[str]) -> list[str]:
    """Return the candidates of a step among projects, and each project that its conditions cannot read."""
    try:
        with pass_transaction() as cursor:
            cursor.execute(
                f"SELECT p.id FROM {step.candidates('p.id = ANY (%(projects)s)')}",
                {**step.parameters, "projects": projects},
            )
            return [project for (project,) in cursor.fetchall()]
    except DatabaseError as error:
        if not concerns_rows(error):
            raise
        if len(projects) == 1:
            return projects
        middle = len(projects) // 2
        return _candidates(step, projects[:middle]) + _candidates(step, projects[middle:])


def close_entries(direction: Direction, steps: list[Step]) -> None:
    """Close the entries of projects that no step of a pass has anything left to do for.

    Once the columns are dropped, the decision to give up what they held stays in force: it was not moved.
    """
    entries = LeftAside.objects.unclosed().filter(direction=direction)
    projects = set(entries.values_list("project_id", flat=True))
    if not projects:
        return
    waiting = {project for step in steps for project in _candidates(step, list(projects))}
    with pass_transaction():
        if not legacy_columns_are_there():
            entries = entries.filter(accepted_clock=None)
        entries.filter(project_id__in=projects - waiting).close()
