"""Where the rollout stands, for its page: the ladder, the next step's conditions, the standings."""

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
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.stages import RolloutState

STAGES = {
    Stage.LEGACY: "Saves and reads use the columns alone.",
    Stage.DUAL_WRITE: "Saves go into both homes.",
    Stage.SHADOW_READ: "Reads compare both homes.",
    Stage.AGENTKIT_READ: "Reads come from the snapshots, for more and more projects.",
    Stage.AGENTKIT_ONLY: "Saves go into the snapshots alone.",
    Stage.FROZEN: "The columns refuse writes.",
    Stage.CONTRACTED: "The columns have been dropped.",
}
# Where on the page stands what a condition counts.
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
ORDER = (Standing.IN_SYNC, Standing.AGENTKIT_AHEAD, Standing.LEGACY_AHEAD, Standing.FORKED, Standing.EMPTY)


# -- the ladder


class Rung(NamedTuple):
    """A rung of the ladder; ``state`` is ``passed``, ``here`` or ``ahead``.

    ``shares`` are the steps within it, each with the same.
    """

    stage: str
    explanation: str
    state: str
    shares: list[tuple[str, str]]


def ladder(rollout_state: RolloutState) -> list[Rung]:
    """Return the rungs, the lowest first. Off the ladder we are on none, and have passed none."""
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
    """Return the shares of projects that a rollout stops at, and the one that it stands at."""
    return [
        (shown(share), "here" if share == percent else "passed" if share < percent else "ahead")
        for share in sorted({*READ_SHARES, percent})
    ]


# -- the next step


class Row(NamedTuple):
    """A condition in words; ``age`` is None where nothing has been found yet, and 0 for what was looked at."""

    name: str
    meaning: str
    holds: bool
    figure: str
    needed: str
    age: timedelta | None
    address: str


def in_words(conditions: Sequence[Condition]) -> list[Row]:
    """Return conditions as the page has them, each with the position on the page that is behind its figure."""
    return [
        Row(
            each.name,
            DESCRIPTIONS[each.name],
            each.holds,
            f"{each.figure:,}" + (" h" if _is_time(each) else ""),
            _needed(each),
            None if each.age_seconds is None else timedelta(seconds=each.age_seconds),
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


def parts(standings: Mapping[Standing, int]) -> list[Part]:
    """Return the standings as parts of a bar that is 100 wide; one that is there at all can be seen."""
    total, before, found = sum(standings.values()), 0.0, []
    widths = {each: max(0.5, 100 * standings[each] / total) if standings[each] else 0.0 for each in ORDER}
    whole = sum(widths.values()) or 1
    for standing in ORDER:
        count, width = standings[standing], 100 * widths[standing] / whole
        found.append(
            Part(
                standing.value,
                STANDINGS[standing],
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
    """Return a share in percent, which is 0 and 100 only where it is just that."""
    share = 100 * count / total if total else 0.0
    if 0 < share < 0.1:
        return "< 0.1"
    return "> 99.9" if 99.9 < share < 100 else f"{round(share, 1):g}"


def projects_that_are(standing: Standing) -> str:
    """Return the address of the projects of a standing."""
    return f"{reverse('admin:agentstate_project_changelist')}?{urlencode({'standing': standing.value})}"
