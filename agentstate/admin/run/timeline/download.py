"""A run with all its events as JSON, streamed in pieces of a few megabytes at most."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.distant_times import distant_times
from agentstate.recording.following import StoredEvent, events_after

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_RUN = """
    SELECT id, workflow_id, project_id, status, error, started_at, completed_at, snapshot_at, legacy_at,
        input::text, result::text, usage::text,
        (SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = run.id)
    FROM "AgentWorkflowRun" run WHERE id = %s"""


def run_as_json(run_id: str) -> Iterator[str]:
    """Return the pieces of a JSON object of a run and its events, none where no run has this id.

    Each document is what jsonb has, digit for digit. Events that come after the first piece was made are not in it.
    """
    with distant_times(), connection.cursor() as cursor:
        cursor.execute(_RUN, [run_id])
        found = cursor.fetchone()
    if found is None:
        return
    *facts, input_, result, usage, last = found
    yield _opening(facts)
    yield f',\n  "input": {_json(input_)}'
    yield f',\n  "result": {_json(result)}'
    yield f',\n  "usage": {_json(usage)}'
    yield ',\n  "events": ['
    before = "\n"
    for event_id, type_, at, payload, parent in _events(run_id, last) if last else ():
        facts = f'"id": {_text(event_id)}, "type": {_text(type_)}, "created_at": "{_iso(at)}"'
        yield f'{before}    {{{facts}, "parent_id": {_text(parent)}, "payload": '
        yield payload
        before = "},\n"
    yield "}\n  ]\n}\n" if before != "\n" else "]\n}\n"


def _opening(facts: list[Any]) -> str:
    names = ("id", "workflow_id", "project_id", "status", "error")
    times = ("started_at", "completed_at", "snapshot_at", "legacy_at")
    lines = [f'  "{name}": {_text(fact)}' for name, fact in zip(names, facts[: len(names)], strict=True)]
    lines += [f'  "{name}": {_text(_iso(at))}' for name, at in zip(times, facts[len(names) :], strict=True)]
    return "{\n" + ",\n".join(lines)


def _events(run_id: str, last: datetime) -> Iterator[StoredEvent]:
    after: datetime | None = None
    while (batch := events_after(run_id, after, until=last)) and batch.events:
        yield from batch.events
        after = batch.events[-1].at


def _json(document: str | None) -> str:
    return "null" if document is None else document


def _text(text: str | None) -> str:
    return json.dumps(text, ensure_ascii=False)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")
