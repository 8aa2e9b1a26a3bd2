"""Writing events: after all that the run has, whoever writes, in one round to the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.db import connection

from agentstate.models.fields import new_id
from agentstate.models.runs import CLOSED_AS_STALE, RunNotFound
from agentstate.recording.storable import storable, storable_text
from agentstate.state.homes import next_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Replay takes a project's state from these, so that only a save writes them.
SAVED_ONLY = "state.changed"
LATE = "$late"


class RunFinished(Exception):
    """The run has ended, and takes no more events and no other output. Nothing was written.

    Attributes:
        run_id: the run's id.
        status: how it ended.
    """

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"Run {run_id} has ended ({status}) and takes no more: record in a new run.")
        self.run_id, self.status = run_id, status


# The lock and the look are two statements, which psycopg sends in one round as Django binds values on the client.
# PostgreSQL gives each its own view and both one transaction: a statement that waited for the lock itself would not
# see what the writer before it wrote, and only with all of that in view is "after the last event" true.
_LOCK = """SELECT FROM "AgentWorkflowRun" WHERE id = %(run)s FOR NO KEY UPDATE;"""
_LAST = '(SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = run.id)'


def _statements(on_conflict: str = "") -> str:
    return f"""{_LOCK}
    WITH run AS MATERIALIZED (
        SELECT id, status, status = 'failed' AND starts_with(error, '{CLOSED_AS_STALE}') IS TRUE AS is_stale,
            greatest(started_at, {next_clock(_LAST)}) AS at
        FROM "AgentWorkflowRun" run WHERE id = %(run)s
    ), written AS (
        INSERT INTO "AgentWorkflowRunEvent" AS event (id, run_id, type, payload, created_at)
        SELECT given.event ->> 0, run.id, given.event ->> 1,
            CASE
                WHEN NOT is_stale THEN given.event -> 2
                WHEN jsonb_typeof(given.event -> 2) = 'object' THEN given.event -> 2 || '{{"{LATE}": true}}'
                ELSE jsonb_build_object('{LATE}', true, 'value', given.event -> 2)
            END,
            run.at + (given.ordinal - 1) * interval '1 microsecond'
        FROM run CROSS JOIN jsonb_array_elements(%(events)s::jsonb) WITH ORDINALITY given (event, ordinal)
        WHERE run.status IN ('pending', 'running') OR is_stale
        {on_conflict}
        RETURNING 1
    )
    SELECT status, EXISTS (SELECT FROM written) FROM run"""


_NEW = _statements()
_MOVED = _statements("ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at")


def append(run_id: str, events: Iterable[tuple[str, object]]) -> list[str]:
    """Write events of a run in their order, after all that it has, and return their ids.

    Raises:
        ValueError: one is of a type that only a save writes.
        RunFinished: the run has ended. One that was closed as stale takes them, and each is marked as late.
        RunNotFound: no run has this id.
    """
    given = [(new_id(), storable_text(str(type_)), storable(payload)) for type_, payload in events]
    for _, type_, _ in given:
        if type_ == SAVED_ONLY:
            raise ValueError(f"{SAVED_ONLY} is the event of a save: call save() with the documents.")
    if given:
        _write(_NEW, run_id, given)
    return [event_id for event_id, _, _ in given]


def put(run_id: str, event_id: str, type_: str) -> None:
    """Write an event with this id or, where the run has it, move it to its end.

    Raises:
        RunFinished, RunNotFound: see :func:`append`.
    """
    _write(_MOVED, run_id, [(event_id, type_, "{}")])


def _write(statements: str, run_id: str, events: Sequence[tuple[str, str, str]]) -> None:
    rows = ",".join(f'["{event_id}",{json.dumps(type_)},{payload}]' for event_id, type_, payload in events)
    with connection.cursor() as cursor:
        cursor.execute(statements, {"run": run_id, "events": f"[{rows}]"})
        cursor.nextset()
        found = cursor.fetchone()
    if found is None:
        raise RunNotFound(run_id)
    status, written = found
    if not written:
        raise RunFinished(run_id, status)
