"""Open conversations of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Value
from django.db.models.functions import Now
from django.db.models.lookups import Exact

from agentstate.models import AgentSession, AgentWorkflowRun, Project
from agentstate.models.expressions import ID_LETTERS, beginning
from agentstate.models.fields import possible_id
from agentstate.models.runs import RunNotFound
from agentstate.recording.errors import RowsDropped
from agentstate.recording.storable import storable_text
from agentstate.sessions.errors import SessionNotFound
from agentstate.state import ProjectNotFound, UnsuitableRun
from agentstate.state.transactions import seeing_others

if TYPE_CHECKING:
    from django.db.models import QuerySet


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


def find(project_id: str, memory_id: str) -> AgentSession:
    """Return the session that :func:`open_for` would return for this memory id, without opening one.

    Raises:
        SessionNotFound: the project has no such session.
    """
    session = _newest(project_id, storable_text(memory_id)) if possible_id(project_id) is not None else None
    if session is None:
        raise SessionNotFound(memory_id)
    return session


def _check_run(runs: QuerySet[AgentWorkflowRun], run: str, project_id: str) -> None:
    row = runs.filter(pk=possible_id(run)).values_list("project_id").first()
    if row is None:
        raise RunNotFound(run)
    if row[0] not in (None, project_id):
        raise UnsuitableRun(
            run, f"it belongs to the project {row[0]!r}, not to {project_id!r}", use="A session cannot be opened by"
        )


def _newest(project_id: str, memory_id: str | None) -> AgentSession | None:
    sessions: QuerySet[AgentSession] = AgentSession.objects.filter(project=project_id, memory_id=memory_id)
    if memory_id is not None:  # which an index begins with, so that the project's other sessions are not read
        sessions = sessions.filter(Exact(beginning("memory_id"), Value(memory_id[:ID_LETTERS])))
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
