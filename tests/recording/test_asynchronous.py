"""Runs of asynchronous code."""

from __future__ import annotations

import asyncio
import inspect
import itertools

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording import (
    AsyncRecorder,
    Recorder,
    arecord,
    aresume,
)
from agentstate.state import ProjectNotFound
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.recording.recorded import events_of, read_page, the_run

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_asynchronous_run_is_recorded() -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()

    async def work() -> str:
        async with arecord("intake", project.id, input=1) as recorder:
            assert recorder.project_id == project.id
            await recorder.event("a", {"number": 1})
            await recorder.events([("b", None), ("c", None)])
            async with recorder.tool("search") as call:
                await asyncio.sleep(0)
                call.output = 3
            await recorder.save(facts=[1])
            await recorder.heartbeat()
            await recorder.set_output("done")
        return recorder.run_id

    run_id = async_to_sync(work)()
    run = AgentWorkflowRun.objects.get(pk=run_id)
    assert (run.status, run.input, run.result["output"], run.result["state"]) == (
        "succeeded",
        1,
        "done",
        {"facts": [1]},
    )
    types = [type_ for type_, _ in events_of(run_id)]
    assert types == ["a", "b", "c", "tool.invocation", "tool.result", "state.changed", "heartbeat"]


def test_an_asynchronous_run_works_under_asyncio_itself() -> None:
    async def work() -> None:
        try:
            async with arecord("intake") as recorder:
                await asyncio.gather(*(recorder.event("step", {"number": number}) for number in range(20)))
        finally:
            await sync_to_async(lambda: connection.close())()

    asyncio.run(work())
    assert the_run().status == "succeeded"
    numbers = [payload["number"] for _, payload in events_of(the_run().pk)]
    assert numbers == list(range(20))


def test_an_asynchronous_error_fails_the_run() -> None:
    async def work() -> None:
        async with arecord("intake") as recorder, recorder.tool("search"):
            read_page(9)

    with pytest.raises(ValueError, match="no page 9"):
        async_to_sync(work)()
    assert the_run().status == "failed"
    assert "in read_page" in the_run().error
    assert events_of(the_run().pk)[1][1]["status"] == "error"


def test_an_asynchronous_run_of_an_unknown_project_is_refused() -> None:
    async def work() -> None:
        async with arecord("intake", "no-such-project"):
            pytest.fail("the block began")

    with pytest.raises(ProjectNotFound):
        async_to_sync(work)()
    assert not AgentWorkflowRun.objects.exists()


def test_a_canceled_task_cancels_its_run_and_its_tool() -> None:
    async def work() -> None:
        async with arecord("intake") as recorder, recorder.tool("search"):
            await asyncio.sleep(60)

    async def cancel_it() -> None:
        task = asyncio.create_task(work())
        while not await AgentWorkflowRunEvent.objects.aexists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(cancel_it)()
    assert (the_run().status, the_run().error) == ("canceled", "CancelledError")
    assert events_of(the_run().pk)[1][1]["status"] == "canceled"


def test_a_task_that_times_out_cancels_its_run() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.2), arecord("intake"):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        async_to_sync(work)()
    assert the_run().status == "canceled"


def test_a_task_that_is_canceled_repeatedly_still_ends_its_run() -> None:
    """As task groups of some libraries do: they cancel until the task gives in."""

    async def work() -> None:
        async with arecord("intake") as recorder:
            for number in itertools.count():
                await recorder.event("step", {"number": number})

    async def cancel_it() -> None:
        task = asyncio.create_task(work())
        while not await AgentWorkflowRunEvent.objects.aexists():
            await asyncio.sleep(0.01)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()

    async_to_sync(cancel_it)()
    assert the_run().status == "canceled"
    numbers = [payload["number"] for _, payload in events_of(the_run().pk)]
    assert numbers == list(range(len(numbers)))


def test_a_task_canceled_while_its_run_begins_leaves_none_running() -> None:
    async def work() -> None:
        async with arecord("intake"):
            await asyncio.sleep(60)

    async def cancel_it() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(cancel_it)()
    assert not AgentWorkflowRun.objects.filter(status="running").exists()


def test_an_asynchronous_run_is_paused_and_resumed() -> None:
    async def work() -> None:
        async with arecord("intake") as recorder:
            await recorder.interrupt()
        async with aresume(recorder.run_id) as recorder:
            await recorder.event("on")

    async_to_sync(work)()
    assert the_run().status == "succeeded"


def test_each_method_of_a_recorder_has_an_asynchronous_twin() -> None:
    internal = {"new_call", "write_invocation", "close_open_calls", "settle_once"}
    for name, method in inspect.getmembers(Recorder, inspect.isfunction):
        if name.startswith("_") or name in internal:
            continue
        parameters = inspect.signature(method).parameters
        twin = inspect.signature(getattr(AsyncRecorder, name)).parameters
        assert [*map(str, twin.values())] == [*map(str, parameters.values())], name
