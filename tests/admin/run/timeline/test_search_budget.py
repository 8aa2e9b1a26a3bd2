"""A search that takes too long says how far it got, and goes on from there."""

from __future__ import annotations

import time

import pytest
from django.db import connection

from agentstate.admin.run.timeline import Filter
from agentstate.admin.run.timeline.filters import Search, search
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from tests.admin.run.timeline.scenes import add_event, add_events, make_run, moment
from tests.sql import scalar, sql

pytestmark = pytest.mark.django_db

NEEDLE = Filter(text="needle")
HEAVY = "jsonb_build_object('text', repeat('straw ', 200000), 'n', n)"


def too_little_time(run: str) -> float:
    """Return a fifth of the seconds that looking through a run takes here and now, if nothing interrupts it."""
    times = []
    for _ in range(4):
        began = time.monotonic()
        search(run, NEEDLE, start=None, limit=100)
        times.append(time.monotonic() - began)
    return min(times) / 5


def test_it_reaches_the_end_in_steps() -> None:
    run = make_run()
    add_events(run, 40, HEAVY)
    add_event(run, "note", '"needle"', 41)
    seconds = too_little_time(run.pk)
    reached, rounds, found = None, 0, Search()
    while not found.moments:
        found = search(run.pk, NEEDLE, start=reached, limit=1, seconds=seconds)
        assert found.reached is not None
        assert reached is None or found.reached > reached
        assert found.stopped or found.moments
        reached, rounds = found.reached, rounds + 1
    assert rounds > 1
    assert found.moments == [moment(41)]


def test_it_searches_backwards() -> None:
    run = make_run()
    add_events(run, 40, HEAVY)
    seconds = too_little_time(run.pk)
    first = search(run.pk, NEEDLE, start=None, backwards=True, limit=1, seconds=seconds)
    second = search(run.pk, NEEDLE, start=first.reached, backwards=True, limit=1, seconds=seconds)
    assert first.stopped
    assert first.reached is not None
    assert second.reached is not None
    assert second.reached < first.reached <= moment(40)


def test_an_event_that_takes_all_the_time_is_skipped() -> None:
    run = make_run()
    add_event(run, "note", f'"{"straw " * 4_000_000}"', 1)
    add_event(run, "note", '"needle"', 2)
    found = search(run.pk, NEEDLE, start=None, limit=1, seconds=0.01)
    assert (found.stopped, found.skipped, found.reached) == (True, True, moment(1))
    found = search(run.pk, NEEDLE, start=found.reached, limit=1)
    assert found.moments == [moment(2)]


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
