"""Runs and their events: the AgentKit home of a project's state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import F, Func, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce, Greatest
from django.db.models.lookups import Exact, LessThan

from agentstate.isolation import update
from agentstate.models.expressions import (
    beginning,
    duration,
    error_pattern,
    has_failed,
    id_hash,
    is_call,
    is_failed_call,
    is_failure,
    is_snapshot_of_project,
    lacks_snapshot,
    of_project,
    project_hash,
    status_and_snapshot,
    took_time,
    tool_name,
    workflow_start,
)
from agentstate.models.fields import new_id
from agentstate.models.projects import Project

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta
    from typing import Self


class RunNotFound(LookupError):
    """No run has this id.

    Attributes:
        run_id: the id.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(f"No run has the id {run_id!r}.")
        self.run_id = run_id


class IllegalStatusChange(Exception):
    """A run's status does not allow this change. Nothing was written.

    Attributes:
        run_id: the run's id.
        status: its status in the database.
        wanted: the status that it was to get.
    """

    def __init__(self, run_id: str, status: str, wanted: str) -> None:
        super().__init__(
            f"Run {run_id} is {status}; it cannot be marked {wanted}. Another process may have changed it first."
        )
        self.run_id, self.status, self.wanted = run_id, status, wanted


# The key of result for what a paused run waits with, and the condition that it has one.
WAITING = "interrupted"
WAITS = f"(CASE jsonb_typeof(result) WHEN 'object' THEN jsonb_exists(result, '{WAITING}') ELSE false END)"
# The keys of result that have verbs of their own.
_OWN_KEYS = {"state": "save()", "output": "set_output()", WAITING: "interrupt()"}


class ClockTimestamp(Func):
    """The server's time now. ``Now`` is the time at which the statement began."""

    function = "clock_timestamp"
    output_field = models.DateTimeField()


class _ResultWith(Func):
    """The run's result with the given members, each JSON text, and its other keys unchanged."""

    template = "(CASE jsonb_typeof(result) WHEN 'object' THEN result ELSE '{}' END || %(expressions)s::jsonb)"
    output_field = models.JSONField()

    def __init__(self, **members: str) -> None:
        text = ",".join(f"{json.dumps(name)}:{member}" for name, member in members.items())
        super().__init__(Value(f"{{{text}}}", output_field=models.TextField()))


class _ResultWithoutWaiting(Func):
    """The run's result without the waiting state. A result that has none is not written again."""

    template = f"(CASE WHEN {WAITS} THEN result - '{WAITING}' ELSE result END)"
    output_field = models.JSONField()


class AgentWorkflowRunQuerySet(models.QuerySet["AgentWorkflowRun"]):
    """Questions about runs."""

    def of_project(self, project_id: str) -> Self:
        """Return the runs of a project. Ordered by ``started_at``, they come from an index."""
        return self.filter(of_project(project_id))

    def closed_as_stale(self) -> Self:
        """Return the runs that were closed because they gave no sign of life for too long."""
        return self.filter(closed_as_stale=True)

    def unfinished(self) -> Self:
        """Return the runs whose status can still change."""
        return self.filter(status__in=[AgentWorkflowRun.Status.PENDING, AgentWorkflowRun.Status.RUNNING])

    def waiting_for_approval(self) -> Self:
        """Return the runs that an agent's calls interrupted, until they are resumed."""
        return self.filter(status=AgentWorkflowRun.Status.PENDING, result__has_key=WAITING)

    def stale(self, older_than: timedelta) -> Self:
        """Return the running runs without a sign of life for longer than that. An index has the running runs."""
        status = AgentWorkflowRun.Status.RUNNING
        running = self.alias(kind=status_and_snapshot()).filter(kind__in=[f"{status}0", f"{status}1"])
        return running.filter(LessThan(last_sign(), ClockTimestamp() - older_than))


def last_sign() -> Greatest:
    """Return the expression of a run's last sign of life: its newest event or heartbeat, or its start."""
    return Greatest("started_at", _newest_event())


def _newest_event() -> Subquery:
    newest = AgentWorkflowRunEvent.objects.filter(run=OuterRef("pk")).order_by("-created_at")
    return Subquery(newest.values("created_at")[:1])


class AgentWorkflowRun(models.Model):
    """A run of a workflow; one that carries a snapshot holds its project's whole state in ``result["state"]``.

    ``snapshot_at`` is when that state was taken, ``legacy_at`` the legacy clock that it has taken in. A project's
    state is its newest snapshot.

    Only the verbs below change the status. Each is a compare-and-set: of two processes that change the same run at
    once, one gets ``IllegalStatusChange``. A field that the database computed is read again on its next access.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELED = "canceled"

    id = models.TextField(primary_key=True, default=new_id)
    workflow_id = models.TextField()
    # The database sets it to NULL when the legacy application deletes the project, and follows a changed id.
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.DO_NOTHING, db_index=False, related_name="runs"
    )
    status = models.TextField(choices=Status)
    input = models.JSONField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)  # noqa: DJ001 - NULL: no error
    # The tokens and the cost of its model calls; agentstate/recording/usage.py has the members.
    usage = models.JSONField(null=True, blank=True)
    # The run gave no sign of life and was failed for it. Events that still come are kept, and marked as late.
    closed_as_stale = models.BooleanField(default=False, db_default=False)
    started_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True, blank=True)
    snapshot_at = models.DateTimeField(null=True, blank=True)
    legacy_at = models.DateTimeField(null=True, blank=True)

    objects = AgentWorkflowRunQuerySet.as_manager()

    class Meta:
        db_table = "AgentWorkflowRun"
        verbose_name = "run"
        permissions = [
            ("decide_approvals", "Can approve or reject calls that wait for approval"),
            ("cancel_runs", "Can cancel pending and running runs"),
            ("close_stale_runs", "Can close runs whose process died"),
        ]
        indexes = [
            # Read by the admin's list of runs, newest first, for each status with and without a snapshot.
            models.Index(status_and_snapshot(), F("started_at"), id_hash(), name="AgentWorkflowRun_kind_idx"),
            # Read by the same list for one workflow, and by its filter, which lists the workflows.
            models.Index(
                workflow_start(),
                F("status"),
                lacks_snapshot(),
                F("started_at"),
                id_hash(),
                name="AgentWorkflowRun_workflow_idx",
            ),
            # Read by a project's list of runs, and by the links to its previous and next run.
            models.Index(project_hash(), F("started_at"), name="AgentWorkflowRun_started_idx"),
            # Read by the list of runs in the order of their durations.
            models.Index(duration(), id_hash(), condition=took_time(), name="AgentWorkflowRun_duration_idx"),
            # Read by the list of the runs that failed with errors of one pattern, and by when it was first seen.
            models.Index(
                error_pattern(), F("started_at"), id_hash(), condition=has_failed(), name="AgentWorkflowRun_error_idx"
            ),
            # Read by the search for runs by how their id begins.
            models.Index(beginning("id"), name="AgentWorkflowRun_beginning_idx"),
            # Read by the admin's list of projects, newest snapshot first.
            models.Index(
                F("snapshot_at"),
                id_hash(),
                condition=is_snapshot_of_project(),
                name="AgentWorkflowRun_snapshot_idx",
            ),
        ]
        constraints = [
            # Read by the look-up of a project's newest snapshot, and by the foreign key's SET NULL and CASCADE.
            models.UniqueConstraint(fields=["project", "snapshot_at"], name="AgentWorkflowRun_project_snapshot_key"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "running", "succeeded", "failed", "canceled"]),
                name="AgentWorkflowRun_status_check",
            ),
            models.CheckConstraint(
                condition=Q(snapshot_at=None)
                | Q(
                    Q(legacy_at__isnull=False),
                    # A check passes on NULL, which jsonb_typeof returns where there is no state.
                    Exact(
                        Coalesce(
                            Func(F("result__state"), function="jsonb_typeof", output_field=models.TextField()),
                            Value("", output_field=models.TextField()),
                        ),
                        Value("object"),
                    ),
                ),
                name="AgentWorkflowRun_snapshot_check",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_id} {self.id}"

    def start(self) -> None:
        """Start a pending run; ``started_at``, until now the time of recording, becomes the time of the start.

        A run that waits with a state is resumed, not started.
        """
        queued = ~Q(result__has_key=WAITING)
        self._move([self.Status.PENDING], self.Status.RUNNING, queued, started_at=ClockTimestamp())

    def interrupt(self, waiting: str | None = None) -> None:
        """Pause a running run, for example until an operator approves its calls.

        Args:
            waiting: what it needs to go on, as JSON text; it is in ``result["interrupted"]`` until then.
        """
        changes = {} if waiting is None else {"result": _ResultWith(**{WAITING: waiting})}
        self._move([self.Status.RUNNING], self.Status.PENDING, **changes)

    def resume(self) -> None:
        """Resume a run that was interrupted, and remove what it waited with."""
        self._move([self.Status.PENDING], self.Status.RUNNING, result=_ResultWithoutWaiting())

    def succeed(self) -> None:
        """Mark a running run as succeeded."""
        self._end([self.Status.RUNNING], self.Status.SUCCEEDED)

    def fail(self, error: str) -> None:
        """Mark a running run as failed, with its error."""
        self._end([self.Status.RUNNING], self.Status.FAILED, error=error)

    def cancel(self, error: str | None = None) -> None:
        """Cancel a pending or running run, and remove what it waited with."""
        self._end(
            [self.Status.PENDING, self.Status.RUNNING],
            self.Status.CANCELED,
            error=error,
            result=_ResultWithoutWaiting(),
        )

    def set_output(self, output: str) -> bool:
        """Set the output in ``result``, and leave the state in it unchanged.

        Args:
            output: JSON text.

        Returns:
            Whether it was set: a finished run accepts no output, unless it was closed as stale.
        """
        return self._add_to_result(output=output)

    def set_result(self, **members: str) -> bool:
        """Set further members of ``result``, each JSON text, and leave the others unchanged.

        Returns:
            Whether they were set; see :meth:`set_output`.

        Raises:
            ValueError: a member has a verb of its own, such as ``state`` and ``output``.
        """
        for name in members:
            if name in _OWN_KEYS:
                raise ValueError(f"result[{name!r}] is set by {_OWN_KEYS[name]} alone.")
        return self._add_to_result(**members)

    def _add_to_result(self, **members: str) -> bool:
        this = type(self).objects.filter(pk=self.pk)
        accepting = this.unfinished() | this.closed_as_stale()
        self.read_again("result")
        return bool(update(accepting, result=_ResultWith(**members)))

    def _end(self, sources: Collection[str], status: Status, **changes: Any) -> None:
        ended = Greatest(ClockTimestamp(), last_sign())
        self._move(sources, status, completed_at=ended, **changes)

    def _move(self, sources: Collection[str], status: Status, *conditions: Q, **changes: Any) -> None:
        """Change the status if it is one of the sources, and the run meets the conditions.

        Raises:
            IllegalStatusChange: it is another one; the instance then has that status.
            RunNotFound: the run was deleted.
        """
        movable = type(self).objects.filter(*conditions, pk=self.pk, status__in=sources)
        moved = update(movable, status=status, **changes)
        self.read_again(*changes)
        if moved:
            self.status = status
            return
        try:
            self.refresh_from_db(fields=["status", "closed_as_stale"])
        except type(self).DoesNotExist:
            raise RunNotFound(self.pk) from None
        raise IllegalStatusChange(self.pk, self.status, status)

    def read_again(self, *fields: str) -> None:
        """Defer these fields: Django reads them from the database on the next access."""
        for name in fields:
            self.__dict__.pop(name, None)


class AgentWorkflowRunEvent(models.Model):
    """Something that happened in a run. Within a run no two share a time, so their order is total."""

    id = models.TextField(primary_key=True, default=new_id)
    # The database deletes a run's events with it.
    run = models.ForeignKey(AgentWorkflowRun, on_delete=models.DO_NOTHING, db_index=False, related_name="events")
    type = models.TextField()
    payload = models.JSONField()
    created_at = models.DateTimeField()
    # The id of the event of the same run that this one happened inside, such as a tool call that calls another tool.
    # No foreign key: pruning may delete the parent first.
    parent_id = models.TextField(null=True, blank=True)  # noqa: DJ001 - NULL: nothing encloses it

    class Meta:
        db_table = "AgentWorkflowRunEvent"
        indexes = [
            # Read by a project's history, by its state at a moment and by its scores: they need only saves among the
            # events of its runs.
            models.Index(
                fields=["run", "created_at"], condition=Q(type="state.changed"), name="AgentWorkflowRunEvent_save_idx"
            ),
            # Read by the list of the runs that called a tool, and by the list of tools.
            models.Index(tool_name(), F("created_at"), condition=is_call(), name="AgentWorkflowRunEvent_call_idx"),
            # Read by the list of the runs in which a tool's call failed.
            models.Index(
                tool_name(), F("created_at"), condition=is_failed_call(), name="AgentWorkflowRunEvent_fail_idx"
            ),
            # Read by the page of a run: its last failure, how many it has, and the list of failures only.
            models.Index(
                fields=["run", "created_at"], condition=Q(is_failure()), name="AgentWorkflowRunEvent_err_idx"
            ),
        ]
        constraints = [
            # Read by a run's events in order, and by the cascade when the run is deleted.
            models.UniqueConstraint(fields=["run", "created_at"], name="AgentWorkflowRunEvent_run_created_key"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"
