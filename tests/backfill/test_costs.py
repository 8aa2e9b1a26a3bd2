"""What a batch costs does not grow with the tables: it reads rows by an index, or by a condition."""

from __future__ import annotations

import pytest

from agentstate.state.filling import FILL
from agentstate.state.restoring import RESTORE
from tests.sql import explained, sql, tell_planner

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
    tell_planner("Project", "AgentWorkflowRun")
    projects = [f"project-{number}" for number in range(1, PROJECTS + 1)]

    nodes = explained(statement, {"projects": projects, "as_of": None})

    # What a bitmap looks up stands at the scan of its index, beneath that of the table.
    scans = [node for node in nodes if "Scan" in node["Node Type"] and node["Node Type"] != "Bitmap Heap Scan"]
    reads = [node for node in scans if (node.get("Relation Name") or node.get("Index Name", "")).startswith("AgentW")]
    assert reads
    assert [node for node in reads if not node.keys() & {"Index Cond", "Filter"}] == []
