"""Runs and their events: the AgentKit home of a project's state."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from agentstate.models.fields import new_id
from agentstate.models.projects import Project


class AgentWorkflowRun(models.Model):
    """A run of a workflow; one that carries a snapshot holds its project's whole state in ``result["state"]``.

    ``snapshot_at`` is when that state was taken, ``legacy_at`` the legacy clock that it has taken in. A project's
    state is its newest snapshot.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELED = "canceled"

    id = models.TextField(primary_key=True, default=new_id)
    workflow_id = models.TextField()
    # The database sets it to NULL when the legacy application deletes the project.
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.DO_NOTHING, db_index=False, related_name="runs"
    )
    status = models.TextField(choices=Status)
    input = models.JSONField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)  # noqa: DJ001 - NULL says that there was none
    started_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True, blank=True)
    snapshot_at = models.DateTimeField(null=True, blank=True)
    legacy_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "AgentWorkflowRun"
        constraints = [
            # Its index serves the newest snapshot of a project and the foreign key's SET NULL.
            models.UniqueConstraint(fields=["project", "snapshot_at"], name="AgentWorkflowRun_project_snapshot_key"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "running", "succeeded", "failed", "canceled"]),
                name="AgentWorkflowRun_status_check",
            ),
            models.CheckConstraint(
                condition=Q(snapshot_at=None)
                | Q(
                    Q(legacy_at__isnull=False),
                    # NULL, where there is no state, would let the row pass.
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


class AgentWorkflowRunEvent(models.Model):
    """Something that happened in a run. Within a run no two share a time, so their order is total."""

    id = models.TextField(primary_key=True, default=new_id)
    # The database deletes a run's events with it.
    run = models.ForeignKey(AgentWorkflowRun, on_delete=models.DO_NOTHING, db_index=False, related_name="events")
    type = models.TextField()
    payload = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "AgentWorkflowRunEvent"
        constraints = [
            # Its index is the one that the plan asks for: a run's events in order. It serves the cascade too.
            models.UniqueConstraint(fields=["run", "created_at"], name="AgentWorkflowRunEvent_run_created_key"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"
