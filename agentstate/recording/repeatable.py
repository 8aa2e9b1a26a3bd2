"""Record for a client that may send the same thing twice: it has its effect once, and the function tells whether now.

For writers that get no answer when the line breaks, such as those of the HTTP API. The ids are theirs.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db import IntegrityError, connection

from agentstate.isolation import read_committed
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.fields import new_id, possible_id
from agentstate.models.runs import WAITING, IllegalStatusChange, RunNotFound
from agentstate.recording import events
from agentstate.recording.blocks import insert, new_recorder, stored_input
from agentstate.recording.errors import IdTaken, RowsDropped
from agentstate.recording.redaction import stored, stored_error
from agentstate.recording.storable import storable
from agentstate.state import ProjectNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_GIVEN: Final = object()

_IS_SAME_RUN = """
    SELECT workflow_id = %s AND project_id IS NOT DISTINCT FROM %s AND input IS NOT DISTINCT FROM %s::jsonb
    FROM "AgentWorkflowRun" WHERE id = %s"""
_HAS_MEMBER = 'SELECT result -> %s IS NOT DISTINCT FROM %s::jsonb FROM "AgentWorkflowRun" WHERE id = %s'


class Event(NamedTuple):
    """An event to write; one with an id is written once."""

    type: str
    payload: object = None
    id: str | None = None
    parent: str | None = None


class Appended(NamedTuple):
    """The ids of the events that were given, and those that the run had already."""

    ids: list[str]
    skipped: list[str]


def begin(run_id: str, workflow_id: str, project_id: str | None = None, input: object = None) -> bool:  # noqa: A002
    """Begin a run under an id of the caller's, and return whether it is new.

    Raises:
        IdTaken: a run of this id was begun with another workflow, project or input.
        ProjectNotFound: no project has this id.
    """
    run = new_recorder(workflow_id, project_id, input).run
    run.pk = run_id
    try:
        insert(run, AgentWorkflowRun.Status.RUNNING)
    except (RowsDropped, ProjectNotFound):
        with connection.cursor() as cursor:
            cursor.execute(_IS_SAME_RUN, [run.workflow_id, project_id, stored_input(run), run_id])
            row = cursor.fetchone()
        if row is None:
            raise
        if not row[0]:
            raise IdTaken("run", [run_id], "was begun with another workflow, project or input") from None
        return False
    return True


def append(run_id: str, given: Sequence[Event]) -> Appended:
    """Write events of a run, all of them or none, except those whose ids the run has already.

    Raises:
        IdTaken: an event of another run has one of the ids.
        RunFinished, RunNotFound, ValueError, RowsDropped: see :func:`agentstate.recording.events.append`. A run that
            has ended still answers for events that it has.
    """
    _refuse_impossible(run_id)
    if all(event.id is None for event in given):
        return Appended(
            events.append(
                run_id, [(event.type, event.payload) for event in given], parents=[event.parent for event in given]
            ),
            [],
        )
    ids = [event.id or new_id() for event in given]
    with read_committed():
        lock(run_id)
        known = dict(AgentWorkflowRunEvent.objects.filter(pk__in=ids).values_list("pk", "run"))
        if strangers := sorted(event_id for event_id, run in known.items() if run != run_id):
            raise IdTaken("event", strangers, "belongs to another run")
        new: dict[str, Event] = {}
        for event_id, event in zip(ids, given, strict=True):
            if event_id not in known:
                new.setdefault(event_id, event)
        try:
            events.append(
                run_id,
                [(event.type, event.payload) for event in new.values()],
                list(new),
                [event.parent for event in new.values()],
            )
        except IntegrityError as error:  # another run got the id just now
            raise IdTaken("event", list(new), "belongs to another run") from error
    return Appended(ids, list(known))


def beat(run_id: str) -> None:
    """Show that a run is alive: one event ``heartbeat``, which each call moves to the run's end.

    Raises:
        RunFinished, RunNotFound, RowsDropped: see :func:`agentstate.recording.events.append`.
    """
    _refuse_impossible(run_id)
    # The colon keeps it apart from the ids that clients choose.
    events.put(run_id, f"heartbeat:{sha256(run_id.encode()).hexdigest()}", "heartbeat")


def finish(run_id: str, status: str, *, error: str | None = None, output: object = NOT_GIVEN) -> bool:
    """End a run, and return whether it had not ended like this already.

    Args:
        status: ``succeeded``, ``failed`` or ``canceled``.
        error: of a run that failed or was canceled.
        output: sets the run's output in the same transaction.

    Raises:
        IllegalStatusChange: it has ended otherwise, or cannot end like this.
        RunNotFound: no run has this id.
    """
    error = None if error is None else stored_error(error)
    with read_committed():
        run = lock(run_id)
        if run.status == status:
            if run.error == error and (output is NOT_GIVEN or _has(run_id, "output", stored("run.output", output))):
                return False
            raise IllegalStatusChange(run_id, run.status, status)
        if output is not NOT_GIVEN and run.status in (run.Status.PENDING, run.Status.RUNNING):
            run.set_output(stored("run.output", output))
        if status == run.Status.SUCCEEDED:
            run.succeed()
        elif status == run.Status.FAILED:
            run.fail(error or "")
        else:
            run.cancel(error)
    return True


def interrupt(run_id: str, waiting: object = None, given: Sequence[Event] = ()) -> bool:
    """Pause a running run, and return whether it did not wait with the same already; see ``Recorder.interrupt``.

    Raises:
        IllegalStatusChange: the run is not running, and does not wait with this.
        IdTaken, RunFinished, RunNotFound, ValueError, RowsDropped: see :func:`append`.
    """
    text = None if waiting is None else storable(waiting)
    with read_committed():
        run = lock(run_id)
        if run.status == run.Status.PENDING and _has(run_id, WAITING, text):
            return False
        if run.status != run.Status.RUNNING:
            raise IllegalStatusChange(run_id, run.status, run.Status.PENDING)
        append(run_id, given)
        run.interrupt(text)
    return True


def resume(run_id: str) -> bool:
    """Resume a run that waits, and return whether it was not running already.

    Raises:
        IllegalStatusChange: the run has ended.
        RunNotFound: no run has this id.
    """
    with read_committed():
        run = lock(run_id)
        if run.status == run.Status.RUNNING:
            return False
        run.resume()
    return True


def lock(run_id: str) -> AgentWorkflowRun:
    """Lock a run's row to the end of the transaction, and return the run without its documents.

    Raises:
        RunNotFound: no run has this id.
    """
    rows = AgentWorkflowRun.objects.defer("input", "result").select_for_update(no_key=True)
    run = rows.filter(pk=possible_id(run_id)).first()
    if run is None:
        raise RunNotFound(run_id)
    return run


def _refuse_impossible(run_id: str) -> None:
    if possible_id(run_id) is None:
        raise RunNotFound(run_id)


def _has(run_id: str, member: str, text: str | None) -> bool:
    """Return whether the run's result has this JSON in a member; None where it has no such member."""
    with connection.cursor() as cursor:
        cursor.execute(_HAS_MEMBER, [member, text, run_id])
        row = cursor.fetchone()
    return bool(row and row[0])
