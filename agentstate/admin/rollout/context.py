"""The counts of the rollout's page: standings, bypassing writes, conditions of the next step."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from agentstate.admin.rollout import lists, presentation
from agentstate.admin.shared.cached_counts import CachedCount, cached_counts
from agentstate.admin.shared.gate_problems import refused_saves
from agentstate.models import BackfillPass
from agentstate.rollout.bypassing_writes import BypassingWriteCounts, count_bypassing_writes, newest_bypassing_writes
from agentstate.rollout.evidence import Evidence
from agentstate.rollout.freeze import read_freeze
from agentstate.rollout.stages import RolloutState, Stage, above
from agentstate.rollout.standings import count_standings
from agentstate.rollout.status import override_at
from agentstate.rollout.steps import CONTRACT, UNCONTRACT, unfinished_step

if TYPE_CHECKING:
    from agentstate.backfill.verification import Offender
    from agentstate.rollout.bypassing_writes import BypassingWrite
    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.flag_history import FlagHistory
    from agentstate.rollout.stages import Position

ADVANCE, RETREAT = (f"manage.py agentkit_rollout {action}" for action in ("advance", "retreat"))

# The steps whose conditions need a scan: by verification, or for bypassing writes.
_BY_VERIFICATION = (Stage.SHADOW_READ, Stage.CONTRACTED)
_BY_BYPASSING_WRITES = (Stage.AGENTKIT_ONLY, Stage.FROZEN)


class FoundBypassingWrites(NamedTuple):
    """How many writes bypassed agentstate, and the newest of them."""

    counts: BypassingWriteCounts
    newest: list[BypassingWrite]


class StepConditions(NamedTuple):
    """The conditions of a step, and the problems that verification found, if they include it."""

    conditions: list[Condition]
    problems: dict[str, int]
    offenders: list[Offender]


def stage_context() -> dict[str, Any]:
    """Return the context of the stage alone. Reads no project."""
    rollout_state = RolloutState.read()
    return {
        "rollout_state": rollout_state,
        "position": rollout_state.position,
        "ladder": presentation.ladder(rollout_state),
    }


def counts_context(asked: str) -> dict[str, Any]:
    """Return the context of the stage and of every count.

    Args:
        asked: the name of the count to repeat.
    """
    rollout_state, evidence = RolloutState.read(), Evidence()
    position = rollout_state.position
    target, override = above(position) if position else None, override_at(position)
    # A flag change or a pass invalidates the counts.
    newest = BackfillPass.objects.order_by("-pk").values_list("pk", "outcome").first()
    version = ".".join(map(str, (evidence.history.newest_id, *(newest or ()))))
    standings = cached_counts(f"standings.{version}", count_standings, again=asked == "standings")
    found = cached_counts(
        f"escapes.{version}", partial(_find_bypassing_writes, evidence.history), again=asked == "escapes"
    )
    return {
        "rollout_state": rollout_state,
        "position": position,
        "ladder": presentation.ladder(rollout_state),
        "refused_saves": refused_saves(rollout_state),
        "frozen": read_freeze(),
        "override": override,
        "not_held": lists.not_met_at(override) if override else [],
        "unfinished": unfinished_step(position),
        "advance": CONTRACT if target and target.stage == Stage.CONTRACTED else ADVANCE,
        "retreat": UNCONTRACT if position and position.stage == Stage.CONTRACTED else RETREAT,
        "gates": lists.gates(rollout_state),
        "standings": standings,
        "parts": presentation.parts(standings.value) if standings.value else [],
        "escapes": found,
        **(_next_step(target, evidence, found, version, asked) if target else {}),
    }


def _find_bypassing_writes(history: FlagHistory) -> FoundBypassingWrites:
    counts = count_bypassing_writes(history)
    return FoundBypassingWrites(counts, newest_bypassing_writes(lists.LISTED, history) if counts.count else [])


def _next_step(
    target: Position, evidence: Evidence, escaped: CachedCount[FoundBypassingWrites], version: str, asked: str
) -> dict[str, Any]:
    """Return the context of the next step: its conditions, and the count that they depend on."""
    name, found = _found(target, evidence, escaped, version, asked)
    rows = presentation.in_words(found.value.conditions) if found.value else []
    return {
        "next": target,
        "found": found,
        "counted_name": name,
        "conditions": rows,
        "missing": sum(not row.holds for row in rows),
    }


def _found(
    target: Position, evidence: Evidence, escaped: CachedCount[FoundBypassingWrites], version: str, asked: str
) -> tuple[str, CachedCount[StepConditions]]:
    if target.stage in _BY_VERIFICATION:
        name = "conditions"
        return name, cached_counts(f"{target}.{version}", partial(_verify, target, evidence), again=asked == name)
    if target.stage not in _BY_BYPASSING_WRITES:
        return "", CachedCount(_conditions(target, evidence), None, evidence.now)
    if escaped.value:
        evidence.bypassing_writes = escaped.value.counts
    value = _conditions(target, evidence) if escaped.value else None
    return "escapes", CachedCount(value, escaped.at, escaped.tried_at, escaped.gave_up_after)


def _conditions(target: Position, evidence: Evidence) -> StepConditions:
    return StepConditions(evidence.conditions(target), {}, [])


def _verify(target: Position, evidence: Evidence) -> StepConditions:
    conditions = evidence.conditions(target)
    problems = {kind: count for kind, count in evidence.verification.problems.items() if count}
    return StepConditions(conditions, problems, evidence.verification.offenders)
