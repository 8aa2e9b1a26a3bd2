"""Dates, times and zones as documents state them."""

from __future__ import annotations

import pytest

from agentstate.intake.dates import is_day_first, moments


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("April 8, 2016 at 7 PM (EDT)", "2016-04-08T19:00-04:00"),
        ("2:00 PM EST on March 5, 2021", "2021-03-05T14:00-05:00"),
        ("5:00 p.m. Eastern Time on Friday, 14 March 2025", "2025-03-14T17:00-04:00"),
        ("12 noon on 3rd of May 2025", "2025-05-03T12:00"),
        ("17:00 hours (Brussels time) on 16 September 2025", "2025-09-16T17:00+02:00"),
        ("1400 hrs BST on 12 June 2025", "2025-06-12T14:00+01:00"),
        ("July 15, 2025 by 11:59 pm Eastern Standard Time", "2025-07-15T23:59-05:00"),
        ("2025-03-01", "2025-03-01"),
        ("March 30th, 2016", "2016-03-30"),
        ("03/05/2021 02:15:40 PM EST", "2021-03-05T14:15-05:00"),
    ],
)
def test_a_moment_is_as_exact_as_it_is_stated(text: str, iso: str) -> None:
    (moment,) = moments(text)
    assert moment.iso == iso


@pytest.mark.parametrize(
    "text",
    [
        "Section 6.11.20 and 8.5 by 11 in 2016",
        "13/13/2025",
        "99 March 2025",
        "between 0900 and 1800 local time",
        "May the team",
    ],
)
def test_ambiguous_dates_are_not_guessed(text: str) -> None:
    assert [moment.iso for moment in moments(text) if moment.iso] == []


@pytest.mark.parametrize(
    ("text", "day_first"),
    [("due 25/12/2025", True), ("due 12/25/2025", False), ("due 1/2/2025, £5", True), ("due 1/2/2025", False)],
)
def test_the_order_of_day_and_month_comes_from_the_document(text: str, day_first: bool) -> None:
    assert is_day_first(text) is day_first
