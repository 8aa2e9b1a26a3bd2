"""What happens inside a tool's call has the call as its parent, however the tool does it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from agents import RunConfig, Runner, function_tool
from asgiref.sync import async_to_sync
from django.db import connection

from agentstate.integrations.agents import (
    CurrentRunHooks,
    RunEventHooks,
    arecord_event,
    record_event,
    resume_workflow_sync,
    run_workflow,
    run_workflow_sync,
    stream_workflow,
)
from agentstate.recording import acurrent, arecord, current
from tests.integrations.agents.scenes import agent_of, call, says, tree_of

pytestmark = pytest.mark.django_db(transaction=True)
with_and_without_tracing = pytest.mark.parametrize("untraced", [False, True], ids=["traced", "untraced"])


@function_tool
def read() -> str:
    return "read"


def run(*steps: Any, tools: list[Any], untraced: bool = False) -> list[str]:
    """Run an agent, and return the tree of what it did."""
    agent = agent_of(*steps, [says("Done.")], tools=tools)
    outcome = run_workflow_sync(agent, "Go.", run_config=RunConfig(tracing_disabled=untraced))
    assert (outcome.status, outcome.lost_events) == ("succeeded", 0)
    return tree_of(outcome.run_id)


@with_and_without_tracing
def test_events_of_a_tool_are_inside_its_call(untraced: bool) -> None:
    @function_tool
    def note(number: int) -> str:
        return record_event(f"note.{number}")

    @function_tool
    async def anote(number: int) -> str:
        return await arecord_event(f"note.{number}")

    calls = [call("note", "c1", number=1), call("anote", "c2", number=2)]
    tree = run(calls, tools=[note, anote], untraced=untraced)
    assert {"note.1 in tool.invocation c1", "note.2 in tool.invocation c2"} < {*tree}


@with_and_without_tracing
def test_calls_that_a_tool_records_are_inside_its_own_call(untraced: bool) -> None:
    @function_tool
    async def search() -> str:
        async with acurrent().tool("query", call_id="q1"):
            await acurrent().event("rows")
            async with acurrent().tool("parse", call_id="q2"):
                pass
        return "found"

    @function_tool
    def look() -> str:
        with closing(connection), current().tool("query", call_id="q3"):
            current().event("seen")
        return "seen"

    assert run([call("search", "c1")], [call("look", "c2")], tools=[search, look], untraced=untraced) == [
        "model.response Clerk",
        "tool.invocation c1",
        "tool.invocation q1 in tool.invocation c1",
        "rows in tool.invocation q1",
        "tool.invocation q2 in tool.invocation q1",
        "tool.result q2 in tool.invocation q1",
        "tool.result q1 in tool.invocation c1",
        "tool.result c1",
        "model.response Clerk",
        "tool.invocation c2",
        "tool.invocation q3 in tool.invocation c2",
        "seen in tool.invocation q3",
        "tool.result q3 in tool.invocation c2",
        "tool.result c2",
        "model.response Clerk",
    ]


@with_and_without_tracing
def test_an_agent_that_a_tool_runs_is_inside_its_call(untraced: bool) -> None:
    config = RunConfig(tracing_disabled=untraced)

    @function_tool
    async def ask() -> str:
        last = agent_of([says("Bye.")], name="Last")
        first = agent_of([call("read", "n1")], [call("transfer_to_last", "n2")], name="First", handoffs=[last])
        first.tools.append(read)
        await Runner.run(first, "?", hooks=CurrentRunHooks(), run_config=config)
        async with acurrent().tool("think", call_id="t1"):
            await Runner.run(agent_of([says("So.")], name="Second"), "?", hooks=CurrentRunHooks(), run_config=config)
        return "asked"

    assert run([call("ask", "c1")], tools=[ask], untraced=untraced) == [
        "model.response Clerk",
        "tool.invocation c1",
        "model.response First in tool.invocation c1",
        "tool.invocation n1 in tool.invocation c1",
        "tool.result n1 in tool.invocation c1",
        "model.response First in tool.invocation c1",
        "agent.handoff First in tool.invocation c1",
        "model.response Last in agent.handoff First",
        "tool.invocation t1 in tool.invocation c1",
        "model.response Second in tool.invocation t1",
        "tool.result t1 in tool.invocation c1",
        "tool.result c1",
        "model.response Clerk",
    ]


def test_agents_that_parallel_tools_run_stay_apart_also_in_threads_and_when_streamed() -> None:
    @function_tool
    def ask_in_thread() -> str:
        inner = agent_of([call("read", "n1")], [says("A.")], tools=[read], name="A")
        with closing(connection):
            return str(async_to_sync(Runner.run)(inner, "?", hooks=CurrentRunHooks()).final_output)

    @function_tool
    async def ask_streamed() -> str:
        inner = agent_of([call("read", "n2")], [says("B.")], tools=[read], name="B")
        result = Runner.run_streamed(inner, "?", hooks=CurrentRunHooks())
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    async def work() -> str:
        calls = [call("ask_in_thread", "c1"), call("ask_streamed", "c2")]
        agent = agent_of(calls, [says("Done.")], tools=[ask_in_thread, ask_streamed])
        async with stream_workflow(agent, "Go.") as stream:
            async for _ in stream.stream_events():
                pass
        return stream.run_id

    inside = {
        f"{event} in tool.invocation {around}"
        for agent, inner, around in (("A", "n1", "c1"), ("B", "n2", "c2"))
        for event in (f"model.response {agent}", f"tool.invocation {inner}", f"tool.result {inner}")
    }
    assert {line for line in tree_of(async_to_sync(work)()) if " in " in line} == inside


def test_handoffs_of_agents_one_after_another_do_not_enclose_each_other() -> None:
    @function_tool
    async def ask() -> str:
        for number in (1, 2):
            last = agent_of([says("Bye.")], name=f"Last{number}")
            first = agent_of([call(f"transfer_to_last{number}", "n1")], name=f"First{number}", handoffs=[last])
            await Runner.run(first, "?", hooks=CurrentRunHooks())
        return "asked"

    tree = run([call("ask", "c1")], tools=[ask])
    assert tree[2:8] == [
        "model.response First1 in tool.invocation c1",
        "agent.handoff First1 in tool.invocation c1",
        "model.response Last1 in agent.handoff First1",
        "model.response First2 in tool.invocation c1",
        "agent.handoff First2 in tool.invocation c1",
        "model.response Last2 in agent.handoff First2",
    ]


def test_a_run_inside_a_recorded_call_is_inside_it_and_its_tools_are_inside_theirs() -> None:
    @function_tool
    async def note() -> str:
        return await arecord_event("note")

    agent = agent_of([call("note", "c1")], [says("Done.")], tools=[note])

    async def work() -> str:
        async with arecord("by hand") as recorder:
            async with recorder.tool("ask", call_id="t1"), RunEventHooks(recorder) as hooks:
                await Runner.run(agent, "?", hooks=hooks)
            return recorder.run_id

    assert tree_of(async_to_sync(work)())[1:5] == [
        "model.response Clerk in tool.invocation t1",
        "tool.invocation c1 in tool.invocation t1",
        "note in tool.invocation c1",
        "tool.result c1 in tool.invocation t1",
    ]


def test_a_run_of_its_own_inside_a_tool_is_a_tree_of_its_own() -> None:
    ids: list[str] = []

    @function_tool
    async def delegate() -> str:
        outcome = await run_workflow(agent_of([call("read", "n1")], [says("Done.")], tools=[read]), "?")
        ids.append(outcome.run_id)
        return await arecord_event("after")

    assert "after in tool.invocation c1" in run([call("delegate", "c1")], tools=[delegate])
    assert not [line for line in tree_of(ids[0]) if " in " in line]


def test_a_nested_agent_goes_on_inside_its_call_after_an_approval() -> None:
    @function_tool(needs_approval=True)
    async def send() -> str:
        return await arecord_event("sent")

    def outer(steps: list[Any], inner_steps: list[Any]) -> Any:
        inner = agent_of(*inner_steps, tools=[send, read], name="Inner")
        return agent_of(*steps, tools=[inner.as_tool("ask", "", hooks=CurrentRunHooks())], name="Outer")

    run_id = run_workflow_sync(outer([[call("ask", "c1", input="?")]], [[call("send", "n1")]]), "Mail.").run_id
    resumed = outer([[says("Done.")]], [[call("read", "n2")], [says("Mailed.")]])
    assert resume_workflow_sync(run_id, resumed, {"n1": True}).status == "succeeded"
    assert [line for line in tree_of(run_id) if not line.startswith("approval")] == [
        "model.response Outer",
        "tool.invocation c1",
        "model.response Inner in tool.invocation c1",
        "tool.invocation n1 in tool.invocation c1",
        "sent in tool.invocation n1",
        "tool.result n1 in tool.invocation c1",
        "model.response Inner in tool.invocation c1",
        "tool.invocation n2 in tool.invocation c1",
        "tool.result n2 in tool.invocation c1",
        "model.response Inner in tool.invocation c1",
        "tool.result c1",
        "model.response Outer",
    ]
