"""A tool's invocation and its result are one row, as far as a page has both."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest

from agentstate.admin.run.timeline import other_half
from agentstate.admin.run.timeline.calls import Outcome
from agentstate.recording import record
from tests.admin.run.timeline.scenes import add_call, add_event, add_events, make_run, moment, only_row, rows
from tests.sql import sql

pytestmark = pytest.mark.django_db


def test_a_call_is_one_row_with_its_duration() -> None:
    run = make_run()
    add_call(run, "a", 1, 2.5, duration_ms="1234.5")
    row = only_row(run)
    assert [event.type for event in row.events] == ["tool.invocation", "tool.result"]
    assert (row.kind, row.summary, row.outcome) == ("tool", "tool fetch", Outcome.OK)
    assert row.duration == timedelta(milliseconds=1234.5)


@pytest.mark.parametrize("told", ["null", '"long"', "-1", "1e300", "1e5000", "true", "{}"])
def test_an_impossible_duration_is_replaced_by_the_difference_of_the_times(told: str) -> None:
    run = make_run()
    add_call(run, "a", 1, 2.5, duration_ms=told)
    assert only_row(run).duration == timedelta(seconds=1.5)


def test_calls_at_the_same_time_find_their_own_results() -> None:
    run = make_run()
    add_event(run, "tool.invocation", '{"call_id": "a", "tool": "one"}', 1)
    add_event(run, "tool.invocation", '{"call_id": "b", "tool": "two"}', 2)
    add_event(run, "tool.result", '{"call_id": "a", "tool": "one", "status": "ok"}', 3)
    add_event(run, "tool.result", '{"call_id": "b", "tool": "two", "status": "error", "error": "E: no"}', 4)
    first, second = rows(run)
    assert (first.summary, first.duration, first.outcome) == ("tool one", timedelta(seconds=2), Outcome.OK)
    assert (second.summary, second.outcome, second.error) == ("tool two", Outcome.ERROR, "E: no")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("ok", Outcome.OK), ("error", Outcome.ERROR), ("failed", Outcome.ERROR), ("canceled", Outcome.CANCELED)],
)
def test_the_outcome_of_a_call_is_shown(status: str, outcome: Outcome) -> None:
    run = make_run()
    add_call(run, "a", 1, 2, status=f'"{status}"', error='"because"')
    row = only_row(run)
    assert row.outcome == outcome
    assert row.error == ("" if outcome == Outcome.OK else "because")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("running", Outcome.UNDER_WAY),
        ("pending", Outcome.UNDER_WAY),
        ("failed", Outcome.LOST),
        ("succeeded", Outcome.LOST),
    ],
)
def test_a_call_without_a_result_is_running_or_lost(status: str, outcome: Outcome) -> None:
    run = make_run(status=status)
    add_call(run, "a", 1, None)
    row = only_row(run)
    assert (row.outcome, row.half) == (outcome, "")


def test_a_pair_that_the_edge_of_a_page_divides_shows_its_halves() -> None:
    run = make_run()
    add_event(run, "draft.progress", at=1)
    add_call(run, "a", 2, 3, duration_ms="900")
    add_event(run, "draft.progress", at=4)

    _, invocation = rows(run, size=2)
    result, _ = rows(run, size=2, after=moment(2))

    assert (invocation.half, invocation.outcome, invocation.duration) == ("result", Outcome.NONE, None)
    assert invocation.bar is not None
    assert invocation.bar.is_open
    assert (result.half, result.outcome, result.duration) == ("invocation", Outcome.OK, timedelta(milliseconds=900))
    assert other_half(run.pk, invocation.event.id) == result.event.id
    assert other_half(run.pk, result.event.id) == invocation.event.id


def test_a_result_without_an_invocation_does_not_link_to_one() -> None:
    run = make_run()
    add_event(run, "tool.result", '{"call_id": "a", "tool": "fetch", "status": "ok", "duration_ms": 500}', 1)
    add_event(run, "draft.progress", at=2)
    assert [row.half for row in rows(run)] == ["", ""]
    assert [row.half for row in rows(run, before=moment(2))] == [""]


def test_the_other_half_may_be_missing() -> None:
    run, other = make_run(), make_run()
    add_call(run, "a", 1, None)
    lonely = add_event(run, "tool.result", '{"call_id": "b"}', 2)
    without = add_event(run, "tool.result", "7", 3)
    plain = add_event(run, "draft.progress", "{}", 4)
    add_call(other, "a", 0, 5)
    assert [other_half(run.pk, each) for each in (f"{run.pk}-1", lonely, without, plain, "nothing")] == [None] * 5


def test_a_call_id_that_is_not_text_pairs_nothing() -> None:
    run = make_run()
    add_event(run, "tool.invocation", '{"call_id": 5, "tool": "one"}', 1)
    add_event(run, "tool.result", '{"call_id": 5, "tool": "one", "status": "ok"}', 2)
    assert [row.half for row in rows(run)] == ["", ""]


def test_failures_besides_tools_are_marked() -> None:
    run = make_run()
    add_event(run, "draft.failed", "{}", 1)
    add_event(run, "draft.progress", '{"status": "error"}', 2)
    add_event(run, "draft.progress", '{"status": "done"}', 3)
    assert [row.outcome for row in rows(run)] == [Outcome.ERROR, Outcome.ERROR, Outcome.NONE]


def test_late_events_are_marked() -> None:
    run = make_run(status="failed", error="Closed as stale: nothing was heard of it")
    add_event(run, "draft.progress", '{"n": 1}', 1)
    add_event(run, "draft.progress", '{"n": 2, "$late": true}', 2)
    assert [(row.is_late, row.summary) for row in rows(run)] == [
        (False, "draft progress: n: 1"),
        (True, "draft progress: n: 2"),
    ]


def test_the_recorders_events_have_summaries() -> None:
    with record("draft") as run:
        with run.tool("read_page", {"page": 7}) as call:
            call.output = "…"
        with suppress(ValueError), run.tool("read_page", {"page": 8}):
            raise ValueError("no page 8")
    assert [(row.summary, str(row.outcome), row.error) for row in rows(run.run)] == [
        ("tool read_page", "ok", ""),
        ("tool read_page", "failed", "ValueError: no page 8"),
    ]


def test_a_row_notes_a_deviating_payload() -> None:
    run = make_run(status="running")
    add_call(run, "a", 1, None)
    before = only_row(run).version
    assert only_row(run).version == before
    add_event(run, "tool.result", '{"call_id": "a", "tool": "fetch", "status": "ok"}', 2)
    assert only_row(run).version != before


def test_a_page_of_many_rows_is_in_order() -> None:
    run = make_run()
    add_events(run, 300)
    moments = [row.event.at for row in rows(run)]
    assert moments == sorted(moments)
    assert sql('SELECT count(*) FROM "AgentWorkflowRunEvent" WHERE created_at < %s', moments[0]) == [(0,)]
