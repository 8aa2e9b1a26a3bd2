"""A run's events as a stream of server-sent events, which ends after the run's end.

The id of each is its position, so a client that was cut off resumes behind the last event that it has seen. The last
one is of type ``end``, with the run's status. Its id marks that the client knows the end: resuming there answers 204,
which keeps a browser's EventSource from reconnecting, unless late events of a stale run have come.
"""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, connections
from django.http import HttpResponse, StreamingHttpResponse

from agentstate.api import limits
from agentstate.api.documented import AT
from agentstate.api.exact import moment
from agentstate.api.following import NoLongerAllowed, Wish, follower
from agentstate.api.problems import RETRY_SECONDS, Problem
from agentstate.models.runs import RunNotFound
from agentstate.recording.following import events_after, moment_of, place_of
from agentstate.state.documents import as_text
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from django.http import HttpRequest

    from agentstate.recording.following import StoredEvent

EVENT_STREAM = "text/event-stream"
# How often a stream that waits sends a comment. Proxies close connections that stay silent, often after a minute.
HEARTBEAT_SECONDS = 15.0
RECONNECT_MILLISECONDS = 1000
# Moved to the run's end each time, so not an event that happens once. Sent only to those who ask for its type.
HEARTBEAT = "heartbeat"

_ID = re.compile(r"(-?\d{1,17})(-end)?", re.ASCII)

# What the schema of the route cannot say by itself.
EXAMPLE = f'''id: 1772719336583921
data: {{"id":"draft-7-3","type":"draft.progress","at":"{AT}","place":1772719336583921,"parent":null,"payload":{{}}}}

id: 1772719336583921-end
event: end
data: {{"status":"succeeded"}}

'''

OPENAPI = {
    "parameters": [
        {
            "in": "header",
            "name": "Last-Event-ID",
            "description": "Of a stream: the id of the last event that the client has. A browser sends it by itself.",
            "required": False,
            "schema": {"type": "string"},
        }
    ],
    "responses": {
        200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}, "example": EXAMPLE}}},
        204: {"description": "The run has ended, and the client knows it: do not connect again."},
    },
}


def wants_stream(request: HttpRequest) -> bool:
    """Tell whether the header Accept names the type of streams."""
    return any(f"{each.main_type}/{each.sub_type}" == EVENT_STREAM for each in request.accepted_types)


def stream(
    request: HttpRequest,
    run_id: str,
    after: datetime | None,
    types: Sequence[str] | None,
    is_allowed: Callable[[], bool],
) -> HttpResponse | StreamingHttpResponse:
    """Return the stream of a run's events.

    Args:
        after: the position to begin behind. The header Last-Event-ID takes precedence.
        types: the types to send; by default all but heartbeats.
        is_allowed: tells whether the caller may still read. Asked in another thread, as long as the stream lasts.

    Raises:
        Problem: the server is not ASGI, too many streams are open, or Last-Event-ID does not come from a stream.
        RunNotFound: no run has this id.
    """
    if not isinstance(request, ASGIRequest):
        raise Problem(
            501,
            "needs-asgi",
            "This server runs the site over WSGI, which cannot hold many streams open.",
            f"Read the events without Accept: {EVENT_STREAM}. The operator can serve the site over ASGI.",
        )
    knows_end = False
    if last_id := request.headers.get("Last-Event-ID"):
        after, knows_end = _position(last_id)
    new = events_after(run_id, after, limit=1)
    if new is None:
        raise RunNotFound(run_id)
    if knows_end and new.has_ended and not new.events:
        return HttpResponse(status=204)
    return _opened(_pieces(run_id, after, None if types is None else frozenset(types), is_allowed))


def _position(last_id: str) -> tuple[datetime, bool]:
    found = _ID.fullmatch(last_id.strip())
    if found is None:
        raise Problem(
            422,
            "invalid",
            "The header Last-Event-ID does not come from a stream of events.",
            "Send the id of the last event that you have, or leave the header out.",
            fields=[("Last-Event-ID", "is not the id of an event of a stream")],
        )
    return moment_of(int(found[1])), found[2] is not None


# -- how many are open in this process

_open: WeakSet[StreamingHttpResponse] = WeakSet()
_opening = threading.Lock()


class _Stream(StreamingHttpResponse):
    """Counts as open until it is closed, or gone because it was never sent."""

    def close(self) -> None:
        with _opening:
            _open.discard(self)
        super().close()


def _opened(pieces: AsyncIterator[str]) -> StreamingHttpResponse:
    with _opening:
        if len(_open) >= limits.STREAMS.value:
            raise Problem(
                503,
                "too-many-streams",
                f"This process has {len(_open):,} streams open, which is its limit.",
                f"Try again after the time in Retry-After. The operator can raise {limits.STREAMS.name}.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        # X-Accel-Buffering: nginx would collect the events.
        response = _Stream(pieces, content_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})
        _open.add(response)
    return response


# -- what is sent


async def _pieces(
    run_id: str, after: datetime | None, types: frozenset[str] | None, is_allowed: Callable[[], bool]
) -> AsyncIterator[str]:
    # The request's own thread has a connection from looking up the token and the run.
    await in_database_thread(connections.close_all)
    yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
    pulse: str | None = None
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                new = await follower().next(Wish(run_id, after, pulse, is_allowed))
        except TimeoutError:
            pulse = None  # asks again whether the caller is still allowed
            yield ": waiting\n\n"
            continue
        except (NoLongerAllowed, DatabaseError):
            return  # the client connects again, and gets the reason
        if new is None:
            return
        if text := "".join(_message(event) for event in new.events if _is_sent(event, types)):
            yield text
        after = new.events[-1].at if new.events else after
        pulse = new.pulse if new.is_all else None
        if new.is_all and new.has_ended:
            yield _end(after, new.status)
            return


def _is_sent(event: StoredEvent, types: frozenset[str] | None) -> bool:
    return event.type != HEARTBEAT if types is None else event.type in types


def _message(event: StoredEvent) -> str:
    facts = as_text(
        {"id": event.id, "type": event.type, "at": moment(event.at), "place": event.place, "parent": event.parent}
    )
    return f'id: {event.place}\ndata: {facts[:-1]},"payload":{event.payload}}}\n\n'


def _end(after: datetime | None, status: str) -> str:
    place = 0 if after is None else place_of(after)
    return f"id: {place}-end\nevent: end\ndata: {as_text({'status': status})}\n\n"
