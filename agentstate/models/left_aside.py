"""The projects that a pass could not move, and what operators decided about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import MD5

from agentstate.models.json_lists import Appended, Length
from agentstate.models.passes import Direction
from agentstate.models.runs import ClockTimestamp

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self


class EntryClosed(Exception):
    """A pass closed the entry first, or another operator decided about it. Nothing was written."""


class LeftAsideQuerySet(models.QuerySet["LeftAside"]):
    """Entries by what has to be done about them."""

    def unclosed(self) -> Self:
        """Return the entries of projects that no pass could move since, accepted or not."""
        return self.filter(closed_at=None)

    def open(self) -> Self:
        """Return the entries that an operator has to decide about: neither closed nor accepted."""
        return self.unclosed().filter(accepted_at=None)

    def accepted(self) -> Self:
        """Return the entries that an operator accepted, giving up the state that could not be moved."""
        return self.unclosed().filter(accepted_at__isnull=False)

    def close(self) -> int:
        """Close these entries, and return their number."""
        return self.unclosed().update(closed_at=ClockTimestamp())

    def reopen(self, note: str, by: str) -> int:
        """Withdraw the acceptance of these entries, also of closed ones, and return their number."""
        return self.filter(accepted_at__isnull=False).update(
            accepted_at=None,
            note="",
            decided_by="",
            accepted_clock=None,
            accepted_chat=None,
            decisions=Appended("decisions", what="reopened", by=by, note=note),
        )


class LeftAside(models.Model):
    """A project that a pass could not move.

    Open until an operator accepts that it is not moved, or until a later pass closes it, because it moved the project
    or had nothing left to move.
    """

    # No foreign key: the entry must not block the deletion of the project.
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
    # Which state was given up. If a later pass fails on a state with another clock or digest, the acceptance is void.
    accepted_clock = models.DateTimeField(
        null=True,
        blank=True,
        help_text="The clock of the state that was given up: the legacy home's, in reverse the newest snapshot's.",
    )
    accepted_chat = models.TextField(  # noqa: DJ001 - NULL: no chat was given up
        null=True, blank=True, help_text="The digest of the chat that was given up."
    )
    decisions = models.JSONField(
        blank=True,
        db_default=Value([], models.JSONField()),
        help_text="All decisions about it, the oldest first: what, by whom, with which note, when.",
    )

    objects = LeftAsideQuerySet.as_manager()

    class Meta:
        db_table = "AgentStateLeftAside"
        verbose_name_plural = "left aside"
        constraints = [
            # Read by the passes, which record one entry a project and direction. Hashed: a project is left aside also
            # because its id is too long for an index.
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

    def accept(
        self, note: str, by: str, *, clock: datetime | None = None, chat: str | None = None, seen: int | None = None
    ) -> None:
        """Accept that the project is not moved.

        Args:
            note: the reason.
            by: who decided.
            clock: the clock of the state that is given up, None if no state is.
            chat: the digest of the chat that is given up, None if no chat is.
            seen: how many decisions they saw that it had.

        Raises:
            EntryClosed: a pass closed the entry first, or it has a decision that was not seen.
        """
        this = self._this()
        if seen is not None:
            this = this.alias(decided=Length("decisions")).filter(decided=seen)
        accepted = this.update(
            accepted_at=ClockTimestamp(),
            note=note,
            decided_by=by,
            accepted_clock=clock,
            accepted_chat=chat,
            decisions=Appended("decisions", what="accepted", by=by, note=note),
        )
        if not accepted:
            raise EntryClosed
        self.refresh_from_db()

    def reopen(self, note: str, by: str) -> None:
        """Withdraw the acceptance that this instance has, if it has one: the project is to be moved after all."""
        self._this().filter(accepted_at=self.accepted_at).reopen(note, by)
        self.refresh_from_db()

    def _this(self) -> LeftAsideQuerySet:
        return type(self).objects.unclosed().filter(pk=self.pk)
