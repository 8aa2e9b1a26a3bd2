"""The SDK's session over our transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstate import sessions
from agentstate.recording.storable import restored
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from agents import SessionSettings


class DjangoSession:
    """Keeps an agent's conversation in an ``AgentSession``; of no relation to ``django.contrib.sessions``.

    A plain message is an entry with its role and its content. Any other item of the SDK is an entry whose content is
    the item itself, an object, which no message's content is.
    """

    def __init__(self, session_id: str, *, session_settings: SessionSettings | None = None) -> None:
        self.session_id = session_id
        self.session_settings = session_settings

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """Return the newest items, in order."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        entries = await in_database_thread(sessions.transcript, self.session_id, limit)
        return [_item(entry) for entry in entries]

    async def add_items(self, items: list[Any]) -> None:
        """Add items, all or none."""
        if items:
            await in_database_thread(sessions.extend, self.session_id, [_entry(item) for item in items])

    async def pop_item(self) -> Any:
        """Take the newest item, None if there is none."""
        entry = await in_database_thread(sessions.pop, self.session_id)
        return None if entry is None else _item(entry)

    async def clear_session(self) -> None:
        """Remove all items."""
        await in_database_thread(sessions.clear, self.session_id)


def _entry(item: Any) -> dict[str, Any]:
    if item.keys() == {"role", "content"}:
        return {"role": item["role"], "content": item["content"]}
    role = item.get("role") or ("tool" if str(item.get("type", "")).endswith("_output") else "assistant")
    return {"role": role, "content": item}


def _item(entry: Any) -> Any:
    content = restored(entry["content"])
    return content if isinstance(content, dict) else {"role": entry["role"], "content": content}
