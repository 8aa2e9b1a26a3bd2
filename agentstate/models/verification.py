"""The last count of everything that the rollout's next step depends on, kept for all processes."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone


class VerificationQuerySet(models.QuerySet["KeptVerification"]):
    """Verifications by how far they are."""

    def newest(self) -> KeptVerification | None:
        """Return the newest verification that has ended with figures."""
        return self.filter(error="", ended_at__isnull=False).order_by("-started_at", "-pk").first()


class KeptVerification(models.Model):
    """A verification with its figures: what ``agentstate.rollout.counting`` counted in one go.

    A row without ``ended_at`` is being counted, or its process died. The newest one that ended with figures is kept,
    and newer ones that failed.
    """

    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    requested_by = models.TextField()
    figures = models.JSONField(default=dict, blank=True)
    error = models.TextField(default="", blank=True, help_text="Why it failed; empty if it did not.")

    objects = VerificationQuerySet.as_manager()

    class Meta:
        db_table = "AgentStateVerification"
        default_permissions = ()

    def __str__(self) -> str:
        return f"verification at {self.started_at:%Y-%m-%d %H:%M:%S}"

    @property
    def lasted(self) -> timedelta:
        """How long it took, or has taken so far."""
        return max((self.ended_at or timezone.now()) - self.started_at, timedelta(0))


class UnequalProject(models.Model):
    """A project whose clocks said in sync and whose contents differed, at a verification.

    ``KeptVerification.objects.newest().unequal_projects`` are those that are known now.
    """

    # Both tables are written in one transaction, by us alone.
    verification = models.ForeignKey(
        KeptVerification, on_delete=models.CASCADE, related_name="unequal_projects", db_constraint=False
    )
    # Not a foreign key: the legacy application may delete the project at any time.
    project_id = models.TextField()

    class Meta:
        db_table = "AgentStateUnequalProject"
        default_permissions = ()

    def __str__(self) -> str:
        return self.project_id
