"""A project's state as it was, whatever its runs did since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.db.models import JSONField, Value

from agentstate.state.replay import state_at
from tests import scenes
from tests.factories import EventFactory, ProjectFactory, RunFactory

if TYPE_CHECKING:
    from agentstate.models import AgentWorkflowRun, Project

pytestmark = pytest.mark.django_db

NOON = datetime(2025, 3, 4, 12, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def project() -> Project:
    return ProjectFactory()


def state(project: Project, minutes: int) -> tuple[str, str, datetime] | None:
    """Return the run, the state and the time of the state at a moment, None where there was none."""
    found = scenes.rows(
        f'SELECT run_id, state::text, at FROM "Project" p CROSS JOIN LATERAL {state_at("%s::timestamptz")} s '
        "WHERE p.id = %s",
        at(minutes),
        at(minutes),
        project.id,
    )
    return found[0] if found else None


def snapshot(project: Project, minutes: int, **documents: object) -> AgentWorkflowRun:
    return RunFactory(project=project, state=documents, started_at=at(minutes))


def changed(run: AgentWorkflowRun, minutes: int, **documents: object) -> None:
    EventFactory(run=run, type="state.changed", payload=documents, created_at=at(minutes))


def test_the_newest_earlier_snapshot_is_replayed(project: Project) -> None:
    one, other = snapshot(project, 1, facts=1), snapshot(project, 3, facts=3)

    assert state(project, 0) is None
    assert state(project, 1) == (one.id, '{"facts": 1}', at(1))
    assert state(project, 2) == (one.id, '{"facts": 1}', at(1))
    assert state(project, 3) == (other.id, '{"facts": 3}', at(3))
    assert state(project, 9) == (other.id, '{"facts": 3}', at(3))


def test_earlier_saves_of_a_run_are_replayed(project: Project) -> None:
    first = snapshot(project, 1, facts=1, coverage=None)
    live = snapshot(project, 9, facts=9, eligibility=8)
    changed(live, 4, facts=4)
    changed(live, 6, eligibility=6)
    changed(live, 8, eligibility=8)
    changed(live, 9, facts=9)

    assert state(project, 3) == (first.id, '{"facts": 1, "coverage": null}', at(1))
    assert state(project, 4) == (live.id, '{"facts": 4, "coverage": null}', at(4))
    assert state(project, 7) == (live.id, '{"facts": 4, "coverage": null, "eligibility": 6}', at(6))
    assert state(project, 8) == (live.id, '{"facts": 4, "coverage": null, "eligibility": 8}', at(8))
    assert state(project, 9) == (live.id, '{"facts": 9, "eligibility": 8}', at(9))


def test_a_save_of_several_documents_is_replayed(project: Project) -> None:
    snapshot(project, 1, facts=1)
    changed(snapshot(project, 9), 2, facts=None, coverage={"score": 1})

    found = state(project, 2)
    assert found is not None
    assert found[1] == '{"facts": null, "coverage": {"score": 1}}'


def test_saves_of_alternating_runs_are_replayed(project: Project) -> None:
    snapshot(project, 1, facts=1)
    one, other = snapshot(project, 8), snapshot(project, 9)
    changed(one, 2, facts=2)
    changed(other, 3, facts=3)
    changed(one, 4, coverage=4)

    found = state(project, 5)
    assert found is not None
    assert found[1:] == ('{"facts": 3, "coverage": 4}', at(4))


def test_other_projects_saves_are_not_mixed_in(project: Project) -> None:
    first = snapshot(project, 1, facts=1)
    live = snapshot(project, 9, facts=9)
    EventFactory(run=live, type="coverage.delta", payload={"from": None, "to": 1}, created_at=at(2))
    changed(snapshot(ProjectFactory(), 9), 2, facts=2)

    assert state(project, 2) == (first.id, '{"facts": 1}', at(1))


def test_events_before_the_snapshot_are_not_applied_again(project: Project) -> None:
    snapshot(project, 1, facts=1)
    live = snapshot(project, 9, facts=9)
    changed(live, 2, facts=2, coverage=2)
    kept = snapshot(project, 3, facts=3)

    assert state(project, 4) == (kept.id, '{"facts": 3}', at(3))


def test_without_a_snapshot_there_is_no_state(project: Project) -> None:
    changed(RunFactory(project=project), 1, facts=1)

    assert state(project, 9) is None


@pytest.mark.parametrize("payload", [[1, "facts"], ["facts"], "facts", "absent", 7, None, True], ids=repr)
def test_a_damaged_event_is_ignored(project: Project, payload: object) -> None:
    first = snapshot(project, 1, facts=1)
    damaged = snapshot(project, 9, facts=9)
    EventFactory(run=damaged, type="state.changed", payload=Value(payload, JSONField()), created_at=at(2))
    changed(damaged, 3, coverage=3)

    assert state(project, 2) == (first.id, '{"facts": 1}', at(1))
    assert state(project, 3) == (damaged.id, '{"facts": 1, "coverage": 3}', at(3))


@pytest.mark.parametrize(
    "absent", ["facts", {"facts": 1}, 7, None, True, [1, None, ["facts"], {"facts": 1}]], ids=repr
)
def test_an_absent_that_is_not_a_list_removes_nothing(project: Project, absent: object) -> None:
    snapshot(project, 1, facts=1)
    changed(snapshot(project, 9), 2, coverage=2, absent=absent)

    found = state(project, 2)
    assert found is not None
    assert found[1] == '{"facts": 1, "coverage": 2}'
