"""The SDK's sessions, stored as ours.

An SDK item that is just ``{"role", "content"}``, with text or a list as content, is an entry as it is. Of any other
item the content is the whole item. So an entry's content is an object exactly when it is the SDK's item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, cast

from agentstate import sessions
from agentstate.recording.storable import storable_text
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from agents import SessionSettings, TResponseInputItem


class DjangoSession:
    """A session of the OpenAI Agents SDK that stores in ``"AgentSession"``; unrelated to ``django.contrib.sessions``.

    Implements the SDK's ``Session`` protocol::

        session = await DjangoSession.aopen(project_id, "chat-1")
        await Runner.run(agent, "Which deadline applies?", session=session)

    Items come back equal. The time of an entry is when it was added: the SDK's items have none. A write that has begun
    is waited for, even if the caller is canceled. The SDK reads the whole session at each run, which takes time by its
    length: give long ones ``session_settings=SessionSettings(limit=…)``.

    Each method raises :class:`agentstate.sessions.SessionNotFound` where no session has the id.

    Args:
        session_id: the id of a session of ours.
        session_settings: the SDK's, for the limit of :meth:`get_items`.
    """

    session_settings: SessionSettings | None = None

    def __init__(self, session_id: str, *, session_settings: SessionSettings | None = None) -> None:
        self.session_id = session_id
        self.session_settings = session_settings

    @classmethod
    def open(
        cls, project_id: str, memory_id: str | None = None, *, session_settings: SessionSettings | None = None
    ) -> DjangoSession:
        """Return the project's session with this memory id, or a new one; see :func:`agentstate.sessions.open_for`."""
        return cls(sessions.open_for(project_id, memory_id).pk, session_settings=session_settings)

    @classmethod
    async def aopen(
        cls, project_id: str, memory_id: str | None = None, *, session_settings: SessionSettings | None = None
    ) -> DjangoSession:
        """Do the same as :meth:`open`, in asynchronous code."""
        return await in_database_thread(cls.open, project_id, memory_id, session_settings=session_settings)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the last items, oldest first.

        Args:
            limit: how many; by default the settings' limit, and all without one.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        entries = await in_database_thread(sessions.transcript, self.session_id, limit, as_given=True)
        return [_item_of(entry) for entry in entries]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items; they stay together whatever others append."""
        await in_database_thread(sessions.extend, self.session_id, [_entry_of(item) for item in items])

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item, and return it; None where there is none."""
        entry = await in_database_thread(sessions.pop, self.session_id, as_given=True)
        return None if entry is None else _item_of(entry)

    async def clear_session(self) -> None:
        """Remove all items. The session stays."""
        await in_database_thread(sessions.clear, self.session_id)


def _entry_of(item: TResponseInputItem) -> sessions.Entry:
    given = cast("dict[str, Any]", item)
    role, content = given.get("role"), given.get("content")
    if given.keys() == {"role", "content"} and _is_storable(role) and isinstance(content, str | list):
        return {"role": role, "content": content}
    return {"role": role if _is_storable(role) else _role_of(given), "content": given}


def _is_storable(role: object) -> TypeGuard[str]:
    return isinstance(role, str) and storable_text(role) == role


def _role_of(item: dict[str, Any]) -> str:
    """Return who speaks in an item without a role: a tool, or the assistant that calls it."""
    return "tool" if str(item.get("type")).endswith("_output") else "assistant"


def _item_of(entry: Any) -> TResponseInputItem:
    content = entry["content"]
    item = content if isinstance(content, dict) else {"role": entry["role"], "content": content}
    return cast("TResponseInputItem", item)
