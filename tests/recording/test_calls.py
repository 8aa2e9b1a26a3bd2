"""Calls that a framework reports in two callbacks, a start and an end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from agentstate.recording import CallNotOpen, arecord, record
from tests.recording.recorded import events_of, in_threads, the_run

pytestmark = pytest.mark.django_db(transaction=True)


def outcomes(run_id: str) -> list[tuple[str, str | None, Any, Any]]:
    """Return each event's call id, and of a result the status, the output and the error."""
    return [
        (payload["call_id"], payload.get("status"), payload.get("output"), payload.get("error"))
        for _, payload in events_of(run_id)
    ]


def test_a_call_is_settled_later_by_itself_or_by_its_id() -> None:
    with record("intake") as run:
        call = run.invoke("search", '{"q": not JSON', call_id="call_1", agent="Planner")
        run.invoke("fetch", {"url": "x"}, call_id="call_2")
        run.event("between")
        run.settle("call_2", error=ValueError("no page"))
        run.settle(call, output=["page 7"])
    (_, first), _, _, (_, failed), (_, found) = events_of(run.run_id)
    assert first == {"call_id": "call_1", "tool": "search", "agent": "Planner", "arguments": '{"q": not JSON'}
    assert (failed["call_id"], failed["status"], failed["error"]) == ("call_2", "error", "ValueError: no page")
    assert found.pop("duration_ms") > 0
    assert found == {
        "call_id": "call_1", "tool": "search", "agent": "Planner", "status": "ok", "output": ["page 7"], "error": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "status", "error"),
    [
        ({"error": "timed out", "status": "canceled"}, "canceled", "timed out"),
        ({"error": "timed out"}, "error", "timed out"),
        ({"error": asyncio.CancelledError()}, "canceled", "CancelledError"),
        ({"status": "error"}, "error", None),
    ],
)
def test_a_result_has_the_given_status_or_the_one_of_its_error(
    given: dict[str, Any], status: str, error: str | None
) -> None:
    with record("intake") as run:
        run.settle(run.invoke("search", call_id="1"), **given)
    assert outcomes(run.run_id)[1] == ("1", status, None, error)


def test_an_unknown_status_is_refused() -> None:
    with record("intake") as run, run.tool("search") as call, pytest.raises(ValueError, match="'done'"):
        run.settle(call, status="done")
    assert outcomes(run.run_id)[1][1] == "ok"


def test_a_reused_id_gives_two_pairs() -> None:
    with record("intake") as run:
        run.invoke("search", call_id="1")
        second = run.invoke("search", call_id="1")
        assert second.call_id == "1#2"
        run.settle("1", output="first")
        run.settle(second, output="second")
        with run.tool("search", call_id="1") as third:
            assert third.call_id == "1"
    assert [(call, output) for call, _, output, _ in outcomes(run.run_id)] == [
        ("1", None), ("1#2", None), ("1", "first"), ("1#2", "second"), ("1", None), ("1", None)
    ]  # fmt: skip


def test_an_unknown_call_is_not_settled() -> None:
    with record("intake") as run:
        with run.tool("search", call_id="1") as call:
            run.settle(call, output="early")
        for unknown in (call, "1", "2"):
            with pytest.raises(CallNotOpen, match="was never invoked"):
                run.settle(unknown)
    assert [output for _, _, output, _ in outcomes(run.run_id)] == [None, "early"]


@pytest.mark.parametrize("error", [None, ValueError("no page")])
def test_the_end_of_a_run_cancels_its_open_calls(error: Exception | None) -> None:
    def work() -> None:
        with record("intake") as run:
            run.invoke("search", call_id="1")
            if error:
                raise error

    if error:
        with pytest.raises(ValueError, match="no page"):
            work()
    else:
        work()
    assert outcomes(the_run().pk)[1:] == [("1", "canceled", None, "The run ended before this call did.")]
    assert the_run().status == ("failed" if error else "succeeded")


def test_threads_settle_the_calls_of_one_run_with_one_id() -> None:
    with record("intake") as run:

        def call_tool(place: int) -> None:
            call = run.invoke("search", place, call_id="1")
            run.settle(call, output=place)

        in_threads(call_tool, 4)
    payloads = [payload for _, payload in events_of(run.run_id)]
    open_calls: dict[str, int] = {}
    for payload in payloads:
        if "arguments" in payload:
            assert payload["call_id"] not in open_calls
            open_calls[payload["call_id"]] = payload["arguments"]
        else:
            assert open_calls.pop(payload["call_id"]) == payload["output"]
    assert (len(payloads), open_calls) == (8, {})


@dataclass
class Page:
    number: int


def test_an_output_may_be_large_or_an_object() -> None:
    large = "x" * 5_000_000
    with record("intake") as run:
        run.settle(run.invoke("fetch", call_id="1"), output=large)
        run.settle(run.invoke("read", call_id="2"), output=Page(7))
    fetched, read = (output for _, status, output, _ in outcomes(run.run_id) if status)
    assert fetched == large
    assert read == {"$unstorable": f"{__name__}.Page", "value": {"number": 7}}


def test_an_asynchronous_call_is_recorded_in_two_halves() -> None:
    async def work() -> None:
        async with arecord("intake") as run:
            first = await run.invoke("search", call_id="1", agent="Planner")
            async with run.tool("search", call_id="1", agent="Planner") as second:
                second.output = "second"
            await run.settle(first, output="first")

    async_to_sync(work)()
    assert [(call, output) for call, status, output, _ in outcomes(the_run().pk) if status] == [
        ("1#2", "second"),
        ("1", "first"),
    ]
    assert {payload["agent"] for _, payload in events_of(the_run().pk)} == {"Planner"}


def test_an_asynchronous_call_canceled_at_its_start_has_a_result() -> None:
    async def work() -> None:
        async with arecord("intake") as run:
            starting = asyncio.ensure_future(run.invoke("search", call_id="1"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            await run.event("after")

    async_to_sync(work)()
    assert events_of(the_run().pk)[1][1]["status"] == "canceled"
    assert events_of(the_run().pk)[2][0] == "after"
