"""Conversations over a real ASGI server: what is streamed, what is stored, what is recorded."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from agents import Agent
from agents.testing import ScriptedModel, assistant_message, function_call
from django.db import connection

from agentstate import sessions
from agentstate.integrations.agents import resume_workflow_sync
from agentstate.models import AgentSession, AgentWorkflowRun, Project
from tests.integrations.chatkit.client import eventually, message
from tests.recording.recorded import events_of

if TYPE_CHECKING:
    from tests.integrations.chatkit.client import Chat
    from tests.integrations.chatkit.site import Scene

FAKE = "__fake_id__"  # what models without ids of their own call each item
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"""


def says(text: str) -> list[Any]:
    return [assistant_message(text, item_id=FAKE)]


def calls(tool: str) -> list[Any]:
    return [function_call(tool, {}, call_id=f"call_{tool}", item_id=FAKE)]


def remembered(thread_id: str) -> list[str]:
    """Return the kinds of what the agent remembers of a thread."""
    contents = [entry["content"] for entry in sessions.transcript(f"{thread_id}_memory")]
    return [content.get("role") or content["type"] for content in contents]


def statuses() -> list[str]:
    return list(AgentWorkflowRun.objects.order_by("started_at").values_list("status", flat=True))


def types_of(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def test_an_answer_is_streamed_stored_and_a_run(chat: Chat, scene: Scene) -> None:
    scene.gate.set()
    scene.answer(calls("look"), [*says("First."), *says("Second.")])

    thread_id, events = chat.create("What is it?")

    assert types_of(events)[:3] == ["thread.created", "thread.item.done", "stream_options"]
    assert chat.texts(thread_id) == ["What is it?", "First.", "Second."]
    ids = [item["id"] for item in chat.items(thread_id)]
    assert len(set(ids)) == 3
    assert [event["item"]["id"] for event in events if event["type"] == "thread.item.done"] == ids
    assert {event["item_id"] for event in events if event["type"] == "thread.item.updated"} == set(ids[1:])
    run = AgentWorkflowRun.objects.get()
    assert (run.status, run.project_id, run.workflow_id) == ("succeeded", "p1", "helper")
    assert [type_ for type_, _ in events_of(run.pk)].count("tool.result") == 1
    assert remembered(thread_id) == ["user", "function_call", "function_call_output", "assistant", "assistant"]
    thread = AgentSession.objects.get(pk=thread_id)
    assert {**thread.metadata, "thread": ...} == {"kind": "chatkit", "user": "ada", "thread": ...}
    assert [set(entry) for entry in thread.transcript_json] == [{"role", "content", "at"}] * 3


def test_the_agent_remembers_and_a_retry_asks_it_once(chat: Chat, scene: Scene) -> None:
    scene.answer(says("One."))
    thread_id, _ = chat.create("First?")
    scene.gate.set()
    scene.answer(calls("look"), says("Two."))
    chat.add(thread_id, "Second?")
    retried = scene.answer(says("Better."))

    asked = next(item["id"] for item in chat.items(thread_id) if "Second?" in json.dumps(item))
    chat.ask("threads.retry_after_item", thread_id=thread_id, item_id=asked)

    assert [item["role"] for item in retried.last_call.input] == ["user", "assistant", "user"]
    assert remembered(thread_id) == ["user", "assistant", "user", "assistant"]
    assert chat.texts(thread_id) == ["First?", "One.", "Second?", "Better."]


def test_a_failed_answer_is_an_error_that_a_retry_repairs(chat: Chat, scene: Scene) -> None:
    scene.answer(ValueError("the model is away"))
    thread_id, events = chat.create("Anybody?")
    asked = chat.items(thread_id)[0]["id"]
    scene.answer(says("Yes."))

    chat.ask("threads.retry_after_item", thread_id=thread_id, item_id=asked)

    assert events[-1] == {"type": "error", "code": "stream.error", "allow_retry": True}
    assert statuses() == ["failed", "succeeded"]
    assert remembered(thread_id) == ["user", "assistant"]


def test_a_client_that_disconnects_cancels_the_run_and_the_thread_stays_usable(chat: Chat, scene: Scene) -> None:
    scene.answer(calls("look"))
    request = chat.http.stream("POST", chat.path, json={"type": "threads.create", "params": {"input": message("Hm?")}})
    with request as response:
        lines = response.iter_lines()
        created = json.loads(next(lines).removeprefix("data: "))
        scene.arrived()
    thread_id = created["thread"]["id"]
    eventually(lambda: statuses() == ["canceled"] and len(stored(thread_id)) == 2)

    scene.answer(says("Here."))
    chat.add(thread_id, "Still there?")

    assert [content["type"] for content in stored(thread_id)][1] == "sdk_hidden_context"
    [result] = [
        payload
        for type_, payload in events_of(AgentWorkflowRun.objects.earliest("started_at").pk)
        if type_ == "tool.result"
    ]
    assert result["status"] == "canceled"
    assert chat.texts(thread_id) == ["Hm?", "Still there?", "Here."]


def test_a_second_message_waits_for_the_first_answer_and_is_not_stored(chat: Chat, scene: Scene) -> None:
    scene.answer(says("One."))
    thread_id, _ = chat.create("First?")
    scene.answer(calls("look"), says("Two."))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(chat.add, thread_id, "Second?")
        loop = scene.arrived()
        refused = chat.other().add(thread_id, "Third?")
        scene.open(loop)
        answer.result()

    assert [(event["code"], event["allow_retry"]) for event in refused] == [("custom", True)]
    assert "is not complete yet" in refused[0]["message"]
    assert chat.texts(thread_id) == ["First?", "One.", "Second?", "Two."]
    assert statuses() == ["succeeded"] * 2


def test_one_of_several_concurrent_messages_is_answered(chat: Chat, scene: Scene) -> None:
    scene.answer(says("One."))
    thread_id, _ = chat.create("First?")
    scene.answer(calls("look"), says("Two."))
    others = [chat.other() for _ in range(4)]
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(other.add, thread_id, "Now?") for other in others]
        loop = scene.arrived()
        eventually(lambda: sum(answer.done() for answer in answers) == 3)
        scene.open(loop)

    assert sorted(len(answer.result()) > 1 for answer in answers) == [False, False, False, True]
    assert chat.texts(thread_id) == ["First?", "One.", "Now?", "Two."]


def test_an_answer_that_waits_for_an_approval_says_so_and_another_process_resumes_it(chat: Chat, scene: Scene) -> None:
    from tests.integrations.chatkit import site

    scene.answer(calls("send_mail"))
    thread_id, events = chat.create("Mail it.")
    refused = chat.add(thread_id, "Done?")
    waiting = AgentWorkflowRun.objects.get()
    agent = Agent(name="helper", model=ScriptedModel([says("Sent.")]), tools=[site.send_mail])

    done = resume_workflow_sync(waiting.pk, agent, {"call_send_mail": True}, context={})
    model = scene.answer(says("Yes, it is."))
    chat.add(thread_id, "Done?")

    assert events[-1] == {"type": "notice", "level": "info", "message": "The answer waits for an approval."}
    assert (waiting.status, done.status) == ("pending", "succeeded")
    assert refused[0]["message"] == "The answer waits for an approval."
    assert chat.texts(thread_id) == ["Mail it.", "Done?", "Yes, it is."]
    asked = [item.get("role") or item["type"] for item in model.last_call.input]
    assert asked == ["user", "function_call", "function_call_output", "assistant", "user"]


def test_an_answer_that_another_process_cancels_says_so(chat: Chat, scene: Scene) -> None:
    scene.answer(calls("look"))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(chat.create, "Hm?")
        loop = scene.arrived()
        AgentWorkflowRun.objects.get().cancel()
        scene.open(loop)
        thread_id, events = answer.result()
    scene.answer(says("Here."))
    chat.add(thread_id, "Again?")

    assert events[-1] == {"type": "notice", "level": "info", "message": "The answer was stopped."}
    assert statuses() == ["canceled", "succeeded"]


def test_the_client_runs_a_tool_and_the_agent_gets_its_output(chat: Chat, scene: Scene) -> None:
    scene.answer(calls("pick_color"))
    thread_id, events = chat.create("Which color?")
    [call] = [event["item"] for event in events if event.get("item", {}).get("type") == "client_tool_call"]
    model = scene.answer(says("Blue it is."))

    chat.ask("threads.add_client_tool_output", thread_id=thread_id, result={"color": "blue"})

    assert (call["name"], call["arguments"], call["status"]) == ("pick_color", {"of": "sky"}, "pending")
    assert '{"color": "blue"}' in json.dumps(model.last_call.input[-1]).replace("\\", "")
    assert chat.items(thread_id)[1]["output"] == {"color": "blue"}
    assert chat.ask("threads.add_client_tool_output", thread_id=thread_id, result=1)[-1]["code"] == "stream.error"


def test_a_thread_deleted_while_it_is_answered_ends_the_answer(chat: Chat, scene: Scene) -> None:
    scene.answer(calls("look"), says("Too late."))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(chat.create, "Hm?")
        loop = scene.arrived()
        Project.objects.filter(pk="p1").delete()
        scene.open(loop)
        _, events = answer.result()

    assert events[-1]["type"] == "error"
    assert statuses() == ["failed"]
    assert not AgentSession.objects.exists()
    assert chat.post("threads.create", input=message("Again?")).status_code == 404


def test_eight_answers_that_wait_hold_two_connections_at_most(chat: Chat, scene: Scene) -> None:
    connection.ensure_connection()
    for _ in range(8):
        scene.answer(calls("look"), says("Done."))
    clients = [chat.other() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.create, "Hm?") for client in clients]
        loops = [scene.arrived() for _ in answers]
        eventually(lambda: connections() - 1 <= 2)  # without the test's own
        scene.open(loops[0])
        assert all(answer.result()[1] for answer in answers)

    assert statuses() == ["succeeded"] * 8


def stored(thread_id: str) -> list[Any]:
    return [entry["content"] for entry in sessions.transcript(thread_id)]


def connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(CONNECTIONS)
        count: int = cursor.fetchone()[0]
    return count
