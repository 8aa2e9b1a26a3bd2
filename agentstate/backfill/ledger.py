"""The ledger of passes, and the projects that were left aside: for people to read, never to steer by."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError, connection, transaction

from agentstate.actors import actor
from agentstate.backfill.acceptance import still_accepted
from agentstate.backfill.locks import NAMESPACE
from agentstate.backfill.options import PassOptions
from agentstate.backfill.outcome import Failure, Outcome
from agentstate.backfill.step import Step
from agentstate.models.passes import BackfillPass, Direction, LeftAside
from agentstate.state.columns import COLUMNS_ARE_THERE

REPORT_EVERY = 2.0  # seconds
FAILED_ANEW = "A pass failed over other content, or with another error, than was accepted."

# A pass's own lock, held while its process lives: (namespace + 1, the entry's id).
_OWN_LOCK = NAMESPACE + 1


@contextmanager
def entry(options: PassOptions, outcome: Outcome) -> Iterator[Entry]:
    """Keep a pass in the ledger from its start to its end, however it ends."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            # Entries whose process is gone say so, instead of running for ever.
            """
            UPDATE "AgentStatePass" SET outcome = 'killed', ended_at = seen_at
            WHERE outcome = 'running' AND NOT EXISTS (
                SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND classid = %s AND objid = id AND objsubid = 2)
            """,
            [_OWN_LOCK],
        )
        cursor.execute(
            """
            INSERT INTO "AgentStatePass" (direction, options, requested_by, outcome, error, started_at, seen_at,
                                          candidates, written, merged, left_aside, runs, events, sessions)
            VALUES (%s, %s, %s, 'running', '', clock_timestamp(), clock_timestamp(), 0, 0, 0, 0, 0, 0, 0)
            RETURNING id, pg_advisory_lock(%s, id::integer)
            """,
            [options.direction, json.dumps(options.as_json()), actor(), _OWN_LOCK],
        )
        record = Entry(cursor.fetchone()[0], outcome)
    try:
        yield record
    except KeyboardInterrupt:
        with suppress(DatabaseError):
            record.close(BackfillPass.Outcome.INTERRUPTED)
        raise
    except BaseException as error:
        with suppress(DatabaseError):  # the server may be what failed
            record.close(BackfillPass.Outcome.FAILED, f"{type(error).__name__}: {error}")
        raise
    record.close(BackfillPass.Outcome.INTERRUPTED if outcome.stopped else BackfillPass.Outcome.FINISHED)


class Entry:
    """A pass's line in the ledger."""

    def __init__(self, entry_id: int, outcome: Outcome) -> None:
        self.id = entry_id
        self._outcome = outcome
        self._reported = time.monotonic()

    def report(self) -> None:
        """Write the counts, every two seconds at most."""
        if time.monotonic() - self._reported >= REPORT_EVERY:
            self._reported = time.monotonic()
            self._write("")

    def close(self, how: BackfillPass.Outcome, error: str = "") -> None:
        """Write the final counts and how the pass ended."""
        self._write(", outcome = %s, error = %s, ended_at = clock_timestamp()", how, error)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_OWN_LOCK, self.id])

    def _write(self, also: str, *values: str) -> None:
        counts = self._outcome.counts
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                UPDATE "AgentStatePass" SET seen_at = clock_timestamp(), candidates = %s, written = %s, merged = %s,
                    left_aside = %s, runs = %s, events = %s, sessions = %s {also}
                WHERE id = %s
                """,
                [
                    self._outcome.candidates,
                    counts.written,
                    counts.merged,
                    self._outcome.left_aside,
                    counts.runs,
                    counts.events,
                    counts.sessions,
                    *values,
                    self.id,
                ],
            )


def leave_aside(options: PassOptions, failures: list[Failure], *, of_chats: bool) -> set[str]:
    """Keep the projects that could not be moved, with their errors; one that is known already counts an attempt.

    Args:
        options: of the pass.
        failures: of one of its steps.
        of_chats: that step moves chats, not states.

    Returns:
        The projects whose failure a person has accepted. All others are open from now on.
    """
    with transaction.atomic():
        accepted = still_accepted(options, failures, of_chats=of_chats, lock=True)
        known = LeftAside.objects.filter(
            direction=options.direction, project_id__in=[failure.project for failure in failures]
        )
        known.exclude(project_id__in=accepted).reopen(FAILED_ANEW, actor())
        _keep(options.direction, failures)
    return accepted


def _keep(direction: Direction, failures: list[Failure]) -> None:
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


def close_entries(direction: Direction, steps: list[Step]) -> None:
    """Close the entries of projects that none of a pass's steps has anything left to do for.

    Where the columns have been dropped, what was given up in them was not moved: that decision goes on.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT coalesce(array_agg(project_id), '{}') FROM "AgentStateLeftAside"
               WHERE direction = %s AND closed_at IS NULL""",
            [direction],
        )
        (projects,) = cursor.fetchone()
        still: set[str] = set()
        for step in steps:
            cursor.execute(
                f"SELECT p.id FROM {step.candidates('p.id = ANY (%(projects)s)')}",
                {**step.parameters, "projects": projects},
            )
            still.update(project_id for (project_id,) in cursor.fetchall())
        cursor.execute(
            f"""UPDATE "AgentStateLeftAside" SET closed_at = clock_timestamp()
               WHERE direction = %s AND closed_at IS NULL AND project_id = ANY (%s) AND NOT project_id = ANY (%s)
                   AND (accepted_clock IS NULL OR {COLUMNS_ARE_THERE})""",
            [direction, projects, list(still)],
        )
