"""The panels: every shape that a document may have is taken apart, and nothing is dropped."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from agentstate import state
from agentstate.admin.project import panels
from agentstate.admin.project.panels.reading import Odd, short_number
from agentstate.models import Project
from agentstate.samples import make_projects
from agentstate.state import ABSENT
from agentstate.state.documents import decode
from agentstate.state.keys import STATE_KEYS
from tests.admin.project.panels.documents import DOCUMENTS, dropped

if TYPE_CHECKING:
    from collections.abc import Callable

PANELS: dict[str, Callable[[Any], Any]] = {
    "rfpNorm": panels.outline,
    "facts": panels.facts,
    "coverage": panels.coverage,
    "conflictLog": panels.conflicts,
    "eligibility": panels.eligibility,
}


# -- any shape


@pytest.mark.django_db
def test_no_sample_raises_and_nothing_of_one_is_dropped() -> None:
    make_projects(1_500, 5)
    states = state.load_many(list(Project.objects.values_list("pk", flat=True)))
    assert len(states) == 1_500
    for found in states.values():
        for key in STATE_KEYS:
            document = getattr(found, key.attribute)
            panel = PANELS[key.name](document)
            if document is not ABSENT:
                assert not dropped(document, panel), (found.project_id, key.name)


@pytest.mark.parametrize("key", PANELS)
@given(document=DOCUMENTS)
def test_no_shape_raises_and_nothing_is_dropped(key: str, document: object) -> None:
    assert not dropped(document, PANELS[key](document))


@pytest.mark.parametrize("key", PANELS)
def test_absent_and_null_are_distinguished(key: str) -> None:
    assert [PANELS[key](document).presence for document in (ABSENT, None, {}, [], 0, "")] == [
        *("absent", "null"),
        *["there"] * 4,
    ]


@pytest.mark.parametrize("key", PANELS)
def test_depth_does_not_matter(key: str) -> None:
    deep = decode('{"items": ' * 1_000 + "[" * 4_000 + "]" * 4_000 + "}" * 1_000)
    assert PANELS[key](deep).presence == "there"


# -- coverage


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"score": 0.42}', "0.42"),
        ('{"score": "0.85"}', "0.85"),
        ("0.62", "0.62"),
        ('"0.62"', "0.62"),
        ('{"score": 0.30000000000000004}', "0.30000000000000004"),
        ('{"score": 1e400}', "1E+400"),
        ('{"score": 62}', "62"),
        ('{"score": 1234567890123456789012345678901234567890}', "1234567890123456789012345678901234567890"),
        ("{}", None),
        ('{"score": true}', None),
        ('{"score": "high"}', None),
        ('{"score": "NaN"}', None),
        ('{"score": {"value": 1}}', None),
        ('"about 70%"', None),
        ("[]", None),
    ],
)
def test_a_score_is_a_number_or_none(text: str, score: str | None) -> None:
    document = decode(text)
    found = panels.coverage(document).score
    assert found == panels.score_of(document)
    assert found is None if score is None else str(Decimal(found or 0)) == str(Decimal(score))


def test_a_score_beyond_the_scale_is_kept_and_marked() -> None:
    assert [panels.coverage(score).is_beyond_scale for score in (-1, 0, 0.5, 1, 62)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert [panels.coverage(score).filled for score in (-1, 0, 0.5, 1, Decimal("1e400"))] == [0, 0, 0.5, 1, 1]


def test_requirements_are_grouped_by_status_with_their_needs() -> None:
    requirement = {
        "id": "r2",
        "source": "p. 3",
        "status": "missing",
        "weight": 0.4,
        "risk": "high",
        "need_from_user": "A letter",
        "evidence_rank": 3,
        "note": [1],
    }
    found = panels.coverage(
        {"score": 0.1, "requirements": [{"id": "r1", "status": "drafted"}, "r0", requirement, {"status": "new"}]}
    )
    assert [(each.id, each.status) for each in found.requirements] == [
        ("r2", "missing"),
        ("r1", "drafted"),
        (None, "new"),
    ]
    assert found.counts == [("missing", 1), ("drafted", 1), ("new", 1)]
    first = found.requirements[0]
    assert (first.weight, first.risk, first.need_from_user, first.evidence_rank, first.odd) == (
        Decimal("0.4"),
        "high",
        "A letter",
        3,
        {"note": [1]},
    )
    assert found.odd == [Odd("coverage.requirements[1]", "r0")]


# -- conflicts


def test_a_conflict_shows_both_sides_with_their_sources() -> None:
    previous = {"source_upload_id": "u1", "version": "v1", "release_date": "2025-01-01"}
    document = [
        {"type": "section_conflict", "key": "budget", "previous": previous, "next": {}, "resolved": "latest"},
        {"key": "need", "previous": "page 3", "resolved": None},
        *["deadline moved", 42, None],
    ]
    found = panels.conflicts(document)
    first, second = found.conflicts
    assert (first.key, first.is_open, second.key, second.is_open, second.resolved) == (
        *("need", True),
        *("budget", False, "latest"),
    )
    assert first.odd == {"previous": "page 3"}
    assert second.previous is not None
    assert (second.previous.source_upload_id, second.previous.version, second.previous.release_date) == (
        *("u1", "v1"),
        "2025-01-01",
    )
    assert found.odd == [
        Odd("conflictLog[2]", "deadline moved"),
        Odd("conflictLog[3]", 42),
        Odd("conflictLog[4]", None),
    ]


def test_a_single_object_is_a_log_of_one() -> None:
    found = panels.conflicts({"key": "need"})
    assert (found.open, found.resolved, found.odd) == (1, 0, [])


@pytest.mark.parametrize("document", ["none so far", 7, True])
def test_a_log_without_entries_is_shown_as_json(document: object) -> None:
    assert panels.conflicts(document).odd == [Odd("conflictLog", document)]


# -- eligibility


@pytest.mark.parametrize("is_bare", [True, False])
def test_fatal_items_come_first(is_bare: bool) -> None:
    items = [{"id": "e1", "text": "Two counties"}, "In SAM.gov", {"id": "e2", "text": "A 501(c)(3)", "fatal": True}, 3]
    found = panels.eligibility(items if is_bare else {"items": items})
    assert [(item.text, item.fatal) for item in found.items] == [
        ("A 501(c)(3)", True),
        ("Two counties", False),
        ("In SAM.gov", False),
    ]
    assert [odd.document for odd in found.odd] == [3]


def test_overrides_name_their_items() -> None:
    found = panels.eligibility(
        {"overrides": {"e1": {"by": "Mona", "reason": "Renewed"}, "e2": True}, "checked": False}
    )
    assert [(override.of, override.by, override.reason) for override in found.overrides] == [("e1", "Mona", "Renewed")]
    assert found.odd == [Odd("eligibility.checked", False), Odd("eligibility.overrides.e2", True)]


# -- facts and outline


def test_facts_of_the_first_generation_are_statements() -> None:
    evidence = {"uploadId": "u1", "quote": "320 students", "page": 4}
    found = panels.facts([{"id": "f1", "text": "Served 320", "kind": "metric", "strength": 0.9, "evidence": evidence}])
    (fact,) = found.statements
    assert (fact.text, fact.kind, fact.strength) == ("Served 320", "metric", "0.9")
    assert fact.evidence is not None
    assert (fact.evidence.upload_id, fact.evidence.quote, fact.evidence.page) == ("u1", "320 students", 4)


def test_facts_of_the_second_generation_name_their_subject() -> None:
    found = panels.facts(
        {
            "org": {"legal_name": "Seeds", "ein": 7},
            "project": {"milestones": ["Dig", "Plant"]},
            "team": [{"name": "Mona"}, None],
            "evidence": [{"type": "quote", "value": "Good", "offsets": [1, 2]}],
        }
    )
    assert (found.organization, found.project) == ({"Name": "Seeds"}, {"Milestones": "Dig\nPlant"})
    assert found.team[0].name == "Mona"
    assert found.evidence[0].odd == {"offsets": [1, 2]}
    assert found.odd == [Odd("facts.org.ein", 7), Odd("facts.team[1]", None)]


def test_the_outline_names_the_funder_the_deadline_and_the_sections() -> None:
    section = {"key": "need", "title": "Need", "word_limit": 500, "subsections": [{"title": "Data"}, "Goals"]}
    found = panels.outline(
        {"meta": {"funder": "Plains", "deadline": "2026-05-01"}, "sections": [section], "faq": [{"q": "Who?"}]}
    )
    assert found.meta == {"Funder": "Plains", "Deadline": "2026-05-01"}
    assert (found.sections[0].word_limit, found.sections[0].subsections) == (500, ["Data", "Goals"])
    assert found.odd == [Odd("rfpNorm.faq", [{"q": "Who?"}])]


# -- numbers


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.42", "0.42"),
        ("1", "1"),
        ("0.30000000000000004", "0.3"),
        ("1234567890123456789012345678901234567890", "1.23E+39"),
        ("1e400", "1E+400"),
        ("1" + "0" * 400, "1E+400"),
    ],
)
def test_numbers_are_shortened(number: str, text: str) -> None:
    assert short_number(Decimal(number)) == text
