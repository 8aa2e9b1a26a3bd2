"""What a batch costs does not grow with the tables: it reads rows by an index, or by a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from agentstate.state.filling import FILL
from agentstate.state.restoring import RESTORE
from tests.sql import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db

PROJECTS = 500


@pytest.mark.parametrize("statement", [FILL, RESTORE], ids=["reverse", "restore"])
def test_a_batch_reads_no_whole_table(statement: str) -> None:
    sql(
        """
        INSERT INTO "Project" (id, "userId", name, "factsJson")
        SELECT 'project-' || i, 'user', 'Community garden', '1' FROM generate_series(1, %s) i
        """,
        PROJECTS,
    )
    sql(
        """
        INSERT INTO "AgentWorkflowRun"
            (id, workflow_id, project_id, status, result, started_at, snapshot_at, legacy_at)
        SELECT 'run-' || id, 'draft', id, 'succeeded', '{"state": {}}', now(), now() + interval '1 s', "stateUpdatedAt"
        FROM "Project"
        """
    )
    sql('ANALYZE "Project", "AgentWorkflowRun"')
    projects = [f"project-{number}" for number in range(1, PROJECTS + 1)]

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", {"projects": projects, "as_of": None})
        (plan,) = cursor.fetchone()

    runs = [node for node in nodes_of(plan) if reads_runs(node)]
    assert runs
    assert [node for node in runs if not node.keys() & {"Index Cond", "Filter"}] == []


def reads_runs(node: dict[str, Any]) -> bool:
    return node.get("Relation Name") == "AgentWorkflowRun" and "Scan" in node["Node Type"]


def nodes_of(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan."""
    if isinstance(plan, list):
        for each in plan:
            yield from nodes_of(each)
    elif isinstance(plan, dict):
        if "Node Type" in plan:
            yield plan
        for each in plan.values():
            yield from nodes_of(each)
