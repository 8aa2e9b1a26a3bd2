"""Tools write events and state into the run that calls them; a session has one unfinished run."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, RunConfig, SessionSettings, SQLiteSession, function_tool
from agents.extensions.memory import EncryptedSession
from asgiref.sync import async_to_sync
from django.db import connection

from agentstate import sessions, state
from agentstate.integrations.agents import (
    DjangoSession,
    SessionBusy,
    arecord_event,
    asave_state,
    record_event,
    recorded_model,
    run_workflow,
    run_workflow_sync,
    save_state,
)
from agentstate.models import AgentWorkflowRun
from agentstate.recording import OutsideRun, RunNotFound, record
from agentstate.state import UnsuitableRun
from tests.factories import ProjectFactory
from tests.faults.processes import wait_until
from tests.flags import rolled_back, turn
from tests.integrations.agents.scenes import a_session, agent_of, call, calls_of, payloads, run_of, says
from tests.sql import count, second_connection

if TYPE_CHECKING:
    pass


@function_tool
def note(number: int) -> str:
    record_event("noted", {"number": number})
    save_state(facts={"number": number})
    return f"noted {number}"


@function_tool
async def note_async(number: int) -> str:
    await arecord_event("noted", {"number": number})
    await asave_state(coverage={"score": number})
    with pytest.raises(RuntimeError, match="Await arecord_event"):
        record_event("noted")
    return "noted"


@function_tool
async def greet() -> str:
    return "Hello"


@pytest.mark.django_db(transaction=True)
def test_parallel_sync_tools_write_events_and_state_without_a_connection_of_their_own() -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()
    calls = [call("note", f"c{number}", number=number) for number in range(6)]
    agent = agent_of([*calls, call("note_async", "c6", number=6)], [says("Done.")], tools=[note, note_async])
    most = 1
    has_ended = threading.Event()

    # Not the workers of autovacuum and of parallel queries, which have a row of the database too.
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
    with second_connection() as other:

        def connections() -> int:
            return int(other.execute(query).fetchone()[0])  # type: ignore[index]

        def watch() -> None:
            nonlocal most
            while not has_ended.wait(0.002):
                most = max(most, connections())

        wait_until(lambda: connections() == 1)  # those that the tests before have closed end a moment later
        watcher = threading.Thread(target=watch)
        watcher.start()
        outcome = run_workflow_sync(agent, "Note.", project_id=project.id)
        has_ended.set()
        watcher.join()
    assert most == 1
    assert sorted(each["number"] for each in payloads(outcome.run_id, "noted")) == list(range(7))
    assert set(calls_of(outcome.run_id).values()) == {("ok", "")}
    assert state.load(project.id).coverage == {"score": 6}
    assert run_of(outcome.run_id).snapshot_at is not None


@pytest.mark.django_db
def test_inside_a_transaction_everything_is_visible_and_rolled_back() -> None:
    turn("agentkit_writes", everyone=True)
    session = a_session()
    agent = agent_of([call("note", "c1", number=3)], [says("Done.")], tools=[note])
    with rolled_back():
        outcome = run_workflow_sync(agent, "Note.", session=DjangoSession(session.pk))
        assert (outcome.status, outcome.lost_events) == ("succeeded", 0)
        assert state.load(session.project_id).facts == {"number": 3}
        assert sessions.length(session.pk) == 4
    assert (count("AgentWorkflowRun"), count("AgentWorkflowRunEvent"), sessions.length(session.pk)) == (0, 0, 0)


@pytest.mark.django_db
def test_the_functions_of_tools_work_in_a_run_and_fail_outside() -> None:
    with pytest.raises(OutsideRun):
        record_event("noted")
    with pytest.raises(OutsideRun):
        async_to_sync(asave_state)(facts=1)
    with record("by hand") as run:
        record_event("noted", {"number": 3})
    assert payloads(run.run_id, "noted") == [{"number": 3}]


@pytest.mark.django_db(transaction=True)
def test_concurrent_runs_keep_apart_what_their_tools_write() -> None:
    async def work() -> list[Any]:
        agents = [
            agent_of([call("note_only", "c1", number=number)], [says("Done.")], tools=[note_only])
            for number in range(3)
        ]
        return await asyncio.gather(*(run_workflow(agent, "Note.") for agent in agents))

    @function_tool
    async def note_only(number: int) -> str:
        await asyncio.sleep(0.01)
        await arecord_event("noted", {"number": number})
        return ""

    outcomes = async_to_sync(work)()
    assert [payloads(each.run_id, "noted") for each in outcomes] == [[{"number": number}] for number in range(3)]


@pytest.mark.django_db(transaction=True)
def test_a_session_takes_one_unfinished_run_at_a_time() -> None:
    session = a_session()
    inside: list[Exception] = []

    @function_tool
    def run_again() -> str:
        for wrapped in (DjangoSession(session.pk), EncryptedSession("any", DjangoSession(session.pk), "a key")):
            try:
                run_workflow_sync(agent_of([says("Me too.")]), "Hi", session=wrapped)
            except SessionBusy as error:
                inside.append(error)
        connection.close()
        return ""

    agent = agent_of([call("run_again", "c1")], [says("Done.")], tools=[run_again])
    outcome = run_workflow_sync(agent, "Hello", session=DjangoSession(session.pk))
    busy = f"Session {session.pk} is busy: its run {outcome.run_id} is running. "
    assert [str(error).startswith(busy) for error in inside] == [True, True]
    assert (count("AgentWorkflowRun"), sessions.length(session.pk)) == (1, 4)
    session.refresh_from_db()
    assert session.agent_run_id == outcome.run_id
    assert run_of(outcome.run_id).project_id == session.project_id

    with pytest.raises(UnsuitableRun, match="session"):
        run_workflow_sync(agent_of([]), "Hi", session=DjangoSession(session.pk), project_id=ProjectFactory().id)
    with pytest.raises(sessions.SessionNotFound):
        run_workflow_sync(agent_of([]), "Hi", session=DjangoSession("none"))
    assert count("AgentWorkflowRun") == 1
    of_the_sdk = SQLiteSession("any")
    assert run_workflow_sync(agent_of([says("Hi.")]), "Hi", session=of_the_sdk).status == "succeeded"
    of_the_sdk.close()


@pytest.mark.django_db(transaction=True)
def test_concurrent_runs_of_one_session_never_mix_their_entries() -> None:
    session = a_session()
    barrier = threading.Barrier(4)

    def run(number: int) -> str:
        agent = agent_of([call("greet", f"c{number}")], [says("Done.")], tools=[greet])
        barrier.wait()
        try:
            return run_workflow_sync(agent, str(number), session=DjangoSession(session.pk)).status
        except SessionBusy:
            return "busy"
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    assert results.count("succeeded") == AgentWorkflowRun.objects.count() >= 1
    roles = [entry["role"] for entry in sessions.transcript(session.pk)]
    assert roles == ["user", "assistant", "tool", "assistant"] * results.count("succeeded")


@pytest.mark.django_db(transaction=True)
def test_a_limit_that_splits_a_pair_and_a_retry_without_input_leave_the_conversation_whole() -> None:
    session = DjangoSession(a_session().pk, session_settings=SessionSettings(limit=2))
    run_workflow_sync(agent_of([call("greet", "c1")], [says("Hi.")], tools=[greet]), "Hello", session=session)
    agent = agent_of([says("Still here.")])
    assert run_workflow_sync(agent, "And now?", session=session).status == "succeeded"
    given = agent.model.last_call.input  # type: ignore[union-attr]
    assert [item.get("role") for item in given] == ["assistant", "user"]

    with pytest.raises(RuntimeError):
        run_workflow_sync(agent_of(RuntimeError("overloaded")), "Why?", session=session)
    again = agent_of([says("Because.")])
    assert run_workflow_sync(again, [], session=session).output == "Because."
    assert again.model.last_call.input[-1]["content"] == "Why?"  # type: ignore[union-attr]
    last = [(entry["role"], entry["content"]) for entry in sessions.transcript(session.session_id, 3)]
    assert last[1] == ("user", "Why?")
    assert [role for role, _ in last] == ["assistant", "user", "assistant"]


@pytest.mark.django_db(transaction=True)
def test_a_recorded_run_is_played_again_with_the_same_output() -> None:
    def agent(model: Any = None) -> Agent[Any]:
        made = agent_of([call("note", "c1", number=3)], [says("Noted \0 three.")], tools=[note])
        return made if model is None else made.clone(model=model)

    first = run_workflow_sync(agent(), "Note.")
    model = recorded_model(first.run_id)
    again = run_workflow_sync(agent("gpt-unused"), "Note.", run_config=RunConfig(model=model))
    model.assert_complete()
    assert again.output == first.output == "Noted \0 three."
    for types in ("model.response", "tool.invocation"):
        ours, theirs = (payloads(each.run_id, types) for each in (first, again))
        assert ours == theirs
    assert again.result is not None
    assert again.result.context_wrapper.usage.total_tokens == 220

    with pytest.raises(RunNotFound):
        recorded_model("none")
    with record("by hand") as run:
        pass
    with pytest.raises(LookupError, match="no recorded response"):
        recorded_model(run.run_id)
