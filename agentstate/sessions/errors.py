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


class OtherLength(Exception):
    """The transcript has another length than the writer knows, and other entries there. Nothing was written.

    Attributes:
        session_id: the session's id.
        length: the transcript's length.
    """

    def __init__(self, session_id: str, known: int, length: int) -> None:
        super().__init__(f"The transcript has {length:,} entries, and others than these follow the first {known:,}.")
        self.session_id, self.length = session_id, length
