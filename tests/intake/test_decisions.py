"""Resolutions and overrides hold from one intake to the next."""

from __future__ import annotations

import pytest

from agentstate.intake.decisions import UnknownDecision, override, overrides_of, resolve
from agentstate.intake.documents import Document
from agentstate.intake.state import Stored, WorkedOut, work_out_state
from tests.intake.logs import called, intake

PAGES = "The narrative shall not exceed {} pages. Late bids will not be considered."
FIRST, SECOND, THIRD = (
    (f"Call_v{number}.md", called(PAGES.format(pages))) for number, pages in ((1, 15), (2, 5), (3, 4))
)


def _limit(worked: WorkedOut) -> int:
    return worked.rfp_norm["submission"]["page_limits"][0]["limit"]


def _after(worked: WorkedOut) -> Stored:
    return Stored(worked.conflict_log, worked.eligibility, worked.coverage, worked.facts)


@pytest.mark.parametrize(("resolution", "pages"), [("latest", 5), ("previous", 15)])
def test_a_resolution_holds_and_decides_the_outline(resolution: str, pages: int) -> None:
    log = resolve(intake(FIRST, SECOND).conflict_log, "narrative_pages", resolution)
    worked = intake(FIRST, SECOND, stored=Stored(conflict_log=log))
    assert worked.conflict_log == log
    assert _limit(worked) == pages
    assert intake(FIRST, SECOND, stored=_after(worked)).documents == worked.documents


def test_a_later_change_of_the_same_item_opens_it_again() -> None:
    log = resolve(intake(FIRST, SECOND).conflict_log, "narrative_pages", "previous")
    worked = intake(FIRST, SECOND, THIRD, stored=Stored(conflict_log=log))
    (entry,) = worked.conflict_log
    assert (entry["previous"]["value"], entry["next"]["value"], entry.get("resolved")) == ("5 pages", "4 pages", None)
    assert _limit(worked) == 4


def test_a_resolution_holds_when_a_document_about_something_else_comes() -> None:
    log = resolve(intake(FIRST, SECOND).conflict_log, "narrative_pages", "previous")
    addendum = ("Call Addendum 1.md", "Addendum 1\n\nBids must include a map of the harbour.")
    worked = intake(FIRST, SECOND, addendum, stored=Stored(conflict_log=log))
    assert {entry["key"]: entry.get("resolved") for entry in worked.conflict_log} == {
        "narrative_pages": "previous",
        "bids_map_harbour": None,
    }
    assert _limit(worked) == 15


def test_previous_restores_what_an_amendment_changed() -> None:
    base = ("RFP.md", called("Proposals are due May 6, 2025 at 5:00 PM ET."))
    amendment = ("RFP Amendment 1.md", "Amendment 1\n\nProposals are due May 20, 2025 at 5:00 PM ET.")
    log = resolve(intake(base, amendment).conflict_log, "submission_deadline", "previous")
    worked = intake(base, amendment, stored=Stored(conflict_log=log))
    assert worked.rfp_norm["meta"]["deadline"] == "2025-05-06T17:00-04:00"


def test_previous_removes_an_added_rule_and_restores_a_removed_one() -> None:
    without, with_map = (
        called("Bids must be signed."),
        called("Bids must be signed.\n\nBids that lack a map will be rejected."),
    )
    for before, after, fatal in ((without, with_map, 0), (with_map, without, 1)):
        documents = (("Call_v1.md", before), ("Call_v2.md", after))
        (entry,) = intake(*documents).conflict_log
        log = resolve([entry], entry["key"], "previous")
        assert len(intake(*documents, stored=Stored(conflict_log=log)).eligibility["items"]) == fatal


def test_an_unknown_key_names_the_known_ones() -> None:
    log = intake(FIRST, SECOND).conflict_log
    with pytest.raises(UnknownDecision, match="limit_conflict:narrative_pages"):
        resolve(log, "narative", "latest")
    with pytest.raises(ValueError, match="Use latest or previous"):
        resolve(log, "narrative_pages", "newest")


def test_an_override_holds_and_takes_the_requirement_away() -> None:
    worked = intake(FIRST, SECOND)
    (item,) = worked.eligibility["items"]
    assert item["fatal"]
    made = override(worked.eligibility, item["id"], False, "The funder confirmed it.", "2025-05-01T00:00:00+00:00")
    again = intake(FIRST, SECOND, THIRD, stored=Stored(eligibility=made))
    assert [one["fatal"] for one in again.eligibility["items"]] == [False]
    assert again.eligibility["overrides"] == made["overrides"]
    assert not any(one["source"] == "eligibility" for one in again.coverage["requirements"])


@pytest.mark.parametrize("beside", [True, False])
def test_overrides_are_read_in_both_shapes(beside: bool) -> None:
    (item,) = intake(FIRST).eligibility["items"]
    made = {"fatal": False, "note": "n", "at": "2025-05-01"}
    stored = {"items": [item], "overrides": {item["id"]: made}} if beside else {"items": [{**item, "overrides": made}]}
    assert overrides_of(stored) == {item["id"]: made}
    assert intake(FIRST, stored=Stored(eligibility=stored)).eligibility["items"][0]["fatal"] is False


def test_ids_stay_when_other_text_moves() -> None:
    ids = [item["id"] for item in intake(FIRST).eligibility["items"]]
    moved = ("Call_v1.md", called("Bids must be blue.\n\n" + PAGES.format(9)))
    assert [item["id"] for item in intake(moved).eligibility["items"]] == ids


@pytest.mark.parametrize(
    "odd",
    [
        None,
        1,
        "text",
        [],
        {},
        [None, 1, "x", {}],
        {"items": "x"},
        {"items": [None, {}], "overrides": [1]},
        {"resolved": 1},
    ],
)
def test_odd_stored_state_is_accepted(odd: object) -> None:
    assert intake(FIRST, SECOND, stored=Stored(odd, odd, odd, odd)).conflict_log == intake(FIRST, SECOND).conflict_log


def test_a_document_that_comes_later_in_a_batch_of_its_own_is_newer() -> None:
    documents = [
        Document("1", "Call final.md", called(PAGES.format(9)), batch=0),
        Document("2", "Call final.md", called(PAGES.format(7)), batch=1),
    ]
    (entry,) = work_out_state(documents).conflict_log
    assert entry["next"]["value"] == "7 pages"


ODD = [
    "text",
    5,
    None,
    [["x"], None, 1],
    {"key": "k", "type": "t", "resolved": "latest"},
    [{"key": {"a": 1}, "type": ["t"], "resolved": ["latest"]}, {"key": ["b"], "type": "t", "resolved": "latest"}],
    {"items": [{"id": {"a": 1}, "fatal": "maybe", "overrides": 3}, {"id": ["b"]}], "overrides": [1]},
    {"requirements": [{"id": ["a"], "status": ["met"]}, {"id": "b", "status": {}}, 1]},
]


@pytest.mark.parametrize("stored", ODD, ids=str)
def test_no_stored_document_makes_an_intake_or_a_decision_raise(stored: object) -> None:
    documents = [Document("1", "call.md", PAGES.format(9)), Document("2", "call v2.md", PAGES.format(8))]
    worked = work_out_state(documents, Stored(stored, stored, stored, stored))
    assert len(worked.conflict_log) == 1
    with pytest.raises(UnknownDecision):
        resolve(stored, "unknown", "latest")
    with pytest.raises(UnknownDecision):
        override(stored, "unknown", True, "Why", "2026-01-01")


def test_keys_and_ids_that_are_numbers_can_be_named() -> None:
    assert resolve([{"key": 5, "type": "t"}, {"type": "t"}], "5", "latest")[0]["resolved"] == "latest"
    assert (
        override({"items": [{"id": 3, "fatal": True}]}, "3", False, "Why", "2026-01-01")["items"][0]["fatal"] is False
    )
