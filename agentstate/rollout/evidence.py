"""The conditions of each step up, and their evidence.

Evidence counts from the moment at which a gate got its present share, which the history of flag changes records. Reads
are counted by the hour. Comparisons count if their hour began after that moment. A difference or a fallback counts as
if it happened at the end of its hour. So an hour in doubt counts against the step.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import floor
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Sum

from agentstate.backfill.verification import Verification, verify
from agentstate.gates import AGENTKIT_READS, AGENTKIT_SHADOW_READS, AGENTKIT_WRITES
from agentstate.models import ReadCount
from agentstate.rollout import thresholds
from agentstate.rollout.bypassing_writes import BypassingWriteCounts, count_bypassing_writes
from agentstate.rollout.figures import Figures, count_legacy_ahead_too_long
from agentstate.rollout.flag_history import FlagHistory
from agentstate.rollout.stages import Stage
from agentstate.rollout.waiting import server_time

if TYPE_CHECKING:
    from agentstate.gates import Gate
    from agentstate.rollout.stages import Position

HOUR = timedelta(hours=1)
# The steps whose conditions need no scan of the projects.
WITHOUT_SCAN = (Stage.DUAL_WRITE, Stage.AGENTKIT_READ)

# What each condition counts, for operators.
DESCRIPTIONS = {
    "unapplied_migrations": "migrations that are not applied yet",
    "verification_problems": "problems that verification finds",
    "legacy_ahead_too_long": "projects whose columns have waited too long to be taken in",
    "left_aside_open": "projects left aside that wait for a decision",
    "shadow_reads_compared": "shadow reads that compared both homes",
    "differences": "differences that shadow reads found",
    "hours_without_difference": "hours of shadow reads for everyone without a difference",
    "hours_at_100_percent": "hours since everyone reads from the AgentKit home",
    "hours_without_fallback": "hours since a read fell back to the legacy home",
    "escapes_open": "writes that bypassed agentstate and wait for a backfill",
    "hours_without_escape": "hours since a write bypassed agentstate",
}
# What to do if a condition is not met.
ADVICE = {
    "unapplied_migrations": "run manage.py migrate",
    "verification_problems": "run manage.py verify_agentkit_state, which names them and what to do",
    "legacy_ahead_too_long": "run manage.py backfill_agentkit_state",
    "left_aside_open": "run manage.py agentkit_left_aside list, then retry or accept each",
    "shadow_reads_compared": "let the application load state",
    "differences": "see the projects on the rollout page in the admin and settle each, then wait",
    "hours_without_difference": "wait",
    "hours_at_100_percent": "wait",
    "hours_without_fallback": "wait; see the reasons for fallbacks on the rollout page in the admin",
    "escapes_open": "run manage.py backfill_agentkit_state, which takes them in",
    "hours_without_escape": "find what writes the columns (manage.py agentkit_rollout lists the writes), then wait",
}


class Condition(NamedTuple):
    """A condition of a step: the figure, the figure needed, and the age of the evidence.

    ``age_seconds`` is 0 for evidence read in this call, and None without evidence.
    """

    name: str
    holds: bool
    figure: float
    needed: float
    age_seconds: int | None

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


class Evidence:
    """The evidence at one moment. Each part is read when it is first needed.

    Args:
        figures: figures that were counted before, instead of a scan now.
        counted_at: when they were counted.
    """

    def __init__(self, figures: Figures | None = None, counted_at: datetime | None = None) -> None:
        self.now = server_time()
        self.history = FlagHistory.load()
        self._counted_at = counted_at
        if figures:
            self.verification = figures.verification
            self.bypassing_writes = figures.bypassing_writes
            self.legacy_ahead_too_long = figures.legacy_ahead_too_long

    def conditions(self, target: Position) -> list[Condition]:
        """Return the conditions of the step to a position."""
        return {
            Stage.DUAL_WRITE: self._to_dual_write,
            Stage.SHADOW_READ: self._to_shadow_read,
            Stage.AGENTKIT_READ: self._to_agentkit_read,
            Stage.AGENTKIT_ONLY: self._to_agentkit_only,
            Stage.FROZEN: self._to_frozen,
            Stage.CONTRACTED: self._to_contracted,
        }[target.stage]()

    @cached_property
    def bypassing_writes(self) -> BypassingWriteCounts:
        return count_bypassing_writes(self.history)

    @cached_property
    def verification(self) -> Verification:
        return verify()

    @cached_property
    def legacy_ahead_too_long(self) -> int:
        return count_legacy_ahead_too_long()

    # -- the steps

    def _to_dual_write(self) -> list[Condition]:
        return [_none("unapplied_migrations", _unapplied_migrations())]

    def _to_shadow_read(self) -> list[Condition]:
        return [
            self._verified(but_for=("left_aside", "legacy_ahead")),
            self._counted("legacy_ahead_too_long", self.legacy_ahead_too_long),
            self._left_aside(),
        ]

    def _to_agentkit_read(self) -> list[Condition]:
        began = self._since_everyone(AGENTKIT_SHADOW_READS)
        clean_since = _later(began, self._end_of_newest(ReadCount.Finding.DIFFERENCE, began))
        compared = self._compared_since(clean_since)
        enough = thresholds.compared()
        return [
            Condition("shadow_reads_compared", compared >= enough, compared, enough, self._age(clean_since)),
            _none("differences", self._differences_since(began), self._age(began)),
            self._hours("hours_without_difference", clean_since),
        ]

    def _to_agentkit_only(self) -> list[Condition]:
        began = self._since_everyone(AGENTKIT_READS)
        without_fallback = _later(began, self._end_of_newest(ReadCount.Finding.FALLBACK, began))
        return [
            self._hours("hours_at_100_percent", began),
            self._hours("hours_without_fallback", without_fallback),
            *self._without_escape(),
        ]

    def _to_frozen(self) -> list[Condition]:
        return self._without_escape()

    def _to_contracted(self) -> list[Condition]:
        return [self._verified(but_for=("left_aside",)), self._left_aside()]

    # -- their parts

    def _verified(self, but_for: tuple[str, ...]) -> Condition:
        problems = self.verification.problems
        return self._counted("verification_problems", sum(problems[kind] for kind in problems if kind not in but_for))

    def _left_aside(self) -> Condition:
        return self._counted("left_aside_open", self.verification.left_aside)

    def _without_escape(self) -> list[Condition]:
        since = _later(self._since_everyone(AGENTKIT_WRITES), self.bypassing_writes.newest)
        return [self._counted("escapes_open", self.bypassing_writes.open), self._hours("hours_without_escape", since)]

    def _counted(self, name: str, count: int) -> Condition:
        """Return the condition that a scan found none."""
        return _none(name, count, self._age(self._counted_at) if self._counted_at else 0)

    def _since_everyone(self, gate: Gate) -> datetime | None:
        return self.history.since(gate, lambda share: share.is_everything)

    def _age(self, since: datetime | None) -> int | None:
        return None if since is None else max(0, int((self.now - since).total_seconds()))

    def _hours(self, name: str, since: datetime | None) -> Condition:
        long_enough = thresholds.time_without()
        age = max(timedelta(0), self.now - since) if since else timedelta(0)
        # Rounded down: a condition that is not met must not show the figure needed.
        figure = floor(age / HOUR * 10) / 10
        return Condition(name, age >= long_enough, figure, _number(long_enough / HOUR), self._age(since))

    def _end_of_newest(self, finding: str, began: datetime | None) -> datetime | None:
        """Return the end of the newest hour since the beginning that has such a finding, without accepted ones."""
        if began is None:
            return None
        hours = ReadCount.objects.filter(finding=finding, hour__gte=_hour_of(began)).exclude(reason=ReadCount.GIVEN_UP)
        newest = hours.order_by("-hour").values_list("hour", flat=True).first()
        return newest and newest + HOUR

    def _compared_since(self, since: datetime | None) -> int:
        """Count comparisons in whole hours since then; in the current hour too if the threshold is 0 hours."""
        if since is None:
            return 0
        first = _hour_of(since)
        if first < since and thresholds.time_without():
            first += HOUR
        return _counted(ReadCount.Finding.COMPARED, first)

    def _differences_since(self, began: datetime | None) -> int:
        """Count differences within the threshold of hours, including the hour in which it begins."""
        if began is None:
            return 0
        window = self.now - thresholds.time_without()
        return _counted(ReadCount.Finding.DIFFERENCE, _hour_of(max(began, window)))


def _none(name: str, count: int, age_seconds: int | None = 0) -> Condition:
    return Condition(name, not count, count, 0, age_seconds)


def _counted(finding: str, first: datetime) -> int:
    return ReadCount.objects.filter(finding=finding, hour__gte=first).aggregate(Sum("count"))["count__sum"] or 0


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of the two; None where the first is."""
    return one if one is None or other is None else max(one, other)


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def _unapplied_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes("agentstate")))
