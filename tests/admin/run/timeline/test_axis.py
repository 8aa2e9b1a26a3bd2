"""The time axis: to scale, but for idle time."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from agentstate.admin.run.timeline import Filter
from tests.admin.run.timeline.scenes import add_call, add_event, make_run, page, rows

pytestmark = pytest.mark.django_db


def number(percent: str) -> float:
    return float(percent.rstrip("%"))


def test_bars_are_to_scale() -> None:
    run = make_run()
    add_call(run, "a", 0, 1, duration_ms="1000")
    add_call(run, "b", 2, 4, duration_ms="2000")
    bars = [row.bar for row in rows(run)]
    assert all(bars)
    (x1, w1), (x2, w2) = ((number(bar.x), number(bar.width)) for bar in bars if bar)
    assert (x1, w1) == (1.0, 24.5)
    assert (x2, w2) == (50.0, 49.0)


def test_an_event_is_a_moment_on_the_axis() -> None:
    run = make_run()
    for second in (0, 1, 4):
        add_event(run, "draft.progress", at=second)
    bars = [row.bar for row in rows(run)]
    assert [bar.x for bar in bars if bar and bar.is_moment] == ["1.00%", "25.50%", "99.00%"]


def test_a_long_idle_time_is_collapsed_and_marked() -> None:
    run = make_run()
    add_event(run, "draft.progress", at=0)
    add_call(run, "a", 1, 2)
    add_event(run, "draft.progress", at=247)
    add_event(run, "draft.progress", at=248)
    shown = page(run)
    assert [row.idle for row in shown.rows] == [None, None, timedelta(minutes=4, seconds=5), None]
    assert shown.axis is not None
    (gap,) = shown.axis.gaps
    assert (gap.length, gap.width) == (timedelta(minutes=4, seconds=5), "4.00%")
    assert number(shown.rows[1].bar.width) > 20  # type: ignore[union-attr]


def test_a_pending_call_is_not_idle_time() -> None:
    run = make_run()
    add_call(run, "a", 0, 600)
    add_event(run, "draft.progress", at=601)
    assert [row.idle for row in rows(run)] == [None, None]


@pytest.mark.parametrize(("seconds", "is_idle"), [(4, False), (6, True)])
def test_short_pauses_are_not_idle(seconds: float, is_idle: bool) -> None:
    run = make_run()
    add_event(run, "draft.progress", at=0)
    add_event(run, "draft.progress", at=seconds)
    assert [row.idle is not None for row in rows(run)] == [False, is_idle]


def test_a_pause_among_many_similar_ones_is_not_idle() -> None:
    run = make_run()
    for place in range(20):
        add_event(run, "draft.progress", at=place * 8)
    assert not any(row.idle for row in rows(run))


def test_gaps_between_search_results_are_not_idle() -> None:
    run = make_run()
    for second in (0, 1, 300):
        add_event(run, "draft.progress", at=second)
    add_event(run, "other", at=150)
    assert not any(row.idle for row in rows(run, wanted=Filter(kinds=("draft.progress",))))


def test_a_backfilled_run_has_no_axis() -> None:
    run = make_run()
    for microseconds in (1, 2, 3):
        add_event(run, "conflict.found", at=microseconds / 1_000_000)
    shown = page(run)
    assert shown.axis is None
    assert [row.bar for row in shown.rows] == [None, None, None]


def test_one_event_has_no_axis_but_one_call_has() -> None:
    run, other = make_run(), make_run()
    add_event(run, "draft.progress", at=5)
    add_call(other, "a", 5, 6)
    assert page(run).axis is None
    assert page(other).axis is not None


@pytest.mark.parametrize("length", [0.002, 0.3, 7, 59, 3_600, 86_400 * 30, 86_400 * 3_650])
def test_labels_are_few_round_and_spaced(length: float) -> None:
    run = make_run()
    add_call(run, "a", 0, length)
    axis = page(run).axis
    assert axis is not None
    places = [number(tick.x) for tick in axis.ticks]
    assert 1 <= len(places) <= 7
    assert all(later - earlier >= 13.9 for earlier, later in pairwise(places))
    assert all(0 <= place <= 100 for place in places)


def test_longer_labels_of_later_days_are_spaced_further() -> None:
    run = make_run()
    for second in (0, 1, 30_000, 30_004, 90_000, 90_020, 172_000):
        add_event(run, "draft.progress", at=second)
    axis = page(run).axis
    assert axis is not None
    for one, other in pairwise(axis.ticks):
        needed = 23.9 if one.offset.days else 18.9 if other.offset.days else 13.9
        assert number(other.x) - number(one.x) >= needed
    assert [tick.offset.days for tick in axis.ticks] == [0, 1, 1, 1]


def test_a_call_with_an_excessive_duration_stays_on_the_axis() -> None:
    run = make_run()
    add_event(run, "draft.progress", at=0)
    add_event(run, "tool.result", '{"call_id": "a", "status": "ok", "duration_ms": 90000000}', 2)
    bars = [row.bar for row in rows(run)]
    assert all(0 <= number(bar.x) <= 100 and number(bar.x) + number(bar.width) <= 100 for bar in bars if bar)
    assert len([bar for bar in bars if bar]) == 2
