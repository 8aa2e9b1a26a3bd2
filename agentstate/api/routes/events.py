"""A run's events: append many at once, and read them in pages."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Query, Router
from pydantic import AfterValidator, ConfigDict, Field

from agentstate.api import streaming
from agentstate.api.access import may_still_read, readers
from agentstate.api.documented import AT, Answer, Body, Limit, Name, NewId, ProblemAnswer
from agentstate.api.exact import answer, moment
from agentstate.api.problems import refuse_more
from agentstate.models.fields import possible_id
from agentstate.models.runs import RunNotFound
from agentstate.recording import repeatable
from agentstate.recording.events import SAVED_ONLY
from agentstate.recording.following import LAST_PLACE, events_after, moment_of
from agentstate.state.documents import decode

router = Router(tags=["events"])

VIEW = "view_agentworkflowrun"


def _is_no_save(type_: str) -> str:
    if type_ == SAVED_ONLY:
        raise ValueError("is the event of a save: save the documents instead")
    return type_


class NewEvent(Body):
    type: Annotated[Name, AfterValidator(_is_no_save)] = Field(examples=["draft.progress"])
    payload: Any = Field(None, description="Any JSON; an empty object by default.", examples=[{"words": 120}])
    id: NewId | None = Field(
        None, description="An event with an id is written once, however often it is sent.", examples=["draft-7-3"]
    )

    parent: Name | None = Field(
        None, description="The id of the event of this run that it happened inside.", examples=["draft-7-2"]
    )


class NewEvents(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"events": [{"type": "draft.progress", "payload": {"words": 120}, "id": "draft-7-3"}]}]
        }
    )

    events: list[NewEvent] = Field(min_length=1)


class Appended(Answer):
    ids: list[str] = Field(description="The events' ids in their order.", examples=[["draft-7-3"]])
    skipped: list[str] = Field(description="Those that the run had already.", examples=[[]])


class Event(Answer):
    id: str = Field(examples=["draft-7-3"])
    type: str = Field(examples=["draft.progress"])
    at: str = Field(examples=[AT])
    place: int = Field(description="Its place in the run: a value of after.", examples=[1772719336583921])
    parent: str | None = Field(description="The id of the event that it happened inside.", examples=["draft-7-2"])
    payload: Any = Field(examples=[{"words": 120}])


class EventPage(Answer):
    events: list[Event]
    status: str = Field(description="The run's status.", examples=["running"])
    next: int | None = Field(description="The value of after for the next page; null where it has no events yet.")


@router.post("/runs/{run_id}/events", response={200: Appended, 409: ProblemAnswer}, operation_id="append_events")
def append_events(request: HttpRequest, run_id: str, body: NewEvents) -> HttpResponse:
    """Write events after all others of the run, all of them or none."""
    appended = repeatable.append(run_id, given(body.events))
    return answer({"ids": appended.ids, "skipped": appended.skipped})


@router.get(
    "/runs/{run_id}/events",
    auth=readers(VIEW),
    response={200: EventPage, 501: ProblemAnswer, 503: ProblemAnswer},
    operation_id="read_events",
    openapi_extra=streaming.OPENAPI,
)
def read_events(
    request: HttpRequest,
    run_id: str,
    after: Annotated[int | None, Query(ge=0, le=LAST_PLACE, description="Only what comes after this place.")] = None,
    type: Annotated[list[str] | None, Query(description="Only events of these types; repeatable.")] = None,  # noqa: A002
    limit: Limit = 100,
) -> HttpResponseBase:
    """Return a run's events in order; with Accept: text/event-stream as a live stream to the run's end."""
    if possible_id(run_id) is None:
        raise RunNotFound(run_id)
    moment_after = None if after is None else moment_of(after)
    if streaming.wants_stream(request):
        return streaming.stream(request, run_id, moment_after, type, lambda: may_still_read(request, VIEW))
    page = events_after(run_id, moment_after, types=type, limit=limit)
    if page is None:
        raise RunNotFound(run_id)
    return answer(
        {
            "events": [
                {
                    "id": event.id,
                    "type": event.type,
                    "at": moment(event.at),
                    "place": event.place,
                    "parent": event.parent,
                    "payload": decode(event.payload),
                }
                for event in page.events
            ],
            "status": page.status,
            "next": None if page.is_all else page.events[-1].place,
        }
    )


def given(events: list[NewEvent]) -> list[repeatable.Event]:
    """Return events of a body as the recorder takes them.

    Raises:
        Problem: there are more than one request may have.
    """
    refuse_more("events", len(events))
    return [
        repeatable.Event(event.type, {} if event.payload is None else event.payload, event.id, event.parent)
        for event in events
    ]
