"""Requests: what each one returns, and which are refused before an answer begins."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from agents.testing import assistant_message
from asgiref.sync import async_to_sync
from chatkit.types import ThreadItem
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone
from pydantic import TypeAdapter

from agentstate import sessions
from agentstate.integrations.chatkit import ChatContext, DjangoStore, delete_orphaned_attachments
from agentstate.models import AgentAttachment, AgentSession, Project
from tests.integrations.chatkit.client import message

if TYPE_CHECKING:
    from tests.integrations.chatkit.client import Chat
    from tests.integrations.chatkit.site import Scene

ACTION = {"type": "press", "payload": {}}
# Every request that names a thread, with what it names beside.
IN_A_THREAD: dict[str, dict[str, Any]] = {
    "threads.get_by_id": {},
    "threads.update": {"title": "Mine"},
    "threads.delete": {},
    "items.list": {},
    "items.feedback": {"item_ids": ["i"], "kind": "positive"},
    "threads.sync_custom_action": {"action": ACTION},
    "threads.add_user_message": {"input": message("Hm?")},
    "threads.add_client_tool_output": {"result": 1},
    "threads.add_structured_input": {"item_id": "i", "input": {}},
    "threads.retry_after_item": {"item_id": "i"},
    "threads.custom_action": {"action": ACTION},
}


def begun(chat: Chat, scene: Scene, text: str = "Hm?", **more: Any) -> str:
    scene.answer([assistant_message("Yes.", item_id="m")])
    thread_id, _ = chat.create(text, **more)
    return thread_id


def test_other_users_threads_are_not_found(chat: Chat, scene: Scene) -> None:
    thread_id = begun(chat, scene)
    session = sessions.open_for("p1", memory_id="of the SDK")
    requests = [
        (chat.other(user="bob"), thread_id),
        (chat.other(project="p2"), thread_id),
        (chat, session.pk),
        (chat, f"{thread_id}_memory"),
        (chat, "thr_\0"),
        (chat, ""),
    ]
    before = AgentSession.objects.order_by("pk").values_list("pk", "metadata", "updated_at")
    rows = list(before)

    everything, some = IN_A_THREAD.items(), list(IN_A_THREAD.items())[3::3]
    for client, foreign in requests:
        for type_, more in everything if client is not chat else some:
            response = client.post(type_, thread_id=foreign, **more)
            assert (response.status_code, list(response.json())) == (404, ["error"]), (type_, foreign)
        assert client.post("threads.list", after=foreign or "?").status_code == 404
    for type_ in ("threads.retry_after_item", "threads.custom_action"):
        assert chat.post(type_, thread_id=thread_id, item_id="?", action=ACTION).status_code == 404
    assert list(before.all()) == rows
    assert chat.other(user="bob").ask("threads.list")["data"] == []


def test_threads_and_items_are_paged_both_ways(chat: Chat, scene: Scene) -> None:
    threads = [begun(chat, scene, f"Question {number}") for number in range(3)]

    listed = {
        order: [chat.ask("threads.list", order=order, limit=2)["data"], chat.ask("threads.list", order=order)["data"]]
        for order in ("asc", "desc")
    }
    page = chat.ask("threads.list", order="desc", limit=2)
    rest = chat.ask("threads.list", order="desc", limit=2, after=page["after"])

    assert [[thread["id"] for thread in data] for data in listed["asc"]] == [threads[:2], threads]
    assert [[thread["id"] for thread in data] for data in listed["desc"]] == [threads[:0:-1], threads[::-1]]
    assert page["has_more"]
    assert [thread["id"] for thread in rest["data"]] == threads[:1]
    assert not rest["has_more"]
    asked, answered = chat.items(threads[0])
    assert chat.items(threads[0], after=asked["id"]) == [answered]
    assert chat.post("items.list", thread_id=threads[0], after="?").status_code == 404


def test_a_thread_is_renamed_and_deleted_with_what_the_agent_remembers(chat: Chat, scene: Scene) -> None:
    thread_id = begun(chat, scene)

    renamed = chat.ask("threads.update", thread_id=thread_id, title="A\0title")
    read = chat.ask("threads.get_by_id", thread_id=thread_id)
    feedback = chat.ask("items.feedback", thread_id=thread_id, item_ids=["i"], kind="negative")
    deleted = chat.ask("threads.delete", thread_id=thread_id)

    assert (renamed["title"], read["title"]) == ("A\0title", "A\0title")
    assert [item["type"] for item in read["items"]["data"]] == ["user_message", "assistant_message"]
    assert (feedback, deleted) == ({}, {})
    assert not AgentSession.objects.exists()


def test_forms_and_widgets_are_answered(chat: Chat, scene: Scene) -> None:
    thread_id = begun(chat, scene)
    question = {"id": "q", "type": "freeform", "question": "Why?"}
    store(thread_id, id="form", type="structured_input", inputs=[question])
    store(thread_id, id="card", type="widget", widget={"type": "Card", "children": []})
    model = scene.answer([assistant_message("I see.", item_id="m")])

    answered = {"answers": {"q": {"values": ["Because."]}}}
    chat.ask("threads.add_structured_input", thread_id=thread_id, item_id="form", input=answered)
    pressed = chat.ask("threads.sync_custom_action", thread_id=thread_id, item_id="card", action=ACTION)
    scene.answer([assistant_message("Pressed.", item_id="m")])
    chat.ask("threads.custom_action", thread_id=thread_id, item_id="card", action=ACTION)

    assert "Why?: Because." in json.dumps(model.last_call.input[-1])
    assert pressed["updated_item"]["id"] == "card"
    form = next(item for item in chat.items(thread_id) if item["id"] == "form")
    assert (form["status"], form["inputs"][0]["answer"]["values"]) == ("answered", ["Because."])
    assert chat.texts(thread_id)[2:] == ["I see.", "Pressed."]


def store(thread_id: str, **item: Any) -> None:
    """Add an item to a thread, as an agent's tool does."""
    given = TypeAdapter(ThreadItem).validate_python({"thread_id": thread_id, "created_at": timezone.now(), **item})
    async_to_sync(DjangoStore().add_thread_item)(thread_id, given, ChatContext("p1", "ada"))


def test_a_deleted_project_has_no_chat(chat: Chat, scene: Scene) -> None:
    thread_id = begun(chat, scene)
    Project.objects.filter(pk="p1").delete()

    assert chat.post("threads.add_user_message", thread_id=thread_id, input=message("Hm?")).status_code == 404
    assert chat.post("threads.create", input=message("Hm?")).status_code == 404
    assert chat.ask("threads.list")["data"] == []


def test_refusals_have_a_status_and_a_reason(chat: Chat) -> None:
    http, path = chat.http, chat.path
    refused = {
        "no JSON": http.post(path, content=b"{"),
        "no type": http.post(path, json={"params": {}}),
        "no parameters": http.post(path, json={"type": "threads.create", "params": {}}),
        "no context": http.post(path, json={"type": "threads.list", "params": {}}, headers={"X-User": ""}),
        "no base64": chat.post("input.transcribe", audio_base64="a", mime_type="audio/webm"),
        "no speech": chat.post("input.transcribe", audio_base64="", mime_type="audio/webm"),
        "no CSRF token": http.post("/guarded/", json={"type": "threads.list", "params": {}}),
        "no POST": http.get(path),
    }

    assert {name: response.status_code for name, response in refused.items()} == {
        "no JSON": 400,
        "no type": 400,
        "no parameters": 400,
        "no context": 403,
        "no base64": 400,
        "no speech": 501,
        "no CSRF token": 403,
        "no POST": 405,
    }
    reason = "This is no request of ChatKit: threads.create params input: Field required."
    assert refused["no parameters"].json() == {"error": reason}


@pytest.mark.django_db
@override_settings(ROOT_URLCONF="tests.integrations.chatkit.site")
def test_under_wsgi_an_answer_is_refused_and_json_works() -> None:
    client = Client(headers={"X-User": "ada", "X-Project": "p1"})
    Project(id="p1", user_id="u", name="P").save()

    def post(type: str, **params: Any) -> Any:  # noqa: A002
        return client.post("/chat/", {"type": type, "params": params}, content_type="application/json")

    assert post("threads.list").json() == {"data": [], "has_more": False}
    answer = post("threads.create", input=message("Hm?"))
    assert (answer.status_code, answer.json()) == (
        501,
        {"error": "Answers are streamed, which WSGI cannot do. Serve this site by ASGI."},
    )
    assert not AgentSession.objects.exists()


def announced(chat: Chat, name: str = "a.txt", mime_type: str = "text/plain", size: int = 5) -> dict[str, Any]:
    attachment: dict[str, Any] = chat.ask("attachments.create", name=name, mime_type=mime_type, size=size)
    return attachment


def upload(chat: Chat, attachment: dict[str, Any], content: bytes) -> int:
    return chat.http.post(f"/files/{attachment['id']}/", files={"file": ("a.html", content)}).status_code


def files() -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


def test_an_attachment_is_uploaded_sent_and_read_by_the_agent(chat: Chat, scene: Scene) -> None:
    attachment = announced(chat)
    assert upload(chat, attachment, b"hello") == 200
    model = scene.answer([assistant_message("Read.", item_id="m")])
    thread_id, _ = chat.create("Read this.", attachments=[attachment["id"]])

    assert attachment["upload_descriptor"]["url"] == f"{chat.address}/files/{attachment['id']}/"
    assert attachment["upload_descriptor"]["headers"].keys() == {"X-CSRFToken"}
    assert "hello" in json.dumps(model.last_call.input)
    assert chat.items(thread_id)[0]["attachments"][0]["id"] == attachment["id"]
    row = AgentAttachment.objects.get()
    assert (row.session_id, row.user_id, row.size) == (thread_id, "ada", 5)
    [file] = files()
    assert file.name == attachment["id"]  # not the name that the client gave

    chat.ask("threads.delete", thread_id=thread_id)
    assert (files(), AgentAttachment.objects.count()) == ([], 0)


def test_attachments_are_refused(chat: Chat, scene: Scene) -> None:
    attachment = announced(chat)
    bob = chat.other(user="bob")
    too_large = chat.post("attachments.create", name="a", mime_type="text/plain", size=1_001)
    assert (too_large.status_code, too_large.json()["error"]) == (
        413,
        "The file is too large: the limit is 1000\xa0bytes.",
    )
    assert upload(chat, attachment, b"x" * 1_001) == 413
    assert chat.http.post(f"/files/{attachment['id']}/").status_code == 400
    assert upload(bob, attachment, b"x") == 404
    assert bob.post("attachments.delete", attachment_id=attachment["id"]).status_code == 404
    assert bob.post("threads.create", input=message("Mine?", attachments=[attachment["id"]])).status_code == 404
    assert chat.http.get(f"/files/{attachment['id']}/").status_code == 404
    assert files() == []

    scene.answer()
    _, events = chat.create("Read this.", attachments=[attachment["id"]])
    assert events[-1]["message"] == "The file a.txt has not been uploaded."

    assert upload(chat, attachment, b"x") == 200
    assert upload(chat, attachment, b"y") == 409
    assert [file.read_bytes() for file in files()] == [b"x"]
    assert bob.http.get(f"/files/{attachment['id']}/").status_code == 404
    assert chat.ask("attachments.delete", attachment_id=attachment["id"]) == {}
    assert files() == []


def test_only_images_are_shown_by_browsers(chat: Chat) -> None:
    image, page = announced(chat, "i.png", "image/png"), announced(chat, "i.html", "text/html")
    upload(chat, image, b"png")
    upload(chat, page, b"<script>")

    shown = [chat.http.get(f"/files/{attachment['id']}/") for attachment in (image, page)]

    assert [(each.headers["Content-Type"], each.headers["Content-Disposition"]) for each in shown] == [
        ("image/png", "inline"),
        ("application/octet-stream", "attachment"),
    ]
    assert shown[0].content == b"png"
    assert image["preview_url"] == f"{chat.address}/files/{image['id']}/"


def test_files_of_deleted_projects_and_unsent_ones_are_deleted(chat: Chat, scene: Scene) -> None:
    sent, unsent, foreign = announced(chat), announced(chat), announced(chat.other(project="p2"))
    upload(chat, sent, b"sent")
    upload(chat, unsent, b"unsent")
    upload(chat.other(project="p2"), foreign, b"foreign")
    begun(chat, scene, attachments=[sent["id"]])
    Project.objects.filter(pk="p2").delete()

    assert delete_orphaned_attachments() == 1
    AgentAttachment.objects.update(created_at=timezone.now() - timedelta(days=2))
    assert delete_orphaned_attachments() == 1
    assert [file.read_bytes() for file in files()] == [b"sent"]
