"""A client of the stream that takes in what has arrived whole, as a browser's EventSource does."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


class Message(NamedTuple):
    """A server-sent event."""

    id: str
    type: str
    data: Any


class Stream:
    """An open stream. What is cut in the middle of a message is lost, as it is for a browser."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._rest = ""
        self._chunks = response.iter_text()

    def messages(self, most_letters: float = float("inf")) -> Iterator[Message]:
        """Yield messages until the stream ends, or is cut after so many letters."""
        seen = 0
        for chunk in self._chunks:
            kept = chunk[: int(min(len(chunk), most_letters - seen))]
            seen += len(kept)
            *whole, self._rest = (self._rest + kept).split("\n\n")
            yield from filter(None, map(_message, whole))
            if seen >= most_letters:
                return


def _message(block: str) -> Message | None:
    fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
    if "data" not in fields:
        return None
    return Message(fields["id"], fields.get("event", "message"), json.loads(fields["data"]))


@contextmanager
def opened(client: httpx.Client, run_id: str, last_id: str | None = None, **parameters: Any) -> Iterator[Stream]:
    headers = {"Accept": "text/event-stream"} | ({} if last_id is None else {"Last-Event-ID": last_id})
    with client.stream("GET", f"/runs/{run_id}/events", headers=headers, params=parameters) as response:
        yield Stream(response)


def all_messages(client: httpx.Client, run_id: str, last_id: str | None = None, **parameters: Any) -> list[Message]:
    with opened(client, run_id, last_id, **parameters) as stream:
        return list(stream.messages())
