"""Errors of sessions."""

from __future__ import annotations


class SessionNotFound(LookupError):
    """No session has this id.

    Attributes:
        session_id: the id.
    """

    def __init__(self, session_id: str) -> None:
        super().__init__(f"No session has the id {session_id!r}.")
        self.session_id = session_id


class ItemNotFound(LookupError):
    """No entry of the session has this item id.

    Attributes:
        session_id: the session's id.
        item_id: the id.
    """

    def __init__(self, session_id: str, item_id: str) -> None:
        super().__init__(f"The session {session_id!r} has no entry with the item id {item_id!r}.")
        self.session_id = session_id
        self.item_id = item_id
