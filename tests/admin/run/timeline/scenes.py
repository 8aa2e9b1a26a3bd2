"""Runs with the events that a test names: payloads as JSON text, times in seconds from the run's start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from agentstate.admin.run.timeline import EventPage, Filter, PagePosition, header_of, page_of
from tests.factories import RunFactory
from tests.sql import sql

if TYPE_CHECKING:
    from agentstate.admin.run.timeline.calls import TimelineRow
    from agentstate.models import AgentWorkflowRun

START = datetime(2025, 6, 7, 8, 9, 10, tzinfo=UTC)


def make_run(**fields: Any) -> AgentWorkflowRun:
    return RunFactory(**{"project": None, "started_at": START, **fields})


def moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def add_event(run: AgentWorkflowRun, type_: str, payload: str = "{}", at: float = 1) -> str:
    """Add an event, and return its id."""
    event_id = f"{run.pk}-{at}"
    sql(
        'INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at) VALUES (%s, %s, %s, %s, %s)',
        event_id,
        run.pk,
        type_,
        payload,
        moment(at),
    )
    return event_id


def add_events(run: AgentWorkflowRun, number: int, payload: str = "jsonb_build_object('n', n)") -> None:
    """Add numbered events, each tenth an end of a tool call, a second apart."""
    sql(
        f"""
        INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
        SELECT %s || '-' || n, %s, CASE n %% 10 WHEN 0 THEN 'tool.result' ELSE 'draft.progress' END, {payload},
            %s + n * interval '1 second'
        FROM generate_series(1, {number}) n
        """,
        run.pk,
        run.pk,
        START,
    )


def add_call(run: AgentWorkflowRun, call_id: str, start: float, end: float | None, **result: str) -> None:
    """Add a tool call; without an end, only its invocation. ``result`` are members of the result as JSON text."""
    add_event(run, "tool.invocation", f'{{"call_id": "{call_id}", "tool": "fetch", "arguments": {{}}}}', start)
    if end is not None:
        members = {"status": '"ok"', "error": "null", "output": "null"} | result
        text = ", ".join(f'"{name}": {value}' for name, value in members.items())
        add_event(run, "tool.result", f'{{"call_id": "{call_id}", "tool": "fetch", {text}}}', end)


def page(run: AgentWorkflowRun, wanted: Filter | None = None, size: int = 100, **place: Any) -> EventPage:
    header = header_of(run.pk)
    assert header is not None
    return page_of(header, PagePosition(**place), wanted or Filter(), size)


def rows(run: AgentWorkflowRun, **given: Any) -> list[TimelineRow]:
    return page(run, **given).rows


def only_row(run: AgentWorkflowRun) -> TimelineRow:
    (row,) = rows(run)
    return row
