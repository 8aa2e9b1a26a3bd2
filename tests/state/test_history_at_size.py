"""A project's history is read from its saves alone, however many other events its runs have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentstate import state
from agentstate.recording import record
from agentstate.state.history import around
from agentstate.state.scores import scores
from tests import scenes
from tests.factories import ProjectFactory
from tests.sql import explained, tell_planner

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER_EVENTS = 10_000
READERS: dict[str, Callable[[str], object]] = {
    "history": state.history,
    "at": lambda project: state.at(project, timezone.now()),
    "around": around,
    "scores": scores,
}


@pytest.mark.django_db
@pytest.mark.parametrize("reader", READERS)
def test_no_other_event_is_read(reader: str) -> None:
    scenes.open_gates(agentkit_writes=True, legacy_writes=True)
    project = ProjectFactory(documents={"coverage": '{"score": 0.1}'}).id
    with record("long", project) as run:
        run.save(coverage={"score": 0.2})
        run.events([("draft.progress", {"n": number}) for number in range(OTHER_EVENTS)])
        run.save(coverage={"score": 0.3})
        # These come after the newest snapshot, so that its clock alone keeps nobody from reading them.
        run.events([("draft.progress", {"n": number}) for number in range(OTHER_EVENTS)])
    tell_planner("AgentWorkflowRun", "AgentWorkflowRunEvent")
    with CaptureQueriesContext(connection) as queries:
        READERS[reader](project)

    (sql,) = [query["sql"] for query in queries if "AgentWorkflowRunEvent" in query["sql"]]
    nodes = explained(sql, None, "ANALYZE")

    events = [node for node in nodes if node.get("Relation Name") == "AgentWorkflowRunEvent"]
    read = [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in events]
    assert "AgentWorkflowRunEvent_save_idx" in {node.get("Index Name") for node in events}
    assert sum(read) <= 10
