"""The score over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from agentstate.admin.project.panels import plot
from agentstate.admin.shared.formats import moment

START = datetime(2026, 1, 1, tzinfo=UTC)


def scores(*numbers: float | None) -> list[tuple[datetime, Decimal | None]]:
    return [
        (START + timedelta(days=day), None if number is None else Decimal(str(number)))
        for day, number in enumerate(numbers)
    ]


def test_a_plot_needs_two_scores() -> None:
    assert plot(scores(), START, START) is None
    assert plot(scores(0.5, None), START, START) is None


def test_a_score_holds_until_the_next() -> None:
    found = plot(scores(0, 1), START + timedelta(days=2), START + timedelta(days=1))
    assert found is not None
    assert found.line == "M5.0 59.0H150.0L150.0 5.0H295.0"
    assert found.mark == (150.0, 5.0)
    assert (found.first, found.last) == (START, START + timedelta(days=2))


@pytest.mark.parametrize("length", [timedelta(milliseconds=20), timedelta(minutes=1), timedelta(days=9)])
def test_labels_at_both_ends_differ(length: timedelta) -> None:
    found = plot([(START, Decimal(0)), (START + length, Decimal(1))], START, START)
    assert found is not None
    assert moment(found.first, found.timespec) != moment(found.last, found.timespec)


def test_a_moment_without_a_score_is_a_gap() -> None:
    found = plot(scores(0, None, 0), START + timedelta(days=4), START + timedelta(days=1))
    assert found is not None
    assert found.line.count("M") == 2
    assert found.mark is None


def test_scores_beyond_the_scale_are_drawn_at_its_ends() -> None:
    found = plot([*scores(-5, 7), (START + timedelta(days=2), Decimal("1e400"))], START, START)
    assert found is not None
    assert found.line == "M5.0 59.0H150.0L150.0 5.0H295.0L295.0 5.0H295.0"
