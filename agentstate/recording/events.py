"""Write events after all others of the run, from any process, in one round to the database."""

from __future__ import annotations

import json
from itertools import repeat
from typing import TYPE_CHECKING

from django.db.models import Value
from django.db.models.functions import Coalesce, Left

from agentstate.enclosing import enclosing_event
from agentstate.isolation import one_round, read_committed
from agentstate.models import AgentWorkflowRun
from agentstate.models.fields import new_id
from agentstate.models.runs import RunNotFound
from agentstate.recording.errors import RowsDropped, RunCanceled, RunFinished
from agentstate.recording.redaction import stored
from agentstate.recording.storable import storable_text, weight
from agentstate.state.homes import next_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Replay reads a project's state from these, so only a save writes them.
SAVED_ONLY = "state.changed"
LATE = "$late"
ERROR_SHOWN = 300  # characters of a canceled run's error

# What a run that ended otherwise than as stale still takes, by the run's status: what a tool did and what a model cost
# after the run was canceled is a fact.
_TAKEN_LATE = {
    "tool.result": frozenset(["canceled"]),
    "model.usage": frozenset(["canceled", "failed", "succeeded"]),
}


# The lock and the insert are two statements of one transaction, sent in one round. In READ COMMITTED each has its own
# snapshot: a single statement that waited for the lock would not see what the writer before it wrote, and would take
# the time of an event that is there already.
_LOCK = """SELECT FROM "AgentWorkflowRun" WHERE id = %(run)s FOR NO KEY UPDATE;"""
_LAST = '(SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = run.id)'


def statements(on_conflict: str = "", then: str = "") -> str:
    """Return the statements that write events.

    Args:
        then: a statement that changes something with the insert; ``written`` has a row for each event.
    """
    return f"""{_LOCK}
    WITH run AS MATERIALIZED (
        SELECT id, status, status IN ('pending', 'running') AS is_unfinished,
            status IN ('pending', 'running') OR closed_as_stale OR status = ANY (%(late)s::text[]) AS accepts,
            greatest(started_at, {next_clock(_LAST)}) AS at
        FROM "AgentWorkflowRun" run WHERE id = %(run)s
    ), written AS (
        INSERT INTO "AgentWorkflowRunEvent" AS event (id, run_id, type, payload, created_at, parent_id)
        SELECT given.event ->> 0, run.id, given.event ->> 1,
            CASE
                WHEN is_unfinished THEN given.event -> 2
                WHEN jsonb_typeof(given.event -> 2) = 'object' THEN given.event -> 2 || '{{"{LATE}": true}}'
                ELSE jsonb_build_object('{LATE}', true, 'value', given.event -> 2)
            END,
            run.at + (given.ordinal - 1) * interval '1 microsecond', given.event ->> 3
        FROM run CROSS JOIN jsonb_array_elements(%(events)s::jsonb) WITH ORDINALITY given (event, ordinal)
        WHERE run.accepts
        {on_conflict}
        RETURNING 1
    ){f", also AS ({then})" if then else ""}
    SELECT status, accepts, (SELECT count(*) FROM written) FROM run"""


_NEW = statements()
_MOVED = statements("ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at")

# A type and a payload, any value.
NewEvent = tuple[str, object]
# The id, the type, the payload's JSON text, and the parent's id.
Event = tuple[str, str, str, str | None]


def append(
    run_id: str,
    events: Iterable[NewEvent],
    ids: Iterable[str] | None = None,
    parents: Iterable[str | None] | None = None,
) -> list[str]:
    """Write events of a run in their order, after all others that it has, and return their ids.

    All are written or none. What is too large for one statement is written by several, in one transaction.

    Args:
        ids: the events' ids; new ones by default.
        parents: the ids of the events that these happened inside; by default of the one that encloses the caller.

    Raises:
        ValueError: one is of a type that only a save writes.
        RunFinished: the run has ended. One that was closed as stale accepts them, and each is marked as late. So do
            a canceled run if all are ``tool.result``, and any run if all are ``model.usage``.
        RunNotFound: no run has this id.
        RowsDropped: the database dropped one.
    """
    given = [
        (event_id, storable_text(str(type_)), stored(type_, payload), parent)
        for event_id, (type_, payload), parent in zip(
            ids or iter(new_id, None), events, parents or repeat(enclosing_event(run_id)), strict=False
        )
    ]
    for _, type_, _, _ in given:
        if type_ == SAVED_ONLY:
            raise ValueError(f"{SAVED_ONLY} is the event of a save: call save() with the documents.")
    parts = list(_parts(given))
    if len(parts) == 1:
        _write(_NEW, run_id, given)
    elif parts:
        with read_committed():
            for part in parts:
                _write(_NEW, run_id, part)
    return [event_id for event_id, *_ in given]


def append_with(statements: str, run_id: str, event: NewEvent, **parameters: str) -> str:
    """Write one event by other statements of :func:`statements`, and return its id; see :func:`append`."""
    event_id, type_ = new_id(), event[0]
    _write(statements, run_id, [(event_id, type_, stored(*event), enclosing_event(run_id))], **parameters)
    return event_id


def put(run_id: str, event_id: str, type_: str) -> None:
    """Write an event with this id, or move it to the run's end if the run has it.

    Raises:
        RunFinished, RunNotFound, RowsDropped: see :func:`append`.
    """
    _write(_MOVED, run_id, [(event_id, type_, "{}", None)])


def refusal(run_id: str, status: str) -> RunFinished:
    """Return the error of a run that has ended; of a canceled one, with who canceled it and why."""
    if status != AgentWorkflowRun.Status.CANCELED:
        return RunFinished(run_id, status)
    run = AgentWorkflowRun.objects.filter(pk=run_id)
    error = run.values_list(Left(Coalesce("error", Value("")), ERROR_SHOWN), flat=True).first()
    return RunCanceled(run_id, error or "")


def _parts(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Yield the events in parts that weigh no more than one document may, or are a single event."""
    part: list[Event] = []
    total = 0.0
    for event in events:
        total += weight(event[2])
        if part and total > 1:
            yield part
            part, total = [], weight(event[2])
        part.append(event)
    if part:
        yield part


def _write(statements: str, run_id: str, events: Sequence[Event], **parameters: str) -> None:
    rows = ",".join(
        f'["{event_id}",{json.dumps(type_)},{payload},{json.dumps(parent)}]'
        for event_id, type_, payload, parent in events
    )
    late = frozenset.intersection(*(_TAKEN_LATE.get(type_, frozenset()) for _, type_, _, _ in events))
    row = one_round(statements, {"run": run_id, "events": f"[{rows}]", "late": sorted(late), **parameters})
    if row is None:
        raise RunNotFound(run_id)
    status, accepts, written = row
    if not accepts:
        raise refusal(run_id, status)
    if written != len(events):
        raise RowsDropped("AgentWorkflowRunEvent", written, len(events))
