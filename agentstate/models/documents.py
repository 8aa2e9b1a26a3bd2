"""Documents of a request for proposals, as their text."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from agentstate.models.fields import new_id
from agentstate.models.projects import Project
from agentstate.models.runs import AgentWorkflowRun


class AgentDocument(models.Model):
    """A document that an intake read: its extracted text, and what the document is among the project's others.

    ``text`` has its pages separated by form feeds. The original file is not kept. Documents of one intake share
    ``created_at``.
    """

    class Role(models.TextChoices):
        BASE = "base"
        VERSION = "version"
        AMENDMENT = "amendment"
        FAQ = "faq", "FAQ"
        TEMPLATE = "template"

    id = models.TextField(primary_key=True, default=new_id)
    # The database deletes a project's documents with it, and sets the run to NULL when that is deleted.
    project = models.ForeignKey(Project, on_delete=models.DO_NOTHING, db_index=False, related_name="documents")
    run = models.ForeignKey(
        AgentWorkflowRun,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_index=False,
        related_name="documents",
        help_text="The run that read it.",
    )
    name = models.TextField(help_text="The file's name, without its folder.")
    family = models.TextField(help_text="Documents of one family are versions of each other, or speak about them.")
    role = models.TextField(choices=Role)
    version = models.TextField(null=True, blank=True)  # noqa: DJ001 - NULL says that none is stated
    released_on = models.DateField(null=True, blank=True)
    sha256 = models.TextField(help_text="Of the text, in hexadecimal.")
    text = models.TextField()
    size = models.BigIntegerField(help_text="Of the file, in bytes.")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "AgentDocument"
        verbose_name = "document"
        indexes = [
            # Read by the foreign key when a run is deleted.
            models.Index(fields=["run"], condition=Q(run__isnull=False), name="AgentDocument_run_idx"),
        ]
        constraints = [
            # Its index is read by the intake, by a project's list of documents, and by the foreign key's cascade.
            models.UniqueConstraint(fields=["project", "sha256"], name="AgentDocument_project_sha256_key"),
            models.CheckConstraint(
                condition=Q(role__in=["base", "version", "amendment", "faq", "template"]),
                name="AgentDocument_role_check",
            ),
        ]

    def __str__(self) -> str:
        return self.name
