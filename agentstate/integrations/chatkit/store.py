"""ChatKit's store over Django's database."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from chatkit.store import NotFoundError, Store, StoreItemType, default_generate_id
from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata, UserMessageItem, WorkflowItem
from pydantic import TypeAdapter

from agentstate import sessions
from agentstate.integrations.chatkit import files, threads
from agentstate.integrations.chatkit.context import ChatContext
from agentstate.models.fields import new_id
from agentstate.recording.storable import restored
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

# Larger pages are cut to this; the client asks for the next one.
LARGEST_PAGE = 1_000

# What the item's entry says of it beside the item: how much the agent remembered when the message came.
MEMORY_LENGTH = "memory_length"

_NOT_FOUND = (threads.ThreadNotFound, files.AttachmentNotFound, sessions.SessionNotFound, sessions.ItemNotFound)
_ROLES = {
    "user_message": "user",
    "client_tool_call": "tool",
    "hidden_context_item": "system",
    "sdk_hidden_context": "system",
}


class DjangoStore(Store[ChatContext]):
    """Threads and their items as sessions and their entries, attachments in a table of their own and Django's storage.

    Each method looks only at what belongs to the context's user in its project, and raises ChatKit's ``NotFoundError``
    for anything else. An entry's ``content`` is the item as ChatKit has it, so items come back equal. Naive times are
    taken as the process's own time zone: that is what ChatKit makes them with.
    """

    def generate_thread_id(self, context: ChatContext) -> str:
        return _long_id("thread")

    def generate_item_id(self, item_type: StoreItemType, thread: ThreadMetadata, context: ChatContext) -> str:
        return _long_id(item_type)

    async def load_thread(self, thread_id: str, context: ChatContext) -> ThreadMetadata:
        return ThreadMetadata.model_validate(await calling(threads.load, context, thread_id))

    async def save_thread(self, thread: ThreadMetadata, context: ChatContext) -> None:
        aware = ThreadMetadata(**{**dict(thread), "created_at": thread.created_at.astimezone()})
        await calling(threads.save, context, aware.id, aware.model_dump(mode="json"), aware.created_at)

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: ChatContext
    ) -> Page[ThreadMetadata]:
        limit = _bounded(limit)
        rows = await calling(threads.page, context, limit + 1, after, newest_first=order == "desc")
        found = [ThreadMetadata.model_validate(row) for row in rows]
        return _page(found[:limit], has_more=len(found) > limit)

    async def delete_thread(self, thread_id: str, context: ChatContext) -> None:
        await calling(_delete_thread, context, thread_id)

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: ChatContext
    ) -> Page[ThreadItem]:
        page = await calling(_entries, context, thread_id, after, _bounded(limit), newest_first=order == "desc")
        return _page([_item(entry) for entry in page.entries], has_more=page.has_more)

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        await self.save_item(thread_id, item, context)

    async def save_item(self, thread_id: str, item: ThreadItem, context: ChatContext) -> None:
        await calling(_save_item, context, thread_id, item)

    async def load_item(self, thread_id: str, item_id: str, context: ChatContext) -> ThreadItem:
        return _item(await calling(_entry, context, thread_id, item_id))

    async def delete_thread_item(self, thread_id: str, item_id: str, context: ChatContext) -> None:
        """Delete an item, if it is there: after a guardrail, ChatKit deletes what it never stored."""
        await calling(_delete_item, context, thread_id, item_id)

    async def save_attachment(self, attachment: Attachment, context: ChatContext) -> None:
        data = attachment.model_dump(mode="json")
        await calling(files.save, context, attachment.id, data, attachment.thread_id)

    async def load_attachment(self, attachment_id: str, context: ChatContext) -> Attachment:
        return _attachments().validate_python(restored((await calling(files.load, context, attachment_id)).data))

    async def delete_attachment(self, attachment_id: str, context: ChatContext) -> None:
        await calling(files.delete, context, attachment_id)

    async def memory_length_before(self, thread_id: str, item_id: str, context: ChatContext) -> int | None:
        """Return how many entries the agent's memory had when a user's message came; None where that is not known."""
        length: int | None = (await calling(_entry, context, thread_id, item_id))["content"].get(MEMORY_LENGTH)
        return length


async def calling(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in Django's thread.

    Raises:
        NotFoundError: it found nothing of the user's.
    """
    try:
        return await in_database_thread(act, *args, **kwargs)
    except _NOT_FOUND as error:
        raise NotFoundError(str(error)) from error


def _long_id(item_type: StoreItemType) -> str:
    """Return an id that cannot be guessed, with ChatKit's prefix; its own have 32 random bits."""
    prefix, _, _ = default_generate_id(item_type).rpartition("_")
    return f"{prefix}_{new_id()}"


def _bounded(limit: int) -> int:
    return min(max(limit, 1), LARGEST_PAGE)


def _page(data: list[Any], *, has_more: bool) -> Page[Any]:
    return Page(data=data, has_more=has_more, after=data[-1].id if has_more else None)


def _delete_thread(context: ChatContext, thread_id: str) -> None:
    threads.require(context, thread_id)
    files.delete_sent_in(thread_id)
    threads.delete(context, thread_id)


def _entries(
    context: ChatContext, thread_id: str, after: str | None, limit: int, *, newest_first: bool
) -> sessions.Page:
    threads.require(context, thread_id)
    return sessions.page(thread_id, limit, after=after, newest_first=newest_first)


def _entry(context: ChatContext, thread_id: str, item_id: str) -> Any:
    threads.require(context, thread_id)
    entry = sessions.item(thread_id, item_id)
    if entry is None:
        raise sessions.ItemNotFound(thread_id, item_id)
    return entry


def _save_item(context: ChatContext, thread_id: str, item: ThreadItem) -> None:
    threads.require(context, thread_id)
    moment = item.created_at.astimezone()
    content = item.model_copy(update={"created_at": moment}).model_dump(mode="json")
    if isinstance(item, UserMessageItem):
        before = sessions.item(thread_id, item.id)
        content[MEMORY_LENGTH] = (
            threads.memory_length(thread_id) if before is None else before["content"].get(MEMORY_LENGTH)
        )
    role = _ROLES.get(item.type, "assistant")
    sessions.put(thread_id, item.id, {"role": role, "content": content, "at": moment})


def _delete_item(context: ChatContext, thread_id: str, item_id: str) -> None:
    threads.require(context, thread_id)
    sessions.remove(thread_id, item_id)


def _item(entry: Any) -> ThreadItem:
    item: ThreadItem = _items().validate_python(entry["content"])
    if isinstance(item, WorkflowItem):  # ChatKit continues it, and subtracts its time from a naive one
        item.created_at = datetime.fromtimestamp(item.created_at.timestamp())  # noqa: DTZ006
    return item


@cache
def _items() -> TypeAdapter[ThreadItem]:
    return TypeAdapter(ThreadItem)


@cache
def _attachments() -> TypeAdapter[Attachment]:
    return TypeAdapter(Attachment)
