"""Writes that bypass us are counted, and nothing that we wrote ourselves."""

from __future__ import annotations

import pytest

from agentstate import state
from agentstate.gates import AGENTKIT_WRITES
from agentstate.models import AgentWorkflowRun, Flag, LeftAside
from agentstate.rollout.bypassing_writes import (
    BypassingWrite,
    BypassingWriteCounts,
    _query,
    count_bypassing_writes,
    newest_bypassing_writes,
)
from agentstate.rollout.flag_history import FlagHistory
from tests import scenes
from tests.asking import BY_BUCKET
from tests.factories import ProjectFactory, RunFactory, write_columns
from tests.flags import turn
from tests.rollout.ladder import stand_at
from tests.sql import explained, tell_planner

pytestmark = pytest.mark.django_db(transaction=True)

LOW, HIGH = BY_BUCKET[5], BY_BUCKET[900]


def in_sync(project: str | None = None, **documents: str) -> str:
    names = {"id": project} if project else {}
    made = ProjectFactory(documents=documents or {"facts": "1"}, **names).id
    scenes.forward(made)
    return made


def found() -> tuple[int, int]:
    counted = count_bypassing_writes()
    assert counted.count == len(newest_bypassing_writes())
    return counted.count, counted.open


def kinds() -> list[tuple[str, str]]:
    return [(escape.project, escape.kind) for escape in newest_bypassing_writes()]


# -- what is one


def test_a_foreign_write_is_a_bypassing_write_until_a_pass_takes_it_in() -> None:
    project = in_sync()
    stand_at("dual_write")
    assert count_bypassing_writes() == BypassingWriteCounts()

    write_columns(project, {"facts": "2"})
    at = scenes.homes_of(project).clock
    assert count_bypassing_writes() == BypassingWriteCounts(1, 1, at)
    assert newest_bypassing_writes() == [BypassingWrite(project, at, "legacy_ahead")]

    scenes.forward()

    assert count_bypassing_writes() == BypassingWriteCounts(1, 0, at)
    assert newest_bypassing_writes() == [BypassingWrite(project, at, "legacy_snapshot")]


def test_our_own_save_takes_it_in() -> None:
    project = in_sync()
    stand_at("dual_write")
    write_columns(project, {"facts": "2"})

    state.save(project, coverage=3)

    assert kinds() == [(project, "legacy_snapshot")]


def test_a_fork_is_one_bypassing_write_before_and_after_its_merge() -> None:
    project = in_sync()
    stand_at("agentkit_only")
    state.save(project, coverage=3)
    write_columns(project, {"facts": "2"})
    at = scenes.homes_of(project).clock
    assert newest_bypassing_writes() == [BypassingWrite(project, at, "forked")]

    scenes.forward()

    assert newest_bypassing_writes() == [BypassingWrite(project, at, "legacy_merge")]


def test_a_merged_fork_stays_one_bypassing_write_when_the_columns_are_seeded() -> None:
    project = in_sync()
    stand_at("agentkit_only")
    state.save(project, coverage=3)
    write_columns(project, {"facts": "2"})
    at = scenes.homes_of(project).clock

    scenes.forward()
    scenes.reverse()

    assert scenes.homes_of(project).in_sync
    assert newest_bypassing_writes() == [BypassingWrite(project, at, "legacy_merge")]
    assert count_bypassing_writes() == BypassingWriteCounts(1, 0, at)


def test_a_project_created_elsewhere_with_documents_is_one() -> None:
    stand_at("dual_write")
    project = ProjectFactory().id
    write_columns(project, {"facts": "1"})

    assert kinds() == [(project, "legacy_ahead")]


def test_the_newest_come_first_up_to_the_limit() -> None:
    projects = [in_sync() for _ in range(3)]
    stand_at("dual_write")
    for project in projects:
        write_columns(project, {"facts": "2"})

    assert [escape.project for escape in newest_bypassing_writes(limit=2)] == [projects[2], projects[1]]


def test_accepted_ones_are_counted_as_not_open() -> None:
    project = in_sync()
    stand_at("dual_write")
    scenes.empty_columns(project)
    scenes.forward()
    assert found() == (1, 1)

    LeftAside.objects.get(project_id=project).accept("Meant so", "ada", clock=scenes.homes_of(project).clock)

    assert found() == (1, 0)


# -- what is none


def test_writes_before_the_gate_opened_are_not_counted() -> None:
    project = in_sync()
    write_columns(project, {"facts": "2"})
    stand_at("dual_write")
    assert found() == (0, 0)

    scenes.forward()

    assert found() == (0, 0)


@pytest.mark.parametrize("stage", ["dual_write", "agentkit_only"])
def test_our_saves_are_not_counted(stage: str) -> None:
    stand_at(stage)
    for project in (in_sync(), ProjectFactory().id):
        state.save(project, facts=2)
        state.save(project, facts=3)
        scenes.forward()
        scenes.reverse()

    # The project that was in sync was taken in after the gate was open: somebody else had made it.
    assert [kind for _, kind in kinds()] == ["legacy_snapshot"]


def test_an_empty_new_project_is_not_counted() -> None:
    stand_at("dual_write")
    project = ProjectFactory().id
    state.save(project, facts=1)

    assert scenes.homes_of(project).workflows == ["legacy_snapshot", "direct_write"]
    assert found() == (0, 0)


def test_emptied_columns_are_one() -> None:
    project = in_sync()
    stand_at("dual_write")
    scenes.empty_columns(project)
    scenes.forward(project, prefer="legacy")

    assert kinds() == [(project, "legacy_snapshot")]


def test_backed_up_columns_of_our_save_are_not_counted() -> None:
    """The run that wrote them saved again, so that no run holds their content any more."""
    project = in_sync()
    stand_at("dual_write")
    run = RunFactory(project_id=project, project=None, status="running", completed_at=None).pk
    state.save(project, run=run, facts=2)
    stand_at("agentkit_only")
    state.save(project, run=run, facts=3)
    scenes.reverse()

    assert "legacy_snapshot" in [snapshot.workflow for snapshot in scenes.homes_of(project).snapshots[1:]]
    assert found() == (0, 0)


# -- since when


def test_nothing_is_counted_while_the_gate_is_closed() -> None:
    project = in_sync()
    stand_at("dual_write")
    write_columns(project, {"facts": "2"})
    stand_at("legacy")

    assert found() == (0, 0)


def test_a_gate_that_was_reopened_counts_from_then() -> None:
    project = in_sync()
    stand_at("dual_write")
    write_columns(project, {"facts": "2"})
    turn("agentkit_writes", everyone=False)
    turn("agentkit_writes", everyone=True)
    assert found() == (0, 0)

    write_columns(project, {"facts": "3"})

    assert found() == (1, 1)


def test_each_project_counts_from_when_the_gate_reached_it() -> None:
    low, high = in_sync(LOW), in_sync(HIGH)
    turn("agentkit_writes", percent=10)
    for project in (low, high):
        write_columns(project, {"facts": "2"})
    assert kinds() == [(low, "legacy_ahead")]

    Flag.objects.filter(name="agentkit_writes").update(project_ids=[high])
    assert kinds() == [(low, "legacy_ahead")]

    write_columns(high, {"facts": "3"})
    assert kinds() == [(high, "legacy_ahead"), (low, "legacy_ahead")]

    scenes.forward()
    assert kinds() == [(high, "legacy_snapshot"), (low, "legacy_snapshot")]


def test_a_deleted_project_has_none() -> None:
    project = in_sync()
    stand_at("dual_write")
    write_columns(project, {"facts": "2"})
    scenes.forward()
    scenes.run_sql('DELETE FROM "Project" WHERE id = %s', project)

    assert AgentWorkflowRun.objects.filter(workflow_id="legacy_snapshot").count() == 2
    assert found() == (0, 0)


# -- how it is found


def test_a_hundred_thousand_runs_are_not_scanned() -> None:
    scenes.run_sql(
        """
        INSERT INTO "Project" (id, "userId", name)
        SELECT 'many ' || number, 'u', 'n' FROM generate_series(1, 100) number;
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, result, started_at, completed_at,
                                        snapshot_at, legacy_at)
        SELECT 'run ' || number, CASE number % 2 WHEN 0 THEN 'legacy_snapshot' ELSE 'draft' END,
            'many ' || number % 100 + 1, 'succeeded', '{"state": {}}', at, at, at, at
        FROM generate_series(1, 100000) number, LATERAL (SELECT now() - number * interval '1 min' AS at) past;
        INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
        SELECT id, id, 'state.changed', '{}', started_at FROM "AgentWorkflowRun"
        """
    )
    tell_planner("AgentWorkflowRun", "AgentWorkflowRunEvent", "Project")
    projects = [in_sync() for _ in range(3)]
    stand_at("dual_write")
    for project in projects:
        write_columns(project, {"facts": "2"})
    scenes.forward()

    nodes = explained(*_query(FlagHistory.load().reached(AGENTKIT_WRITES)), "ANALYZE")

    assert found() == (3, 0)
    read = [node for node in nodes if node.get("Relation Name", "").startswith("AgentWorkflowRun")]
    assert all("Seq Scan" not in node["Node Type"] for node in read), read
    assert "AgentWorkflowRun_workflow_idx" in {node.get("Index Name") for node in nodes}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) < 100
