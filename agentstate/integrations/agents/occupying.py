"""One unfinished run a session: two at once would mix their entries in one conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.models import AgentSession, AgentWorkflowRun
from agentstate.models.fields import possible_id
from agentstate.sessions import SessionNotFound
from agentstate.state import UnsuitableRun
from agentstate.state.transactions import seeing_others

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.memory import Session

    from agentstate.recording import Recorder


class SessionBusy(Exception):
    """The session has an unfinished run. Nothing was written.

    Attributes:
        session_id: the session's id.
        run_id: the id of its unfinished run.
        status: that run's status; a pending one waits for approvals and keeps its session.
    """

    def __init__(self, session_id: str, run_id: str, status: str) -> None:
        super().__init__(
            f"Session {session_id} is busy: its run {run_id} is {status}. Wait until that run has ended, or resume or "
            "cancel it. If its process has died, manage.py close_stale_runs ends it."
        )
        self.session_id, self.run_id, self.status = session_id, run_id, status


def session_id_of(session: Session | None) -> str | None:
    """Return the id of our session that the SDK's session stores in, also through wrappers; None for another kind."""
    from agentstate.integrations.agents.session import DjangoSession

    stores: Any = session
    while stores is not None and not isinstance(stores, DjangoSession):
        stores = getattr(stores, "underlying_session", None)  # of an EncryptedSession and its like
    return None if stores is None else stores.session_id


def claim(recorder: Recorder, begin: Callable[[Recorder], object], session_id: str | None) -> None:
    """Begin or resume a run, and let its session name it, in one transaction: both or neither.

    Raises:
        SessionBusy: the session has another unfinished run.
        SessionNotFound: no session has this id.
        UnsuitableRun: the session is of another project than the run.
    """
    try:
        if session_id is None:
            begin(recorder)
        else:
            with seeing_others("A run cannot begin on a session"):
                _begin_on(session_id, recorder, begin)
    except BaseException:
        recorder.owns_run = False  # nothing was committed, so there is no run to end
        raise


def _begin_on(session_id: str, recorder: Recorder, begin: Callable[[Recorder], object]) -> None:
    project_id = _project_of(session_id)
    if recorder.run._state.adding and recorder.project_id is None:
        recorder.run.project_id = project_id
    # First the project, as its deletion does, which then locks what we lock next. A save does not wait for this lock.
    with connection.cursor() as cursor:
        cursor.execute('SELECT FROM "Project" WHERE id = %s FOR KEY SHARE', [project_id])
    begin(recorder)
    _occupy(session_id, recorder)


def _project_of(session_id: str) -> str:
    project_id = AgentSession.objects.filter(pk=possible_id(session_id)).values_list("project_id", flat=True).first()
    if project_id is None:
        raise SessionNotFound(session_id)
    return project_id


def _occupy(session_id: str, recorder: Recorder) -> None:
    # Lock first and look in the next statement, which sees what the run before has committed.
    this = AgentSession.objects.filter(pk=possible_id(session_id))
    row = this.select_for_update(no_key=True).values_list("project_id", "agent_run_id").first()
    if row is None:
        raise SessionNotFound(session_id)
    project_id, other = row
    if recorder.project_id not in (None, project_id):
        raise UnsuitableRun(
            recorder.run_id,
            f"it belongs to the project {recorder.project_id!r}, and the session to {project_id!r}",
            use="A session cannot be continued by",
        )
    if other is not None and other != recorder.run_id:
        status = AgentWorkflowRun.objects.unfinished().filter(pk=other).values_list("status", flat=True).first()
        if status is not None:
            raise SessionBusy(session_id, other, status)
    this.update(agent_run=recorder.run_id)
