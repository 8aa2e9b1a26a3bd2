"""Sessions of a project, by the memory id that the client chose, and their transcripts."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router
from pydantic import ConfigDict, Field

from agentstate import sessions
from agentstate.api.access import readers
from agentstate.api.documented import AT, RUN, Answer, Body, Limit, Moment, Name, ProblemAnswer, Text
from agentstate.api.exact import answer, moment
from agentstate.api.paging import newest_first
from agentstate.api.problems import refuse_more
from agentstate.api.routes.runs import known
from agentstate.models import AgentSession

router = Router(tags=["sessions"])

READERS = readers("view_agentsession")
SESSION = "/projects/{project_id}/sessions/{memory_id}"


class Session(Answer):
    id: str = Field(examples=["cm1000218816t11ub4jaasbs7"])
    memory_id: str | None = Field(examples=["chat-7"])
    run_id: str | None = Field(description="The last run that opened it.", examples=[RUN])
    created_at: str = Field(examples=[AT])
    updated_at: str = Field(examples=[AT])


class OpenSession(Session):
    length: int = Field(description="The number of entries of the transcript.", examples=[2])


class SessionPage(Answer):
    sessions: list[Session]
    next: str | None = Field(description="The value of after for the next page, null on the last one.")


class Opening(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"run": RUN}, {}]})

    run: Text | None = Field(default=None, description="The run that opens the session.")


class NewEntry(Body):
    role: Name = Field(examples=["user"])
    content: Any = Field(description="Text, or any JSON.", examples=["Which sections are missing?"])
    at: Moment | None = Field(default=None, description="When it was said; now by default.", examples=[AT])


class NewEntries(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"after": 0, "entries": [{"role": "user", "content": "Which sections are missing?"}]}]
        }
    )

    after: int = Field(
        ge=0,
        le=2**31,
        description="How many entries come before: the transcript's length. Sent again, the entries are not added.",
    )
    entries: list[NewEntry] = Field(min_length=1)


class Length(Answer):
    length: int = Field(description="The number of entries of the transcript now.", examples=[3])
    is_new: bool = Field(description="false: the entries were there already.")


class Entry(Answer):
    role: str = Field(examples=["user"])
    content: Any = Field(examples=["Which sections are missing?"])
    at: str | None = Field(examples=[AT])


class EntryPage(Answer):
    entries: list[Any] = Field(
        description="role, content and at of each. An entry of the legacy application may be any JSON.",
        examples=[[{"role": "user", "content": "Which sections are missing?", "at": AT}]],
    )
    length: int = Field(description="The number of all entries.", examples=[1])
    next: int | None = Field(description="The value of after for the next page, null on the last one.")


@router.get("/projects/{project_id}/sessions", auth=READERS, response={200: SessionPage}, operation_id="list_sessions")
def list_sessions(request: HttpRequest, project_id: str, after: str | None = None, limit: Limit = 50) -> HttpResponse:
    """List a project's sessions, the newest first."""
    known(project_id)
    rows = AgentSession.objects.filter(project=project_id).defer("transcript_json", "metadata")
    page = newest_first(rows, "created_at", after, limit)
    return answer({"sessions": [_session(session) for session in page.rows], "next": page.next})


@router.put(SESSION, response={200: OpenSession, 409: ProblemAnswer}, operation_id="open_session")
def open_session(
    request: HttpRequest, project_id: str, memory_id: Annotated[Name, Path()], body: Opening | None = None
) -> HttpResponse:
    """Open the session with this memory id: the one that exists, or a new one."""
    session = sessions.open_for(project_id, memory_id, run=body.run if body else None)
    return answer(_open(session))


@router.get(SESSION, auth=READERS, response={200: OpenSession}, operation_id="read_session")
def read_session(request: HttpRequest, project_id: str, memory_id: str) -> HttpResponse:
    """Return a session and the length of its transcript."""
    return answer(_open(_find(project_id, memory_id)))


@router.post(f"{SESSION}/entries", response={200: Length, 409: ProblemAnswer}, operation_id="append_entries")
def append_entries(request: HttpRequest, project_id: str, memory_id: str, body: NewEntries) -> HttpResponse:
    """Append to the transcript. If it has grown since, the answer is 409 with its length."""
    refuse_more("entries", len(body.entries))
    session = _find(project_id, memory_id)
    length, is_new = sessions.extend_after(
        session, body.after, [{"role": each.role, "content": each.content, "at": each.at} for each in body.entries]
    )
    return answer({"length": length, "is_new": is_new})


@router.get(f"{SESSION}/entries", auth=READERS, response={200: EntryPage}, operation_id="read_entries")
def read_entries(
    request: HttpRequest,
    project_id: str,
    memory_id: str,
    after: Annotated[int, Query(ge=0, le=2**31, description="How many entries to leave out.")] = 0,
    limit: Limit = 100,
) -> HttpResponse:
    """Return entries of the transcript in order."""
    entries, length = sessions.part(_find(project_id, memory_id), after, limit)
    reached = after + len(entries)
    return answer({"entries": entries, "length": length, "next": reached if reached < length and entries else None})


def _find(project_id: str, memory_id: str) -> AgentSession:
    known(project_id)
    return sessions.find(project_id, memory_id)


def _open(session: AgentSession) -> dict[str, Any]:
    return {**_session(session), "length": sessions.length(session)}


def _session(session: AgentSession) -> dict[str, Any]:
    return {
        "id": session.pk,
        "memory_id": session.memory_id,
        "run_id": session.agent_run_id,
        "created_at": moment(session.created_at),
        "updated_at": moment(session.updated_at),
    }
