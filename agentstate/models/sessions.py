"""Sessions: conversations in a project."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Func, Value
from django.db.models.lookups import Exact

from agentstate.models.expressions import id_hash
from agentstate.models.fields import new_id
from agentstate.models.projects import Project
from agentstate.models.runs import AgentWorkflowRun


class AgentSession(models.Model):
    """A conversation in a project; ``transcript_json`` is an array of ``{"role", "content", "at"}``.

    A session that the backfill made has ``updated_at`` equal to ``created_at`` until something else writes to it.
    """

    id = models.TextField(primary_key=True, default=new_id)
    # The database deletes a project's sessions with the project, and sets agent_run to NULL when the run is.
    project = models.ForeignKey(Project, on_delete=models.DO_NOTHING, db_index=False, related_name="sessions")
    agent_run = models.ForeignKey(
        AgentWorkflowRun,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_index=False,
        related_name="sessions",
    )
    memory_id = models.TextField(null=True, blank=True)  # noqa: DJ001 - NULL: no memory
    transcript_json = models.JSONField(default=list)
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "AgentSession"
        indexes = [
            # Read by a project's list of sessions, and by the foreign key's cascades.
            models.Index(fields=["project"], name="AgentSession_project_idx"),
            # Read by the admin's list of sessions, newest first. Not updated_at: it changes with each appended entry,
            # and an indexed column that changes rules out heap-only updates.
            models.Index(F("created_at"), id_hash(), name="AgentSession_created_idx"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Exact(
                    Func(F("transcript_json"), function="jsonb_typeof", output_field=models.TextField()),
                    Value("array"),
                ),
                name="AgentSession_transcript_check",
            ),
        ]

    def __str__(self) -> str:
        return f"session {self.id}"
