"""What a load costs: one query, the documents of the home that answers, and no more with more runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from agentstate import gates, state
from agentstate.models import Project
from agentstate.state.loading import LOAD, LOAD_SNAPSHOT
from tests import scenes
from tests.factories import RunFactory
from tests.sql import explained, out_of_line, tell_planner
from tests.state.loads import (
    STANDINGS,
    project_that_is,
    queries,
)

if TYPE_CHECKING:
    pass

# -- one query, and only the home that answers


@pytest.mark.django_db
@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("reads_agentkit", [False, True])
def test_a_load_takes_another_query_only_where_the_asked_home_cannot_answer(
    standing: str, reads_agentkit: bool
) -> None:
    project = project_that_is(standing)
    scenes.open_gates(agentkit_reads=reads_agentkit)

    with queries(2 if reads_agentkit and standing in ("empty", "legacy_ahead") else 1):
        state.load(project)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("lasting_flags")
def test_a_remembered_gate_takes_no_query(django_assert_num_queries: Any) -> None:
    project = project_that_is("in_sync")
    gates.agentkit_reads(project)
    gates.agentkit_shadow_reads(project)

    with django_assert_num_queries(1):
        state.load(project)


@pytest.mark.django_db
@pytest.mark.parametrize("reads_agentkit", [False, True])
def test_the_other_homes_documents_are_not_detoasted(reads_agentkit: bool) -> None:
    """The other home's documents are large, stored out of line, and not fetched."""
    project = project_that_is("in_sync")
    big = "to_jsonb((SELECT string_agg(md5(n::text), '') FROM generate_series(1, 100000) n))"
    with scenes.behind_the_trigger():
        scenes.run_sql(f'UPDATE "Project" SET "coverageJson" = {big}')
    scenes.run_sql(f"""UPDATE "AgentWorkflowRun" SET result = result || jsonb_build_object('output', {big})""")
    scenes.open_gates(agentkit_reads=reads_agentkit)
    other = "Project" if reads_agentkit else "AgentWorkflowRun"

    before = out_of_line(other).read
    loaded = state.load(project)

    assert loaded.source == ("agentkit" if reads_agentkit else "legacy")
    assert out_of_line(other).read == before


@pytest.mark.django_db
def test_a_large_snapshot_is_detoasted_once() -> None:
    project = project_that_is("empty")
    scenes.open_gates(agentkit_writes=True, agentkit_reads=True)
    state.save(project, facts=[str(uuid4()) for _ in range(10_000)])

    before = out_of_line("AgentWorkflowRun").read
    state.load(project)

    assert out_of_line("AgentWorkflowRun").read - before == 1


# -- as many runs as there may be


@pytest.mark.django_db
@pytest.mark.parametrize("reads_agentkit", [False, True])
@pytest.mark.parametrize("each_other_has", [0, 1])
def test_ten_thousand_runs_cost_one_index_row(reads_agentkit: bool, each_other_has: int) -> None:
    project = project_that_is("in_sync")
    RunFactory(project=Project.objects.get(pk=project), state=None)
    scenes.run_sql(
        """
        INSERT INTO "AgentWorkflowRun"
            (id, workflow_id, project_id, status, result, started_at, snapshot_at, legacy_at)
        SELECT 'run-' || n, 'draft', %s, 'succeeded', '{"state": {"facts": 1}}', now(), moment, moment
        FROM generate_series(1, 10000) n CROSS JOIN LATERAL (SELECT now() + n * interval '1 second' AS moment) later
        """,
        project,
    )
    scenes.run_sql(
        """INSERT INTO "Project" (id, "userId", name) SELECT 'other-' || n, '', '' FROM generate_series(1, 10000) n"""
    )
    # Where the others have few runs each, the planner thinks that this project has few too.
    scenes.run_sql(
        """
        INSERT INTO "AgentWorkflowRun"
            (id, workflow_id, project_id, status, result, started_at, snapshot_at, legacy_at)
        SELECT 'of-' || id, 'legacy_snapshot', id, 'succeeded', '{"state": {}}', now(), now(), now()
        FROM "Project" WHERE id LIKE 'other-%%' AND %s > 0
        """,
        each_other_has,
    )
    tell_planner("Project", "AgentWorkflowRun")

    statement = LOAD_SNAPSHOT if reads_agentkit else LOAD
    plan = explained(statement.sql, {"id": project, "asked": reads_agentkit, "shadowed": False}, "ANALYZE")

    (runs,) = [node for node in plan if node.get("Relation Name") == "AgentWorkflowRun"]
    assert runs["Node Type"] == "Index Scan"
    assert runs["Index Name"] == "AgentWorkflowRun_project_snapshot_key"
    assert runs["Actual Rows"] * runs["Actual Loops"] == 1
    (projects,) = [node for node in plan if node.get("Relation Name") == "Project"]
    assert projects["Node Type"] == "Index Scan"
    assert projects["Actual Rows"] * projects["Actual Loops"] == 1
