"""The ledger of passes."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import models
from django.db.models import Case, Count, Exists, F, Func, Min, OuterRef, Q, Value, When
from django.db.models.functions import Cast

from agentstate.lock_spaces import PASSES, RANGES
from agentstate.models.json_lists import Appended, Length
from agentstate.models.runs import ClockTimestamp

if TYPE_CHECKING:
    from typing import Self


class Direction(models.TextChoices):
    """The direction in which a pass moves state."""

    FORWARD = "forward"
    REVERSE = "reverse"


# A worker on another machine that lost its power keeps its lock for hours. It reports every two seconds.
LOST_AFTER = 30


class IsLocked(Func):
    """Whether some worker holds the lock of an entry."""

    output_field = models.BooleanField()
    template = """EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %(namespace)s
            AND objid::bigint = %(expressions)s
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


def is_alive(namespace: int) -> Q:
    """Return the condition that a worker is at an entry: it holds the lock, and has reported lately."""
    return Q(seen_at__gt=ClockTimestamp() - timedelta(seconds=LOST_AFTER)) & Q(IsLocked(F("id"), namespace=namespace))


# What the ledger calls a pruning (see agentstate/retention/), which moves nothing.
PRUNING = "prune"


class PassEnded(Exception):
    """The pass has ended or is to end, or another operator asked something of it first. Nothing was written."""


class BackfillPassQuerySet(models.QuerySet["BackfillPass"]):
    """Passes by what they are doing now."""

    def with_state(self) -> Self:
        """Add ``state``: the outcome, but for a running pass ``paused``, ``waiting`` (for a worker) or ``lost``."""
        running = Q(outcome=BackfillPass.Outcome.RUNNING)
        waiting = PassRange.objects.filter(entry=OuterRef("pk"), status=PassRange.Status.WAITING)
        return self.annotate(
            is_alive=Case(When(running & is_alive(PASSES), then=True), default=False),
            state=Case(
                When(running & Q(is_alive=False) & ~Exists(waiting), then=Value("lost")),
                When(running & Q(wanted=BackfillPass.Wanted.PAUSE), then=Value("paused")),
                When(running & Q(is_alive=False), then=Value("waiting")),
                default=F("outcome"),
                output_field=models.TextField(),
            ),
        )

    def mark_lost(self) -> int:
        """Record that passes are lost, and return their number. Shared ones can still be resumed."""
        running = self.filter(outcome=BackfillPass.Outcome.RUNNING, ranges=None)
        lost = list(running.filter(~is_alive(PASSES)).values_list("pk", flat=True))
        if not lost:
            return 0
        return self.filter(pk__in=lost).update(outcome=BackfillPass.Outcome.LOST, held="", ended_at=F("seen_at"))


class BackfillPass(models.Model):
    """One pass in the ledger. Operators read it, and ask the running pass to pause, to go on or to end."""

    class Outcome(models.TextChoices):
        RUNNING = "running"
        FINISHED = "finished"
        INTERRUPTED = "interrupted"
        CANCELED = "canceled"
        FAILED = "failed"
        LOST = "lost"  # its process died

    class Wanted(models.TextChoices):
        PAUSE = "pause"
        CANCEL = "cancel"

    direction = models.TextField(choices=[*Direction.choices, (PRUNING, "prune")])
    options = models.JSONField(default=dict)
    requested_by = models.TextField(help_text="The operating system's user and host.")
    outcome = models.TextField(choices=Outcome, default=Outcome.RUNNING)
    error = models.TextField(default="", blank=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When the pass last reported that it is alive.")
    ended_at = models.DateTimeField(null=True, blank=True)
    candidates = models.BigIntegerField(default=0)
    written = models.BigIntegerField(default=0)
    merged = models.BigIntegerField(default=0)
    left_aside = models.BigIntegerField(default=0)
    runs = models.BigIntegerField(default=0)
    events = models.BigIntegerField(default=0)
    sessions = models.BigIntegerField(default=0)
    wanted = models.TextField(choices=Wanted, blank=True, db_default="", help_text="What an operator asked for.")
    requests = models.JSONField(
        blank=True,
        db_default=Value([], models.JSONField()),
        help_text="All that operators asked of it, the oldest first: what, by whom, when.",
    )
    held = models.TextField(blank=True, db_default="", help_text="Why it waits now; empty while it works.")
    throttled_seconds = models.FloatField(db_default=0.0, help_text="How long it waited for others.")
    expected = models.JSONField(null=True, blank=True, help_text="What it expected before it began.")

    objects = BackfillPassQuerySet.as_manager()

    class Meta:
        db_table = "AgentStatePass"
        verbose_name = "pass"
        verbose_name_plural = "passes"

    def __str__(self) -> str:
        return f"{self.direction} pass {self.pk}"

    @property
    def is_lost(self) -> bool:
        """Whether its process died. Needs the queryset's ``with_state``."""
        return str(getattr(self, "state", self.outcome)) == self.Outcome.LOST

    @property
    def rate(self) -> float:
        """Projects a second, without the time that the pass waited for others.

        Of a shared pass, since its first worker began: its workers wait each for itself.
        """
        first = self.ranges.aggregate(began=Min("started_at"))["began"]
        began, throttled = (first, 0.0) if first else (self.started_at, self.throttled_seconds)
        length = ((self.ended_at or self.seen_at) - began).total_seconds() - throttled
        return (self.written + self.merged) / length if length > 0 else 0.0

    @property
    def waits_for(self) -> str:
        """Why it waits now; empty while it works, and once it ended or its process died."""
        return "" if self.is_lost else self.held

    def pause(self, by: str, seen: int | None = None) -> None:
        """Ask the pass to wait after its current batches.

        Raises:
            PassEnded: it has ended, or is canceled.
        """
        self._ask("paused", by, seen, wanted=self.Wanted.PAUSE)

    def resume(self, by: str, seen: int | None = None) -> None:
        """Ask a paused pass to go on.

        Raises:
            PassEnded: it has ended, or is canceled.
        """
        self._ask("resumed", by, seen, wanted="")

    def cancel(self, by: str, seen: int | None = None) -> None:
        """Ask the pass to end after its current batches. What it has moved stays moved.

        Raises:
            PassEnded: it has ended.
        """
        self._ask("canceled", by, seen, wanted=self.Wanted.CANCEL)

    def set_pacing(self, by: str, seen: int | None = None, **changes: float | None) -> None:
        """Change the pacing of the pass from its next batch on.

        Raises:
            PassEnded: it has ended, or is canceled.
        """
        changed = Func(
            Cast(Value(json.dumps(changes)), models.JSONField()),
            template="options || jsonb_build_object('pacing', coalesce(options -> 'pacing', '{}') || %(expressions)s)",
        )
        what = ", ".join(f"{name} {'off' if value is None else f'{value:g}'}" for name, value in changes.items())
        self._ask(f"set {what}", by, seen, options=changed)

    def _ask(self, what: str, by: str, seen: int | None, **changes: Any) -> None:
        """Ask something of the pass, unless there are more requests than the number that was seen."""
        running = type(self).objects.filter(pk=self.pk, outcome=self.Outcome.RUNNING)
        if changes.get("wanted") != self.Wanted.CANCEL:
            # Its operator was told that the pass ends, so a pause or a resumption that comes later changes nothing.
            running = running.exclude(wanted=self.Wanted.CANCEL)
        if seen is not None:
            running = running.alias(asked=Length("requests")).filter(asked=seen)
        if not running.update(requests=Appended("requests", what=what, by=by), **changes):
            raise PassEnded
        self.refresh_from_db()


class Shares(NamedTuple):
    """How the ranges of a shared pass are: all, done, those that workers are at, and those lost with their workers."""

    total: int
    done: int
    workers: int
    lost: int

    @property
    def words(self) -> str:
        """Say it in words; empty for a pass that is not shared."""
        if not self.total:
            return ""
        workers = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
        lost = f", {self.lost} lost" if self.lost else ""
        return f"{self.done} of {self.total} ranges, {workers}{lost}"


class PassRangeQuerySet(models.QuerySet["PassRange"]):
    """Ranges by what happens with them."""

    def shares(self, entry: BackfillPass) -> Shares:
        """Count the ranges of a pass."""
        status, alive = PassRange.Status, is_alive(RANGES)
        counts = self.filter(entry=entry).aggregate(
            total=Count("pk"),
            done=Count("pk", filter=Q(status=status.DONE)),
            workers=Count("pk", filter=Q(status=status.RUNNING) & alive),
            lost=Count("pk", filter=Q(status=status.RUNNING) & ~alive),
        )
        return Shares(**counts)

    def unfinished(self) -> Self:
        """Return the ranges that a worker began and none has done, with ``state``: the status, or ``lost``."""
        lost = Q(status=PassRange.Status.RUNNING) & ~is_alive(RANGES)
        state = Case(When(lost, then=Value("lost")), default=F("status"), output_field=models.TextField())
        begun = self.filter(attempts__gt=0).exclude(status=PassRange.Status.DONE)
        return begun.annotate(state=state).order_by("number")

    def unattended(self) -> Self:
        """Return the ranges that failed, or were lost with their workers. A resumption queues them again."""
        return self.unfinished().filter(Q(state="lost") | Q(state=PassRange.Status.WAITING) & ~Q(error=""))


class PassRange(models.Model):
    """A range of ids of a pass that several workers share: one task of the site's queue."""

    class Status(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"

    entry = models.ForeignKey(BackfillPass, models.CASCADE, related_name="ranges", db_index=False, db_constraint=False)
    number = models.IntegerField()
    above = models.TextField(null=True)  # noqa: DJ001 - NULL: from the first id
    up_to = models.TextField()
    status = models.TextField(choices=Status, default=Status.WAITING)
    worker = models.TextField(default="", blank=True, help_text="Host and process that took it last.")
    attempts = models.IntegerField(default=0)
    written = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(default="", blank=True)

    objects = PassRangeQuerySet.as_manager()

    class Meta:
        db_table = "AgentStatePassRange"
        constraints = [
            # Read by the ranges of a pass, in their order.
            models.UniqueConstraint(fields=["entry", "number"], name="AgentStatePassRange_number_key"),
        ]

    def __str__(self) -> str:
        return f"range {self.number} of pass {self.entry_id}"
