"""Forks: both homes moved on from a common base, and are merged by key, or settled by a person."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import transaction

from agentstate.backfill import Counts, Outcome
from tests import scenes
from tests.factories import ProjectFactory, write_columns

pytestmark = pytest.mark.django_db

BASE = {"facts": '"base"', "coverage": '{"score": 0.1}', "rfpNorm": '{"meta": {}}'}


@pytest.fixture
def project() -> str:
    """A project whose homes were equal once."""
    project = ProjectFactory(documents=BASE).id
    scenes.forward()
    return project


def save(project: str, key: str, document: str, run: str | None = None) -> str | None:
    """Save into the AgentKit home only."""
    return scenes.save(project, key, document, legacy=False, run=run)


def test_each_key_comes_from_the_home_that_changed_it(project: str) -> None:
    save(project, "facts", '"from agentkit"')
    write_columns(project, {"coverage": '{"score": 0.20}', "eligibility": "[1]"})
    before = scenes.homes_of(project)

    outcome = scenes.forward()

    assert (outcome.candidates, outcome.counts.written, outcome.counts.merged) == (1, 0, 1)
    assert outcome.counts.runs == 2
    homes = scenes.homes_of(project)
    assert homes.snapshots[:-2] == before.snapshots
    kept, merged = homes.snapshots[-2:]
    assert (kept.workflow, kept.at, kept.legacy_at) == ("legacy_snapshot", before.clock, before.clock)
    assert kept.state == before.columns == homes.columns
    assert merged.workflow == "legacy_merge"
    assert merged.state == {**before.columns, "facts": '"from agentkit"'}
    assert merged.legacy_at == homes.clock == before.clock
    assert merged.at > before.clock
    assert scenes.standing_of(project) == "agentkit_ahead"


def test_the_merge_names_the_keys_from_legacy(project: str) -> None:
    save(project, "facts", '"from agentkit"')
    write_columns(project, {"eligibility": "[1]", "coverage": "null"})

    outcome = scenes.forward()

    kept, merged = scenes.homes_of(project).snapshots[-2:]
    assert [kind for kind, _ in scenes.events_of(kept.run)] == ["snapshot.legacy", "eligibility.flag"]
    assert scenes.events_of(merged.run) == [("fork.merged", '{"from": "legacy", "keys": ["coverage", "eligibility"]}')]
    assert outcome.counts.events == 3
    assert scenes.rows('SELECT created_at FROM "AgentWorkflowRunEvent" WHERE run_id = %s', merged.run) == [
        (merged.at + timedelta(microseconds=1),)
    ]


def test_the_merged_run_records_its_sources(project: str) -> None:
    save(project, "facts", "1")
    write_columns(project, {"coverage": "1"})
    scenes.forward()
    merged = scenes.homes_of(project).newest

    assert merged.run.startswith(f"merge_{project}_")
    assert scenes.one(
        """SELECT status, input, error, result ? 'output', started_at = snapshot_at AND completed_at = snapshot_at
           FROM "AgentWorkflowRun" WHERE id = %s""",
        merged.run,
    ) == ("succeeded", '{"source": "legacy_merge"}', None, False, True)


def test_reverse_writes_the_merged_state_into_the_columns(project: str) -> None:
    save(project, "facts", "1")
    write_columns(project, {"coverage": "2"})
    scenes.forward()

    assert scenes.reverse().counts.written == 1

    homes = scenes.homes_of(project)
    assert homes.columns == {**BASE, "facts": "1", "coverage": "2"}
    assert homes.in_sync
    rows = scenes.everything()
    scenes.forward()
    scenes.reverse()
    assert scenes.everything() == rows


@pytest.mark.parametrize(
    ("agentkit", "legacy", "merged"),
    [
        ({"facts": "1"}, {"rfpNorm": None}, {"facts": "1", "coverage": BASE["coverage"]}),
        ({"facts": "1"}, {"rfpNorm": "null"}, {**BASE, "facts": "1", "rfpNorm": "null"}),
        ({"facts": "null"}, {"coverage": "1"}, {**BASE, "facts": "null", "coverage": "1"}),
        ({"facts": "1"}, {"facts": "1"}, {**BASE, "facts": "1"}),
        ({"facts": "1"}, {"facts": "1.0"}, {**BASE, "facts": "1.0"}),
        ({"facts": "1"}, {"facts": "1", "eligibility": "2"}, {**BASE, "facts": "1", "eligibility": "2"}),
        ({"conflictLog": "[]"}, {"eligibility": "[]"}, {**BASE, "conflictLog": "[]", "eligibility": "[]"}),
    ],
    ids=["SQL NULL", "JSON null", "AgentKit null", "same", "equal", "same and other", "new keys"],
)
def test_a_fork_without_a_clash_is_merged(
    project: str, agentkit: scenes.Documents, legacy: dict[str, str | None], merged: scenes.Documents
) -> None:
    for key, document in agentkit.items():
        save(project, key, document)
    write_columns(project, legacy)
    assert scenes.standing_of(project) == "forked"

    assert scenes.forward().counts.merged == 1

    newest = scenes.homes_of(project).newest
    assert newest.workflow == "legacy_merge"
    assert newest.state == merged


@pytest.mark.parametrize(
    ("agentkit", "legacy"),
    [("1", "2"), ("1", None), ("1", "null"), ("null", None), ("0.1", "0.2"), ('{"a": 1}', '{"a": 1, "b": null}')],
)
def test_a_key_that_both_changed_differently_needs_a_decision(project: str, agentkit: str, legacy: str | None) -> None:
    save(project, "facts", agentkit)
    write_columns(project, {"facts": legacy, "coverage": "2"})
    rows = scenes.everything()

    outcome = scenes.forward()

    assert outcome.forked == (1, [project])
    assert outcome.counts.failures == []
    assert scenes.everything() == rows


@pytest.mark.parametrize(("prefer", "facts"), [("legacy", '"from legacy"'), ("agentkit", '"from agentkit"')])
def test_a_decision_settles_the_clash_and_the_rest_is_merged(project: str, prefer: str, facts: str) -> None:
    save(project, "facts", '"from agentkit"')
    save(project, "conflictLog", "[1]")
    write_columns(project, {"facts": '"from legacy"', "coverage": "2"})

    outcome = scenes.forward(project, prefer=prefer)

    assert (outcome.counts.written, outcome.counts.merged, outcome.forked) == (0, 1, (0, []))
    homes = scenes.homes_of(project)
    assert homes.newest.state == {**BASE, "facts": facts, "coverage": "2", "conflictLog": "[1]"}
    assert scenes.events_of(homes.newest.run) == [
        ("fork.merged", '{"from": "legacy", "keys": ["coverage"]}'),
        ("fork.settled", json.dumps({"from": prefer, "keys": ["facts"]})),
    ]
    # The other home's document stays in the history.
    assert {'"from legacy"', '"from agentkit"'} <= {snapshot.state["facts"] for snapshot in homes.snapshots}


def test_only_the_named_projects_are_settled(project: str) -> None:
    other = ProjectFactory(documents=BASE).id
    scenes.forward()
    for each in (project, other):
        save(each, "facts", "1")
        write_columns(each, {"facts": "2"})

    outcome = scenes.forward(other, prefer="legacy")

    assert outcome.forked == (0, [])
    assert scenes.standings() == {project: "forked", other: "agentkit_ahead"}


def test_a_project_can_fork_again(project: str) -> None:
    for number in range(3):
        save(project, "facts", f"{number}")
        write_columns(project, {"coverage": f"{number}"})
        assert scenes.forward().counts.merged == 1

    homes = scenes.homes_of(project)
    assert homes.newest.state == {**BASE, "facts": "2", "coverage": "2"}
    # The columns stay behind until a reverse pass: what AgentKit merged before is no change of theirs.
    assert homes.columns == {**BASE, "coverage": "2"}


@pytest.mark.django_db(transaction=True)
def test_one_of_two_concurrent_passes_merges(project: str) -> None:
    save(project, "facts", "1")
    write_columns(project, {"coverage": "2"})
    outcomes: list[Outcome] = []

    with transaction.atomic():
        scenes.run_sql('SELECT FROM "Project" WHERE id = %s FOR NO KEY UPDATE', project)
        other = scenes.start_and_wait_for_lock(lambda: outcomes.append(scenes.forward()))
        assert scenes.forward().counts.merged == 1
        merged = scenes.homes_of(project)
    other.join()

    assert outcomes[0].counts == Counts()
    assert scenes.homes_of(project) == merged


# -- the base, where its run has saved again since


def test_a_base_whose_run_moved_on_is_rebuilt_from_its_events(project: str) -> None:
    run = scenes.save(project, "facts", '"in both"')
    scenes.save(project, "conflictLog", "[1]", run=run)
    save(project, "eligibility", "[2]", run=run)
    save(project, "eligibility", "[3]", run=run)
    assert scenes.homes_of(project).workflows == ["legacy_snapshot", "live"]
    write_columns(project, {"coverage": "4"})

    assert scenes.forward().counts.merged == 1

    merged = scenes.homes_of(project).newest
    assert merged.state == {**BASE, "facts": '"in both"', "conflictLog": "[1]", "eligibility": "[3]", "coverage": "4"}
    assert scenes.events_of(merged.run) == [("fork.merged", '{"from": "legacy", "keys": ["coverage"]}')]


def test_a_rebuilt_base_reveals_a_clash(project: str) -> None:
    run = scenes.save(project, "facts", '"in both"')
    save(project, "facts", '"from agentkit"', run=run)
    write_columns(project, {"facts": BASE["facts"]})  # as it was before both changed it
    rows = scenes.everything()

    assert scenes.forward().forked == (1, [project])
    assert scenes.everything() == rows


def test_two_live_runs_alternate(project: str) -> None:
    one = scenes.save(project, "facts", "1")
    other = scenes.save(project, "conflictLog", "2")
    save(project, "facts", "3", run=one)
    save(project, "conflictLog", "4", run=other)
    save(project, "eligibility", "5", run=one)
    write_columns(project, {"coverage": "6"})

    assert scenes.forward().counts.merged == 1

    assert scenes.homes_of(project).newest.state == {
        **BASE,
        "facts": "3",
        "conflictLog": "4",
        "eligibility": "5",
        "coverage": "6",
    }


def test_a_base_made_by_reverse_is_found_after_its_run_saved_again(project: str) -> None:
    run = save(project, "facts", "1")
    scenes.reverse()
    save(project, "facts", "2", run=run)
    write_columns(project, {"coverage": "3"})

    assert scenes.forward().counts.merged == 1

    assert scenes.homes_of(project).newest.state == {**BASE, "facts": "2", "coverage": "3"}


def test_without_a_base_each_difference_needs_a_decision(project: str) -> None:
    run = scenes.save(project, "facts", '"in both"')
    save(project, "conflictLog", "[1]", run=run)
    write_columns(project, {"coverage": "4"})
    scenes.run_sql("DELETE FROM \"AgentWorkflowRunEvent\" WHERE payload ? 'facts'")

    assert scenes.forward().forked == (1, [project])
    assert scenes.forward(prefer="agentkit").counts.merged == 1

    merged = scenes.homes_of(project).newest
    assert merged.state == {**BASE, "facts": '"in both"', "conflictLog": "[1]"}
    assert scenes.events_of(merged.run) == [
        ("fork.merged", '{"from": "legacy", "keys": []}'),
        ("fork.settled", '{"from": "agentkit", "keys": ["coverage", "conflictLog"]}'),
    ]


# -- a server whose clock was set back


def test_a_legacy_change_that_looks_older_gets_a_new_clock_in_both_homes(project: str) -> None:
    save(project, "facts", "1")
    scenes.write_with_clock_set_back(project, {"coverage": "2"})
    before = scenes.homes_of(project)
    assert before.clock < before.newest.at

    assert scenes.forward().counts.merged == 1

    homes = scenes.homes_of(project)
    _, live, kept, merged = homes.snapshots
    assert live.at < kept.at == kept.legacy_at == homes.clock == merged.legacy_at < merged.at
    assert kept.state == homes.columns == before.columns
    assert merged.state == {**BASE, "facts": "1", "coverage": "2"}


def test_a_snapshot_in_the_future_stays_the_newest(project: str) -> None:
    scenes.save(project, "facts", "1", legacy=False, clock_ahead=timedelta(days=1))
    write_columns(project, {"coverage": "2"})

    assert scenes.forward().counts.merged == 1

    homes = scenes.homes_of(project)
    _, live, kept, merged = homes.snapshots
    assert kept.at == live.at + timedelta(microseconds=1)
    assert merged.at == live.at + timedelta(microseconds=2)
    assert merged.state == {**BASE, "facts": "1", "coverage": "2"}
    scenes.reverse()
    assert scenes.homes_of(project).columns == merged.state
    write_columns(project, {"facts": "3"})
    assert scenes.homes_of(project).clock == live.at + timedelta(microseconds=3)


# -- what looks like a fork's counterpart: unequal and emptied ones


def test_an_unequal_project_is_settled_for_agentkit(project: str) -> None:
    scenes.damage(project, facts='"damaged"')

    assert scenes.forward(project, prefer="agentkit").counts.merged == 1

    kept, merged = scenes.homes_of(project).snapshots[-2:]
    assert kept.state == {**BASE, "facts": '"damaged"'}
    assert merged.state == BASE
    assert scenes.events_of(merged.run) == [("fork.settled", '{"from": "agentkit", "keys": ["facts"]}')]


def test_an_unequal_project_is_settled_for_legacy(project: str) -> None:
    scenes.damage(project, facts='"damaged"')
    before = scenes.homes_of(project)

    outcome = scenes.forward(project, prefer="legacy")

    assert (outcome.counts.written, outcome.counts.merged) == (1, 0)
    homes = scenes.homes_of(project)
    assert homes.workflows == ["legacy_snapshot", "legacy_snapshot"]
    assert homes.newest.state == {**BASE, "facts": '"damaged"'}
    assert homes.clock > before.clock
    assert homes.in_sync


@pytest.mark.parametrize("prefer", ["legacy", "agentkit"])
def test_emptied_columns_of_a_fork_clash_in_every_key(project: str, prefer: str) -> None:
    save(project, "conflictLog", "[1]")
    scenes.empty_columns(project)

    assert scenes.forward(project, prefer=prefer).counts.merged == 1

    merged = scenes.homes_of(project).newest
    assert merged.state == ({} if prefer == "legacy" else {**BASE, "conflictLog": "[1]"})
    assert scenes.events_of(merged.run) == [
        ("fork.merged", '{"from": "legacy", "keys": []}'),
        (
            "fork.settled",
            json.dumps({"from": prefer, "keys": ["rfpNorm", "facts", "coverage", "conflictLog"]}),
        ),
    ]


def test_a_deleted_projects_run_with_the_snapshots_id_is_renamed(project: str) -> None:
    save(project, "facts", "1")
    write_columns(project, {"coverage": "1"})
    scenes.run_sql(
        """INSERT INTO "AgentWorkflowRun" (id, workflow_id, status, started_at)
           SELECT 'legacy_' || id || '_' || (extract(epoch FROM "stateUpdatedAt") * 1000000)::bigint,
                  'legacy_snapshot', 'succeeded', now()
           FROM "Project" WHERE id = %s""",
        project,
    )

    outcome = scenes.forward()

    assert (outcome.counts.merged, outcome.counts.failures) == (1, [])
    kept = scenes.homes_of(project).snapshots[-2]
    assert kept.state == {**scenes.homes_of(project).columns, "coverage": "1"}
