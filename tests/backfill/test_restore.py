"""A forced reverse pass: an earlier state comes back into both homes, and nothing is lost by it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import transaction

from agentstate.backfill import Counts, Outcome
from tests import scenes
from tests.factories import ProjectFactory, write_columns

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> str:
    """A project with two states behind it: facts 1, then facts 2."""
    project = ProjectFactory(documents={"facts": "1", "coverage": "null"}).id
    scenes.forward()
    write_columns(project, {"facts": "2"})
    scenes.forward()
    return project


def test_damaged_columns_are_backed_up_and_the_newest_snapshot_is_restored(project: str) -> None:
    write_columns(project, {"facts": '"damaged"', "coverage": None, "eligibility": "[null]"})
    before = scenes.homes_of(project)

    outcome = scenes.reverse(project, force=True)

    assert outcome.candidates == 1
    assert outcome.counts == Counts(written=1, runs=2, events=3)
    homes = scenes.homes_of(project)
    assert homes.snapshots[:2] == before.snapshots
    kept, restored = homes.snapshots[2:]
    assert (kept.workflow, kept.at, kept.legacy_at) == ("legacy_snapshot", before.clock, before.clock)
    assert kept.state == before.columns
    assert [kind for kind, _ in scenes.events_of(kept.run)] == ["snapshot.legacy", "eligibility.flag"]
    assert restored.workflow == "legacy_restore"
    assert restored.state == homes.columns == {"facts": "2", "coverage": "null"}
    assert restored.at > kept.at
    assert homes.in_sync


def test_the_restored_run_records_its_source(project: str) -> None:
    newest = scenes.homes_of(project).newest
    scenes.empty_columns(project)

    scenes.reverse(project, force=True)

    restored = scenes.homes_of(project).newest
    assert restored.run.startswith(f"restore_{project}_")
    assert scenes.events_of(restored.run) == [("snapshot.restored", json.dumps({"from": newest.run}))]
    assert scenes.one(
        """SELECT status, input, result, started_at = snapshot_at, completed_at = snapshot_at, event.created_at
           FROM "AgentWorkflowRun" run JOIN "AgentWorkflowRunEvent" event ON event.run_id = run.id
           WHERE run.id = %s""",
        restored.run,
    ) == (
        "succeeded",
        '{"source": "legacy_restore"}',
        '{"state": {"facts": 2, "coverage": null}}',
        True,
        True,
        restored.at + timedelta(microseconds=1),
    )


def test_a_second_restore_writes_nothing(project: str) -> None:
    scenes.empty_columns(project)
    scenes.reverse(force=True)
    rows = scenes.everything()

    outcome = scenes.reverse(force=True)

    assert (outcome.candidates, outcome.counts) == (0, Counts())
    assert scenes.everything() == rows


def test_only_the_named_projects_are_restored(project: str) -> None:
    other = ProjectFactory(documents={"facts": "3"}).id
    scenes.forward()
    scenes.empty_columns(project, other)

    scenes.reverse(other, force=True)

    assert scenes.standings() == {project: "legacy_ahead", other: "in_sync"}
    assert scenes.homes_of(project).columns == {}


def test_columns_in_a_run_are_not_backed_up_again(project: str) -> None:
    first = scenes.homes_of(project).snapshots[0]

    outcome = scenes.reverse(project, force=True, as_of=first.at)

    assert outcome.counts == Counts(written=1, runs=1, events=1)
    assert scenes.homes_of(project).workflows == ["legacy_snapshot", "legacy_snapshot", "legacy_restore"]


# -- as of a moment


def test_the_state_at_a_moment_is_restored(project: str) -> None:
    first, second = scenes.homes_of(project).snapshots

    scenes.reverse(project, force=True, as_of=second.at - timedelta(microseconds=1))

    homes = scenes.homes_of(project)
    assert homes.columns == homes.newest.state == first.state
    assert homes.in_sync
    assert scenes.events_of(homes.newest.run) == [("snapshot.restored", json.dumps({"from": first.run}))]


def test_a_moment_after_the_newest_snapshot_restores_that_one(project: str) -> None:
    newest = scenes.homes_of(project).newest
    scenes.empty_columns(project)

    scenes.reverse(project, force=True, as_of=newest.at + timedelta(days=1))

    assert scenes.homes_of(project).columns == newest.state


def test_a_moment_before_any_snapshot_leaves_the_project_unchanged(project: str) -> None:
    first = scenes.homes_of(project).snapshots[0]
    scenes.empty_columns(project)
    rows = scenes.everything()

    outcome = scenes.reverse(force=True, as_of=first.at - timedelta(microseconds=1))

    assert outcome.without_snapshot == (1, [project])
    assert (outcome.candidates, outcome.counts) == (0, Counts())
    assert scenes.everything() == rows


def test_a_state_between_the_saves_of_a_live_run_is_rebuilt(project: str) -> None:
    run = scenes.save(project, "facts", '"first save"')
    between = scenes.homes_of(project).newest.at
    scenes.save(project, "facts", '"second save"', run=run)
    scenes.save(project, "coverage", "0.10", legacy=False, run=run)

    scenes.reverse(project, force=True, as_of=between)

    homes = scenes.homes_of(project)
    assert homes.columns == homes.newest.state == {"facts": '"first save"', "coverage": "null"}
    assert homes.in_sync
    # The columns at the second save's clock were no run's any more, so they were kept.
    assert {"facts": '"second save"', "coverage": "null"} in [snapshot.state for snapshot in homes.snapshots]


def test_a_restore_can_be_undone(project: str) -> None:
    write_columns(project, {"facts": '"not taken in yet"'})
    scenes.reverse(project, force=True)
    kept = scenes.homes_of(project).snapshots[2]

    scenes.reverse(project, force=True, as_of=kept.at)

    assert scenes.homes_of(project).columns == {"facts": '"not taken in yet"', "coverage": "null"}


def test_agentkit_ahead_is_restored_into_both_homes(project: str) -> None:
    live = scenes.save(project, "facts", "3", legacy=False)

    outcome = scenes.reverse(project, force=True)

    assert outcome.counts == Counts(written=1, runs=1, events=1)
    homes = scenes.homes_of(project)
    assert homes.workflows[-2:] == ["live", "legacy_restore"]
    assert homes.snapshots[-2].run == live
    assert homes.columns["facts"] == "3"
    assert homes.in_sync


def test_a_snapshot_in_the_future_stays_the_newest(project: str) -> None:
    scenes.save(project, "facts", "3", legacy=False, clock_ahead=timedelta(days=1))
    write_columns(project, {"coverage": '"from legacy"'})
    before = scenes.homes_of(project)
    assert before.clock < before.newest.at

    scenes.reverse(project, force=True)

    homes = scenes.homes_of(project)
    live, kept, restored = homes.snapshots[-3:]
    assert kept.at == live.at + timedelta(microseconds=1)
    assert restored.at == live.at + timedelta(microseconds=2)
    assert kept.state == before.columns
    assert homes.columns == live.state
    assert homes.in_sync


def test_projects_without_an_earlier_snapshot_are_counted_and_named() -> None:
    projects = [ProjectFactory(documents={"facts": "1"}).id for _ in range(12)]

    assert scenes.reverse(force=True).without_snapshot == (12, sorted(projects)[:10])


@pytest.mark.django_db(transaction=True)
def test_one_of_two_concurrent_restores_writes(project: str) -> None:
    scenes.empty_columns(project)
    outcomes: list[Outcome] = []

    with transaction.atomic():
        scenes.run_sql('SELECT FROM "Project" WHERE id = %s FOR NO KEY UPDATE', project)
        other = scenes.start_and_wait_for_lock(lambda: outcomes.append(scenes.reverse(project, force=True)))
        scenes.reverse(project, force=True)
        restored = scenes.homes_of(project)
    other.join()

    assert outcomes[0].counts == Counts()
    assert scenes.homes_of(project) == restored
