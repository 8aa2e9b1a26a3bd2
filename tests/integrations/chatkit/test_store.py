"""The store by itself."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageItem,
    InferenceOptions,
    Page,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    UserMessageItem,
    UserMessageTextContent,
)
from pydantic import TypeAdapter

from agentstate import sessions
from agentstate.integrations.chatkit import ChatContext, DjangoStore, unique_item_ids
from agentstate.models import AgentSession
from tests.factories import ProjectFactory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.django_db

STORE = DjangoStore()
ADA, BOB = ChatContext("p1", "ada"), ChatContext("p1", "bob")
NOON = datetime(2024, 7, 1, 12)  # noqa: DTZ001 - as ChatKit makes it
ODD = "NUL \0, half a pair \ud800, ünï"
KINDS: list[dict[str, Any]] = [
    {"type": "user_message", "content": [{"type": "input_text", "text": ODD}], "inference_options": {}},
    {"type": "assistant_message", "content": [{"type": "output_text", "text": ODD, "annotations": []}]},
    {"type": "client_tool_call", "call_id": "c", "name": "n", "arguments": {"NUL \0": 1e22}, "output": [1.0, None]},
    {"type": "widget", "widget": {"type": "Card", "children": [{"type": "Text", "value": "v"}]}, "copy_text": "v"},
    {"type": "generated_image", "image": {"id": "i", "url": "https://example.com/i.png"}},
    {"type": "structured_input", "inputs": [{"id": "q", "type": "freeform", "question": "Why?"}]},
    {"type": "task", "task": {"type": "custom", "title": "t"}},
    {"type": "hidden_context_item", "content": {"any": [ODD]}},
    {"type": "sdk_hidden_context", "content": "stopped"},
    {"type": "end_of_turn"},
    {"type": "workflow", "workflow": {"type": "custom", "tasks": [{"type": "thought", "content": "hm"}]}},
]


@pytest.fixture(autouse=True)
def project() -> None:
    ProjectFactory(id="p1")
    ProjectFactory(id="p2")


def saved(context: ChatContext = ADA, thread_id: str = "thr_1", **more: Any) -> ThreadMetadata:
    thread = ThreadMetadata(id=thread_id, created_at=NOON, **more)
    async_to_sync(STORE.save_thread)(thread, context)
    return thread


def item(number: int, text: str = "", **more: Any) -> AssistantMessageItem:
    content = [{"type": "output_text", "text": text}]
    return AssistantMessageItem(id=f"i{number}", thread_id="thr_1", created_at=NOON, content=content, **more)


def add(*items: ThreadItem) -> None:
    for each in items:
        async_to_sync(STORE.add_thread_item)("thr_1", each, ADA)


def page(after: str | None, limit: int, order: str) -> Page[ThreadItem]:
    return async_to_sync(STORE.load_thread_items)("thr_1", after, limit, order, ADA)


def pages(limit: int, order: str) -> list[str]:
    """Return the ids of all items, read page by page."""
    ids, after = [], None
    while True:
        found = page(after, limit, order)
        ids += [each.id for each in found.data]
        if not found.has_more:
            return ids
        after = found.after


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["type"])
def test_each_kind_of_item_comes_back_equal(kind: dict[str, Any]) -> None:
    saved()
    given: ThreadItem = TypeAdapter(ThreadItem).validate_python(
        {"id": "i", "thread_id": "thr_1", "created_at": NOON, **kind}
    )

    add(given)

    back = async_to_sync(STORE.load_item)("thr_1", "i", ADA)
    # ChatKit subtracts a workflow's time from a naive one. All others have a zone.
    is_naive = kind["type"] == "workflow"
    assert back == given.model_copy(update={} if is_naive else {"created_at": NOON.astimezone()})
    assert [set(entry) for entry in sessions.transcript("thr_1")] == [{"role", "content", "at"}]


def test_the_role_of_an_entry_names_the_speaker() -> None:
    saved()
    for number, kind in enumerate(KINDS):
        add(
            TypeAdapter(ThreadItem).validate_python({"id": f"i{number}", "thread_id": "t", "created_at": NOON, **kind})
        )

    roles = {entry["content"]["type"]: entry["role"] for entry in sessions.transcript("thr_1")}

    assert {kind: role for kind, role in roles.items() if role != "assistant"} == {
        "user_message": "user",
        "client_tool_call": "tool",
        "hidden_context_item": "system",
        "sdk_hidden_context": "system",
    }


def test_items_are_paged_replaced_and_deleted_in_the_array_and_in_rows() -> None:
    saved()
    # Hexadecimal digits by chance: PostgreSQL stores text that repeats itself in a few bytes.
    add(*(item(number, random.randbytes(1_500).hex()) for number in range(60)))
    session = AgentSession.objects.get()
    assert 0 < len(session.transcript_json) < session.further == 60

    for number in (3, 57):
        async_to_sync(STORE.save_item)("thr_1", item(number, "replaced"), ADA)
    for number in (4, 58, 99):
        async_to_sync(STORE.delete_thread_item)("thr_1", f"i{number}", ADA)

    left = [f"i{number}" for number in range(60) if number not in (4, 58)]
    for limit in (1, 7, 20, 58, 59):
        assert pages(limit, "asc") == left
        assert pages(limit, "desc") == left[::-1]
    texts = [each.content[0].text[-8:] for each in page(None, 100, "asc").data]
    assert [number for number, text in enumerate(texts) if text == "replaced"] == [3, 56]
    with pytest.raises(NotFoundError):
        page("i4", 1, "asc")


def test_a_thread_is_saved_again_and_only_by_its_user() -> None:
    saved(title="One", metadata={"a": 1})
    thread = saved(title="Two", status={"type": "locked", "reason": "done"})
    sessions.append(sessions.open_for("p1"), "user", "Hm?")
    foreign = [(BOB, "thr_1"), (ChatContext("p2", "ada"), "thr_1"), (ADA, sessions.open_for("p1").pk)]
    foreign.append((ChatContext("gone", "ada"), "thr_2"))
    rows = list(AgentSession.objects.order_by("pk").values())

    for context, thread_id in foreign:
        with pytest.raises(NotFoundError):
            saved(context, thread_id)
        with pytest.raises(NotFoundError):
            async_to_sync(STORE.add_thread_item)(thread_id, item(1), context)

    assert list(AgentSession.objects.order_by("pk").values()) == rows
    loaded = async_to_sync(STORE.load_thread)("thr_1", ADA)
    assert loaded == thread.model_copy(update={"created_at": NOON.astimezone()})


def test_naive_times_are_in_the_processs_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        saved()
        add(item(1))
    finally:
        monkeypatch.undo()
        time.tzset()

    utc = datetime(2024, 7, 1, 16, tzinfo=UTC)
    assert async_to_sync(STORE.load_thread)("thr_1", ADA).created_at == utc
    assert async_to_sync(STORE.load_item)("thr_1", "i1", ADA).created_at == utc
    assert AgentSession.objects.get().created_at == utc
    assert sessions.transcript("thr_1")[0]["at"] == "2024-07-01T16:00:00.000000Z"


def test_a_message_keeps_how_much_was_remembered_before_it() -> None:
    saved()
    text = UserMessageTextContent(text="Hm?")
    asked = UserMessageItem(
        id="m", thread_id="thr_1", created_at=NOON, content=[text], inference_options=InferenceOptions()
    )
    add(asked)
    memory = AgentSession(
        id="thr_1_memory", project_id="p1", created_at=NOON.astimezone(), updated_at=NOON.astimezone()
    )
    memory.save()
    sessions.append(memory, "user", "Hm?")

    async_to_sync(STORE.save_item)("thr_1", asked, ADA)
    add(asked.model_copy(update={"id": "later"}))

    lengths = [async_to_sync(STORE.memory_length_before)("thr_1", each, ADA) for each in ("m", "later")]
    assert lengths == [0, 1]


@pytest.mark.parametrize("name", ["", None, 7, "a\0"])
def test_a_context_needs_a_user_and_a_project(name: Any) -> None:
    with pytest.raises(ValueError, match="A chat's user_id is text that is not empty"):
        ChatContext("p1", name)
    with pytest.raises(ValueError, match="A chat's project_id is text that is not empty"):
        ChatContext(name, "ada")


def test_a_removed_id_of_the_models_removes_each_item_that_had_it() -> None:
    async def events() -> AsyncIterator[Any]:
        for _ in range(2):
            yield ThreadItemAddedEvent(item=item(1))
            yield ThreadItemDoneEvent(item=item(1))
        yield ThreadItemRemovedEvent(item_id="i1")
        yield ThreadItemRemovedEvent(item_id="another")

    async def read() -> list[Any]:
        return [event async for event in unique_item_ids(events())]

    read_events = async_to_sync(read)()

    ids = [event.item.id for event in read_events[:4]]
    assert (ids[0], ids[2]) == (ids[1], ids[3])
    assert len({*ids, "i1"}) == 3
    assert [event.item_id for event in read_events[4:]] == [ids[0], ids[2], "another"]
    assert not any(isinstance(event, ThreadItemUpdatedEvent) for event in read_events)
