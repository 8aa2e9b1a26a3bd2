"""Files that users attach to their messages in a chat."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from agentstate.models.fields import new_id
from agentstate.models.projects import Project
from agentstate.models.sessions import AgentSession


class AgentAttachment(models.Model):
    """A file that a user attaches to a message; its bytes are in Django's storage.

    The row outlives its project and its session: it names the file, which is deleted first.
    """

    id = models.TextField(primary_key=True, default=new_id)
    # The database sets both to NULL when the project or the session is deleted.
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.DO_NOTHING, db_index=False, related_name="attachments"
    )
    session = models.ForeignKey(
        AgentSession,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_index=False,
        related_name="attachments",
        help_text="The thread that it was sent in; none until it is sent.",
    )
    user_id = models.TextField(help_text="Who attached it, as the application names its users.")
    data = models.JSONField(help_text="What the chat knows of it: name, media type, addresses.")
    file = models.TextField(null=True, blank=True, help_text="Its name in the storage; none until it is uploaded.")  # noqa: DJ001 - NULL: no file
    size = models.BigIntegerField(help_text="In bytes; 0 until it is uploaded.")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "AgentAttachment"
        indexes = [
            # Read by the foreign keys when a project or a session is deleted.
            models.Index(fields=["project"], name="AgentAttachment_project_idx"),
            models.Index(fields=["session"], condition=Q(session__isnull=False), name="AgentAttachment_session_idx"),
        ]

    def __str__(self) -> str:
        return f"attachment {self.id}"
