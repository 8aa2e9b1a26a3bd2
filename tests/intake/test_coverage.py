"""Coverage and facts: what is asked for, what the project has, what to do next."""

from __future__ import annotations

import pytest

from agentstate.intake.coverage import score_coverage
from agentstate.intake.documents import Document
from agentstate.intake.facts import mine_facts
from agentstate.intake.state import ingest_bundle

OUTLINE = {
    "sections": [
        {"key": "approach", "title": "Approach", "prompt": "Describe the approach.", "required": True},
        {"key": "background", "title": "Background", "prompt": "Since 1900.", "required": False},
    ],
    "submission": {"attachments": [{"title": "Pricing form"}]},
    "scoring": [{"criterion": "Approach", "weight": 60}, {"criterion": "Price", "weight": 40}],
}
ITEMS = [
    {"id": "nonprofit", "text": "Applicants must be nonprofit.", "fatal": True},
    {"id": "size", "text": "Small.", "fatal": False},
]


def test_requirements_come_from_required_sections_attachments_and_fatal_eligibility() -> None:
    covered = score_coverage(OUTLINE, ITEMS, {})
    assert {one["id"]: one["weight"] for one in covered["requirements"]} == {
        "section:approach": 2.2,
        "attachment:pricing_form": 1.0,
        "eligibility:nonprofit": 1.0,
    }
    assert covered["score"] == 0


@pytest.mark.parametrize(("text", "status"), [("", "missing"), ("TBD", "stubbed"), ("word " * 30, "drafted")])
def test_a_draft_counts_once_written(text: str, status: str) -> None:
    covered = score_coverage(OUTLINE, [], {}, {"Approach": text})
    assert covered["requirements"][0]["status"] == status


def test_a_stored_status_is_kept_where_it_is_higher() -> None:
    stored = {"requirements": [{"id": "section:approach", "status": "drafted"}]}
    covered = score_coverage(OUTLINE, [], {}, {"Approach": "TBD"}, stored)
    assert covered["score"] == round(2.2 / 3.2, 4)


def test_suggestions_are_ranked_by_value_over_effort() -> None:
    suggestions = score_coverage(OUTLINE, ITEMS, {})["suggestions"]
    assert [one["ratio"] for one in suggestions] == sorted((one["ratio"] for one in suggestions), reverse=True)
    assert [one["action"] for one in suggestions] == ["draft", "upload", "answer"]


def test_facts_come_from_labelled_lines() -> None:
    text = "Legal name: Harbour Lights Trust\nEIN: 12-3456789\n\nOur mission is wide.\n\nProject title: ________\n"
    papers = list(ingest_bundle([Document("1", "about.md", text)]).papers.values())
    facts = mine_facts(
        papers, "Lights", {"mission": "Keep the lamps burning."}, {"team": [{"name": "Jo"}], "evidence": [1]}
    )
    assert facts["org"] == {
        "legal_name": "Harbour Lights Trust",
        "ein": "12-3456789",
        "mission": "Keep the lamps burning.",
    }
    assert facts["project"] == {"title": "Lights"}
    assert facts["team"] == [{"name": "Jo"}]
    assert [one["value"] for one in facts["evidence"] if isinstance(one, dict)] == [
        "Harbour Lights Trust",
        "12-3456789",
    ]
    assert mine_facts(papers, "Lights", None, facts)["evidence"] == facts["evidence"]
