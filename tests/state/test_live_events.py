"""The events of a save tell what changed, and what that means for coverage, conflicts and eligibility."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agentstate import state
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent, Project
from agentstate.state import ABSENT
from agentstate.state.live_events import LIVE_EVENTS
from tests import scenes
from tests.factories import EventFactory, ProjectFactory, RunFactory
from tests.sql import explained

pytestmark = pytest.mark.django_db

Event = tuple[str, Any]

BUDGET = {"type": "section_conflict", "key": "budget", "previous": {"version": 1}, "next": {"version": 2}}
TIMELINE = BUDGET | {"key": "timeline"}
US_ONLY = {"id": "us", "text": "must be in the US", "fatal": True}
CHARITY = {"id": "charity", "text": "must be a 501(c)(3)"}


@pytest.fixture(params=["both", "agentkit"])
def project(request: pytest.FixtureRequest) -> str:
    """A project with nothing in it, whose saves go into the AgentKit home at least."""
    scenes.open_gates(agentkit_writes=True, legacy_writes=request.param == "both")
    return ProjectFactory().id


def events(run: str) -> list[AgentWorkflowRunEvent]:
    return list(AgentWorkflowRunEvent.objects.filter(run=run).order_by("created_at"))


def told(project: str, **documents: Any) -> list[Event]:
    """Save, and return the events of that."""
    run = state.save(project, **documents).run_id
    return [(event.type, event.payload) for event in events(run)] if run else []


def told_beside_the_change(project: str, before: Any, after: Any, name: str) -> list[Event]:
    """Save a document, then another in its place, and return what the second save tells beside ``state.changed``."""
    state.save(project, **{name: before})
    first, *others = told(project, **{name: after})
    assert first[0] == "state.changed"
    return others


# -- state.changed


def test_only_changes_are_recorded(project: str) -> None:
    state.save(project, facts=1, rfp_norm=None, coverage={"score": 1})

    assert told(project, facts=2, rfp_norm=None, coverage=ABSENT, eligibility=ABSENT) == [
        ("state.changed", {"facts": 2, "absent": ["coverage"]}),
        ("coverage.delta", {"from": 1, "to": None}),
    ]
    assert told(project, facts=None) == [("state.changed", {"facts": None})]
    assert told(project, facts=ABSENT, rfp_norm=ABSENT) == [("state.changed", {"absent": ["rfpNorm", "facts"]})]
    assert told(project, facts=ABSENT) == []


def test_the_payload_has_the_digits_that_were_saved(project: str) -> None:
    run = state.save(project, coverage=state.documents.decode('{"score": 0.10, "big": 1234567890123456789012}')).run_id

    assert run is not None
    assert [payload for _, payload in scenes.events_of(run)] == [
        '{"coverage": {"big": 1234567890123456789012, "score": 0.10}}',
        '{"to": 0.10, "from": null}',
    ]


def test_columns_taken_in_first_are_recorded_as_a_legacy_snapshot() -> None:
    project = ProjectFactory(documents={"coverage": '{"score": 0.2}', "conflictLog": "[1]"}).id
    scenes.open_gates(agentkit_writes=True)

    assert told(project, coverage={"score": 0.5}) == [
        ("state.changed", {"coverage": {"score": 0.5}}),
        ("coverage.delta", {"from": 0.2, "to": 0.5}),
    ]
    assert [kind for kind, _ in scenes.events_of(scenes.homes_of(project).snapshots[0].run)] == [
        "snapshot.legacy",
        "coverage.delta",
        "conflict.found",
    ]


# -- coverage


@pytest.mark.parametrize(
    ("before", "after", "delta"),
    [
        (ABSENT, {"score": 0.42}, (None, 0.42)),
        ({"score": 0.42}, {"score": 0.61, "requirements": []}, (0.42, 0.61)),
        ({"score": 0.42}, {"score": 0.42, "requirements": []}, None),
        ({"score": 1}, {"score": 1.0, "requirements": []}, None),
        ({"score": 0.42}, {}, (0.42, None)),
        ({"score": 0.42}, None, (0.42, None)),
        ({"score": 0.42}, {"score": "0.42"}, (0.42, None)),
        ({"score": "0.42"}, {"score": "0.43"}, None),
        ({"score": None}, {"score": 0}, (None, 0)),
        (0.4, 0.5, None),
        ("score", ["score"], None),
        (["score"], {"score": [1]}, None),
        (None, True, None),
    ],
    ids=repr,
)
def test_a_changed_score_has_a_delta(
    project: str, before: Any, after: Any, delta: tuple[float | None, float | None] | None
) -> None:
    expected = [] if delta is None else [("coverage.delta", {"from": delta[0], "to": delta[1]})]

    assert told_beside_the_change(project, before, after, "coverage") == expected


# -- conflicts


def found(*entries: Any) -> list[Event]:
    return [("conflict.found", entry) for entry in entries]


def resolved(*entries: Any) -> list[Event]:
    return [("conflict.resolved", entry) for entry in entries]


BY_LATEST = {"resolved": "latest"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (ABSENT, [BUDGET, TIMELINE], found(BUDGET, TIMELINE)),
        ([BUDGET], [TIMELINE, BUDGET], found(TIMELINE)),
        ([BUDGET, TIMELINE], [TIMELINE, BUDGET], []),
        ([BUDGET], [BUDGET, BUDGET], []),
        ([BUDGET], [], []),
        ([BUDGET], ABSENT, []),
        ([BUDGET], None, []),
        ([], [TIMELINE, TIMELINE], found(TIMELINE, TIMELINE)),
        ([BUDGET, TIMELINE], [BUDGET | BY_LATEST, TIMELINE], resolved(BUDGET | BY_LATEST)),
        ([BUDGET], [BUDGET | BY_LATEST, TIMELINE], resolved(BUDGET | BY_LATEST) + found(TIMELINE)),
        ([BUDGET | BY_LATEST], [BUDGET | {"resolved": "previous"}], resolved(BUDGET | {"resolved": "previous"})),
        ([BUDGET | BY_LATEST], [BUDGET], found(BUDGET)),
        ([BUDGET], [BUDGET | {"resolved": None}], found(BUDGET | {"resolved": None})),
        ([TIMELINE], [TIMELINE, BUDGET | BY_LATEST], found(BUDGET | BY_LATEST)),
        (ABSENT, [BUDGET | BY_LATEST], found(BUDGET | BY_LATEST)),
        # odd shapes
        (BUDGET, [BUDGET], []),
        (BUDGET, BUDGET | BY_LATEST, resolved(BUDGET | BY_LATEST)),
        ("one", "other", found("other")),
        (None, 5, found(5)),
        ([], None, []),
        ([1], [1, None, "x", [2], True], found(None, "x", [2], True)),
        (["x", 1, None, [BUDGET], {}], [BY_LATEST, "y"], resolved(BY_LATEST) + found("y")),
        (["x", 1, None, [BUDGET]], [BY_LATEST, ["resolved"]], found(BY_LATEST, ["resolved"])),
        (["x", 1, BUDGET, None], ["x", 1, BUDGET | BY_LATEST, None], resolved(BUDGET | BY_LATEST)),
        ({}, "x", found("x")),
    ],
    ids=lambda value: str(len(str(value))),
)
def test_new_conflicts_are_events(project: str, before: Any, after: Any, expected: list[Event]) -> None:
    assert told_beside_the_change(project, before, after, "conflict_log") == expected


# -- eligibility


@pytest.mark.parametrize(
    ("before", "after", "flagged"),
    [
        (ABSENT, {"items": [US_ONLY, CHARITY]}, [US_ONLY, CHARITY]),
        ({"items": [US_ONLY]}, {"items": [CHARITY, US_ONLY]}, [CHARITY]),
        ({"items": [US_ONLY]}, {"items": [US_ONLY | {"fatal": False}]}, [US_ONLY | {"fatal": False}]),
        ({"items": [US_ONLY]}, {"items": [US_ONLY], "overrides": {"us": True}}, []),
        ({"items": [US_ONLY]}, {"items": []}, []),
        ({"items": [US_ONLY]}, ABSENT, []),
        # odd shapes
        ([US_ONLY], {"items": [US_ONLY, None]}, [None]),
        ({"items": [US_ONLY]}, [US_ONLY, "x"], ["x"]),
        ("one", "other", ["other"]),
        (None, {"items": "x"}, [{"items": "x"}]),
        ({"items": "x"}, {"items": None}, [{"items": None}]),
        ([], None, []),
        (0, False, [False]),
    ],
    ids=repr,
)
def test_new_items_are_events(project: str, before: Any, after: Any, flagged: list[Any]) -> None:
    expected = [("eligibility.flag", item) for item in flagged]

    assert told_beside_the_change(project, before, after, "eligibility") == expected


# -- order and times


def everything_new(number: int) -> dict[str, Any]:
    return {
        "eligibility": [f"item {number}", "another"][: 1 + number % 2],
        "conflict_log": [f"conflict {number}.{place}" for place in range(3)],
        "coverage": {"score": number},
        "facts": number,
    }


KINDS = ["state.changed", "coverage.delta", *["conflict.found"] * 3, "eligibility.flag"]


def test_events_are_a_microsecond_apart_from_the_clock_value_on(project: str) -> None:
    saved = state.save(project, **everything_new(0))

    assert saved.run_id is not None
    assert saved.at is not None
    assert [(event.type, event.created_at) for event in events(saved.run_id)] == [
        (kind, saved.at + timedelta(microseconds=place)) for place, kind in enumerate(KINDS)
    ]


def test_a_run_can_save_repeatedly(project: str) -> None:
    run = RunFactory(project=Project.objects.get(pk=project), status="running").pk

    saves = [state.save(project, run=run, **everything_new(number)) for number in range(10)]

    told = events(run)
    moments = [event.created_at for event in told]
    assert moments == sorted(set(moments))
    assert [event.created_at for event in told if event.type == "state.changed"] == [saved.at for saved in saves]
    assert [event.payload for event in told if event.type == "coverage.delta"] == [
        {"from": number - 1 if number else None, "to": number} for number in range(10)
    ]


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(microseconds=2)])
def test_a_run_can_have_later_events(project: str, ahead: timedelta) -> None:
    run = RunFactory(project=Project.objects.get(pk=project), status="running").pk
    earlier = [
        EventFactory(run=AgentWorkflowRun.objects.get(pk=run), created_at=timezone.now() + ahead * place)
        for place in range(5)
    ]

    state.save(project, run=run, **everything_new(0))

    assert [event.pk for event in events(run)][:5] == [event.pk for event in earlier]
    assert [event.type for event in events(run)][5:] == KINDS


def test_other_runs_events_do_not_matter(project: str) -> None:
    later: datetime = EventFactory(created_at=timezone.now() + timedelta(hours=1)).created_at

    saved = state.save(project, facts=1)

    assert saved.at is not None
    assert saved.at < later


def test_a_save_into_the_columns_alone_has_no_events() -> None:
    project = ProjectFactory(documents={"facts": "1"}).id
    scenes.forward(project, sessions=False)
    before = AgentWorkflowRunEvent.objects.count()
    scenes.open_gates(agentkit_writes=False, legacy_writes=True)

    state.save(project, **everything_new(0))

    assert AgentWorkflowRunEvent.objects.count() == before


def test_ids_are_unique_cuids(project: str) -> None:
    run = state.save(project, **everything_new(0)).run_id

    assert run is not None
    ids = {event.pk for event in events(run)}
    assert len(ids) == len(KINDS)
    assert all(len(each) == 24 and each.isalnum() and each.islower() for each in ids)


LONG = [BUDGET | {"key": f"section {number}"} for number in range(1000)]


@pytest.mark.parametrize("name", ["conflict_log", "eligibility"])
def test_a_long_list_grows(project: str, name: str) -> None:
    state.save(project, **{name: LONG})

    assert len(told(project, **{name: [*LONG, "new"]})) == 2


def test_a_long_list_is_resolved_at_once(project: str) -> None:
    state.save(project, conflict_log=LONG)

    _, *others = told(project, conflict_log=[entry | BY_LATEST for entry in LONG])

    assert [type_ for type_, _ in others] == ["conflict.resolved"] * 1000


@pytest.mark.parametrize("after", [[*LONG, "new"], [entry | BY_LATEST for entry in LONG]], ids=["grown", "resolved"])
@pytest.mark.parametrize("key", ["conflictLog", "eligibility"])
def test_no_entry_of_a_long_list_is_compared_with_each_other(key: str, after: list[Any]) -> None:
    changed = "WITH changed (key, before, after) AS (VALUES (%s, %s::jsonb, %s::jsonb))"

    nodes = explained(f"{changed} {LIVE_EVENTS}", [key, json.dumps(LONG), json.dumps(after)], "ANALYZE")

    kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    rows = [node["Actual Loops"] * node.get(kind, 0) for node in nodes for kind in kinds]
    assert len(LONG) <= max(rows) < 3 * len(LONG)


def test_events_record_the_difference_of_the_snapshots(project: str) -> None:
    documents = {"facts": {"a": [1, {"b": None}]}, "rfp_norm": "x"}

    ((_, payload),) = told(project, **documents)

    state_now = scenes.homes_of(project).newest.state
    assert {key: json.loads(document) for key, document in state_now.items()} == payload
