"""However an agent's run ends, its run says so, and each of its calls has a result."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from agents import (
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    RunHooks,
    ToolTimeoutError,
    UserError,
    function_tool,
    input_guardrail,
)
from asgiref.sync import async_to_sync

from agentstate.integrations.agents import run_workflow, run_workflow_sync, stream_workflow
from agentstate.recording import RunNotFound
from agentstate.threads import in_database_thread
from tests.integrations.agents.scenes import agent_of, call, calls_of, newest_run, payloads, run_of, says, types_of
from tests.sql import scalar, second_connection

if TYPE_CHECKING:
    from agents import Agent

pytestmark = pytest.mark.django_db(transaction=True)


@function_tool(failure_error_function=None)
async def fetch(page: int) -> str:
    """Fail at once for page 2; wait for any other."""
    await asyncio.sleep(0 if page == 2 else 60)
    raise ValueError(f"no page {page}")


@function_tool(failure_error_function=None, timeout=0.05, timeout_behavior="raise_exception")
async def fetch_in_time() -> str:
    await asyncio.sleep(60)
    return ""


@function_tool
async def greet() -> str:
    return "Hello"


@function_tool
async def wait() -> str:
    await asyncio.sleep(60)
    return ""


class AfterItsSibling(RunHooks[Any]):
    """Lets the call c2 begin, and its time, once the call c1 has its result."""

    async def on_tool_start(self, context: Any, *_: Any) -> None:
        settled = """SELECT count(*) FROM "AgentWorkflowRunEvent"
            WHERE type = 'tool.result' AND payload @> '{"call_id": "c1", "status": "ok"}'"""
        while context.tool_call_id == "c2" and not await in_database_thread(scalar, settled):
            await asyncio.sleep(0.01)


@input_guardrail
async def no_shouting(context: Any, agent: Agent[Any], given: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info={"letters": len(given)}, tripwire_triggered=given.isupper())


def test_a_failing_tool_fails_the_run_and_cancels_its_siblings() -> None:
    agent = agent_of(
        [call("fetch", "c1", page=1), call("fetch", "c2", page=2), call("fetch", "c3", page=3)], tools=[fetch]
    )
    with pytest.raises(UserError, match="no page 2"):
        run_workflow_sync(agent, "Fetch.")
    run = newest_run()
    assert run.status == "failed"
    assert "no page 2" in run.error
    canceled = ("canceled", "The run ended before this call did.")
    assert calls_of(run.pk) == {"c1": canceled, "c2": ("error", "ValueError: no page 2"), "c3": canceled}
    assert run.usage["requests"] == 1

    agent = agent_of([call("greet", "c1"), call("fetch_in_time", "c2")], tools=[greet, fetch_in_time])
    with pytest.raises(ToolTimeoutError):
        run_workflow_sync(agent, "Fetch.", hooks=AfterItsSibling())
    settled = calls_of(newest_run().pk)
    assert settled["c1"] == ("ok", "")
    assert settled["c2"] == ("error", "ToolTimeoutError: Tool 'fetch_in_time' timed out after 0.05 seconds.")


def test_an_error_of_the_model_a_guardrail_and_too_many_turns_fail_the_run_and_keep_its_usage() -> None:
    greeting = [call("greet", "c1")]
    with pytest.raises(RuntimeError, match="overloaded"):
        run_workflow_sync(agent_of(greeting, RuntimeError("overloaded"), tools=[greet]), "Hello")
    assert newest_run().status == "failed"
    assert "RuntimeError: overloaded" in newest_run().error
    assert newest_run().usage["input_tokens"] == 100
    assert calls_of(newest_run().pk) == {"c1": ("ok", "")}

    with pytest.raises(MaxTurnsExceeded):
        run_workflow_sync(agent_of(greeting, [call("greet", "c2")], tools=[greet]), "Hello", max_turns=1)
    assert "MaxTurnsExceeded" in newest_run().error

    with pytest.raises(InputGuardrailTripwireTriggered):
        run_workflow_sync(agent_of([says("Hush.")], input_guardrails=[no_shouting]), "HELLO")
    assert newest_run().status == "failed"
    (tripped,) = payloads(newest_run().pk, "guardrail.tripped")
    assert tripped == {"guardrail": "no_shouting", "kind": "input", "info": {"letters": 5}}


def test_a_canceled_task_cancels_the_run_and_the_cancellation_goes_on() -> None:
    async def work() -> None:
        task = asyncio.create_task(run_workflow(agent_of([call("wait", "c1")], tools=[wait]), "Wait."))
        await tool_begun()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(work)()
    run = newest_run()
    assert (run.status, run.error, run.usage["requests"]) == ("canceled", "CancelledError", 1)
    assert calls_of(run.pk)["c1"][0] == "canceled"


@pytest.mark.parametrize("is_streamed", [False, True], ids=["run", "streamed"])
def test_a_run_that_another_process_cancels_stops_without_another_call_of_the_model(is_streamed: bool) -> None:
    @function_tool
    async def cancel_from_outside() -> str:
        with second_connection() as other:
            other.execute("""UPDATE "AgentWorkflowRun" SET status = 'canceled', completed_at = clock_timestamp()""")
        return "done"

    agent = agent_of([call("cancel_from_outside", "c1")], [says("Too late.")], tools=[cancel_from_outside])

    async def work() -> Any:
        if is_streamed:
            async with stream_workflow(agent, "Go.") as stream:
                async for _ in stream.stream_events():
                    pass
            outcome = stream.outcome
        else:
            outcome = await run_workflow(agent, "Go.")
        await asyncio.sleep(0)  # would raise if this task were canceled
        return outcome

    outcome = async_to_sync(work)()
    assert (outcome.status, outcome.output, outcome.lost_events) == ("canceled", None, 0)
    assert run_of(outcome.run_id).status == "canceled"
    assert calls_of(outcome.run_id) == {"c1": ("ok", "")}
    assert agent.model.remaining_steps == 1  # type: ignore[union-attr]


class CancelFromOutside(RunHooks[Any]):
    """Lets another process cancel the run right after the model's response."""

    async def on_llm_end(self, *_: Any) -> None:
        with second_connection() as other:
            other.execute("""UPDATE "AgentWorkflowRun" SET status = 'canceled', completed_at = clock_timestamp()""")


def test_a_run_that_is_canceled_just_before_it_would_wait_or_succeed_stays_canceled() -> None:
    asking = function_tool(lambda: "sent", name_override="send", needs_approval=True)
    for agent in (agent_of([call("send", "c1")], tools=[asking]), agent_of([says("Done.")])):
        outcome = run_workflow_sync(agent, "Go.", hooks=CancelFromOutside())
        assert outcome.status == run_of(outcome.run_id).status == "canceled"
        assert run_of(outcome.run_id).result is None


def test_a_run_that_is_deleted_meanwhile_stops_and_says_so() -> None:
    @function_tool
    async def delete_from_outside() -> str:
        with second_connection() as other:
            other.execute('DELETE FROM "AgentWorkflowRun"')
        return "done"

    agent = agent_of([call("delete_from_outside", "c1")], [says("Too late.")], tools=[delete_from_outside])
    with pytest.raises(RunNotFound):
        run_workflow_sync(agent, "Go.")
    assert agent.model.remaining_steps == 1  # type: ignore[union-attr]


class LoseTheDatabase(RunHooks[Any]):
    """Ends the server's side of the connection before each response of the model."""

    async def on_llm_start(self, *_: Any) -> None:
        pid = await in_database_thread(scalar, "SELECT pg_backend_pid()")
        with second_connection() as other:
            other.execute("SELECT pg_terminate_backend(%s, 30000)", [pid])


def test_a_database_outage_of_two_events_loses_them_and_not_the_run(caplog: pytest.LogCaptureFixture) -> None:
    agent = agent_of([call("greet", "c1")], [says("Bye.")], tools=[greet])
    outcome = run_workflow_sync(agent, "Hello", hooks=LoseTheDatabase())
    assert (outcome.status, outcome.output, outcome.lost_events) == ("succeeded", "Bye.", 2)
    assert types_of(outcome.run_id) == ["tool.invocation", "tool.result", "model.usage"]
    assert run_of(outcome.run_id).usage["requests"] == 2
    lost = [each for each in caplog.records if "goes on without 1 event: " in each.message]
    assert [each.exc_info for each in lost] == [None, None]


async def read(agent: Agent[Any], *, until: str | None = None) -> Any:
    """Read a workflow's stream to its end, or until an event of this type; return the stream."""
    async with stream_workflow(agent, "Hello") as stream:
        async for event in stream.stream_events():
            if event.type == "run_item_stream_event" and event.name == until:
                break
    return stream


def test_a_stream_ends_its_run_as_it_was_read() -> None:
    whole = async_to_sync(read)(agent_of([call("greet", "c1")], [says("Bye.")], tools=[greet]))
    assert (whole.outcome.status, whole.outcome.output) == ("succeeded", "Bye.")
    assert run_of(whole.run_id).result["output"] == "Bye."
    assert types_of(whole.run_id)[:3] == ["model.response", "tool.invocation", "tool.result"]
    assert run_of(whole.run_id).usage["requests"] == 2

    left = async_to_sync(read)(agent_of([call("wait", "c1")], tools=[wait]), until="tool_called")
    assert (left.outcome.status, run_of(left.run_id).status) == ("canceled", "canceled")
    assert run_of(left.run_id).error == "StreamLeft: The stream was left before its end."
    calls_of(left.run_id)

    with pytest.raises(RuntimeError, match="overloaded"):
        async_to_sync(read)(agent_of([call("greet", "c1")], RuntimeError("overloaded"), tools=[greet]))
    assert newest_run().status == "failed"
    assert newest_run().usage["requests"] == 1

    asking = function_tool(lambda: "sent", name_override="send", needs_approval=True)
    waiting = async_to_sync(read)(agent_of([call("send", "c1")], tools=[asking]))
    assert (waiting.outcome.status, run_of(waiting.run_id).status) == ("pending", "pending")
    assert [each["call_id"] for each in waiting.outcome.approvals] == ["c1"]


def test_a_stream_that_is_stopped_after_a_turn_or_by_a_canceled_task_cancels_its_run() -> None:
    async def stop_after_turn() -> Any:
        async with stream_workflow(agent_of([call("greet", "c1")], [says("Bye.")], tools=[greet]), "Hello") as stream:
            async for _ in stream.stream_events():
                stream.cancel("after_turn")
        return stream

    stopped = async_to_sync(stop_after_turn)()
    assert stopped.outcome.status == run_of(stopped.run_id).status == "canceled"
    assert calls_of(stopped.run_id) == {"c1": ("ok", "")}

    async def cancel_the_reader() -> None:
        task = asyncio.create_task(read(agent_of([call("wait", "c1")], tools=[wait])))
        await tool_begun(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(cancel_the_reader)()
    assert newest_run().status == "canceled"
    assert calls_of(newest_run().pk)["c1"][0] == "canceled"


async def tool_begun(number: int = 1) -> None:
    """Wait until so many calls of tools have begun."""
    begun = """SELECT count(*) FROM "AgentWorkflowRunEvent" WHERE type = 'tool.invocation'"""
    while await in_database_thread(scalar, begun) < number:
        await asyncio.sleep(0.01)
