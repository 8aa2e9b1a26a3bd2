"""Ids of items that a model made."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chatkit.types import (
    AssistantMessageItem,
    ClientToolCallItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    ThreadItemReplacedEvent,
    ThreadItemUpdatedEvent,
)

from agentstate.models.fields import new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from chatkit.types import ThreadItem, ThreadStreamEvent


async def unique_item_ids(events: AsyncIterator[ThreadStreamEvent]) -> AsyncIterator[ThreadStreamEvent]:
    """Give each message and client tool call in a stream of events an id of its own.

    Their ids come from the model, and many models give all messages the same one, ``__fake_id__``. The second message
    would then overwrite the first in the store and in the client. Other items have ids of the store's.
    """
    ids = _Ids()
    async for event in events:
        for changed in ids.in_event(event):
            yield changed


class _Ids:
    def __init__(self) -> None:
        self._open: dict[str, str] = {}  # the model's id of an item that was added and is not done, to ours
        self._given: defaultdict[str, list[str]] = defaultdict(list)  # all of ours, in order

    def in_event(self, event: ThreadStreamEvent) -> list[ThreadStreamEvent]:
        match event:
            case ThreadItemAddedEvent() | ThreadItemDoneEvent():
                return [event.model_copy(update={"item": self._with_id(event)})]
            case ThreadItemUpdatedEvent():
                return [event.model_copy(update={"item_id": self._newest(event.item_id)})]
            case ThreadItemReplacedEvent():
                item = event.item.model_copy(update={"id": self._newest(event.item.id)})
                return [event.model_copy(update={"item": item})]
            case ThreadItemRemovedEvent():
                ids = self._given.get(event.item_id, [event.item_id])
                return [event.model_copy(update={"item_id": item_id}) for item_id in ids]
            case _:
                return [event]

    def _with_id(self, event: ThreadItemAddedEvent | ThreadItemDoneEvent) -> ThreadItem:
        item = event.item
        if not isinstance(item, AssistantMessageItem | ClientToolCallItem):
            return item
        model_id = item.id
        item_id = self._open.pop(model_id, None) or self._new(item)
        if isinstance(event, ThreadItemAddedEvent):
            self._open[model_id] = item_id
        return item.model_copy(update={"id": item_id})

    def _new(self, item: AssistantMessageItem | ClientToolCallItem) -> str:
        prefix = "msg" if isinstance(item, AssistantMessageItem) else "tc"
        item_id = f"{prefix}_{new_id()}"
        self._given[item.id].append(item_id)
        return item_id

    def _newest(self, model_id: str) -> str:
        return self._given[model_id][-1] if model_id in self._given else model_id
