"""Runs and sessions that the database accepts, and those that its constraints refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from agentstate.models import AgentSession, AgentWorkflowRun, Project

pytestmark = pytest.mark.django_db

SNAPSHOT_CASES = {
    "without a legacy clock": {"legacy_at": None, "result": {"state": {}}},
    "without a result": {"result": None},
    "without a state": {"result": {"output": 1}},
    "with a state that is null": {"result": {"state": None}},
    "with a state that is no object": {"result": {"state": []}},
}
MOMENT = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("fields", SNAPSHOT_CASES.values(), ids=SNAPSHOT_CASES.keys())
def test_a_snapshot_needs_a_state_and_both_clocks(fields: dict[str, Any]) -> None:
    run = AgentWorkflowRun(
        workflow_id="test",
        status="succeeded",
        started_at=MOMENT,
        **{"snapshot_at": MOMENT, "legacy_at": MOMENT, **fields},
    )

    with pytest.raises(ValidationError, match="AgentWorkflowRun_snapshot_check"):
        run.validate_constraints()
    with pytest.raises(IntegrityError, match="AgentWorkflowRun_snapshot_check"), transaction.atomic():
        run.save()


def test_a_snapshot_in_a_result_that_is_no_object_is_refused_by_the_database() -> None:
    run = AgentWorkflowRun(workflow_id="test", status="succeeded", result=["state"], started_at=MOMENT)
    run.snapshot_at = run.legacy_at = MOMENT

    with pytest.raises(IntegrityError, match="AgentWorkflowRun_snapshot_check"):
        run.save()


@pytest.mark.parametrize(
    "fields",
    [
        {"snapshot_at": MOMENT, "legacy_at": MOMENT, "result": {"state": {}}},
        {"snapshot_at": MOMENT, "legacy_at": MOMENT, "result": {"state": {"facts": None}, "output": []}},
        {"result": {"output": 1}},
        {"result": None},
        {"legacy_at": MOMENT},
    ],
    ids=str,
)
def test_runs_with_a_whole_snapshot_or_none_are_stored(fields: dict[str, Any]) -> None:
    run = AgentWorkflowRun(workflow_id="test", status="running", started_at=MOMENT, **fields)

    run.validate_constraints()
    run.save()

    assert AgentWorkflowRun.objects.get().result == fields.get("result")


def test_a_status_or_a_transcript_of_another_kind_is_refused() -> None:
    Project.objects.create(id="p", user_id="u", name="n")
    run = AgentWorkflowRun(workflow_id="test", status="done", started_at=MOMENT)
    session = AgentSession(project_id="p", transcript_json={}, created_at=MOMENT, updated_at=MOMENT)

    for item in (run, session):
        with pytest.raises(ValidationError):
            item.validate_constraints()
        with pytest.raises(IntegrityError, match="_check"), transaction.atomic():
            item.save()
