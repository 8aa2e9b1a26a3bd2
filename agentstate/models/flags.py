"""The rollout flags and the history of their changes."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from waffle.models import AbstractUserFlag


class Flag(AbstractUserFlag):
    """waffle's flag with the project as the unit of rollout: percent up to 100, named projects, superusers off."""

    percent = models.DecimalField(
        max_digits=4,
        decimal_places=1,
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text="The share of projects, 0 to 100, for which this flag is on.",
    )
    superusers = models.BooleanField(default=False, help_text="Flag always active for superusers?")
    # Ids without a foreign key: naming a project here must never block its deletion.
    project_ids = ArrayField(
        models.TextField(), default=list, blank=True, help_text="Ids of projects for which this flag is on."
    )

    class Meta(AbstractUserFlag.Meta):
        abstract = False
        db_table = "AgentStateFlag"
        constraints = [
            models.CheckConstraint(
                condition=Q(percent=None) | Q(percent__gte=0, percent__lte=100), name="AgentStateFlag_percent_check"
            ),
        ]


class FlagChange(models.Model):
    """One change of a flag: what it was, what it became, when, and by whom."""

    flag = models.TextField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    changed_at = models.DateTimeField()
    changed_by = models.TextField()

    class Meta:
        db_table = "AgentStateFlagChange"

    def __str__(self) -> str:
        return f"{self.flag} at {self.changed_at:%Y-%m-%d %H:%M:%S}"
