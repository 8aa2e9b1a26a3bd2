"""Who chats, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentstate.models.fields import possible_id

if TYPE_CHECKING:
    from django.http import HttpRequest


@dataclass(frozen=True)
class ChatContext:
    """Who chats, in which project. Threads and attachments belong to one user in one project.

    Make it from the authenticated user, never from what the client says.

    Attributes:
        user_id: the user, as the application names them; text that stays the same.
        request: the request, where there is one; needed for the addresses of attachments.
    """

    project_id: str
    user_id: str
    request: HttpRequest | None = None

    def __post_init__(self) -> None:
        for name, value in (("project_id", self.project_id), ("user_id", self.user_id)):
            if not isinstance(value, str) or not possible_id(value):
                raise ValueError(f"A chat's {name} is text that is not empty, not {value!r}.")
