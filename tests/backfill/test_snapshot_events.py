"""The legacy snapshot, as a reader of the two tables finds it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from agentstate.backfill import Counts
from agentstate.backfill.verification import verify
from agentstate.models import AgentWorkflowRun
from tests import scenes
from tests.factories import ProjectFactory

pytestmark = pytest.mark.django_db


def snapshot_of(**documents: str) -> AgentWorkflowRun:
    """Move a project with these columns, and return its snapshot."""
    project = ProjectFactory(documents=documents)
    scenes.forward(project.id)
    return AgentWorkflowRun.objects.get(project=project)


def events(**documents: str) -> list[tuple[str, str]]:
    """Return what follows the first event of the snapshot of these columns."""
    return scenes.events_of(snapshot_of(**documents).id)[1:]


def test_the_run_holds_the_columns_at_their_clock() -> None:
    project = ProjectFactory(documents={"facts": '[{"id": "f1"}]', "rfpNorm": "null"})

    outcome = scenes.forward()

    assert outcome.candidates == 1
    assert outcome.counts == Counts(written=1, runs=1, events=1)
    run = AgentWorkflowRun.objects.get()
    clock = project.state_updated_at
    microseconds = (clock - clock.fromtimestamp(0, clock.tzinfo)) // timedelta(microseconds=1)
    assert run.id == f"legacy_{project.id}_{microseconds}"
    assert run.workflow_id == "legacy_snapshot"
    assert run.project_id == project.id
    assert run.status == AgentWorkflowRun.Status.SUCCEEDED
    assert run.input == {"source": "legacy_snapshot"}
    assert run.result == {"state": {"facts": [{"id": "f1"}], "rfpNorm": None}}
    assert run.error is None
    assert run.started_at == run.completed_at == run.snapshot_at == run.legacy_at == clock
    project.refresh_from_db()
    assert project.state_updated_at == clock


def test_events_follow_in_order_with_readable_ids() -> None:
    run = snapshot_of(
        eligibility='{"items": [{"id": "e1"}, {"id": "e2"}]}',
        conflictLog='[{"key": "budget"}, "text", null]',
        coverage='{"score": 0.10, "requirements": []}',
        facts="{}",
        rfpNorm="null",
    )

    assert list(run.events.order_by("created_at").values_list("id", "type", "created_at")) == [
        (f"{run.id}_0000{ordinal}", kind, run.snapshot_at + timedelta(microseconds=ordinal))
        for ordinal, kind in enumerate(
            [
                "snapshot.legacy",
                "coverage.delta",
                *["conflict.found"] * 3,
                *["eligibility.flag"] * 2,
            ],
            start=1,
        )
    ]
    assert [payload for _, payload in scenes.events_of(run.id)] == [
        '{"keys": ["rfpNorm", "facts", "coverage", "conflictLog", "eligibility"]}',
        '{"to": 0.10, "from": null}',
        '{"key": "budget"}',
        '"text"',
        "null",
        '{"id": "e1"}',
        '{"id": "e2"}',
    ]


def test_the_first_event_names_the_keys_that_are_present() -> None:
    run = snapshot_of(eligibility="null", rfpNorm="{}", conflictLog="[]")

    assert scenes.events_of(run.id) == [("snapshot.legacy", '{"keys": ["rfpNorm", "conflictLog", "eligibility"]}')]


def test_an_ordinal_of_six_digits_is_not_cut() -> None:
    run = snapshot_of(conflictLog=json.dumps([None] * 100_000))

    last = run.events.order_by("created_at").last()
    assert last is not None
    assert last.id == f"{run.id}_100001"
    assert run.events.count() == 100_001


@pytest.mark.parametrize(
    ("coverage", "payloads"),
    [
        ('{"score": 0.85}', ['{"to": 0.85, "from": null}']),
        ('{"score": 0}', ['{"to": 0, "from": null}']),
        ('{"score": 1e400}', ['{"to": 1' + "0" * 400 + ', "from": null}']),
        ('{"score": "0.85"}', []),
        ('{"score": null}', []),
        ('{"score": {"value": 1}}', []),
        ("{}", []),
        ("0.85", []),
        ('"0.85"', []),
        ('[{"score": 0.85}]', []),
        ("null", []),
    ],
)
def test_a_coverage_event_needs_a_numeric_score(coverage: str, payloads: list[str]) -> None:
    assert events(coverage=coverage) == [("coverage.delta", payload) for payload in payloads]


@pytest.mark.parametrize(
    ("log", "payloads"),
    [
        ('[{"key": "a"}, {"key": "b"}]', ['{"key": "a"}', '{"key": "b"}']),
        ('[null, 1, "text", [], {}]', ["null", "1", '"text"', "[]", "{}"]),
        ("[[1], [2]]", ["[1]", "[2]"]),
        ("[]", []),
        ('{"key": "a"}', ['{"key": "a"}']),
        ("{}", ["{}"]),
        ('"text"', ['"text"']),
        ("0", ["0"]),
        ("false", ["false"]),
        ("null", []),
    ],
)
def test_each_conflict_makes_an_event(log: str, payloads: list[str]) -> None:
    assert events(conflictLog=log) == [("conflict.found", payload) for payload in payloads]


@pytest.mark.parametrize(
    ("eligibility", "payloads"),
    [
        ('{"items": [{"id": "a"}, null], "overrides": {}}', ['{"id": "a"}', "null"]),
        ('{"items": []}', []),
        ('[{"id": "a"}, {"items": [1]}]', ['{"id": "a"}', '{"items": [1]}']),
        ("[]", []),
        ("[null]", ["null"]),
        ('{"overrides": {}}', ['{"overrides": {}}']),
        ('{"items": {"id": "a"}}', ['{"items": {"id": "a"}}']),
        ('{"items": null}', ['{"items": null}']),
        ('{"items": "text"}', ['{"items": "text"}']),
        ("{}", ["{}"]),
        ('"text"', ['"text"']),
        ("1", ["1"]),
        ("null", []),
    ],
)
def test_each_eligibility_item_makes_an_event(eligibility: str, payloads: list[str]) -> None:
    assert events(eligibility=eligibility) == [("eligibility.flag", payload) for payload in payloads]


def test_one_list_alone_follows_the_first_event() -> None:
    run = snapshot_of(eligibility='["a"]')

    assert list(run.events.order_by("created_at").values_list("id", flat=True)) == [
        f"{run.id}_00001",
        f"{run.id}_00002",
    ]


def test_a_project_without_any_document_makes_no_run() -> None:
    ProjectFactory(documents={})

    outcome = scenes.forward()

    assert (outcome.candidates, outcome.counts) == (0, Counts())
    assert not AgentWorkflowRun.objects.exists()


def test_a_project_with_only_json_nulls_makes_a_run() -> None:
    run = snapshot_of(facts="null", coverage="null")

    assert run.result == {"state": {"facts": None, "coverage": None}}
    assert scenes.events_of(run.id) == [("snapshot.legacy", '{"keys": ["facts", "coverage"]}')]


def test_a_column_that_changes_again_makes_another_snapshot() -> None:
    project = ProjectFactory(documents={"facts": "1", "coverage": '{"score": 1}'}).id
    scenes.forward()
    first = scenes.homes_of(project).newest
    scenes.write_columns(project, {"facts": "2"})

    scenes.forward()

    homes = scenes.homes_of(project)
    assert homes.snapshots[0] == first
    assert homes.newest.state == {"facts": "2", "coverage": '{"score": 1}'}
    assert homes.in_sync
    assert [kind for kind, _ in scenes.events_of(homes.newest.run)] == ["snapshot.legacy", "coverage.delta"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "path"),
    [
        ("DELETE FROM \"AgentWorkflowRunEvent\" WHERE type = 'conflict.found'", "{run}_00002"),
        (
            "UPDATE \"AgentWorkflowRunEvent\" SET payload = '{\"key\": 2}' WHERE type = 'conflict.found'",
            "{run}_00002.key",
        ),
        ("UPDATE \"AgentWorkflowRunEvent\" SET type = 'conflict.resolved' WHERE payload ? 'key'", "{run}_00002"),
        (
            """INSERT INTO "AgentWorkflowRunEvent"
               SELECT run_id || '_00003', run_id, type, payload, created_at + interval '1 second'
               FROM "AgentWorkflowRunEvent" WHERE type = 'conflict.found'""",
            "{run}_00003",
        ),
    ],
    ids=["missing", "changed", "of another type", "superfluous"],
)
def test_verification_names_an_unexpected_event(change: str, path: str) -> None:
    run = snapshot_of(conflictLog='[{"key": 1}]')
    assert verify().clean

    scenes.run_sql(change)

    found = verify()
    assert not found.clean
    assert found.problems["event"] == 1
    assert found.offenders == [(run.project_id, "event", path.format(run=run.id))]
