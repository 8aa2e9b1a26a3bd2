"""Sessions: conversations in a project, and the entries of long ones."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.lookups import Exact

from agentstate.models.expressions import beginning, id_hash
from agentstate.models.fields import new_id
from agentstate.models.projects import Project
from agentstate.models.runs import AgentWorkflowRun


class AgentSession(models.Model):
    """A conversation in a project; ``transcript_json`` is an array of ``{"role", "content", "at"}``.

    The array holds the whole conversation until it is stored in 64 kB. From then on each further entry is an
    :class:`AgentSessionEntry`, and the array stays as it is: see :mod:`agentstate.sessions`. A session that the
    backfill made has ``updated_at`` equal to ``created_at`` until something else writes to it.
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
    # The column has a default, too. Django is not told: it would read it back from an insert that was dropped.
    further = models.IntegerField(
        default=0,
        help_text="The number of the last entry, where entries are rows of their own; 0 where all are in "
        "transcript_json.",
    )

    class Meta:
        db_table = "AgentSession"
        verbose_name = "session"
        indexes = [
            # Read by a project's list of sessions, and by the foreign key's cascades.
            models.Index(fields=["project"], name="AgentSession_project_idx"),
            # Read by the foreign key's SET NULL, for each run that is pruned.
            models.Index(fields=["agent_run"], condition=Q(agent_run__isnull=False), name="AgentSession_run_idx"),
            # Read by the admin's list of sessions, newest first. Not updated_at: it changes with each appended entry,
            # and an indexed column that changes rules out heap-only updates.
            models.Index(F("created_at"), id_hash(), name="AgentSession_created_idx"),
            # Read by the search for runs and sessions by how a session's id begins.
            models.Index(beginning("id"), name="AgentSession_beginning_idx"),
            # Read by the same search by a memory.
            models.Index(beginning("memory_id"), condition=Q(memory_id__isnull=False), name="AgentSession_memory_idx"),
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


class AgentSessionEntry(models.Model):
    """An entry of a long transcript, beyond those in the session's ``transcript_json``."""

    pk = models.CompositePrimaryKey("session", "number")
    # The database deletes a session's entries with the session.
    session = models.ForeignKey(
        AgentSession, on_delete=models.DO_NOTHING, db_index=False, related_name="further_entries"
    )
    number = models.IntegerField(help_text="The entry's place in the transcript, from 1.")
    item_id = models.TextField(null=True, blank=True)  # noqa: DJ001 - NULL: the entry has no id
    entry = models.JSONField()

    class Meta:
        db_table = "AgentSessionEntry"
        constraints = [
            # Its index is read by the look-up of an item.
            models.UniqueConstraint(
                fields=["session", "item_id"],
                condition=Q(item_id__isnull=False),
                name="AgentSessionEntry_item_key",
            ),
        ]

    def __str__(self) -> str:
        return f"entry {self.number} of session {self.session_id}"
