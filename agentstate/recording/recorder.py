"""Record a block as a run: begin it, write its events, and end it with the block's outcome."""

from __future__ import annotations

import logging
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.isolation import one_round
from agentstate.models import AgentWorkflowRun
from agentstate.models.fields import new_id, possible_id
from agentstate.models.runs import IllegalStatusChange, RunNotFound
from agentstate.recording import events
from agentstate.recording.errors import RowsDropped, RunFinished
from agentstate.recording.storable import described, storable, storable_members, storable_text
from agentstate.state import ProjectNotFound
from agentstate.state import save as save_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentstate.state import Saved

logger = logging.getLogger(__name__)

FRAMES = 6

# The lock, which the foreign key would take too, waits for a deletion of the project and then does not find the row.
_BEGIN = """
    WITH project AS (
        SELECT id FROM "Project" WHERE id = %(project)s FOR KEY SHARE
    ), run AS (
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, started_at)
        SELECT %(run)s, %(workflow)s, (SELECT id FROM project), 'running', %(input)s::jsonb, clock_timestamp()
        WHERE NOT %(has_project)s OR EXISTS (SELECT FROM project)
        RETURNING id
    )
    SELECT (SELECT id FROM project), (SELECT id FROM run)"""


@dataclass
class ToolCall:
    """A running call of a tool; set ``output`` to its result.

    Attributes:
        call_id: the id that its two events share.
        tool: the tool's name.
        output: the output that ``tool.result`` will have; None until it is set.
    """

    call_id: str
    tool: str
    output: object = None
    started: float | None = field(default=None, repr=False)


class Recorder:
    """Records a run. Threads may share one: each writes through its own connection.

    An event is on disk when the call returns. Inside the caller's transaction it commits with that transaction, and
    the run's other writers wait for it. There, save before you write events: a save locks the project, then the run,
    and a save after an event can deadlock with another writer's save.

    The order of a run's events is the order of the calls, in whatever process and by whatever clock. The exception is
    a repeatable read or serializable transaction of the caller's, which does not see the events that others have
    written since it began.

    Payloads may be any values: what PostgreSQL refuses is kept in another form and marked, see
    :mod:`agentstate.recording.storable`.

    Attributes:
        run: the run. Its verbs change its status, as in ``recorder.run.interrupt()``. The block's end changes only a
            run that is still running.
    """

    def __init__(self, run: AgentWorkflowRun) -> None:
        self.run = run
        self._heartbeat_id = new_id()
        self._owns_run = False  # the block began or resumed the run, and ends it

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.pk

    @property
    def project_id(self) -> str | None:
        """The id of the run's project, if it has one."""
        return self.run.project_id

    def event(self, type: str, payload: object = None) -> str:  # noqa: A002
        """Write one event, and return its id. The payload is an empty object by default.

        Raises:
            RunFinished: the run has ended. A run that was closed as stale keeps the event, marked ``$late``.
            RunNotFound: the run was deleted.
            ValueError: the type is ``state.changed``, which only :meth:`save` writes.
            RowsDropped: the database dropped the event without an error.
        """
        (event_id,) = self.events([(type, payload)])
        return event_id

    def events(self, items: Iterable[tuple[str, object]]) -> list[str]:
        """Write events, each a type and a payload, in one transaction: all of them or none. Return their ids.

        They are one statement, unless they are larger together than one document may be.

        Raises:
            RunFinished, RunNotFound, ValueError, RowsDropped: see :meth:`event`.
        """
        return events.append(
            self.run_id, ((type_, "{}" if payload is None else storable(payload)) for type_, payload in items)
        )

    def heartbeat(self) -> None:
        """Show during a long step that the run is alive: one event ``heartbeat``, which each call moves to the end.

        Raises:
            RunFinished, RunNotFound, RowsDropped: see :meth:`event`.
        """
        events.put(self.run_id, self._heartbeat_id, "heartbeat")

    @contextmanager
    def tool(self, name: str, arguments: object = None) -> Iterator[ToolCall]:
        """Write ``tool.invocation`` before the block and ``tool.result`` after it, with the same ``call_id``.

        The result has the call's ``output``, the ``error`` that ended the block or None, ``duration_ms`` and a
        ``status``: ``ok``, ``error``, or ``canceled`` if the block was interrupted. The error is raised again.

        Raises:
            RunFinished, RunNotFound, RowsDropped: see :meth:`event`.
        """
        call = ToolCall(new_id(), name)
        try:
            self._invoke(call, arguments)
            yield call
        except BaseException as error:
            with _logged(self.run_id):
                self._finish(call, error)
            raise
        self._finish(call)

    def save(self, **documents: Any) -> Saved:
        """Save documents of the project's state as part of this run; see :func:`agentstate.state.save`.

        While ``agentkit_writes`` is off, a save that changes something writes a heartbeat, since it writes no event of
        its own. A save that changes nothing writes nothing, and is not a sign of life.

        Raises:
            ValueError: the run has no project.
            UnsuitableRun: the run is not running. A run that was closed as stale accepts late events but no late
                save: others may have changed the state since.
        """
        if self.project_id is None:
            raise ValueError(f"Run {self.run_id} has no project, so it has no state: give record() a project_id.")
        saved = save_state(self.project_id, run=self.run_id, **documents)
        if saved.changed and saved.run_id is None:
            with suppress(RunFinished, RunNotFound):  # another process ended it; the save is committed
                self.heartbeat()
        return saved

    def set_output(self, output: object) -> None:
        """Set the run's output now; its state is not changed. A later call replaces the output.

        Raises:
            RunFinished: the run has ended. A run that was closed as stale still accepts it.
            RunNotFound: the run was deleted.
        """
        if not self.run.set_output(storable(output)):
            status = AgentWorkflowRun.objects.filter(pk=self.run_id).values_list("status", flat=True).first()
            raise RunFinished(self.run_id, status) if status else RunNotFound(self.run_id)

    # -- for the context managers of this package

    def _begin(self) -> None:
        run = self.run
        row = one_round(
            _BEGIN,
            {
                "run": run.pk,
                "workflow": run.workflow_id,
                "project": None if run.project_id is None else possible_id(run.project_id),
                "has_project": run.project_id is not None,
                "input": None if run.input is None else storable(run.input),
            },
        )
        project_id, run_id = row or (None, None)
        if run.project_id is not None and project_id is None:
            raise ProjectNotFound(run.project_id)
        if run_id is None:
            raise RowsDropped("AgentWorkflowRun", 0)
        run.status = run.Status.RUNNING
        self._owns_run = True
        run._state.adding = False
        run.read_again("input", "started_at")

    def _resume(self) -> None:
        self.run.resume()
        self._owns_run = True

    def _end(self, error: BaseException | None = None) -> None:
        """End the run with the block's outcome, if it is still running."""
        run, text = self.run, None
        if not self._owns_run or run.status != run.Status.RUNNING:
            return
        _drop_broken_connection()
        try:
            if error is None:
                status = run.Status.SUCCEEDED
                run.succeed()
            elif isinstance(error, Exception):
                status, text = run.Status.FAILED, with_traceback(error)
                run.fail(text)
            else:
                status, text = run.Status.CANCELED, described(error)
                run.cancel(text)
        except IllegalStatusChange:
            if not run.closed_as_stale:
                raise
            self.event("run.ended", {"status": status, "error": text})

    def _invoke(self, call: ToolCall, arguments: object) -> None:
        arguments = {} if arguments is None else arguments
        payload = storable_members(call_id=call.call_id, tool=call.tool, arguments=arguments)
        events.append(self.run_id, [("tool.invocation", payload)])
        call.started = time.perf_counter()

    def _finish(self, call: ToolCall, error: BaseException | None = None) -> None:
        """Write the result of a call, if its invocation was written."""
        if call.started is None:
            return
        if error is not None:
            _drop_broken_connection()
        payload = storable_members(
            call_id=call.call_id,
            tool=call.tool,
            status="ok" if error is None else "error" if isinstance(error, Exception) else "canceled",
            output=call.output,
            error=None if error is None else described(error),
            duration_ms=round((time.perf_counter() - call.started) * 1000, 3),
        )
        events.append(self.run_id, [("tool.result", payload)])


def new_recorder(workflow_id: str, project_id: str | None, input_: object) -> Recorder:
    """Return a recorder whose run has not begun yet."""
    run = AgentWorkflowRun(
        workflow_id=storable_text(workflow_id), project_id=project_id, input=input_, status="pending"
    )
    return Recorder(run)


def with_traceback(error: BaseException) -> str:
    """Return an error's text, followed by the last frames of its traceback."""
    frames = storable_text("".join(traceback.format_tb(error.__traceback__, limit=-FRAMES)))
    return f"{described(error)}\n\nTraceback (at most the last {FRAMES} frames):\n{frames}".rstrip()


def _drop_broken_connection() -> None:
    """Close a connection that is lost, or that an interruption left with a running statement. Django opens another.

    Inside a transaction it stays: a statement on another connection would not be part of it.
    """
    if connection.connection is not None and connection.get_autocommit() and not connection.is_usable():
        connection.close()


@contextmanager
def _logged(run_id: str) -> Iterator[None]:
    """Log errors during clean-up; the block's own exception takes precedence."""
    try:
        yield
    except (IllegalStatusChange, RunFinished) as refusal:
        logger.warning("The end of run %s was not recorded: %s", run_id, refusal)
    except Exception:
        logger.exception("The end of run %s could not be recorded", run_id)


@contextmanager
def _ending(recorder: Recorder) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        with _logged(recorder.run_id):
            recorder._end(error)
        raise
    recorder._end()


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
        recorder._begin()
        yield recorder


@contextmanager
def resume(run_id: str) -> Iterator[Recorder]:
    """Resume a run that ``recorder.run.interrupt()`` paused; the block ends as that of :func:`record`.

    Raises:
        RunNotFound: no run has this id.
        IllegalStatusChange: the run is not pending; or see :func:`record`.
    """
    recorder = paused_recorder(run_id)
    with _ending(recorder):
        recorder._resume()
        yield recorder


def paused_recorder(run_id: str) -> Recorder:
    """Return the recorder of a run that is to be resumed.

    Raises:
        RunNotFound: no run has this id.
    """
    run = AgentWorkflowRun.objects.defer("input", "result").filter(pk=possible_id(run_id)).first()
    if run is None:
        raise RunNotFound(run_id)
    return Recorder(run)
