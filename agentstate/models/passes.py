"""What the passes did, and the projects that they had to leave aside."""

from __future__ import annotations

from django.db import models
from django.db.models import F
from django.db.models.functions import MD5


class Direction(models.TextChoices):
    """Which way a pass moves state."""

    FORWARD = "forward"
    REVERSE = "reverse"


class BackfillPass(models.Model):
    """One pass in the ledger. It is for people to read: no pass needs it to be safe."""

    class Outcome(models.TextChoices):
        RUNNING = "running"
        FINISHED = "finished"
        INTERRUPTED = "interrupted"
        FAILED = "failed"
        KILLED = "killed"

    direction = models.TextField(choices=Direction)
    options = models.JSONField(default=dict)
    requested_by = models.TextField(help_text="The operating system's user and host.")
    outcome = models.TextField(choices=Outcome, default=Outcome.RUNNING)
    error = models.TextField(default="", blank=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When the pass last reported its counts.")
    ended_at = models.DateTimeField(null=True, blank=True)
    candidates = models.BigIntegerField(default=0)
    written = models.BigIntegerField(default=0)
    merged = models.BigIntegerField(default=0)
    left_aside = models.BigIntegerField(default=0)
    runs = models.BigIntegerField(default=0)
    events = models.BigIntegerField(default=0)
    sessions = models.BigIntegerField(default=0)

    class Meta:
        db_table = "AgentStatePass"
        verbose_name_plural = "backfill passes"

    def __str__(self) -> str:
        return f"{self.direction} pass {self.pk}"


class LeftAside(models.Model):
    """A project that a pass could not move; open until a later pass moves it or finds nothing left to move."""

    # No foreign key: the entry must never block the project's deletion.
    project_id = models.TextField()
    direction = models.TextField(choices=Direction)
    error_class = models.TextField()
    error = models.TextField()
    attempts = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "AgentStateLeftAside"
        verbose_name_plural = "left aside"
        constraints = [
            # Hashed, since a project whose id is too long for an index is one of those that are left aside.
            models.UniqueConstraint(MD5("project_id"), F("direction"), name="AgentStateLeftAside_project_key"),
        ]

    def __str__(self) -> str:
        return f"{self.project_id} ({self.direction})"
