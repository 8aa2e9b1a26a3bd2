"""100,000 events are as quick as 100: the same queries, and each looks at a bounded number of rows."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agentstate.admin.run.timeline import (
    counts_of,
    header_of,
    neighbours_of,
    payload_of,
    sessions_of,
)
from agentstate.recording.following import pulses_of
from tests.admin.run.timeline.scenes import START, add_events, make_run, moment, page
from tests.factories import ProjectFactory, RunFactory
from tests.sql import scalar, sql, tell_planner

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstate.models import AgentWorkflowRun

pytestmark = pytest.mark.django_db

MANY = 100_000
# The most that a page looks at: the events that are counted, a page of them, and what planning reads of the catalog.
MOST_ROWS, MOST_BUFFERS = 12_000, 12_000


def open_page(run: AgentWorkflowRun, **place: Any) -> None:
    header = header_of(run.pk)
    assert header is not None
    neighbours_of(header)
    sessions_of(header)
    counts_of(run.pk)
    pulses_of([run.pk])
    page(run, **place)


def looked_at(act: Callable[[], object]) -> list[tuple[str, int, int]]:
    """Return each query of an act with the rows that it went through and the buffers that it read."""
    with CaptureQueriesContext(connection) as queries:
        act()
    found = []
    for query in queries:
        plan = scalar(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query['sql']}")
        root = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
        found.append((query["sql"], _most_rows(root), root["Shared Hit Blocks"] + root["Shared Read Blocks"]))
    return found


def _most_rows(node: dict[str, Any]) -> int:
    own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return max([own, *map(_most_rows, node.get("Plans", []))])


@pytest.fixture
def large() -> AgentWorkflowRun:
    run = make_run(project=ProjectFactory(), status="running")
    add_events(run, MANY)
    tell_planner("AgentWorkflowRunEvent")
    return run


PLACES: list[dict[str, Any]] = [
    {},
    {"is_last": True},
    {"after": moment(50)},
    {"before": moment(50)},
]


def test_every_page_reads_a_bounded_number_of_rows(large: AgentWorkflowRun) -> None:
    for place in [*PLACES, {"event": f"{large.pk}-{MANY // 2}"}]:
        for query, rows, buffers in looked_at(partial(open_page, large, **place)):
            assert rows <= MOST_ROWS, query
            assert buffers <= MOST_BUFFERS, query


def test_the_number_of_queries_is_the_same(large: AgentWorkflowRun) -> None:
    small = make_run(project=ProjectFactory())
    add_events(small, 100)
    for place in PLACES:
        numbers = []
        for run in (small, large):
            with CaptureQueriesContext(connection) as queries:
                open_page(run, **place)
            numbers.append(len(queries))
        assert numbers[0] == numbers[1] <= 8


def test_payloads_of_five_megabytes_are_not_fetched() -> None:
    run = make_run()
    add_events(run, 20, "jsonb_build_object('call_id', n::text, 'output', repeat('x', 5000000))")
    events = [event for row in page(run).rows for event in row.events]
    assert len(events) == 20
    assert all(event.size > 5_000_000 for event in events)
    assert sum(len(str(event.seen)) + len(event.text or "") for event in events) < 10_000


def test_a_part_of_a_payload_is_fetched() -> None:
    run = make_run()
    add_events(run, 1, "to_jsonb(repeat('x', 5000000))")
    text = payload_of(run.pk, f"{run.pk}-1", 1000)
    assert text is not None
    assert (len(text.text), text.length, text.is_cut) == (1000, 5_000_002, True)


def test_the_runs_beside_one_are_found_by_the_index() -> None:
    project = ProjectFactory()
    sql(
        """
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, started_at)
        SELECT 'run-' || n, 'draft', %s, 'pending', %s + n * interval '1 second' FROM generate_series(1, 20000) n
        """,
        project.pk,
        START,
    )
    tell_planner("AgentWorkflowRun")
    header = header_of("run-10000")
    assert header is not None
    assert tuple(neighbours_of(header)) == ("run-9999", "run-10001")
    ((_, rows, _),) = looked_at(lambda: neighbours_of(header))
    assert rows < 100


def test_runs_that_began_together_are_told_apart() -> None:
    project = ProjectFactory()
    for name in ("b", "a", "c"):
        RunFactory(id=name, project=project, started_at=START)
    RunFactory(id="elsewhere", started_at=START)
    RunFactory(id="orphan", project=None, started_at=START)
    found = {name: tuple(neighbours_of(header_of(name))) for name in ("a", "b", "c", "orphan")}  # type: ignore[arg-type]
    assert found == {"a": (None, "b"), "b": ("a", "c"), "c": ("b", None), "orphan": (None, None)}
