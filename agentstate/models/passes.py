"""What the passes did, and the projects that they had to leave aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import MD5, Cast

from agentstate.models.runs import ClockTimestamp

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self


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


class EntryClosed(Exception):
    """The entry was closed meanwhile: there is nothing left to decide about. Nothing was written."""


class _WithDecision(Func):
    """An entry's decisions with one more."""

    template = "(decisions || jsonb_build_object(%(expressions)s, 'at', clock_timestamp()))"
    output_field = models.JSONField()

    def __init__(self, what: str, by: str, note: str) -> None:
        pairs = ("what", what, "by", by, "note", note)
        super().__init__(*(Cast(Value(text), models.TextField()) for text in pairs))


class LeftAsideQuerySet(models.QuerySet["LeftAside"]):
    """Entries by what is to be done about them."""

    def unclosed(self) -> Self:
        """Return the entries of projects that still cannot be moved, whatever was decided about them."""
        return self.filter(closed_at=None)

    def open(self) -> Self:
        """Return the entries that wait for somebody: neither closed nor accepted."""
        return self.unclosed().filter(accepted_at=None)

    def accepted(self) -> Self:
        """Return the entries that a person accepted, giving up what could not be moved."""
        return self.unclosed().filter(accepted_at__isnull=False)

    def close(self) -> int:
        """Close these entries, and return how many that were."""
        return self.unclosed().update(closed_at=ClockTimestamp())

    def reopen(self, note: str, by: str) -> int:
        """Take the acceptance of these entries back, closed ones included, and return how many that were."""
        return self.filter(accepted_at__isnull=False).update(
            accepted_at=None,
            note="",
            decided_by="",
            accepted_clock=None,
            accepted_chat=None,
            decisions=_WithDecision("reopened", by, note),
        )


class LeftAside(models.Model):
    """A project that a pass could not move.

    It is open until a later pass moves it or finds nothing left to move, which closes it, or until a person accepts
    that it is not moved.
    """

    # No foreign key: the entry must never block the project's deletion.
    project_id = models.TextField()
    direction = models.TextField(choices=Direction)
    error_class = models.TextField()
    error = models.TextField()
    attempts = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True, db_default="", help_text="Why it was accepted.")
    decided_by = models.TextField(blank=True, db_default="", help_text="Who accepted it.")
    # What was given up. It is another content that a later pass stumbles over where these differ.
    accepted_clock = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Of the state that was given up: the legacy home's, in reverse the newest snapshot's.",
    )
    accepted_chat = models.TextField(  # noqa: DJ001 - NULL says that there was none
        null=True, blank=True, help_text="The digest of the chat that was given up."
    )
    decisions = models.JSONField(
        blank=True,
        db_default=Value([], models.JSONField()),
        help_text="All that was decided about it, the oldest first: what, by whom, with which note, when.",
    )

    objects = LeftAsideQuerySet.as_manager()

    class Meta:
        db_table = "AgentStateLeftAside"
        verbose_name_plural = "left aside"
        constraints = [
            # Hashed, since a project whose id is too long for an index is one of those that are left aside.
            models.UniqueConstraint(MD5("project_id"), F("direction"), name="AgentStateLeftAside_project_key"),
            models.CheckConstraint(
                condition=Q(accepted_at=None) | ~Q(note=""), name="AgentStateLeftAside_accepted_check"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project_id} ({self.direction})"

    @property
    def status(self) -> str:
        """Say whether it is ``open``, ``accepted`` or ``closed``."""
        if self.closed_at:
            return "closed"
        return "accepted" if self.accepted_at else "open"

    def accept(self, note: str, by: str, *, clock: datetime | None = None, chat: str | None = None) -> None:
        """Accept that the project is not moved.

        Args:
            note: why.
            by: who decided.
            clock: of the state that is given up, None where that is not concerned.
            chat: the digest of the chat that is given up, None where that is not concerned.

        Raises:
            EntryClosed: there is nothing left to decide about.
        """
        accepted = self._this().update(
            accepted_at=ClockTimestamp(),
            note=note,
            decided_by=by,
            accepted_clock=clock,
            accepted_chat=chat,
            decisions=_WithDecision("accepted", by, note),
        )
        if not accepted:
            raise EntryClosed
        self.refresh_from_db()

    def reopen(self, note: str, by: str) -> None:
        """Take an acceptance back, where there is one: what could not be moved is wanted again."""
        self._this().reopen(note, by)
        self.refresh_from_db()

    def _this(self) -> LeftAsideQuerySet:
        return type(self).objects.unclosed().filter(pk=self.pk)
