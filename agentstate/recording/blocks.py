"""Record a block as a run: begin or claim the run, and end it with the block's outcome."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agentstate.isolation import one_round
from agentstate.models import AgentWorkflowRun
from agentstate.models.fields import possible_id
from agentstate.models.runs import WAITING, IllegalStatusChange, RunNotFound
from agentstate.recording.clean_up import drop_broken_connection, logged, with_traceback
from agentstate.recording.current import as_current
from agentstate.recording.errors import RowsDropped, RunFinished
from agentstate.recording.recorder import Recorder
from agentstate.recording.redaction import stored, stored_error
from agentstate.recording.storable import described, restored, storable_text
from agentstate.state import ProjectNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

# The lock, which the foreign key would take too, waits for a deletion of the project and then does not find the row.
_BEGIN = """
    WITH project AS (
        SELECT id FROM "Project" WHERE id = %(project)s FOR KEY SHARE
    ), run AS (
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, started_at)
        SELECT %(run)s, %(workflow)s, (SELECT id FROM project), %(status)s, %(input)s::jsonb, clock_timestamp()
        WHERE NOT %(has_project)s OR EXISTS (SELECT FROM project)
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    )
    SELECT (SELECT id::text FROM project), (SELECT id::text FROM run)"""


@contextmanager
def record(workflow_id: str, project_id: str | None = None, input: object = None) -> Iterator[Recorder]:  # noqa: A002
    """Record the block as a run::

        with record("intake", project_id, input={"documents": 3}) as run:
            with run.tool("read_page", {"page": 7}) as call:
                call.output = read_page(7)
            run.save(facts=facts)
            run.set_output({"pages": 1})

    The run is ``running`` during the block and then ``succeeded``. It is ``failed`` if the block raises an
    ``Exception``; ``error`` then has its text and the end of its traceback. It is ``canceled`` if anything else ends
    the block: ``KeyboardInterrupt``, a task's ``CancelledError``, ``SystemExit``, a generator that is closed. What the
    block raises is raised again.

    Inside the caller's transaction the run and its events commit with that transaction; see :class:`Recorder` for the
    order in which to write there.

    Args:
        workflow_id: the workflow's name.
        project_id: the id of the run's project; None for a run without one.
        input: the run's input, any value; see :mod:`agentstate.recording.storable`.

    Raises:
        ProjectNotFound: no project has this id.
        IllegalStatusChange: another process ended the run. Closing it as stale does not count.
    """
    recorder = new_recorder(workflow_id, project_id, input)
    with _ending(recorder):
        begin(recorder)
        with as_current(recorder):
            yield recorder


def enqueue(
    workflow_id: str,
    project_id: str | None = None,
    input: object = None,  # noqa: A002
    *,
    run_id: str | None = None,
) -> str:
    """Write a pending run, for example in a request, and return its id; a worker claims it with :func:`start`.

    Its ``started_at`` is the time of this until then. The other arguments are those of :func:`record`.

    Args:
        run_id: the run's id, a new one by default.

    Raises:
        ProjectNotFound: no project has this id.
    """
    recorder = new_recorder(workflow_id, project_id, input)
    recorder.run.pk = run_id or recorder.run_id
    insert(recorder.run, AgentWorkflowRun.Status.PENDING)
    return recorder.run_id


@contextmanager
def start(run_id: str) -> Iterator[Recorder]:
    """Claim a run that :func:`enqueue` wrote; the block ends as that of :func:`record`.

    Of several workers that claim it at once, one gets it.

    Raises:
        RunNotFound: no run has this id.
        IllegalStatusChange: the run is not pending, or it waits with a state, and is to be resumed; or see
            :func:`record`.
    """
    recorder = pending_recorder(run_id)
    with _ending(recorder):
        claim_queued(recorder)
        with as_current(recorder):
            yield recorder


@contextmanager
def resume(run_id: str) -> Iterator[Recorder]:
    """Resume a run that :meth:`Recorder.interrupt` paused; the block ends as that of :func:`record`.

    The waiting state is removed: read it before, with :func:`waiting_state`.

    Raises:
        RunNotFound: no run has this id.
        IllegalStatusChange: the run is not pending; or see :func:`record`.
    """
    recorder = pending_recorder(run_id)
    with _ending(recorder):
        claim_paused(recorder)
        with as_current(recorder):
            yield recorder


def waiting_state(run_id: str) -> Any:
    """Return what a paused run waits with, see :meth:`Recorder.interrupt`; None if there is nothing.

    Raises:
        RunNotFound: no run has this id.
    """
    runs = AgentWorkflowRun.objects.filter(pk=possible_id(run_id))
    row = runs.values_list(f"result__{WAITING}").first()
    if row is None:
        raise RunNotFound(run_id)
    return restored(row[0])


# -- the steps of a block, each a function that the asynchronous blocks call in Django's thread


def new_recorder(workflow_id: str, project_id: str | None, input_: object) -> Recorder:
    """Return a recorder whose run has not begun yet."""
    run = AgentWorkflowRun(
        workflow_id=storable_text(workflow_id), project_id=project_id, input=input_, status="pending"
    )
    return Recorder(run)


def pending_recorder(run_id: str) -> Recorder:
    """Return the recorder of a run that is to be claimed.

    Raises:
        RunNotFound: no run has this id.
    """
    run = AgentWorkflowRun.objects.defer("input", "result").filter(pk=possible_id(run_id)).first()
    if run is None:
        raise RunNotFound(run_id)
    return Recorder(run)


def begin(recorder: Recorder) -> None:
    """Insert the run as a running one, which the block ends."""
    insert(recorder.run, AgentWorkflowRun.Status.RUNNING)
    recorder.owns_run = True


def claim_queued(recorder: Recorder) -> None:
    """Start the run, which the block then ends."""
    recorder.run.start()
    recorder.owns_run = True


def claim_paused(recorder: Recorder) -> None:
    """Resume the run, which the block then ends."""
    recorder.run.resume()
    recorder.owns_run = True


def end(recorder: Recorder, error: BaseException | None = None) -> None:
    """End the run with the block's outcome, if it is still running. Settle first the calls that are still open."""
    run, text = recorder.run, None
    if not recorder.owns_run or run.status == run.Status.PENDING:
        return
    with logged(run.pk):
        recorder.close_open_calls()
    if run.status != run.Status.RUNNING or (isinstance(error, RunFinished) and error.run_id == run.pk):
        return
    drop_broken_connection()
    try:
        if error is None:
            status = run.Status.SUCCEEDED
            run.succeed()
        elif isinstance(error, Exception):
            status, text = run.Status.FAILED, stored_error(with_traceback(error))
            run.fail(text)
        else:
            status, text = run.Status.CANCELED, stored_error(described(error))
            run.cancel(text)
    except IllegalStatusChange:
        if not run.closed_as_stale:
            raise
        recorder.event("run.ended", {"status": status, "error": text})


@contextmanager
def _ending(recorder: Recorder) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        with logged(recorder.run_id):
            end(recorder, error)
        raise
    end(recorder)


def stored_input(run: AgentWorkflowRun) -> str | None:
    """Return the run's input as the JSON text that is stored."""
    return None if run.input is None else stored("run.input", run.input)


def insert(run: AgentWorkflowRun, status: AgentWorkflowRun.Status) -> None:
    """Insert a new run.

    Raises:
        ProjectNotFound: no project has the run's.
        RowsDropped: another run has the id, or the database dropped the row.
    """
    row = one_round(
        _BEGIN,
        {
            "run": run.pk,
            "workflow": run.workflow_id,
            "project": None if run.project_id is None else possible_id(run.project_id),
            "has_project": run.project_id is not None,
            "status": status.value,
            "input": stored_input(run),
        },
    )
    project_id, run_id = row or (None, None)
    if run.project_id is not None and project_id is None:
        raise ProjectNotFound(run.project_id)
    if run_id is None:
        raise RowsDropped("AgentWorkflowRun", 0)
    run.status = status
    run._state.adding = False
    run.read_again("input", "started_at")
