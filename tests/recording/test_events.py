"""Events: on disk when the call returns, in the order of the calls."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording import (
    Recorder,
    RunCanceled,
    RunFinished,
    record,
    storable,
)
from tests.factories import EventFactory, RunFactory
from tests.flags import rolled_back
from tests.recording.recorded import events_of, in_threads, the_run
from tests.scenes import start_and_wait_for_lock
from tests.sql import second_connection, sql, tell_planner

pytestmark = pytest.mark.django_db(transaction=True)

A_MICROSECOND = timedelta(microseconds=1)


def test_an_event_is_on_disk_when_the_call_returns() -> None:
    with record("intake") as recorder:
        event_id = recorder.event("page.read", {"page": 1})
        with second_connection() as other:
            found = other.execute('SELECT id, type, payload::text FROM "AgentWorkflowRunEvent"').fetchall()
        assert found == [(event_id, "page.read", '{"page": 1}')]
    assert len(event_id) == 24


def test_a_missing_payload_is_an_empty_object() -> None:
    with record("intake") as recorder:
        recorder.event("a")
        recorder.event("b", [])
        recorder.events([("c", None), ("d", 0)])
    assert events_of(recorder.run_id) == [("a", {}), ("b", []), ("c", {}), ("d", 0)]


def test_events_inside_a_transaction_are_rolled_back_with_it() -> None:
    with record("intake") as recorder:
        with rolled_back():
            recorder.event("undone")
        with transaction.atomic():
            recorder.event("kept")
    assert events_of(recorder.run_id) == [("kept", {})]


def test_many_events_in_one_statement_keep_their_order(django_assert_num_queries: Any) -> None:
    with record("intake") as recorder:
        with django_assert_num_queries(1):
            ids = recorder.events(("step", {"number": number}) for number in range(500))
        with django_assert_num_queries(0):
            assert recorder.events([]) == []
    assert [payload["number"] for _, payload in events_of(recorder.run_id)] == list(range(500))
    assert [id_ for (id_,) in sql('SELECT id FROM "AgentWorkflowRunEvent" ORDER BY created_at')] == ids


def test_one_event_is_one_round_to_the_database(django_assert_num_queries: Any) -> None:
    with record("intake") as recorder, django_assert_num_queries(1):
        recorder.event("a")


def test_order_holds_when_the_clock_is_set_back() -> None:
    with record("intake") as recorder:
        ahead = timezone.now() + timedelta(days=1)
        EventFactory(run=recorder.run, type="ahead", created_at=ahead)
        recorder.event("first")
        recorder.events([("second", None), ("third", None)])
        recorder.event("fourth")
    assert sql('SELECT type, created_at FROM "AgentWorkflowRunEvent" ORDER BY created_at') == [
        (type_, ahead + place * A_MICROSECOND)
        for place, type_ in enumerate(["ahead", "first", "second", "third", "fourth"])
    ]
    assert the_run().completed_at >= ahead + 4 * A_MICROSECOND


def test_an_event_is_never_older_than_its_run() -> None:
    with record("intake") as recorder:
        ahead = timezone.now() + timedelta(days=1)
        AgentWorkflowRun.objects.update(started_at=ahead)
        recorder.event("first")
    assert AgentWorkflowRunEvent.objects.get().created_at >= ahead


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=1)], ids=["true clock", "clock set back"])
def test_many_threads_write_to_one_run_in_one_order(ahead: timedelta) -> None:
    """The order of rows is the order of calls: what was written before a call began comes first."""
    seen: list[tuple[int, int]] = []
    with record("intake") as recorder:
        EventFactory(run=recorder.run, type="start", created_at=timezone.now() + ahead)

        def write(place: int) -> None:
            for number in range(25):
                before = len(seen)
                if number % 5:
                    recorder.event("step", {"thread": place, "number": number, "before": before})
                else:
                    recorder.events([("step", {"thread": place, "number": number, "before": before})])
                seen.append((place, number))

        in_threads(write, 8)

    steps = [payload for type_, payload in events_of(recorder.run_id) if type_ == "step"]
    assert len(steps) == 200
    for place in range(8):
        assert [step["number"] for step in steps if step["thread"] == place] == list(range(25))
    position = {(step["thread"], step["number"]): index for index, step in enumerate(steps)}
    for step in steps:
        mine = position[step["thread"], step["number"]]
        assert all(position[earlier] < mine for earlier in seen[: step["before"]])


def test_an_event_waits_for_the_end_of_the_run_in_another_process() -> None:
    """A run that ends in another transaction takes no event once that is committed."""
    recorder = Recorder(RunFactory(status="running"))
    outcome: list[BaseException] = []

    def write() -> None:
        try:
            recorder.event("late")
        except RunFinished as error:
            outcome.append(error)

    with transaction.atomic():
        the_run().cancel()
        thread = start_and_wait_for_lock(write)
    thread.join(60)
    assert [type(error) for error in outcome] == [RunCanceled]
    assert events_of(recorder.run_id) == []


def test_writers_of_different_runs_do_not_wait_for_each_other() -> None:
    with record("one") as first, record("other") as second, second_connection() as other:
        other.execute("BEGIN")
        other.execute('SELECT FROM "AgentWorkflowRun" WHERE id = %s FOR NO KEY UPDATE', [first.run_id])
        second.event("free")
        other.execute("ROLLBACK")
    assert events_of(second.run_id) == [("free", {})]


def test_only_a_save_writes_state_changed() -> None:
    with record("intake") as recorder, pytest.raises(ValueError, match="call save"):
        recorder.events([("fine", None), ("state.changed", {"facts": 1})])
    assert events_of(recorder.run_id) == []


def test_a_heartbeat_is_one_event_that_moves() -> None:
    with record("intake") as recorder:
        recorder.heartbeat()
        recorder.event("step")
        assert [type_ for type_, _ in events_of(recorder.run_id)] == ["heartbeat", "step"]
        recorder.heartbeat()
        recorder.heartbeat()
    assert events_of(recorder.run_id) == [("step", {}), ("heartbeat", {})]


def test_the_last_event_is_found_in_the_index() -> None:
    with record("intake") as recorder:
        recorder.events(("step", None) for _ in range(3000))
    tell_planner("AgentWorkflowRunEvent")
    plan = "\n".join(
        line
        for (line,) in sql(
            'EXPLAIN SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = %s', recorder.run_id
        )
    )
    assert "Index Only Scan Backward" in plan
    assert "AgentWorkflowRunEvent_run_created_key" in plan


def test_events_too_large_for_one_statement_take_several(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(storable, "LARGEST", 1000)
    text = "x" * 600
    with record("intake") as recorder:
        with django_assert_num_queries(6):  # with BEGIN, the level and COMMIT
            recorder.events([("a", text), ("b", text), ("c", 1), ("d", text)])
        AgentWorkflowRun.objects.update(status="succeeded")
        with pytest.raises(RunFinished):
            recorder.events([("e", text), ("f", text)])
        AgentWorkflowRun.objects.update(status="running")
    assert events_of(recorder.run_id) == [("a", text), ("b", text), ("c", 1), ("d", text)]


def test_a_tools_output_that_is_too_large_is_cut_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storable, "LARGEST", 1000)
    monkeypatch.setattr(storable, "CUT_TO", 5)
    with record("intake") as recorder, recorder.tool("search", "?" * 2000) as call:
        call.output = [0] * 2000
    (_, asked), (_, answered) = events_of(recorder.run_id)
    assert (asked["call_id"], asked["arguments"]) == (call.call_id, {"$unstorable": "size", "value": '"????'})
    assert (answered["call_id"], answered["status"]) == (call.call_id, "ok")
    assert answered["output"] == {"$unstorable": "size", "value": "[0,0,"}
