"""Following a run by position: nothing is skipped, nothing comes twice."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.db import transaction

from agentstate.models import AgentWorkflowRun
from agentstate.recording import record
from agentstate.recording.following import MOST_EVENTS, events_after, moment_of, place_of, pulses_of
from agentstate.recording.recorder import Recorder
from tests.recording.recorded import close_as_stale, in_threads
from tests.sql import WAITING_FOR_LOCKS, second_connection, sql

if TYPE_CHECKING:
    from datetime import datetime

    from agentstate.recording.following import NewEvents


def read(run_id: str, after: datetime | None = None) -> NewEvents:
    new = events_after(run_id, after)
    assert new is not None
    return new


@pytest.mark.django_db
def test_events_after_a_position_follow_it() -> None:
    with record("draft") as run:
        run.events(("note", {"n": number}) for number in range(5))
        whole = read(run.run_id)
        assert (whole.status, whole.is_all, whole.has_ended) == ("running", True, False)
        assert [event.payload for event in whole.events] == [f'{{"n": {number}}}' for number in range(5)]
        second = moment_of(whole.events[1].place)
        assert [event.payload for event in read(run.run_id, second).events] == ['{"n": 2}', '{"n": 3}', '{"n": 4}']
        first = events_after(run.run_id, limit=2)
        assert first is not None
        assert (first.events, first.is_all) == (whole.events[:2], False)
        assert read(run.run_id, whole.events[-1].at) == whole._replace(events=[])


@pytest.mark.django_db
def test_events_of_a_type_are_read_alone() -> None:
    with record("draft") as run:
        run.events([("note", None), ("word", {"n": 1}), ("note", None), ("word", {"n": 2})])
        words = events_after(run.run_id, types=["word", "nul\0"], limit=3)
    assert words is not None
    assert ([event.payload for event in words.events], words.is_all) == (['{"n": 1}', '{"n": 2}'], True)


@pytest.mark.django_db
def test_the_end_is_seen_with_all_events() -> None:
    with record("draft") as run:
        run.events(("note", None) for _ in range(MOST_EVENTS + 1))
    part = read(run.run_id)
    assert (len(part.events), part.is_all, part.has_ended) == (MOST_EVENTS, False, True)
    rest = read(run.run_id, part.events[-1].at)
    assert (len(rest.events), rest.is_all, rest.has_ended) == (1, True, True)


@pytest.mark.django_db
def test_a_late_event_of_a_stale_run_follows_its_end() -> None:
    with record("draft") as run:
        run.event("note")
        close_as_stale(run.run_id)
        ended = read(run.run_id)
        run.event("note")
        late = read(run.run_id, ended.events[-1].at)
    assert ended.has_ended
    assert [event.payload for event in late.events] == ['{"$late": true}']


@pytest.mark.django_db
def test_a_deleted_run_has_neither_events_nor_a_pulse() -> None:
    assert events_after("nothing") is None
    assert pulses_of(["nothing"]) == {}


@pytest.mark.django_db
def test_a_payload_that_fills_a_read_comes_alone() -> None:
    with record("draft") as run:
        run.events([("note", None)] * 3)
        noise = "(SELECT string_agg(md5(id || n), '') FROM generate_series(1, 40000) n)"
        sql(f'UPDATE "AgentWorkflowRunEvent" SET payload = to_jsonb({noise})')
        seen = []
        after = None
        while new := read(run.run_id, after).events:
            assert len(new) == 1
            after = new[0].at
            seen += new
    assert len(seen) == 3


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_stays_open_makes_the_others_wait_and_hides_nothing() -> None:
    """An event of an open transaction has an earlier time than one that is written meanwhile."""
    with record("draft") as run:
        has_written, may_commit = threading.Event(), threading.Event()

        def act(place: int) -> None:
            recorder = Recorder(AgentWorkflowRun.objects.get(pk=run.run_id))
            if place:
                assert has_written.wait(60)
                recorder.event("second")
                return
            with transaction.atomic():
                recorder.event("first")
                has_written.set()
                assert may_commit.wait(60)

        thread = threading.Thread(target=in_threads, args=(act, 2))
        thread.start()
        try:
            assert has_written.wait(60)
            _wait_for_a_waiting_writer()
            assert read(run.run_id).events == []
        finally:
            may_commit.set()
            thread.join()
        assert [event.type for event in read(run.run_id).events] == ["first", "second"]


def _wait_for_a_waiting_writer() -> None:
    with second_connection() as other:
        for _ in range(3000):
            if other.execute(WAITING_FOR_LOCKS).fetchone() is not None:
                return
            other.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("no writer waits")


def test_a_position_is_a_moment() -> None:
    assert place_of(moment_of(1_700_000_000_123_456)) == 1_700_000_000_123_456
