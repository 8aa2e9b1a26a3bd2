"""Write events after all others of the run, from any process, in one round to the database."""

from __future__ import annotations

import json
from itertools import repeat
from typing import TYPE_CHECKING

from django.db.models import Value
from django.db.models.functions import Coalesce, Left

from agentstate.enclosing import enclosing_event
from agentstate.isolation import READ_COMMITTED, read_committed
from agentstate.models import AgentWorkflowRun
from agentstate.models.fields import new_id
from agentstate.models.runs import RunNotFound
from agentstate.recording.errors import RowsDropped, RunCanceled, RunFinished
from agentstate.recording.redaction import stored
from agentstate.recording.storable import storable_text, weight
from agentstate.rounds import Statement, run
from agentstate.state.homes import just_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
_NOTHING: frozenset[str] = frozenset()

_IS_UNFINISHED = "status IN ('pending', 'running')"
_ACCEPTS = f"({_IS_UNFINISHED} OR closed_as_stale OR status = ANY (%(late)s::text[]))"

# The lock and the insert are two statements of one transaction, sent in one round. In READ COMMITTED each has its own
# snapshot: a single statement that waited for the lock would not see what the writer before it wrote, and would take
# the time of an event that is there already.
_LOCK = Statement(f"""
    SELECT status::text, {_ACCEPTS} FROM "AgentWorkflowRun" WHERE id = %(run)s FOR NO KEY UPDATE""")

_ONE = """(
        SELECT %(id)s::text AS id, %(type)s::text AS type, %(payload)s::jsonb AS payload, %(parent)s::text AS parent,
            1 AS ordinal
    )"""
_LISTED = """(
        SELECT event ->> 0 AS id, event ->> 1 AS type, event -> 2 AS payload, event ->> 3 AS parent, ordinal
        FROM jsonb_array_elements(%(events)s::jsonb) WITH ORDINALITY listed (event, ordinal)
    )"""


def _insert(given: str, on_conflict: str = "") -> Statement:
    return Statement(f"""
    WITH run AS MATERIALIZED (
        SELECT id, {_IS_UNFINISHED} AS is_unfinished, greatest(started_at, clock_timestamp(), (
            SELECT {just_after("max(created_at)")} FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s
        )) AS at
        FROM "AgentWorkflowRun" WHERE id = %(run)s AND {_ACCEPTS}
    )
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at, parent_id)
    SELECT given.id, run.id, type,
        CASE
            WHEN is_unfinished THEN payload
            WHEN jsonb_typeof(payload) = 'object' THEN payload || '{{"{LATE}": true}}'
            ELSE jsonb_build_object('{LATE}', true, 'value', payload)
        END,
        run.at + (ordinal - 1) * interval '1 microsecond', parent
    FROM run CROSS JOIN {given} given
    {on_conflict}""")


NEW = (_LOCK, _insert(_ONE))
LISTED = (_LOCK, _insert(_LISTED))
_MOVED = (_LOCK, _insert(_ONE, "ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at"))

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
        _event(event_id, type_, payload, parent)
        for (type_, payload), event_id, parent in zip(
            events, ids or iter(new_id, None), parents or repeat(enclosing_event(run_id)), strict=False
        )
    ]
    if len(given) == 1:
        _write_one(NEW, run_id, given[0])
        return [given[0][0]]
    parts = list(_parts(given))
    if len(parts) == 1:
        _write_listed(run_id, given)
    elif parts:
        with read_committed():
            for part in parts:
                _write_listed(run_id, part)
    return [event_id for event_id, *_ in given]


def append_one(run_id: str, type_: str, payload: object, *then: Statement, **parameters: str) -> str:
    """Write one event, and return its id; see :func:`append`.

    Args:
        then: what follows in the same transaction, also where the event, ``%(id)s``, was not written.
        parameters: of ``then``.
    """
    event = _event(new_id(), type_, payload, enclosing_event(run_id))
    _write_one((*NEW, *then), run_id, event, **parameters)
    return event[0]


def put(run_id: str, event_id: str, type_: str) -> None:
    """Write an event with this id, or move it to the run's end if the run has it.

    Raises:
        RunFinished, RunNotFound, RowsDropped: see :func:`append`.
    """
    _write_one(_MOVED, run_id, (event_id, type_, "{}", None))


def refusal(run_id: str, status: str) -> RunFinished:
    """Return the error of a run that has ended; of a canceled one, with who canceled it and why."""
    if status != AgentWorkflowRun.Status.CANCELED:
        return RunFinished(run_id, status)
    run = AgentWorkflowRun.objects.filter(pk=run_id)
    error = run.values_list(Left(Coalesce("error", Value("")), ERROR_SHOWN), flat=True).first()
    return RunCanceled(run_id, error or "")


def _event(event_id: str, type_: str, payload: object, parent: str | None) -> Event:
    type_ = storable_text(str(type_))
    if type_ == SAVED_ONLY:
        raise ValueError(f"{SAVED_ONLY} is the event of a save: call save() with the documents.")
    return event_id, type_, stored(type_, payload), parent


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


def _write_one(statements: tuple[Statement, ...], run_id: str, event: Event, **parameters: str) -> None:
    event_id, type_, payload, parent = event
    given = {"id": event_id, "type": type_, "payload": payload, "parent": parent}
    _write(statements, run_id, 1, _TAKEN_LATE.get(type_, _NOTHING), {**given, **parameters})


def _write_listed(run_id: str, events: Sequence[Event]) -> None:
    rows = ",".join(
        f'["{event_id}",{json.dumps(type_)},{payload},{json.dumps(parent)}]'
        for event_id, type_, payload, parent in events
    )
    late = frozenset.intersection(*(_TAKEN_LATE.get(type_, _NOTHING) for _, type_, _, _ in events))
    _write(LISTED, run_id, len(events), late, {"events": f"[{rows}]"})


def _write(
    statements: tuple[Statement, ...],
    run_id: str,
    number: int,
    late: Iterable[str],
    parameters: Mapping[str, str | None],
) -> None:
    given = {"run": run_id, "late": f"{{{','.join(late)}}}", **parameters}
    locked, inserted, *_ = run(statements, given, alone=READ_COMMITTED)
    if locked is None and inserted == (0,):
        locked, inserted, *_ = run(statements, given, alone=READ_COMMITTED)  # once more: see agentstate.rounds
    if inserted == (number,):  # also where the lock's statement waited and found no row
        return
    if locked is None or inserted is None:
        raise RunNotFound(run_id)
    status, accepts = locked
    if not accepts:
        raise refusal(run_id, status)
    raise RowsDropped("AgentWorkflowRunEvent", inserted[0], number)
