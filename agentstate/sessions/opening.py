"""Open conversations of a project, and add to and read their transcripts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models.functions import Now

from agentstate.isolation import one_round
from agentstate.models import AgentSession, AgentWorkflowRun, Project
from agentstate.models.fields import possible_id
from agentstate.models.runs import RunNotFound
from agentstate.recording.errors import RowsDropped
from agentstate.recording.storable import storable, storable_text
from agentstate.state import ProjectNotFound, UnsuitableRun
from agentstate.state.documents import decode
from agentstate.state.history import require_zone
from agentstate.state.homes import next_clock
from agentstate.state.transactions import seeing_others

if TYPE_CHECKING:
    from django.db.models import QuerySet

# More entries than a transcript can have, and still a valid index in a JSON path.
MOST_ENTRIES = 1_000_000_000

_NOW = """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

# The backfill overwrites a session of the legacy chat only while updated_at equals created_at.
_APPEND = f"""
    UPDATE "AgentSession" SET
        transcript_json = transcript_json || jsonb_build_array(jsonb_build_object(
            'role', %(role)s::text, 'content', %(content)s::jsonb, 'at', coalesce(%(at)s::text, {_NOW}))),
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
    processes that open the same session at once, one inserts the row and both get it. Inside the caller's transaction
    the project's row stays locked until that ends, where a session is inserted or gets another run.

    Args:
        memory_id: characters that PostgreSQL refuses are escaped, see :mod:`agentstate.recording.storable`.
        run: the id of the run that opens the session, of this project or of none; the session names the last one.

    Raises:
        ProjectNotFound: no project has this id.
        RunNotFound: no run has this id.
        UnsuitableRun: the run is another project's.
        UnsuitableTransaction: the session would have to be written, in a repeatable read or serializable transaction
            of the caller's.
    """
    if possible_id(project_id) is None:
        raise ProjectNotFound(project_id)
    if run is not None:
        _check_run(AgentWorkflowRun.objects.all(), run, project_id)
    if memory_id is not None:
        memory_id = storable_text(memory_id)
    session = _newest(project_id, memory_id)
    if session is None or run not in (None, session.agent_run_id):
        session = _write(project_id, memory_id, run)
    return session


def _check_run(runs: QuerySet[AgentWorkflowRun], run: str, project_id: str) -> None:
    row = runs.filter(pk=possible_id(run)).values_list("project_id").first()
    if row is None:
        raise RunNotFound(run)
    if row[0] not in (None, project_id):
        raise UnsuitableRun(
            run, f"it belongs to the project {row[0]!r}, not to {project_id!r}", use="A session cannot be opened by"
        )


def append(session: AgentSession | str, role: str, content: object, at: datetime | None = None) -> int:
    """Add an entry to a session's transcript, and return the number of its entries.

    The database appends it in one statement, so concurrent writers lose no entry. An ``AgentSession`` that is given
    reads its transcript again on the next access.

    Args:
        content: text or JSON; what PostgreSQL refuses is marked, see :mod:`agentstate.recording.storable`.
        at: the entry's time, aware; now by default.

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
    row = one_round(_APPEND, parameters)
    if row is None:
        raise SessionNotFound(session_id)
    if isinstance(session, AgentSession):
        for name in ("transcript_json", "updated_at"):
            session.__dict__.pop(name, None)
    return int(row[0])


def transcript(session: AgentSession | str, limit: int | None = None) -> list[Any]:
    """Return a session's entries in order, each ``{"role", "content", "at"}``.

    Args:
        limit: return only this many, the last ones; the database sends no others.

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
        row = cursor.fetchone()
    if row is None:
        raise SessionNotFound(session_id)
    entries: list[Any] = decode(row[0])
    return entries


def _newest(project_id: str, memory_id: str | None) -> AgentSession | None:
    sessions: QuerySet[AgentSession] = AgentSession.objects.filter(project=project_id, memory_id=memory_id)
    return (
        sessions.exclude(metadata__contains={"kind": "legacy_chat"})
        .defer("transcript_json")
        .order_by("-created_at", "-pk")
        .first()
    )


def _write(project_id: str, memory_id: str | None, run: str | None) -> AgentSession:
    """Insert the session, unless another process has just done so, and let it name the run.

    The project and the run are locked in the order of a save, so neither can be deleted before the session names it.
    """
    with seeing_others("A session cannot be opened"):
        if not Project.objects.select_for_update(no_key=True).filter(pk=project_id).values_list("pk").first():
            raise ProjectNotFound(project_id)
        if run is not None:
            _check_run(AgentWorkflowRun.objects.select_for_update(no_key=True), run, project_id)
        session = _newest(project_id, memory_id)
        if session is None:
            new = AgentSession(
                project_id=project_id, memory_id=memory_id, agent_run_id=run, created_at=Now(), updated_at=Now()
            )
            new.save(force_insert=True)
            session = AgentSession.objects.filter(pk=new.pk).first()
            if session is None:
                raise RowsDropped("AgentSession", 0)
        elif run is not None:
            session.agent_run_id = run
            if not AgentSession.objects.filter(pk=session.pk).update(agent_run=run):
                raise SessionNotFound(session.pk)
    return session


def _id_of(session: AgentSession | str) -> str:
    return session if isinstance(session, str) else session.pk
