"""A search that takes too long says how far it got, and goes on from there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from agentstate.admin.run.timeline import Filter, filters
from agentstate.admin.run.timeline.filters import Search, search
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from tests.admin.run.timeline.scenes import add_event, add_events, make_run, moment
from tests.sql import scalar, sql

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.django_db

NEEDLE = Filter(text="needle")
# The search asks for the time at its beginning, and before and after each look. Its minute is over after one look.
ONE_LOOK = (0.0, 0.0, 1.0, 60.0)


def search_at(monkeypatch: pytest.MonkeyPatch, times: Iterable[float], run: str, **place: Any) -> Search:
    """Search for a minute, where the clock shows these times one after the other."""
    monkeypatch.setattr(filters, "time", SimpleNamespace(monotonic=iter(times).__next__))
    return search(run, NEEDLE, limit=1, seconds=60.0, **place)


def test_it_reaches_the_end_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    add_events(run, 10)
    add_event(run, "note", '"needle"', 11)
    reached = None
    for number in range(1, 11):
        found = search_at(monkeypatch, ONE_LOOK, run.pk, start=reached)
        assert (found.moments, found.stopped, found.reached) == ([], True, moment(number))
        reached = found.reached
    assert search_at(monkeypatch, ONE_LOOK, run.pk, start=reached).moments == [moment(11)]


def test_it_searches_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    add_events(run, 10)
    first = search_at(monkeypatch, ONE_LOOK, run.pk, start=None, backwards=True)
    second = search_at(monkeypatch, ONE_LOOK, run.pk, start=first.reached, backwards=True)
    assert (first.stopped, first.reached, second.reached) == (True, moment(10), moment(9))


def test_a_look_that_is_canceled_loses_nothing_of_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    add_events(run, 10)
    slow = "AND {bound} AND (%(look)s = 1 OR pg_sleep(60) IS NOT NULL)"  # a look at several events
    monkeypatch.setattr(filters, "_LOOK", filters._LOOK.replace("AND {bound}", slow))
    found = search_at(monkeypatch, (0.0, 0.0, 0.0, 59.95), run.pk, start=None)
    assert (found.stopped, found.skipped, found.looked_at, found.reached) == (True, False, 1, moment(1))


def test_an_event_that_takes_all_the_time_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    add_event(run, "note", f'"{"straw " * 4_000_000}"', 1)
    add_event(run, "note", '"needle"', 2)
    found = search_at(monkeypatch, (0.0, 59.99), run.pk, start=None)  # a hundredth of a second is left
    assert (found.stopped, found.skipped, found.reached) == (True, True, moment(1))
    assert search_at(monkeypatch, ONE_LOOK, run.pk, start=found.reached).moments == [moment(2)]


def test_a_complete_search_says_so() -> None:
    run = make_run()
    add_events(run, 5_000)
    found = search(run.pk, NEEDLE, start=None, limit=1)
    assert (found.moments, found.looked_at, found.stopped) == ([], 5_000, False)


def test_a_time_limit_ends_with_its_block() -> None:
    before = scalar("SHOW statement_timeout")
    with time_limit(5) as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("5s",)
    assert scalar("SHOW statement_timeout") == before
    with pytest.raises(TookTooLong), time_limit(0.01) as cursor:
        cursor.execute("SELECT pg_sleep(1)")
    assert scalar("SHOW statement_timeout") == before
    assert connection.in_atomic_block
    assert sql("SELECT 1") == [(1,)]
