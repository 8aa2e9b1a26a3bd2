"""Resolutions and overrides: their effect on the state, and that they outlive the next intake."""

from __future__ import annotations

from typing import Any

import pytest

from agentstate import state
from agentstate.intake.decisions import UnknownDecision
from agentstate.intake.reading import SourceFile, read
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.orchestrator import ingest, override_eligibility, resolve_conflict
from agentstate.samples.call import sample_call
from agentstate.samples.papers import pdf
from tests.factories import ProjectFactory
from tests.flags import turn

pytestmark = pytest.mark.django_db

PROJECT = "project-1"
LIMIT = "project_narrative_pages"
CALL, ADDENDUM, FAQ = (read(SourceFile(name, content)) for name, content in sample_call().items())
NOTE = read(SourceFile("note.md", b"# Directions\n\nThe office is beside the river.\n"))
SECOND_ADDENDUM = read(
    SourceFile(
        "healthy-rivers-addendum-2.pdf",
        pdf(
            [
                """\
Riverbend Foundation
Healthy Rivers Grants 2027
Addendum 2
Dated March 1, 2027

Section 3: The project narrative shall not exceed 8 pages."""
            ]
        ),
    )
)


@pytest.fixture(autouse=True)
def ingested() -> None:
    turn("agentkit_writes", everyone=True)
    ProjectFactory(id=PROJECT)
    ingest(PROJECT, texts=[CALL, ADDENDUM, FAQ])


def conflict(key: str = LIMIT) -> dict[str, Any]:
    (found,) = [entry for entry in state.load(PROJECT).conflict_log if entry["key"] == key]
    return dict(found)


def limit_of_narrative() -> int:
    sections = state.load(PROJECT).rfp_norm["sections"]
    (section,) = [section for section in sections if section["key"] == "project_narrative"]
    return int(section["page_limit"])


def items() -> list[dict[str, Any]]:
    return list(state.load(PROJECT).eligibility["items"])


def test_previous_puts_the_previous_value_back() -> None:
    assert limit_of_narrative() == 5
    decided = resolve_conflict(PROJECT, LIMIT, "previous", by="ada")
    assert limit_of_narrative() == 15
    assert conflict()["resolved"] == "previous"
    assert set(decided.changed) >= {"conflictLog", "rfpNorm"}

    run = AgentWorkflowRun.objects.get(pk=decided.run_id)
    assert (run.workflow_id, run.status) == ("rfp_decision", "succeeded")
    assert run.input == {"source": "rfp_decision", "conflict": LIMIT, "resolution": "previous", "by": "ada"}
    assert AgentWorkflowRunEvent.objects.filter(run=run, type="conflict.resolved").count() == 1


def test_a_resolution_outlives_the_next_intake() -> None:
    resolve_conflict(PROJECT, LIMIT, "previous")
    ingest(PROJECT, texts=[NOTE])
    assert conflict()["resolved"] == "previous"
    assert limit_of_narrative() == 15


def test_a_later_document_that_changes_the_same_opens_it_again() -> None:
    resolve_conflict(PROJECT, LIMIT, "previous")
    ingest(PROJECT, texts=[SECOND_ADDENDUM])
    assert "resolved" not in conflict()
    assert conflict()["next"]["value"] == "8 pages"
    assert limit_of_narrative() == 8


def test_latest_keeps_the_latest_value() -> None:
    resolve_conflict(PROJECT, LIMIT, "latest")
    assert (conflict()["resolved"], limit_of_narrative()) == ("latest", 5)


@pytest.mark.parametrize("key", ["nothing", "", "limit_conflict:nothing"])
def test_an_unknown_key_is_refused_with_the_known_ones(key: str) -> None:
    with pytest.raises(UnknownDecision, match="submission_deadline"):
        resolve_conflict(PROJECT, key, "latest")
    assert not AgentWorkflowRun.objects.filter(workflow_id="rfp_decision").exists()


def test_an_override_outlives_the_next_intake() -> None:
    item = items()[0]
    assert item["fatal"] is True
    override_eligibility(PROJECT, item["id"], False, "We apply with a fiscal sponsor.", by="ada")
    assert items()[0]["fatal"] is False

    ingest(PROJECT, texts=[SECOND_ADDENDUM])
    assert items()[0]["fatal"] is False
    made = state.load(PROJECT).eligibility["overrides"][item["id"]]
    assert (made["fatal"], made["note"], made["by"]) == (False, "We apply with a fiscal sponsor.", "ada")


def test_an_override_records_its_reason() -> None:
    with pytest.raises(ValueError, match="Say why"):
        override_eligibility(PROJECT, items()[0]["id"], False, " ")


def test_an_unknown_item_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownDecision, match=items()[0]["id"]):
        override_eligibility(PROJECT, "nothing", True, "A note")


@pytest.mark.parametrize(
    "overrides",
    [
        {"items": [{"id": "a", "text": "A", "fatal": True}], "overrides": {"a": {"fatal": False, "note": "beside"}}},
        {"items": [{"id": "a", "text": "A", "fatal": True, "overrides": {"fatal": False, "note": "on it"}}]},
    ],
)
def test_overrides_of_the_legacy_application_are_kept(overrides: dict[str, Any]) -> None:
    state.save(PROJECT, eligibility=overrides)
    ingest(PROJECT, texts=[SECOND_ADDENDUM])
    assert state.load(PROJECT).eligibility["overrides"]["a"]["fatal"] is False


def test_a_legacy_entry_is_resolved_without_consequences() -> None:
    ProjectFactory(id="legacy")
    entry = {"type": "section_conflict", "key": "budget", "previous": {"version": "v1"}, "next": {"version": "v2"}}
    state.save("legacy", conflict_log=[entry, "something odd"])
    decided = resolve_conflict("legacy", "budget", "latest")
    assert decided.changed == ("conflictLog",)
    assert state.load("legacy").conflict_log == [{**entry, "resolved": "latest"}, "something odd"]
