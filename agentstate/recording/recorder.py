"""A recorder writes what happens in one run: its events, its tools' calls, its state and its output."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from django.db import DatabaseError

from agentstate.enclosing import enclosing_event, inside
from agentstate.isolation import read_committed
from agentstate.models import AgentWorkflowRun
from agentstate.models.fields import new_id
from agentstate.models.runs import RunNotFound
from agentstate.recording import events, usage
from agentstate.recording.calls import UNFINISHED, OpenCalls, ToolCall
from agentstate.recording.clean_up import drop_broken_connection, logged
from agentstate.recording.errors import RunFinished
from agentstate.recording.redaction import stored
from agentstate.recording.storable import storable
from agentstate.state import save as save_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from agentstate.state import Saved

UNCHANGED: Final = object()


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
        run: the run. Its verbs change its status, as in ``recorder.run.cancel()``. The block's end changes only a run
            that is still running.
    """

    def __init__(self, run: AgentWorkflowRun) -> None:
        self.run = run
        self.owns_run = False  # the block began or claimed the run, and ends it
        self._heartbeat_id = new_id()
        self._open = OpenCalls()

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
        return events.append_one(self.run_id, type, {} if payload is None else payload)

    def events(self, items: Iterable[tuple[str, object]]) -> list[str]:
        """Write events, each a type and a payload, in one transaction: all of them or none. Return their ids.

        They are one statement, unless they are larger together than one document may be.

        Raises:
            RunFinished, RunNotFound, ValueError, RowsDropped: see :meth:`event`.
        """
        return events.append(self.run_id, ((type_, {} if payload is None else payload) for type_, payload in items))

    def heartbeat(self) -> None:
        """Show during a long step that the run is alive: one event ``heartbeat``, which each call moves to the end.

        Raises:
            RunFinished, RunNotFound, RowsDropped: see :meth:`event`.
        """
        events.put(self.run_id, self._heartbeat_id, "heartbeat")

    def invoke(self, name: str, arguments: object = None, *, call_id: str | None = None, **more: object) -> ToolCall:
        """Write ``tool.invocation``, and return the call to :meth:`settle`.

        For frameworks that report a call's start and end in two callbacks; use :meth:`tool` around a block. A call
        that is still open at the end of the run's block is settled then, as ``canceled``.

        Args:
            arguments: any value. Text stays as it is, also where it is not JSON.
            call_id: the framework's id of the call; a new one by default. If a call of this id is still open, the id
                gets a number: ``call_7#2``.
            more: further members of both events, such as ``agent``.

        Raises:
            RunFinished, RunNotFound, RowsDropped: see :meth:`event`.
        """
        call = self.new_call(name, call_id, more)
        self.write_invocation(call, arguments)
        return call

    def settle(
        self,
        call: ToolCall | str,
        *,
        output: object = UNCHANGED,
        error: BaseException | str | None = None,
        status: str | None = None,
    ) -> None:
        """Write the ``tool.result`` of a call that :meth:`invoke` began: in any order, from any thread.

        Args:
            call: the call, or its id.
            output: the call's ``output`` by default.
            error: what ended the call.
            status: ``ok``, ``error`` or ``canceled``. By default it follows from the error: ``canceled`` after an
                interruption, which is no ``Exception``.

        Raises:
            CallNotOpen: the call is settled, or this recorder did not begin it.
            RunFinished, RunNotFound, RowsDropped: see :meth:`event`. A canceled run keeps the result, marked
                ``$late``.
        """
        call = self._open.find(self.run_id, call)
        if output is not UNCHANGED:
            call.output = output
        if error is not None:
            drop_broken_connection()
        events.append(self.run_id, [call.result(error, status)], parents=[call.parent_id])
        call.is_settled = True
        self._open.remove(call)

    @contextmanager
    def tool(
        self, name: str, arguments: object = None, *, call_id: str | None = None, **more: object
    ) -> Iterator[ToolCall]:
        """Write ``tool.invocation`` before the block and ``tool.result`` after it, with the same ``call_id``.

        The result has the call's ``output``, the ``error`` that ended the block or None, ``duration_ms`` and a
        ``status``: ``ok``, ``error``, or ``canceled`` if the block was interrupted. The error is raised again. A call
        that the block settled itself gets no second result.

        Raises:
            RunFinished, RunNotFound, RowsDropped: see :meth:`event`.
        """
        call = self.invoke(name, arguments, call_id=call_id, **more)
        try:
            with self.inside(call.event_id):
                yield call
        except BaseException as error:
            with logged(self.run_id):
                self.settle_once(call, error)
            raise
        self.settle_once(call)

    @contextmanager
    def inside(self, event_id: str | None) -> Iterator[None]:
        """Make an event of this run the parent of the events that the block writes; the timeline shows them below it.

        A block of :meth:`tool` does so by itself. With None nothing changes.
        """
        with inside(self.run_id, event_id):
            yield

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

    def usage(
        self,
        *,
        model: str,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_tokens: int = 0,
        reasoning_tokens: int = 0,
        cost_usd: Decimal | float | None = None,
        requests: int = 1,
        **more: object,
    ) -> str:
        """Write the event ``model.usage``, add to the run's ``usage``, and return the event's id.

        A run that has ended takes it too, marked ``$late``: the tokens were used.

        Args:
            model: the model's name.
            input_tokens: with those that came from the provider's cache, ``cached_tokens``.
            output_tokens: with those of reasoning, ``reasoning_tokens``.
            cost_usd: by default what ``AGENTSTATE_PRICES`` says, see :mod:`agentstate.recording.prices`; without a
                price of the model it is unknown.
            requests: how many calls of the model these are.
            more: further members of the event, such as ``agent``.

        Raises:
            ValueError: a number is negative or of another type.
            RunNotFound, RowsDropped: see :meth:`event`.
        """
        counts = {
            "requests": requests,
            "input_tokens": input_tokens,
            "cached_tokens": cached_tokens,
            "output_tokens": output_tokens,
            "reasoning_tokens": reasoning_tokens,
        }
        self.run.read_again("usage")
        return usage.add(self.run_id, model, counts, cost_usd, more)

    def set_output(self, output: object) -> None:
        """Set the run's output now; its state is not changed. A later call replaces the output.

        Raises:
            RunFinished: the run has ended. A run that was closed as stale still accepts it.
            RunNotFound: the run was deleted.
        """
        self._require(self.run.set_output(stored("run.output", output)))

    def set_result(self, **members: object) -> None:
        """Set further members of the run's ``result``, beside its state and its output.

        Raises:
            ValueError: a member is ``state``, ``output`` or ``interrupted``, which have verbs of their own.
            RunFinished, RunNotFound: see :meth:`set_output`.
        """
        self._require(self.run.set_result(**{name: stored(f"run.{name}", value) for name, value in members.items()}))

    def interrupt(self, waiting: object = None, events: Iterable[tuple[str, object]] = ()) -> None:
        """Pause the run, for example until an operator approves its calls.

        The events, the waiting state and the status are written in one transaction.

        Args:
            waiting: what the run needs to go on, any value; :func:`agentstate.recording.waiting_state` returns it
                until the run is resumed or canceled. It is not redacted, since the run could not go on.
            events: a type and a payload each, written before the run waits.

        Raises:
            IllegalStatusChange: the run is not running. Nothing was written.
            RunFinished, RunNotFound, ValueError, RowsDropped: see :meth:`event`.
        """
        try:
            with read_committed():
                self.events(events)
                self.run.interrupt(None if waiting is None else storable(waiting))
        except DatabaseError:
            self.run.status = self.run.Status.RUNNING  # the block still ends it
            raise

    def _require(self, was_set: bool) -> None:
        if not was_set:
            status = AgentWorkflowRun.objects.filter(pk=self.run_id).values_list("status", flat=True).first()
            raise events.refusal(self.run_id, status) if status else RunNotFound(self.run_id)

    # -- for this package

    def new_call(self, name: str, call_id: str | None, more: dict[str, object]) -> ToolCall:
        """Return a call whose invocation is not written yet."""
        return self._open.add(name, call_id, more)

    def write_invocation(self, call: ToolCall, arguments: object) -> None:
        """Write the event that begins a call. The call is open from now on."""
        try:
            call.parent_id = enclosing_event(self.run_id)
            (call.event_id,) = events.append(self.run_id, [call.invocation(arguments)])
            call.started = time.perf_counter()
        finally:
            if call.started is None:
                self._open.remove(call)

    def close_open_calls(self) -> None:
        """Write the result ``canceled`` of each open call. A result that comes later is written as well.

        Raises:
            RunFinished, RunNotFound, RowsDropped: see :meth:`event`.
        """
        if calls := [call for call in self._open if call.started is not None]:
            drop_broken_connection()
            results = [call.result(UNFINISHED, "canceled") for call in calls]
            events.append(self.run_id, results, parents=[call.parent_id for call in calls])

    def settle_once(self, call: ToolCall, error: BaseException | None = None) -> None:
        """Settle a call, unless that was done."""
        if not call.is_settled:
            self.settle(call, error=error)
