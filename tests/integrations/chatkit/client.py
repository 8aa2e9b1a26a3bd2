"""A client of the chat."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

STREAMED = {
    "threads.create",
    "threads.add_user_message",
    "threads.add_client_tool_output",
    "threads.add_structured_input",
    "threads.retry_after_item",
    "threads.custom_action",
}
PATIENCE = 60.0  # seconds


class Chat:
    """A client of the chat that is one user of one project."""

    def __init__(self, address: str, project: str = "p1", user: str = "ada", path: str = "/chat/") -> None:
        headers = {"X-User": user, "X-Project": project}
        self.http = httpx.Client(base_url=address, headers=headers, timeout=PATIENCE)
        self.address, self.path = address, path
        self.others: list[Chat] = []

    def other(self, **who: str) -> Chat:
        """Return another client, by default of the same user."""
        self.others.append(Chat(self.address, **who))
        return self.others[-1]

    def close(self) -> None:
        for client in [self, *self.others]:
            client.http.close()

    def post(self, type: str, **params: Any) -> httpx.Response:  # noqa: A002
        return self.http.post(self.path, json={"type": type, "params": params})

    def ask(self, type: str, **params: Any) -> Any:  # noqa: A002
        """Return the answer's JSON, or its events."""
        response = self.post(type, **params)
        assert response.status_code == 200, response.text
        if type not in STREAMED:
            return response.json()
        return [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]

    def create(self, text: str, **more: Any) -> tuple[str, list[Any]]:
        """Begin a thread, and return its id and the answer's events."""
        events = self.ask("threads.create", input=message(text, **more))
        return events[0]["thread"]["id"], events

    def add(self, thread_id: str, text: str) -> list[Any]:
        events: list[Any] = self.ask("threads.add_user_message", thread_id=thread_id, input=message(text))
        return events

    def items(self, thread_id: str, **more: Any) -> list[Any]:
        page = self.ask("items.list", thread_id=thread_id, order="asc", limit=100, **more)
        data: list[Any] = page["data"]
        return data

    def texts(self, thread_id: str) -> list[str]:
        """Return what people read in a thread."""
        return [item["content"][0]["text"] for item in self.items(thread_id) if "content" in item]


def message(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"content": content, "attachments": [], "inference_options": {}, **more}


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds that another thread does."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
