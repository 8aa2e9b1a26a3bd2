"""The comparison of a real bundle, held against labels that were made by hand."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from agentstate.intake.state import WorkedOut, work_out_state
from benchmarks.intake_labels import Measured, documents_in, labelled_bundle, measure, worked_out

FOLDER = labelled_bundle()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="shared/data/rfp/fedramp-dashboard is not beside the checkout")


@pytest.fixture(scope="module")
def worked() -> WorkedOut:
    return worked_out(_folder())


@pytest.fixture(scope="module")
def measured(worked: WorkedOut) -> Measured:
    return measure(worked.conflict_log, _folder())


def _folder() -> Path:
    assert FOLDER is not None
    return FOLDER


def test_recall_and_precision_keep_their_bounds(measured: Measured) -> None:
    assert measured.recall >= 0.96, measured.missed
    assert measured.precision >= 0.94, [entry["key"] for entry in measured.wrong]


def test_all_limits_dates_eligibility_and_scoring_items_are_found(measured: Measured) -> None:
    assert measured.counted_of == 13
    assert measured.counted == []


def test_noise_is_not_reported(measured: Measured) -> None:
    assert measured.noise == []


def test_the_outline_has_the_deadline_the_limit_and_the_criteria(worked: WorkedOut) -> None:
    outline = worked.rfp_norm
    limits = {limit["doc"]: (limit["limit"], limit["unit"]) for limit in outline["submission"]["page_limits"]}
    assert outline["meta"]["deadline"] == "2016-04-08T19:00-04:00"
    assert limits["technical quotation"] == (5, "pages")
    assert len(outline["scoring"]) == 3
    assert len(outline["submission"]["attachments"]) == 5


def test_the_page_limit_is_one_entry_with_its_mentions(worked: WorkedOut) -> None:
    (entry,) = [entry for entry in worked.conflict_log if entry["key"] == "technical_quotation_pages"]
    assert (entry["previous"]["value"], entry["next"]["value"]) == ("15 pages", "5 pages")
    assert len(entry["mentions"]) == 3


def test_the_order_of_the_files_changes_nothing(worked: WorkedOut) -> None:
    documents = documents_in(_folder())
    assert work_out_state(documents[::-1]).conflict_log == worked.conflict_log


def test_it_takes_few_steps(worked: WorkedOut) -> None:
    """2.3 million calls and returns of functions take 0.4 seconds."""
    documents, steps = documents_in(_folder()), itertools.count()
    sys.setprofile(lambda *_: next(steps))
    try:
        work_out_state(documents)
    finally:
        sys.setprofile(None)
    assert next(steps) < 4_000_000
