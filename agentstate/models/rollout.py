"""The steps of the rollout that operators took."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Subquery
from django.db.models.functions import Coalesce

from agentstate.models.runs import ClockTimestamp


class RolloutStep(models.Model):
    """One step of the rollout: from where to where, when, by whom, and with which results of the conditions.

    ``percent`` is the share of projects that read from the AgentKit home. A step without ``completed_at`` is
    unfinished, and can be resumed after an interruption. The stage of a database follows from its flags and its
    catalog, never from this table.
    """

    at = models.DateTimeField()
    from_stage = models.TextField()
    from_percent = models.DecimalField(max_digits=4, decimal_places=1)
    to_stage = models.TextField()
    to_percent = models.DecimalField(max_digits=4, decimal_places=1)
    requested_by = models.TextField()
    override = models.TextField(
        default="", blank=True, help_text="Why the step was taken although a condition was not met; empty if all were."
    )
    conditions = models.JSONField(default=list, blank=True, help_text="The conditions when the step was taken.")
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "AgentStateRolloutStep"
        permissions = [
            ("advance_rollout", "Can take the rollout one step up if all conditions are met"),
            ("override_rollout", "Can take the rollout one step up although conditions are not met"),
            ("retreat_rollout", "Can take the rollout one step down"),
        ]

    def __str__(self) -> str:
        return f"{self.from_stage} → {self.to_stage} at {self.at:%Y-%m-%d %H:%M:%S}"

    @classmethod
    def newest_to(cls, stage: str, percent: Decimal) -> RolloutStep | None:
        """Return the newest step, if it led there; else None, since flags were changed by hand after it."""
        newest = cls._default_manager.order_by("-pk").first()
        return newest if newest and (newest.to_stage, newest.to_percent) == (stage, percent) else None

    @classmethod
    def newest_override_in(cls, stage: str) -> RolloutStep | None:
        """Return the newest step by override among those that led to this stage, and since then stayed within it."""
        steps = cls._default_manager.order_by("-pk")
        elsewhere = steps.exclude(to_stage=stage).values("pk")[:1]
        within = steps.exclude(override="").filter(to_stage=stage)
        return within.filter(pk__gt=Coalesce(Subquery(elsewhere), 0)).first()

    def complete(self) -> None:
        """Record that everything that the step includes is done."""
        type(self).objects.filter(pk=self.pk, completed_at=None).update(completed_at=ClockTimestamp())
        self.refresh_from_db(fields=["completed_at"])


class Rollout(RolloutStep):
    """The rollout as a whole. A proxy without a table of its own, for its page in the admin."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = verbose_name_plural = "rollout"


class StepRequest(models.Model):
    """A step that an operator requested on the rollout's page: who, why, and what became of it.

    Its process may die. The step itself is atomic or can be continued, so such a request is only marked as killed.
    """

    class Action(models.TextChoices):
        ADVANCE = "advance"
        RETREAT = "retreat"

    class Outcome(models.TextChoices):
        RUNNING = "running"
        TAKEN = "taken"
        REFUSED = "refused"
        INTERRUPTED = "interrupted"
        FAILED = "failed"
        KILLED = "killed"

    action = models.TextField(choices=Action)
    stage = models.TextField(help_text="The stage that the operator saw.")
    percent = models.DecimalField(max_digits=4, decimal_places=1, help_text="The share that the operator saw.")
    to_percent = models.DecimalField(max_digits=4, decimal_places=1, null=True, help_text="The share requested.")
    overrides = models.BooleanField(default=False, help_text="Whether the step may be taken with conditions not met.")
    reason = models.TextField(default="", blank=True)
    requested_by = models.TextField()
    requested_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.TextField(choices=Outcome, default=Outcome.RUNNING)
    message = models.TextField(default="", blank=True, help_text="What it does now, or why it ended as it did.")
    step = models.ForeignKey(
        RolloutStep, null=True, blank=True, on_delete=models.SET_NULL, db_constraint=False, db_index=False
    )

    class Meta:
        db_table = "AgentStateStepRequest"
        default_permissions = ("view",)
        verbose_name = "rollout request"

    def __str__(self) -> str:
        return f"{self.action} from {self.stage}"

    @property
    def is_running(self) -> bool:
        return self.outcome == self.Outcome.RUNNING
