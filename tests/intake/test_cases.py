"""What real procurements do to a comparison, one small case each."""

from __future__ import annotations

import time

import pytest

from agentstate.intake.eligibility import is_fatal
from tests.intake.logs import called, intake, values, versions


def test_one_previous_text_with_two_next_values_makes_two_entries() -> None:
    worked = versions(
        "Questions must be sent no later than XXXX X, 2025 at 1:00 PM (PT).\n\n"
        "All proposals must be received by the closing date of XXXX X, 2025 at 1:00 PM (PT).",
        "Questions must be sent no later than May 2, 2025 at 6:00 PM (PT).\n\n"
        "All proposals must be received by the closing date of May 9, 2025 at 7:00 PM (PT).",
    )
    assert {entry["key"]: entry["next"]["value"] for entry in worked.conflict_log} == {
        "questions_deadline": "May 2, 2025 at 6:00 PM (PT)",
        "submission_deadline": "May 9, 2025 at 7:00 PM (PT)",
    }
    assert all(entry["previous"]["value"] == "XXXX X, 2025 at 1:00 PM (PT)" for entry in worked.conflict_log)


def test_days_that_become_calendar_days_are_a_changed_limit() -> None:
    worked = versions(
        "Proposals must be valid for at least 45 days.", "Proposals must be valid for at least 45 calendar days."
    )
    assert values(worked) == [("45 days", "45 calendar days")]
    assert worked.conflict_log[0]["type"] == "limit_conflict"


def test_a_ceiling_that_becomes_a_floor_is_a_changed_limit() -> None:
    worked = versions("The team shall have at most 6 members.", "The team shall have at least 6 members.")
    assert values(worked) == [("at most 6 members", "at least 6 members")]
    assert worked.conflict_log[0]["type"] == "limit_conflict"


def test_a_to_b_to_a_over_three_versions_ends_with_one_entry_back() -> None:
    pages = "The narrative shall not exceed {} pages."
    worked = versions(pages.format(10), pages.format(8), pages.format(10))
    assert values(worked) == [("8 pages", "10 pages")]
    assert worked.rfp_norm["submission"]["page_limits"][0]["limit"] == 10


def test_a_to_b_to_c_keeps_the_key_and_the_last_step() -> None:
    pages = "The narrative shall not exceed {} pages."
    first = versions(pages.format(10), pages.format(8))
    then = versions(pages.format(10), pages.format(8), pages.format(6))
    assert values(then) == [("8 pages", "6 pages")]
    assert [entry["key"] for entry in then.conflict_log] == [entry["key"] for entry in first.conflict_log]


def test_two_equal_amendments_change_once() -> None:
    amendment = "Amendment {}\n\nProposals are due May 20, 2025 at 5:00 PM ET."
    worked = intake(
        ("RFP.md", called("Proposals are due May 6, 2025 at 5:00 PM ET.")),
        ("RFP Amendment 1.md", amendment.format(1)),
        ("RFP Amendment 2.md", amendment.format(2)),
    )
    assert values(worked) == [("May 6, 2025 at 5:00 PM ET", "May 20, 2025 at 5:00 PM ET")]
    assert worked.rfp_norm["meta"]["deadline"] == "2025-05-20T17:00-04:00"


def test_amendments_of_one_number_and_date_are_reported_as_a_tie() -> None:
    worked = intake(
        ("RFP.md", called("Proposals are due May 6, 2025.")),
        ("RFP Amendment 1 a.md", "Amendment 1\n\nThe narrative shall not exceed 9 pages."),
        ("RFP Amendment 1 b.md", "Amendment 1\n\nProposals are due May 20, 2025."),
    )
    assert worked.ties == [("RFP Amendment 1 a.md", "RFP Amendment 1 b.md")]


@pytest.mark.parametrize(
    "faq",
    [
        "Q1: Could the deadline for proposals be June 30, 2025?\nA1: No, the deadline stays as it is.",
        "## Could proposals be due on June 30, 2025?\n\nNo. They are due as stated.",
        "| Question | Answer |\n|---|---|\n| Can proposals be submitted by June 30, 2025? | No. |",
    ],
)
def test_a_date_in_a_question_is_not_a_deadline(faq: str) -> None:
    worked = intake(
        ("RFP.md", called("Proposals are due May 6, 2025 at 5:00 PM ET.")),
        ("RFP FAQ.md", f"# Questions and answers\n\n{faq}"),
    )
    assert worked.conflict_log == []
    assert worked.rfp_norm["meta"]["deadline"] == "2025-05-06T17:00-04:00"
    assert len(worked.rfp_norm["faq"]) == 1


def test_an_answer_may_change_a_date() -> None:
    worked = intake(
        ("RFP.md", called("Proposals are due May 6, 2025 at 5:00 PM ET.")),
        (
            "RFP Q&A.md",
            "# Q&A\n\nQ1: Will there be more time?\nA1: Yes. Proposals are due May 13, 2025 at 5:00 PM ET.",
        ),
    )
    assert values(worked) == [("May 6, 2025 at 5:00 PM ET", "May 13, 2025 at 5:00 PM ET")]


def test_a_copy_number_in_the_name_is_a_later_version() -> None:
    worked = intake(
        ("Call (1).md", called("Bids shall include two references.")),
        ("Call.md", called("Bids shall include three references.")),
    )
    assert [one.document.name for one in worked.classified] == ["Call.md", "Call (1).md"]
    assert len(worked.conflict_log) == 1
    assert "two" in worked.conflict_log[0]["next"]["quote"]


def test_the_first_page_can_state_the_version() -> None:
    worked = intake(
        ("b.md", "Version 1.0\n\n" + called("The narrative shall not exceed 12 pages.")),
        ("a.md", "Version 2.0\n\n" + called("The narrative shall not exceed 7 pages.")),
    )
    assert ("12 pages", "7 pages") in values(worked)
    assert worked.classified[-1].reasons[0].because.startswith("first page")


def test_noon_is_a_time() -> None:
    worked = versions("Proposals are due May 6, 2025 at noon ET.", "Proposals are due May 6, 2025 at 3 PM ET.")
    assert values(worked) == [("May 6, 2025 at noon ET", "May 6, 2025 at 3 PM ET")]
    assert versions("Proposals are due 12 noon on May 6, 2025.").rfp_norm["meta"]["deadline"] == "2025-05-06T12:00"


def test_a_standard_time_in_summer_is_kept_as_said_and_marked() -> None:
    meta = versions("Proposals are due July 7, 2025 at 5:00 PM EST.").rfp_norm["meta"]
    assert (meta["deadline"], meta["deadline_tz"]) == ("2025-07-07T17:00-05:00", "EST")
    assert "EST is not in use" in meta["deadline_note"]


def test_a_placeholder_is_a_value_and_not_a_date() -> None:
    worked = versions("Proposals are due XXXX X, 2025.", "Proposals are due May 6, 2025.")
    assert values(worked) == [("XXXX X, 2025", "May 6, 2025")]
    assert "deadline" not in versions("Proposals are due XXXX X, 2025.").rfp_norm["meta"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("The partner may show films.", "The partner shall show films."),
        ("The partner shall show films.", "The partner shall not show films."),
        ("The grant is $50,000 in all.", "The grant is $60,000 in all."),
        ("The grant is $50,000 in all.", "The grant is €50,000 in all."),
        ("Work ends on June 1, 2026.", "Work ends on June 2, 2026."),
        ("Bids are due May 6, 2025 at 5 PM PT.", "Bids are due May 6, 2025 at 5 PM ET."),
        ("The overhead rate is 10% of the costs.", "The overhead rate is 15% of the costs."),
        ("Bids go to the keeper or the clerk.", "Bids go to the keeper and the clerk."),
        ("Films must be submitted before the opening.", "Films must be submitted after the opening."),
    ],
)
def test_what_counts_is_compared_exactly(before: str, after: str) -> None:
    assert len(versions(before, after).conflict_log) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "Bidders must show films.\n\nBidders must paint doors.",
            "Bidders must paint doors.\n\nBidders must show films.",
        ),
        (
            "a. Bidders must show films.\nb. Bidders must paint doors.",
            "a. Bidders must show films.\na. Bidders must paint doors.",
        ),
        ("The partner must keep all films; they are old.", "The partner must keep all films, they are old."),
        ("The partner must keep the oral history films.", "The partner must keep the ora history films."),
        ("**The partner** must keep films.", "The partner must keep *films*."),
        (
            "See https://lights.example/rules for films that must be kept.",
            "See <https://lights.example/rules> for films that must be kept.",
        ),
        (
            "The films must follow the House Rules.",
            "The films must follow the [House Rules](https://lights.example/rules).",
        ),
        ("Five (5) films must be kept for 1,000 days.", "5 films must be kept for 1000 days."),
        ("The partner must keep the films as in Section 4.2.", "The partner must keep the films as in Section 4.3."),
        ("The films must be kept at each harbour.", "The films must be kept at every harbour."),
        ("The subcontractor must be e-mailed.", "The sub-contractor must be emailed."),
        ("Films ........ 3\nThe films must be kept.", "Films ........ 12\nThe films must be kept."),
    ],
)
def test_layout_never_makes_an_entry(before: str, after: str) -> None:
    assert versions(before, after).conflict_log == []


def test_a_rewritten_section_is_one_entry() -> None:
    worked = versions(
        "## Training\n\nThe partner shall train guides. It takes two days. It is held in spring. Guides get a badge.",
        "## Training\n\nNo courses are held. A book shall be made instead. The keeper checks it. Copies are free.",
    )
    assert [(entry["type"], entry["change"]) for entry in worked.conflict_log] == [("section_conflict", "changed")]


def test_a_new_section_is_one_entry() -> None:
    worked = versions(
        "Bids must be short.",
        "Bids must be short.\n\n## Insurance\n\nThe partner shall hold a policy. It must cover fire. It covers storm.",
    )
    assert [(entry["type"], entry["change"]) for entry in worked.conflict_log] == [("section_conflict", "added")]


def test_a_repeated_fact_is_one_entry_with_mentions() -> None:
    text = (
        "Your proposal shall not exceed {0} pages.\n\nThe cover page is not included in your {0}-page limitation.\n\n"
        "Resumes are not included in your {0}-page limitation."
    )
    (entry,) = versions(text.format(15), text.format(5)).conflict_log
    assert entry["key"] == "proposal_pages"
    assert len(entry["mentions"]) == 2


def test_limits_of_two_things_that_change_alike_are_two_entries() -> None:
    text = "The narrative shall not exceed {0} pages.\n\nThe budget appendix shall not exceed {0} pages."
    assert len(versions(text.format(10), text.format(8)).conflict_log) == 2


def test_a_contradiction_inside_one_version_is_reported() -> None:
    (entry,) = versions("Proposals are due May 6, 2025.\n\nThe closing date is May 9, 2025.").conflict_log
    assert (entry["type"], entry["change"]) == ("date_conflict", "contradiction")


def test_an_amendment_never_removes() -> None:
    worked = intake(
        (
            "RFP.md",
            called("Bids must be signed. Bids must include a map of the harbour and a drawing of the lamp room."),
        ),
        ("RFP Addendum 1.md", "Addendum 1\n\nBids must include a map of the harbour."),
    )
    assert worked.conflict_log == []


def test_a_questions_document_is_no_version_of_the_call() -> None:
    worked = intake(
        ("RFP.md", called("Bids must be signed.")), ("RFP Questions and Answers.md", "Q1: Why?\nA1: Because.")
    )
    assert {(one.role, one.family) for one in worked.classified} == {("base", "rfp"), ("faq", "rfp")}


def test_quotes_stand_at_their_offsets_and_pages() -> None:
    before = called("Bids must be signed.") + "\f# Annex\n\nThe annex shall not exceed 9 pages."
    after = called("Bids must be signed.") + "\f# Annex\n\nThe annex shall not exceed 4 pages."
    (entry,) = intake(("RFP v1.md", before), ("RFP v2.md", after)).conflict_log
    start, end = entry["next"]["offsets"]
    assert after[start:end] == entry["next"]["quote"]
    assert entry["next"]["page"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "." * 100_000,
        "[" * 50_000,
        "<!--" * 20_000,
        "1) " * 20_000,
        "word " * 50_000,
        "a.\n\n" * 15_000,
        "|" * 50_000,
        "((" * 25_000,
    ],
    ids=["dots", "brackets", "comments", "markers", "words", "sentences", "pipes", "parentheses"],
)
def test_hostile_texts_take_time_in_proportion_to_their_length(text: str) -> None:
    limit = 10 * seconds_for(text[: len(text) // 4])
    # Other work on the machine makes single measurements longer, never shorter.
    assert any(seconds_for(text) < limit for _ in range(5)), "about 4 in proportion, 16 as the square"


def seconds_for(text: str) -> float:
    """Return the processor time that an intake with such a text takes."""
    began = time.thread_time()
    intake(
        ("Call v1.md", called(text)),
        ("Call v2.md", called(text + " end")),
        ("RFP Amendment 1.md", "Amendment 1\n\n" + text),
    )
    return time.thread_time() - began


def test_digits_of_any_script_and_length_are_accepted() -> None:
    intake(("²" + "9" * 5000 + ".md", called("At most " + "9" * 5000 + " pages.\n\n" + "(1)" * 5000 + " ٣ pages")))


@pytest.mark.parametrize(
    ("text", "fatal"),
    [
        ("Tenderers must not be subject to any mandatory exclusion ground.", True),
        ("Applicants must be tenure-track or tenured faculty at the university.", True),
        ("An applicant in training may not serve as principal investigator.", True),
        ("Bids that are late are excluded from the evaluation.", True),
        ("CVs are excluded from the limit.", False),
        ("Annexes are excluded from the 20-page limit.", False),
    ],
)
def test_exclusions_and_uncounted_items_are_distinguished(text: str, fatal: bool) -> None:
    assert is_fatal(text) is fatal
