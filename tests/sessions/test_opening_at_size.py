"""Opening a session reads that session's row, however many others its project has."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agentstate import sessions
from tests.factories import ProjectFactory
from tests.sql import explained, sql, tell_planner

pytestmark = pytest.mark.django_db

OTHERS = """
    INSERT INTO "AgentSession" (id, project_id, memory_id, transcript_json, metadata, created_at, updated_at)
    SELECT 'other-' || n, %s, CASE WHEN n %% 2 = 0 THEN 'memory ' || n END, '[]', '{}', now(), now()
    FROM generate_series(1, 2000) n"""


@pytest.mark.parametrize("memory", ["memory 7", "a memory of whose id an index holds only the beginning: 7"])
def test_a_projects_other_sessions_are_not_read(memory: str) -> None:
    project = ProjectFactory().id
    session = sessions.open_for(project, memory)
    sql(OTHERS, project)
    tell_planner("AgentSession")

    with CaptureQueriesContext(connection) as captured:
        assert sessions.open_for(project, memory) == session

    (query,) = [each["sql"] for each in captured if "AgentSession" in each["sql"]]
    nodes = explained(query, None, "ANALYZE")
    assert max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes) == 1
