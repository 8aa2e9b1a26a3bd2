"""A run as JSON: all of it, digit for digit, a little at a time."""

from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal

import pytest

from agentstate.admin.run.timeline import run_as_json
from tests.admin.run.timeline.scenes import add_event, add_events, make_run
from tests.sql import sql

pytestmark = pytest.mark.django_db


def test_it_is_json_with_all_that_the_run_has() -> None:
    run = make_run(id='a "run"\n', workflow_id="draft", status="failed", error="E: no\n\nTraceback", input={"a": [1]})
    add_event(run, "note", '{"n": 0.10, "big": 12345678901234567890123.5, "text": "</script>\\u202e"}', 1)
    add_event(run, 'a "type"', "null", 2)

    text = "".join(run_as_json(run.pk))
    document = json.loads(text, parse_float=Decimal)

    assert {name: document[name] for name in ("id", "workflow_id", "status", "error", "input", "result")} == {
        "id": run.pk,
        "workflow_id": "draft",
        "status": "failed",
        "error": "E: no\n\nTraceback",
        "input": {"a": [1]},
        "result": None,
    }
    assert document["started_at"] == "2025-06-07T08:09:10.000000+00:00"
    assert [(event["type"], event["created_at"][17:26]) for event in document["events"]] == [
        ("note", "11.000000"),
        ('a "type"', "12.000000"),
    ]
    assert '"n": 0.10' in text
    assert "12345678901234567890123.5" in text


def test_a_run_without_events_is_json_too() -> None:
    assert json.loads("".join(run_as_json(make_run().pk)))["events"] == []


def test_an_unknown_run_has_no_download() -> None:
    assert list(run_as_json("nothing")) == []


def test_batches_leave_out_no_event() -> None:
    run = make_run()
    add_events(run, 2_500)
    document = json.loads("".join(run_as_json(run.pk)))
    assert [event["payload"]["n"] for event in document["events"]] == list(range(1, 2_501))


def test_events_written_meanwhile_do_not_extend_the_download() -> None:
    run = make_run()
    add_events(run, 10)
    pieces = run_as_json(run.pk)
    first = next(pieces)
    add_event(run, "note", at=999)
    assert len(json.loads(first + "".join(pieces))["events"]) == 10


def test_large_payloads_come_one_by_one() -> None:
    run = make_run()
    add_events(run, 30)
    noise = "(SELECT string_agg(md5(id || n), '') FROM generate_series(1, 60000) n)"
    sql(f'UPDATE "AgentWorkflowRunEvent" SET payload = to_jsonb({noise})')
    tracemalloc.start()
    try:
        length = sum(len(piece) for piece in run_as_json(run.pk))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length > 30 * 1_900_000
    assert peak < 20_000_000
