"""Runs as they happen: begun, filled with events, ended by what becomes of the block."""

from __future__ import annotations

import logging
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.models import AgentWorkflowRun
from agentstate.models.fields import new_id, possible_id
from agentstate.models.runs import IllegalStatusChange, RunNotFound
from agentstate.recording import events
from agentstate.recording.storable import described, storable, storable_text
from agentstate.state import ProjectNotFound
from agentstate.state import save as save_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentstate.state import Saved

logger = logging.getLogger(__name__)

FRAMES = 6

_BEGIN = """
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, started_at)
    SELECT %(run)s, %(workflow)s, %(project)s, 'running', %(input)s::jsonb, clock_timestamp()
    WHERE NOT %(has_project)s OR EXISTS (SELECT FROM "Project" WHERE id = %(project)s)"""


@dataclass
class ToolCall:
    """A call of a tool under way; set ``output`` to what came of it.

    Attributes:
        call_id: what its two events share.
        tool: the tool's name.
        output: what ``tool.result`` will tell; None until it is set.
    """

    call_id: str
    tool: str
    output: object = None
    started: float | None = field(default=None, repr=False)


class Recorder:
    """What a run's block records with. Threads may share one: each writes through its own connection.

    An event is on disk when the call returns, unless the caller's own transaction is open on this connection: then it
    shares that transaction's fate, and the run's other writers wait for its end. Save before you write events there: a
    save locks the project, then the run, and one that comes after an event can end in a deadlock with another writer's
    save. The order of a run's events is the order of the calls, whoever makes them and whatever clocks say; only a
    repeatable-read transaction of the caller's does not see what others wrote last. Payloads may hold anything: what
    PostgreSQL refuses is kept in another form and marked, see :mod:`agentstate.recording.storable`.

    Attributes:
        run: the run. Its verbs move it on, as in ``recorder.run.interrupt()``; the block's end leaves alone what no
            longer runs.
    """

    def __init__(self, run: AgentWorkflowRun) -> None:
        self.run = run
        self._heartbeat_id = new_id()
        self._is_ours = False  # to end: the block began the run, or goes on with it

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.pk

    @property
    def project_id(self) -> str | None:
        """The id of the run's project, if it has one."""
        return self.run.project_id

    def event(self, type: str, payload: object = None) -> str:  # noqa: A002
        """Write one event, and return its id. Without a payload that is an empty object.

        Raises:
            RunFinished: the run has ended. Where it was closed as stale, the event is kept and marked ``$late``.
            RunNotFound: the run is gone.
            ValueError: the type is ``state.changed``, which only :meth:`save` writes.
        """
        (event_id,) = self.events([(type, payload)])
        return event_id

    def events(self, items: Iterable[tuple[str, object]]) -> list[str]:
        """Write events, each a type and a payload, in one statement: all of them or none. Return their ids.

        Raises:
            RunFinished, RunNotFound, ValueError: see :meth:`event`.
        """
        return events.append(self.run_id, ((type_, {} if payload is None else payload) for type_, payload in items))

    def heartbeat(self) -> None:
        """Give a sign of life where a step takes long: one event ``heartbeat``, which each call moves to the end.

        Raises:
            RunFinished, RunNotFound: see :meth:`event`.
        """
        events.put(self.run_id, self._heartbeat_id, "heartbeat")

    @contextmanager
    def tool(self, name: str, arguments: object = None) -> Iterator[ToolCall]:
        """Leave ``tool.invocation`` before the block and ``tool.result`` after it, with the same ``call_id``.

        The result has the call's ``output``, the ``error`` that ended the block or None, ``duration_ms`` and a
        ``status``: ``ok``, ``error``, or ``canceled`` where the block was interrupted. The error itself goes on.

        Raises:
            RunFinished, RunNotFound: see :meth:`event`.
        """
        call = ToolCall(new_id(), name)
        try:
            self._invoke(call, arguments)
            yield call
        except BaseException as error:
            with _logged(self.run_id):
                self._settle(call, error)
            raise
        self._settle(call)

    def save(self, **documents: Any) -> Saved:
        """Save documents of the project's state as part of this run; see :func:`agentstate.state.save`.

        Where ``agentkit_writes`` is off, a save that changes something leaves no event of its own, but a heartbeat:
        the run lives. One that changes nothing writes nothing, and is no sign of life.

        Raises:
            ValueError: the run has no project.
            UnsuitableRun: the run does not run any more. Where it was closed as stale, a late save is refused too,
                unlike a late event: others may have gone on from the state since.
        """
        if self.project_id is None:
            raise ValueError(
                f"Run {self.run_id} has no project whose state it could save: give record() a project_id."
            )
        saved = save_state(self.project_id, run=self.run_id, **documents)
        if saved.changed and saved.run_id is None:
            with suppress(events.RunFinished, RunNotFound):  # by somebody else meanwhile; the save stands
                self.heartbeat()
        return saved

    def set_output(self, output: object) -> None:
        """Set the run's output at once, beside its state, which is not touched. A later call replaces it.

        Raises:
            RunFinished: the run has ended; one that was closed as stale still takes it.
            RunNotFound: the run is gone.
        """
        if not self.run.set_output(storable(output)):
            status = AgentWorkflowRun.objects.filter(pk=self.run_id).values_list("status", flat=True).first()
            raise events.RunFinished(self.run_id, status) if status else RunNotFound(self.run_id)

    # -- for the blocks of this package

    def _begin(self) -> None:
        run = self.run
        with connection.cursor() as cursor:
            cursor.execute(
                _BEGIN,
                {
                    "run": run.pk,
                    "workflow": run.workflow_id,
                    "project": None if run.project_id is None else possible_id(run.project_id),
                    "has_project": run.project_id is not None,
                    "input": None if run.input is None else storable(run.input),
                },
            )
            if not cursor.rowcount:
                raise ProjectNotFound(run.project_id or "")
        run.status = run.Status.RUNNING
        self._is_ours = True
        run._state.adding = False
        run.read_again("input", "started_at")

    def _resume(self) -> None:
        self.run.resume()
        self._is_ours = True

    def _end(self, error: BaseException | None = None) -> None:
        """Give the run the status that the block's end calls for, if it still runs."""
        run, text = self.run, None
        if not self._is_ours or run.status != run.Status.RUNNING:
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
            if not run.is_closed_as_stale:
                raise
            self.event("run.ended", {"status": status, "error": text})

    def _invoke(self, call: ToolCall, arguments: object) -> None:
        arguments = {} if arguments is None else arguments
        self.event("tool.invocation", {"call_id": call.call_id, "tool": call.tool, "arguments": arguments})
        call.started = time.perf_counter()

    def _settle(self, call: ToolCall, error: BaseException | None = None) -> None:
        """Write the result of a call, if its invocation was written."""
        if call.started is None:
            return
        if error is not None:
            _drop_broken_connection()
        self.event(
            "tool.result",
            {
                "call_id": call.call_id,
                "tool": call.tool,
                "status": "ok" if error is None else "error" if isinstance(error, Exception) else "canceled",
                "output": call.output,
                "error": None if error is None else described(error),
                "duration_ms": round((time.perf_counter() - call.started) * 1000, 3),
            },
        )


def new_recorder(workflow_id: str, project_id: str | None, input_: object) -> Recorder:
    """Return a recorder whose run is not yet begun."""
    run = AgentWorkflowRun(
        workflow_id=storable_text(workflow_id), project_id=project_id, input=input_, status="pending"
    )
    return Recorder(run)


def with_traceback(error: BaseException) -> str:
    """Return an error's text, and below it where it happened: the last frames of its traceback."""
    frames = storable_text("".join(traceback.format_tb(error.__traceback__, limit=-FRAMES)))
    return f"{described(error)}\n\nTraceback (the last {FRAMES} frames at most):\n{frames}".rstrip()


def _drop_broken_connection() -> None:
    """Let Django connect anew where the connection was lost, be it while nobody used it, or takes no more statements.

    An interruption can leave psycopg with a statement under way. Inside a transaction there is nothing to save.
    """
    if connection.connection is not None and connection.get_autocommit() and not connection.is_usable():
        connection.close()


@contextmanager
def _logged(run_id: str) -> Iterator[None]:
    """Log what goes wrong while an error of the block is on its way, which matters more."""
    try:
        yield
    except (IllegalStatusChange, events.RunFinished) as refusal:
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
    """Record the block as a run: ``running`` while it lasts, then what became of it::

        with record("intake", project_id, input={"documents": 3}) as run:
            with run.tool("read_page", {"page": 7}) as call:
                call.output = read_page(7)
            run.save(facts=facts)
            run.set_output({"pages": 1})

    The run ends ``succeeded``; ``failed`` where the block raises an ``Exception``, with its text and a short traceback
    in ``error``; ``canceled`` where it is interrupted by anything else: ``KeyboardInterrupt``, a task's
    ``CancelledError``, ``SystemExit``, the end of a generator that nobody reads on. Whatever the block raises goes on.

    Inside the caller's own transaction the run and its events share that transaction's fate; :class:`Recorder` says in
    which order to write there.

    Args:
        workflow_id: the workflow's name.
        project_id: the id of the project that the run belongs to, if to any.
        input: what the run begins with; anything, see :mod:`agentstate.recording.storable`.

    Raises:
        ProjectNotFound: no project has this id.
        IllegalStatusChange: another process ended the run meanwhile, unless it closed it as stale.
    """
    recorder = new_recorder(workflow_id, project_id, input)
    with _ending(recorder):
        recorder._begin()
        yield recorder


@contextmanager
def resume(run_id: str) -> Iterator[Recorder]:
    """Go on recording a run that waits since ``recorder.run.interrupt()``; the block's end is that of :func:`record`.

    Raises:
        RunNotFound: no run has this id.
        IllegalStatusChange: it does not wait; or see :func:`record`.
    """
    recorder = waiting_recorder(run_id)
    with _ending(recorder):
        recorder._resume()
        yield recorder


def waiting_recorder(run_id: str) -> Recorder:
    """Return the recorder of a run that waits.

    Raises:
        RunNotFound: no run has this id.
    """
    run = AgentWorkflowRun.objects.defer("input", "result").filter(pk=possible_id(run_id)).first()
    if run is None:
        raise RunNotFound(run_id)
    return Recorder(run)
