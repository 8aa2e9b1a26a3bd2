"""The legacy table ``"Project"`` as two models: the columns that stay, and the five that the contract drops."""

from __future__ import annotations

from collections.abc import Collection

from django.db import models
from django.db.models.functions import Now

from agentstate.models.fields import PrismaDateTimeField, possible_id


class ProjectQuerySet(models.QuerySet["Project"]):
    """Questions about projects."""

    def unknown(self, ids: Collection[str]) -> list[str]:
        """Return the ids that no project has, in the order given."""
        possible = [project_id for project_id in ids if possible_id(project_id) is not None]
        known = set(self.filter(pk__in=possible).values_list("pk", flat=True)) if possible else set()
        return [project_id for project_id in ids if project_id not in known]


class Project(models.Model):
    """A project of the legacy application: the columns that stay, and the legacy home's clock that we add."""

    id = models.TextField(primary_key=True)
    user_id = models.TextField(db_column="userId")
    name = models.TextField()
    created_at = PrismaDateTimeField(db_column="createdAt", db_default=Now())
    meta = models.JSONField(null=True, blank=True)
    state_updated_at = models.DateTimeField(
        db_column="stateUpdatedAt",
        db_default=Now(),
        editable=False,
        help_text="The legacy home's clock. The database moves it when any writer changes one of the five columns.",
    )

    objects = ProjectQuerySet.as_manager()

    class Meta:
        db_table = "Project"
        permissions = [
            ("settle_project", "Can decide which home of a forked, unequal or emptied project is kept"),
            ("restore_project", "Can restore an earlier state of a project"),
        ]

    def __str__(self) -> str:
        return self.name


class LegacyState(models.Model):
    """The five legacy columns of the same row: the legacy home of a project's state.

    Python reads SQL NULL and JSON null both as ``None``, and numbers as floats. Where that matters, use SQL.
    """

    # This is the project's own row: when the project is deleted, nothing is left to delete.
    project = models.OneToOneField(
        Project, primary_key=True, db_column="id", on_delete=models.DO_NOTHING, related_name="legacy_state"
    )
    rfp_norm = models.JSONField(db_column="rfpNormJson", null=True)
    facts = models.JSONField(db_column="factsJson", null=True)
    coverage = models.JSONField(db_column="coverageJson", null=True)
    conflict_log = models.JSONField(db_column="conflictLogJson", null=True)
    eligibility = models.JSONField(db_column="eligibilityJson", null=True)

    class Meta:
        managed = False
        db_table = "Project"
        verbose_name_plural = "legacy states"

    def __str__(self) -> str:
        return f"legacy state of {self.project_id}"
