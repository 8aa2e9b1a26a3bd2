"""How the rollout's page presents the ladder, the next step's conditions and the standings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.urls import reverse
from django.utils.http import urlencode

from agentstate.admin.shared.standings import STANDINGS
from agentstate.rollout.evidence import DESCRIPTIONS
from agentstate.rollout.stages import READ_SHARES, Stage, shown
from agentstate.state.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from agentstate.backfill.verification import Verification
    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.stages import RolloutState

STAGES = {
    Stage.LEGACY: "Saves and reads use the columns only.",
    Stage.DUAL_WRITE: "Saves go into both homes.",
    Stage.SHADOW_READ: "Reads compare both homes.",
    Stage.AGENTKIT_READ: "Reads come from the snapshots, for a growing share of projects.",
    Stage.AGENTKIT_ONLY: "Saves go into the snapshots only.",
    Stage.FROZEN: "The columns refuse writes.",
    Stage.CONTRACTED: "The columns have been dropped.",
}
# The part of the page that lists what a condition counts.
BEHIND = {
    "verification_problems": "#agentstate-problems",
    "legacy_ahead_too_long": "#agentstate-standings",
    "left_aside_open": "#agentstate-left-aside",
    "shadow_reads_compared": "#agentstate-reads",
    "differences": "#agentstate-differences",
    "hours_without_difference": "#agentstate-reads",
    "hours_at_100_percent": "#agentstate-gates",
    "hours_without_fallback": "#agentstate-reads",
    "escapes_open": "#agentstate-escapes",
    "hours_without_escape": "#agentstate-escapes",
}
# A project that verification finds unequal has no other standing: its clocks alone would say in sync.
UNEQUAL = "unequal"
# From when a figure counts, where that is not the moment of a scan.
SINCE = {
    "shadow_reads_compared": "shadow reads are on for everyone, or the hour of the newest difference ended",
    "differences": "shadow reads are on for everyone; older ones than the hours needed do not count",
    "hours_without_difference": "shadow reads are on for everyone, or the hour of the newest difference ended",
    "hours_at_100_percent": "everyone reads from the AgentKit home",
    "hours_without_fallback": "everyone reads from the AgentKit home, or the hour of the newest fallback ended",
    "hours_without_escape": "agentkit_writes is on for everyone, or the newest bypassing write",
}
LIVE = ("unapplied_migrations",)
ORDER = (
    Standing.IN_SYNC,
    Standing.AGENTKIT_AHEAD,
    Standing.LEGACY_AHEAD,
    Standing.FORKED,
    UNEQUAL,
    Standing.EMPTY,
)
MEANINGS = STANDINGS | {
    UNEQUAL: "The clocks say in sync and the contents differ: a write bypassed the trigger. A person decides."
}


# -- the ladder


class Rung(NamedTuple):
    """A stage of the ladder; ``state`` is ``passed``, ``here`` or ``ahead``.

    ``shares`` are the read shares within it, each with its own state.
    """

    stage: str
    explanation: str
    state: str
    shares: list[tuple[str, str]]


def ladder(rollout_state: RolloutState) -> list[Rung]:
    """Return the stages, the lowest first. Off the ladder, none is passed."""
    rungs, position = list(Stage), rollout_state.position
    here = rungs.index(position.stage) if position else -1
    return [
        Rung(
            stage.value,
            explanation,
            _state(number, here),
            _shares(rollout_state.percent) if number == here and stage == Stage.AGENTKIT_READ else [],
        )
        for number, (stage, explanation) in enumerate(STAGES.items())
    ]


def _state(number: int, here: int) -> str:
    return "here" if number == here else "passed" if number < here else "ahead"


def _shares(percent: Decimal) -> list[tuple[str, str]]:
    """Return the default read shares and the current one."""
    return [
        (shown(share), "here" if share == percent else "passed" if share < percent else "ahead")
        for share in sorted({*READ_SHARES, percent})
    ]


# -- the next step


class ConditionRow(NamedTuple):
    """A condition in words, with the moment since which its figure counts, or at which a scan counted it.

    ``since`` is None for a figure without evidence yet, and for one that was read in this request.
    """

    name: str
    meaning: str
    holds: bool
    figure: str
    needed: str
    since: datetime | None
    since_what: str
    is_live: bool
    address: str


def in_words(conditions: Sequence[Condition], now: datetime) -> list[ConditionRow]:
    """Return conditions as the page has them, each with the position on the page that is behind its figure."""
    return [
        ConditionRow(
            each.name,
            DESCRIPTIONS[each.name],
            each.holds,
            f"{each.figure:,}" + (" h" if _is_time(each) else ""),
            _needed(each),
            None if each.age_seconds is None else now - timedelta(seconds=each.age_seconds),
            SINCE.get(each.name, ""),
            each.name in LIVE,
            BEHIND.get(each.name, "") if each.figure else "",
        )
        for each in conditions
    ]


def _is_time(condition: Condition) -> bool:
    return condition.name.startswith("hours_")


def _needed(condition: Condition) -> str:
    if _is_time(condition):
        return f"{condition.needed:,} h"
    return f"{condition.needed:,} or more" if condition.needed else "none"


# -- the standings


@dataclass(frozen=True)
class Part:
    """A standing: how many projects have it, its percent, its position in the bar, and where they are listed."""

    standing: str
    meaning: str
    count: int
    percent: str
    x: str
    width: str
    address: str

    @property
    def name(self) -> str:
        return self.standing.replace("_", " ")


def parts(verification: Verification) -> list[Part]:
    """Return the standings as parts of a bar. A part that is not empty has a visible width."""
    counts = {**verification.standing, UNEQUAL: verification.unequal}
    total, before, found = sum(counts.values()), 0.0, []
    widths = {each: max(0.5, 100 * counts[each] / total) if counts[each] else 0.0 for each in ORDER}
    whole = sum(widths.values()) or 1
    for standing in ORDER:
        count, width = counts[standing], 100 * widths[standing] / whole
        found.append(
            Part(
                str(standing),
                MEANINGS[standing],
                count,
                _percent_of(count, total),
                f"{before:.3f}%",
                f"{width:.3f}%",
                projects_that_are(standing),
            )
        )
        before += width
    return found


def _percent_of(count: int, total: int) -> str:
    """Return a share in percent; 0 and 100 only if exact."""
    share = 100 * count / total if total else 0.0
    if 0 < share < 0.1:
        return "< 0.1"
    return "> 99.9" if 99.9 < share < 100 else f"{round(share, 1):g}"


def projects_that_are(standing: str) -> str:
    """Return the address of the projects with a standing."""
    return f"{reverse('admin:agentstate_project_changelist')}?{urlencode({'standing': str(standing)})}"
