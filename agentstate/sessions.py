"""Transcripts: conversations in a project, entry by entry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models.functions import Now

from agentstate.models import AgentSession, AgentWorkflowRun, Project
from agentstate.models.fields import possible_id
from agentstate.models.runs import RunNotFound
from agentstate.recording.storable import storable, storable_text
from agentstate.state import ProjectNotFound, UnsuitableRun
from agentstate.state.documents import decode
from agentstate.state.history import require_zone
from agentstate.state.homes import next_clock

if TYPE_CHECKING:
    from django.db.models import QuerySet

# More than a transcript can hold, and still an index in a JSON path.
MOST_ENTRIES = 1_000_000_000

_NOW = """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

# The backfill takes a session with equal times for one that nobody has written to.
_APPEND = f"""
    UPDATE "AgentSession" SET
        transcript_json = transcript_json || jsonb_build_array(jsonb_build_object(
            'role', %(role)s::text, 'content', %(content)s::jsonb, 'at', coalesce(%(at)s, {_NOW}))),
        updated_at = {next_clock("updated_at", "created_at")}
    WHERE id = %(session)s RETURNING jsonb_array_length(transcript_json)"""

_WHOLE = """SELECT transcript_json FROM "AgentSession" WHERE id = %s"""
_LAST = """
    SELECT jsonb_path_query_array(transcript_json, format('$[last - %%s to last]', %s::int)::jsonpath)
    FROM "AgentSession" WHERE id = %s"""


class SessionNotFound(LookupError):
    """No session has this id.

    Attributes:
        session_id: the id.
    """

    def __init__(self, session_id: str) -> None:
        super().__init__(f"No session has the id {session_id!r}.")
        self.session_id = session_id


def open_for(project_id: str, memory_id: str | None = None, run: str | None = None) -> AgentSession:
    """Return the project's newest session with this memory id, or a new one.

    None is a memory id like any other. The session that the backfill made of the legacy chat is never returned. Of two
    that open the same at once, one makes the row and both get it; inside the caller's own transaction the project's
    row stays locked to its end.

    Args:
        memory_id: what PostgreSQL refuses in it is escaped, see :mod:`agentstate.recording.storable`.
        run: the id of the run that opens it, of this project or of none; the session names the last run that did.

    Raises:
        ProjectNotFound: no project has this id.
        RunNotFound: no run has this id.
        UnsuitableRun: the run is another project's.
    """
    if possible_id(project_id) is None:
        raise ProjectNotFound(project_id)
    if run is not None:
        _check_run(run, project_id)
    if memory_id is not None:
        memory_id = storable_text(memory_id)
    session = _newest(project_id, memory_id) or _make(project_id, memory_id, run)
    if run is not None and session.agent_run_id != run:
        session.agent_run_id = run
        session.save(update_fields=["agent_run"])
    return session


def _check_run(run: str, project_id: str) -> None:
    found = AgentWorkflowRun.objects.filter(pk=possible_id(run)).values_list("project_id").first()
    if found is None:
        raise RunNotFound(run)
    if found[0] not in (None, project_id):
        raise UnsuitableRun(
            run, f"it belongs to the project {found[0]!r}, not to {project_id!r}", use="A session cannot be opened by"
        )


def append(session: AgentSession | str, role: str, content: object, at: datetime | None = None) -> int:
    """Add an entry to a session's transcript, and return how many it has now.

    One statement adds it to what stands in the database, so that of any number of writers each finds its entry there.
    An ``AgentSession`` that is given reads its transcript again when it is asked for.

    Args:
        content: text or JSON; what PostgreSQL refuses is marked, see :mod:`agentstate.recording.storable`.
        at: when it was said, with its zone; without it, now.

    Raises:
        SessionNotFound: no session has this id.
        ValueError: ``at`` is naive.
    """
    if at is not None:
        require_zone(at)
    session_id = _id_of(session)
    parameters = {
        "session": possible_id(session_id),
        "role": storable_text(role),
        "content": storable(content),
        "at": None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    with connection.cursor() as cursor:
        cursor.execute(_APPEND, parameters)
        found = cursor.fetchone()
    if found is None:
        raise SessionNotFound(session_id)
    if isinstance(session, AgentSession):
        for name in ("transcript_json", "updated_at"):
            session.__dict__.pop(name, None)
    return int(found[0])


def transcript(session: AgentSession | str, limit: int | None = None) -> list[Any]:
    """Return a session's entries in order, each ``{"role", "content", "at"}``.

    Args:
        limit: the last so many only; the database sends no others.

    Raises:
        SessionNotFound: no session has this id.
        ValueError: the limit is less than 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"The limit is {limit}, and must be at least 1.")
    session_id = _id_of(session)
    with connection.cursor() as cursor:
        if limit is None:
            cursor.execute(_WHOLE, [possible_id(session_id)])
        else:
            cursor.execute(_LAST, [min(limit, MOST_ENTRIES) - 1, possible_id(session_id)])
        found = cursor.fetchone()
    if found is None:
        raise SessionNotFound(session_id)
    entries: list[Any] = decode(found[0])
    return entries


def _newest(project_id: str, memory_id: str | None) -> AgentSession | None:
    sessions: QuerySet[AgentSession] = AgentSession.objects.filter(project=project_id, memory_id=memory_id)
    return (
        sessions.exclude(metadata__contains={"kind": "legacy_chat"})
        .defer("transcript_json")
        .order_by("-created_at", "-pk")
        .first()
    )


def _make(project_id: str, memory_id: str | None, run: str | None) -> AgentSession:
    """Make the session, unless somebody else has just done so."""
    with transaction.atomic():
        if not Project.objects.select_for_update(no_key=True).filter(pk=project_id).values_list("pk").first():
            raise ProjectNotFound(project_id)
        session = _newest(project_id, memory_id)
        if session is None:
            made = AgentSession(
                project_id=project_id, memory_id=memory_id, agent_run_id=run, created_at=Now(), updated_at=Now()
            )
            made.save(force_insert=True)
            session = AgentSession.objects.get(pk=made.pk)
    return session


def _id_of(session: AgentSession | str) -> str:
    return session if isinstance(session, str) else session.pk
