"""What an agent does becomes events: its model's responses, its tools' calls, its handoffs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from agents import RunConfig, RunHooks, Runner, function_tool
from asgiref.sync import async_to_sync
from openai.types.responses import ResponseFunctionWebSearch

from agentstate.integrations.agents import (
    CurrentRunHooks,
    RunEventHooks,
    run_workflow,
    run_workflow_sync,
)
from agentstate.recording import arecord
from tests.factories import ProjectFactory
from tests.integrations.agents.scenes import (
    agent_of,
    call,
    calls_of,
    newest_run,
    payloads,
    run_of,
    says,
    tree_of,
)
from tests.recording.recorded import events_of
from tests.sql import second_connection

if TYPE_CHECKING:
    import psycopg

pytestmark = pytest.mark.django_db(transaction=True)


@function_tool
async def read_page(number: int) -> str:
    if number > 7:
        raise ValueError(f"no page {number}")
    return f"page {number}"


@function_tool(timeout=0.01)
async def read_slowly() -> str:
    await asyncio.sleep(60)
    return ""


@dataclass
class Page:
    number: int
    text: str


@function_tool
def read_object() -> Any:
    return Page(3, "three")


@function_tool
def read_much() -> str:
    return "page " * 1_000_000


def test_a_run_is_recorded_with_its_events_its_output_and_its_usage() -> None:
    project = ProjectFactory()
    agent = agent_of([call("read_page", "c1", number=3)], [says("Three.")], tools=[read_page])
    outcome = run_workflow_sync(agent, "What is on page 3?", project_id=project.id, workflow_id="reading")
    assert (outcome.status, outcome.output, outcome.lost_events) == ("succeeded", "Three.", 0)
    run = run_of(outcome.run_id)
    assert (run.status, run.workflow_id, run.project_id) == ("succeeded", "reading", project.id)
    assert (run.input, run.result["output"]) == ("What is on page 3?", "Three.")

    (_, first), (_, invocation), (_, result), (_, second), (_, usage) = events_of(run.pk)
    assert (first["agent"], first["model"], first["usage"]["total_tokens"]) == ("Clerk", "ScriptedModel", 110)
    assert first["output"][0]["arguments"] == '{"number":3}'
    assert second["output"][0]["content"][0]["text"] == "Three."
    assert invocation == {"call_id": "c1", "tool": "read_page", "agent": "Clerk", "arguments": '{"number":3}'}
    assert result.pop("duration_ms") >= 0
    assert result == {
        "call_id": "c1", "tool": "read_page", "agent": "Clerk", "status": "ok", "output": "page 3", "error": None
    }  # fmt: skip
    assert (usage["model"], usage["requests"], usage["input_tokens"]) == ("ScriptedModel", 2, 200)


@pytest.mark.parametrize("tracing_disabled", [False, True], ids=["with tracing", "without tracing"])
def test_parallel_calls_are_pairs_by_the_ids_of_the_sdk(tracing_disabled: bool) -> None:
    calls = [
        call("read_page", "c1", number=3),
        call("read_page", "c2", number=9),
        call("read_page", "c3", "{no json"),
        call("read_slowly", "c4"),
        call("read_object", "c5"),
    ]
    tools = [read_page, read_slowly, read_object]
    outcome = run_workflow_sync(
        agent_of(calls, [says("Done.")], tools=tools), "Read.", run_config=RunConfig(tracing_disabled=tracing_disabled)
    )
    settled = calls_of(outcome.run_id)
    assert settled["c1"] == settled["c5"] == ("ok", "")
    assert {settled[call_id][0] for call_id in ("c2", "c3", "c4")} == {"error"}
    assert "no page 9" in settled["c2"][1]
    assert "Invalid JSON input" in settled["c3"][1]
    assert "timed out" in settled["c4"][1]
    assert payloads(outcome.run_id, "tool.invocation")[2]["arguments"] == "{no json"
    (of_object,) = [each for each in payloads(outcome.run_id, "tool.result") if each["call_id"] == "c5"]
    assert of_object["output"]["value"] == {"number": 3, "text": "three"}


def test_a_large_output_is_kept_and_a_call_id_that_nested_agents_share_gets_a_number() -> None:
    inner = agent_of([call("read_much", "c1")], [says("Read.")], tools=[read_much], name="Inner")
    agent = agent_of(
        [call("ask", "c1", input="?")],
        [call("ask", "c1", input="?")],  # the SDK does not execute a call again
        [says("Much.")],
        tools=[inner.as_tool("ask", "", hooks=CurrentRunHooks())],
    )
    outcome = run_workflow_sync(agent, "Read.")
    assert outcome.lost_events == 0
    assert calls_of(outcome.run_id) == {"c1": ("ok", ""), "c1#2": ("ok", "")}
    of_inner, _ = payloads(outcome.run_id, "tool.result")
    assert (of_inner["call_id"], of_inner["agent"], len(of_inner["output"])) == ("c1#2", "Inner", 5_000_000)


def test_a_call_that_the_provider_executes_is_an_invocation_and_a_result() -> None:
    search = ResponseFunctionWebSearch.model_validate(
        {
            "id": "ws_1",
            "type": "web_search_call",
            "status": "completed",
            "action": {"type": "search", "query": "tides"},
        }
    )
    outcome = run_workflow_sync(agent_of([search, says("High at nine.")]), "When is high tide?")
    invocation, result = payloads(outcome.run_id, "tool.invocation", "tool.result")
    assert (invocation["tool"], invocation["hosted"], invocation["call_id"]) == ("web_search", True, "ws_1")
    assert invocation["arguments"]["action"]["query"] == "tides"
    assert (result["status"], result["call_id"]) == ("ok", "ws_1")


def test_handoffs_and_nested_agents_carry_their_names_and_their_usage_counts() -> None:
    seen = agent_of([call("read_page", "n1", number=3)], [says("Nested.")], tools=[read_page], name="Seen")
    unseen = agent_of([says("Quiet.")], name="Unseen")
    last = agent_of([says("Bye.")], name="Closer")
    first = agent_of(
        [call("ask_seen", "c1", input="?"), call("ask_unseen", "c2", input="?")],
        [call("transfer_to_closer", "c3")],
        tools=[seen.as_tool("ask_seen", "", hooks=CurrentRunHooks()), unseen.as_tool("ask_unseen", "")],
        handoffs=[last],
    )
    outcome = run_workflow_sync(first, "Hello")
    assert payloads(outcome.run_id, "agent.handoff") == [{"from": "Clerk", "to": "Closer"}]
    assert {each["call_id"]: each["agent"] for each in payloads(outcome.run_id, "tool.result")} == {
        "c1": "Clerk",
        "c2": "Clerk",
        "n1": "Seen",
    }
    assert sorted(tree_of(outcome.run_id)) == sorted(
        [
            "model.response Clerk",
            "tool.invocation c1",
            "tool.invocation c2",
            "model.response Seen in tool.invocation c1",
            "tool.invocation n1 in tool.invocation c1",
            "tool.result n1 in tool.invocation c1",
            "model.response Seen in tool.invocation c1",
            "tool.result c1",
            "tool.result c2",
            "model.response Clerk",
            "agent.handoff Clerk",
            "model.response Closer in agent.handoff Clerk",
        ]
    )
    calls_of(outcome.run_id)
    assert [each["agent"] for each in payloads(outcome.run_id, "model.response")] == [
        "Clerk", "Seen", "Seen", "Clerk", "Closer"
    ]  # fmt: skip
    assert outcome.result is not None
    total = outcome.result.context_wrapper.usage
    usage = run_of(outcome.run_id).usage
    assert (total.requests, total.input_tokens, total.output_tokens) == (6, 600, 60)
    assert (usage["requests"], usage["input_tokens"], usage["output_tokens"]) == (6, 600, 60)
    assert usage["models"]["unknown"]["requests"] == 1


class LockTheRun(RunHooks[Any]):
    """Lets the next event of the run wait for a lock."""

    def __init__(self, other: psycopg.Connection) -> None:
        self.other = other

    async def on_llm_end(self, *_: Any) -> None:
        self.other.execute("BEGIN")
        self.other.execute('SELECT FROM "AgentWorkflowRun" FOR UPDATE')


def test_a_task_that_is_canceled_at_a_tools_start_leaves_no_invocation_without_a_result() -> None:
    agent = agent_of([call("read_page", "c1", number=3)], tools=[read_page])

    async def work() -> None:
        with second_connection() as locking, second_connection() as looking:
            task = asyncio.create_task(run_workflow(agent, "Read.", hooks=LockTheRun(locking)))
            waiting = """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            async with asyncio.timeout(60):
                while not looking.execute(waiting).fetchone()[0]:
                    await asyncio.sleep(0.01)
            task.cancel()
            locking.execute("COMMIT")
            with pytest.raises(asyncio.CancelledError):
                await task

    async_to_sync(work)()
    assert newest_run().status == "canceled"
    assert calls_of(newest_run().pk) == {"c1": ("canceled", "The run ended before this call did.")}


def test_the_hooks_record_alone_around_a_run_of_the_sdk() -> None:
    agent = agent_of([call("read_page", "c1", number=9)], [says("None.")], tools=[read_page])

    async def work() -> None:
        async with arecord("by hand") as recorder, RunEventHooks(recorder) as hooks:
            await Runner.run(agent, "Read.", hooks=hooks, run_config=hooks.configured(RunConfig()))

    async_to_sync(work)()
    run = newest_run()
    assert (run.workflow_id, run.status, run.usage["requests"]) == ("by hand", "succeeded", 2)
    assert calls_of(run.pk)["c1"][0] == "error"
