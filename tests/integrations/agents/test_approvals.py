"""Runs that wait for approval are resumed once, in any process, with a decision for each call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from agents import RunContextWrapper, UserError, function_tool
from django.db import connection

from agentstate import sessions
from agentstate.approvals import AlreadyDecided, NotWaiting, decide
from agentstate.integrations.agents import (
    CurrentRunHooks,
    DjangoSession,
    NotInterrupted,
    Outcome,
    SessionBusy,
    UndecidedCalls,
    resume_workflow_sync,
    run_workflow_sync,
)
from agentstate.models import AgentSession, AgentWorkflowRun
from agentstate.recording import IllegalStatusChange, enqueue
from agentstate.recording.storable import restored
from tests.faults.processes import CLONE, database_url
from tests.integrations.agents.mailing import mailing_agent, resumed_agent
from tests.integrations.agents.scenes import (
    a_session,
    agent_of,
    call,
    calls_of,
    payloads,
    run_of,
    says,
    types_of,
)
from tests.sql import sql

pytestmark = pytest.mark.django_db(transaction=True)


def waiting(session_id: str | None = None) -> Outcome:
    session = None if session_id is None else DjangoSession(session_id)
    outcome = run_workflow_sync(mailing_agent(sent=[]), "Mail them.", session=session)
    assert outcome.status == "pending"
    return outcome


def in_a_process_of_its_own(session_id: str) -> str:
    """Run the agent until it asks; return the run's id once the process has ended."""
    program = subprocess.run(
        [sys.executable, "-m", "tests.integrations.agents.mailing", session_id],
        cwd=CLONE,
        env={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url(),
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SECRET_KEY": "a key for tests only",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert program.returncode == 0, program.stderr
    return program.stdout.strip()


def test_a_waiting_run_is_resumed_in_another_process_with_one_approval_and_one_rejection() -> None:
    session = a_session()
    run_id = in_a_process_of_its_own(session.pk)
    run = run_of(run_id)
    assert (run.status, run.project_id) == ("pending", session.project_id)
    assert calls_of(run_id) == {"c1": ("ok", "")}
    requested = {"tool": "send", "agent": "Mailer"}
    assert payloads(run_id, "approval.requested") == run.result["interrupted"]["approvals"] == [
        {"call_id": "c2", **requested, "arguments": '{"to":"Ada"}'},
        {"call_id": "c3", **requested, "arguments": '{"to":"Bob"}'},
    ]  # fmt: skip
    with pytest.raises(SessionBusy, match=f"its run {run_id} is pending"):
        run_workflow_sync(agent_of([says("Hi.")]), "Hello", session=DjangoSession(session.pk))

    sent: list[str] = []
    decide(run_id, "c2", approved=True, by="ada")
    outcome = resume_workflow_sync(run_id, resumed_agent(sent), {"c3": "Not to Bob."}, by="eve")
    assert (outcome.status, outcome.output, sent) == ("succeeded", "Mailed.", ["Ada"])
    assert calls_of(run_id) == {"c1": ("ok", ""), "c2": ("ok", "")}
    assert payloads(run_id, "approval.decided") == [
        {"call_id": "c2", "decision": "approved", "by": "ada", "message": None},
        {"call_id": "c3", "decision": "rejected", "by": "eve", "message": "Not to Bob."},
    ]
    run = run_of(run_id)
    assert (run.status, run.result) == ("succeeded", {"output": "Mailed."})
    assert outcome.result is not None
    total = outcome.result.context_wrapper.usage
    assert (run.usage["requests"], run.usage["input_tokens"]) == (total.requests, total.input_tokens) == (2, 200)
    entries = [restored(each["content"]) for each in sessions.transcript(session.pk)]
    outputs = {each["call_id"]: each["output"] for each in entries if isinstance(each, dict) and "output" in each}
    assert outputs == {"c1": "Dear \0 all", "c2": "sent to Ada", "c3": "Not to Bob."}

    with pytest.raises(IllegalStatusChange, match="is succeeded"):
        resume_workflow_sync(run_id, resumed_agent(sent), {"c2": True, "c3": True})
    assert sent == ["Ada"]


def test_one_of_three_that_resume_a_run_succeeds_and_the_tool_runs_once() -> None:
    run_id = waiting().run_id
    sent: list[str] = []

    def resume(number: int) -> Any:
        try:
            return resume_workflow_sync(run_id, resumed_agent(sent), {"c2": True, "c3": False}).status
        except (IllegalStatusChange, NotWaiting) as error:
            return type(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(resume, range(3)))
    assert results.count("succeeded") == 1
    assert sent == ["Ada"]
    assert types_of(run_id).count("approval.decided") == 2


def test_a_run_that_cannot_be_resumed_stays_waiting() -> None:
    session = a_session()
    run_id = waiting(session.pk).run_id
    before = run_of(run_id)
    events = types_of(run_id)
    decide(run_id, "c2", approved=True, by="ada")
    agent = resumed_agent([])
    with pytest.raises(UndecidedCalls, match="a decision about c3"):
        resume_workflow_sync(run_id, agent)
    with pytest.raises(AlreadyDecided, match="was approved by ada"):
        resume_workflow_sync(run_id, agent, {"c2": False, "c3": False})
    with pytest.raises(NotWaiting, match="c9"):
        resume_workflow_sync(run_id, agent, {"c3": True, "c9": True})
    with pytest.raises(UserError, match="agent not found"):
        resume_workflow_sync(run_id, agent_of([says("I am another.")]), {"c3": True})

    newer = """jsonb_set(result, '{interrupted,run_state}', to_jsonb(replace(result #>> '{interrupted,run_state}',
        '"$schemaVersion": "1.', '"$schemaVersion": "999.')))"""
    sql(f'UPDATE "AgentWorkflowRun" SET result = {newer}')
    with pytest.raises(UserError, match="schema version is not supported"):
        resume_workflow_sync(run_id, agent, {"c3": True})
    sql('UPDATE "AgentWorkflowRun" SET result = %s::jsonb', json.dumps(before.result))

    AgentSession.objects.all().delete()
    with pytest.raises(sessions.SessionNotFound):
        resume_workflow_sync(run_id, agent, {"c3": True})
    assert (run_of(run_id).status, run_of(run_id).result) == ("pending", before.result)
    assert types_of(run_id) == [*events, "approval.decided"]

    other = a_session()
    AgentWorkflowRun.objects.update(project=None)
    assert resume_workflow_sync(run_id, agent, {"c3": True}, session=DjangoSession(other.pk)).status == "succeeded"


def test_a_run_whose_project_is_deleted_while_it_waits_is_resumed_without_one() -> None:
    session = a_session()
    run_id = run_workflow_sync(mailing_agent(sent=[]), "Mail them.", project_id=session.project_id).run_id
    sql('DELETE FROM "Project"')
    sent: list[str] = []
    assert resume_workflow_sync(run_id, resumed_agent(sent), {"c2": True, "c3": True}).status == "succeeded"
    assert (run_of(run_id).project_id, sorted(sent)) == (None, ["Ada", "Bob"])


def test_a_queued_run_is_started_and_not_resumed_and_stays_queued_while_its_session_is_busy() -> None:
    session = a_session()
    run_id = enqueue("mailing", session.project_id, "Hello")
    with pytest.raises(NotInterrupted, match="run_workflow"):
        resume_workflow_sync(run_id, agent_of([says("Hi.")]))
    with pytest.raises(ValueError, match="needs an input"):
        run_workflow_sync(agent_of([says("Hi.")]))

    other = waiting(session.pk)
    with pytest.raises(SessionBusy):
        run_workflow_sync(agent_of([says("Hi.")]), run_id=run_id, session=DjangoSession(session.pk))
    assert run_of(run_id).status == "pending"
    run_of(other.run_id).cancel()

    outcome = run_workflow_sync(agent_of([says("Hi.")]), run_id=run_id, session=DjangoSession(session.pk))
    assert (outcome.run_id, outcome.status, run_of(run_id).workflow_id) == (run_id, "succeeded", "mailing")
    for finished in (run_id, other.run_id):
        with pytest.raises(IllegalStatusChange):
            resume_workflow_sync(finished, resumed_agent([]), {"c2": True, "c3": True})
    with pytest.raises(IllegalStatusChange):
        run_workflow_sync(agent_of([says("Hi.")]), run_id=run_id)


@pytest.mark.parametrize("given", [None, {"user": "eve"}], ids=["the stored one", "another one"])
def test_a_resumed_tool_has_the_original_or_the_given_context(given: Any) -> None:
    seen = []

    @function_tool(needs_approval=True)
    async def look(context: RunContextWrapper[Any]) -> str:
        seen.append(context.context)
        return ""

    run_id = run_workflow_sync(agent_of([call("look", "c1")], tools=[look]), "Look.", context={"user": "ada"}).run_id
    resume_workflow_sync(run_id, agent_of([says("Seen.")], tools=[look]), {"c1": True}, context=given)
    assert seen == [given or {"user": "ada"}]


def test_a_nested_agents_approval_keeps_its_call_open_and_the_usage_complete() -> None:
    sent: list[str] = []

    @function_tool(needs_approval=True)
    async def send(to: str) -> str:
        sent.append(to)
        return "sent"

    def outer(steps: list[Any], inner_steps: list[Any]) -> Any:
        inner = agent_of(*inner_steps, tools=[send], name="Inner")
        return agent_of(*steps, tools=[inner.as_tool("ask", "", hooks=CurrentRunHooks())], name="Outer")

    asking = outer([[call("ask", "c1", input="Mail Ada.")]], [[call("send", "n1", to="Ada")]])
    run_id = run_workflow_sync(asking, "Mail Ada.").run_id
    assert types_of(run_id).count("tool.result") == 0
    assert run_of(run_id).usage["requests"] == 2

    outcome = resume_workflow_sync(run_id, outer([[says("Done.")]], [[says("Mailed.")]]), {"n1": True})
    assert (outcome.status, sent) == ("succeeded", ["Ada"])
    assert calls_of(run_id) == {"n1": ("ok", ""), "c1": ("ok", "")}
    assert types_of(run_id).count("tool.invocation") == 2
    assert outcome.result is not None
    assert run_of(run_id).usage["requests"] == outcome.result.context_wrapper.usage.requests == 4
