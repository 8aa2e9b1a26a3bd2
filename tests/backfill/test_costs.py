"""What a batch costs does not grow with the tables: it reads rows by an index, or by a condition."""

from __future__ import annotations

import pytest

from agentstate.backfill import PassOptions, run_pass
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.passes import Direction
from agentstate.samples import make_projects
from agentstate.state.filling import FILL
from agentstate.state.restoring import RESTORE
from tests.faults.processes import wait_until
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


@pytest.mark.django_db(transaction=True)
def test_a_foreign_key_is_checked_by_an_index_although_the_table_was_empty_when_analyzed() -> None:
    make_projects(200, 1)
    sql('TRUNCATE "AgentWorkflowRun" CASCADE')  # rows that tests rolled back take pages
    tell_planner("AgentWorkflowRun", "AgentWorkflowRunEvent")
    written_before, read_before = written_and_read()
    run_pass(PassOptions(Direction.FORWARD, batch_size=10))
    runs, events = AgentWorkflowRun.objects.count(), AgentWorkflowRunEvent.objects.count()
    wait_until(lambda: written_and_read()[0] - written_before >= runs)

    read = written_and_read()[1] - read_before
    assert read < events * runs / 4, "a scan for each event reads about half of the runs each time"


def written_and_read() -> tuple[int, int]:
    """Return how many runs were inserted so far, and how many were read by scans of the whole table."""
    sql("SELECT pg_stat_force_next_flush()")
    ((inserted, read),) = sql(
        "SELECT n_tup_ins, seq_tup_read FROM pg_stat_user_tables WHERE relname = 'AgentWorkflowRun'"
    )
    return inserted, read
