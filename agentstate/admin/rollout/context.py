"""The context of the rollout's page: the stage, the conditions of the next step, and what was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstate.admin.rollout import lists, presentation
from agentstate.admin.shared.gate_problems import alarms
from agentstate.rollout.evidence import WITHOUT_SCAN, Evidence
from agentstate.rollout.freeze import read_freeze
from agentstate.rollout.stages import RolloutState, Stage, above
from agentstate.rollout.status import override_at
from agentstate.rollout.steps import CONTRACT, UNCONTRACT, unfinished_step

if TYPE_CHECKING:
    from agentstate.admin.rollout.presentation import ConditionRow
    from agentstate.rollout.counting import Counted
    from agentstate.rollout.figures import Figures
    from agentstate.rollout.stages import Position

ADVANCE, RETREAT = (f"manage.py agentkit_rollout {action}" for action in ("advance", "retreat"))


def stage_context() -> dict[str, Any]:
    """Return the context of the stage alone. Reads no project."""
    rollout_state = RolloutState.read()
    return {
        "rollout_state": rollout_state,
        "position": rollout_state.position,
        "ladder": presentation.ladder(rollout_state),
    }


def page_context(counted: Counted) -> dict[str, Any]:
    """Return the context of the stage, of the next step, and of what was counted."""
    rollout_state, figures = RolloutState.read(), counted.figures
    position = rollout_state.position
    target, override = above(position) if position else None, override_at(position)
    return {
        "rollout_state": rollout_state,
        "position": position,
        "ladder": presentation.ladder(rollout_state),
        "alarms": alarms(rollout_state),
        "frozen": read_freeze(),
        "override": override,
        "not_held": lists.not_met_at(override) if override else [],
        "unfinished": unfinished_step(position),
        "advance": CONTRACT if target and target.stage == Stage.CONTRACTED else ADVANCE,
        "retreat": UNCONTRACT if position and position.stage == Stage.CONTRACTED else RETREAT,
        "gates": lists.gates(rollout_state),
        "asked": lists.recent_request(),
        "counted": counted,
        "figures": figures,
        "parts": presentation.parts(figures.verification) if figures else [],
        **(_next_step(target, counted, figures) if target else {}),
    }


def known_conditions(target: Position, counted: Counted) -> list[ConditionRow] | None:
    """Return the conditions of a step by the last count, None while the first is being made."""
    if counted.kept is None and target.stage not in WITHOUT_SCAN:
        return None
    evidence = Evidence(counted.figures, counted.kept.started_at if counted.kept else None)
    return presentation.in_words(evidence.conditions(target), evidence.now)


def _next_step(target: Position, counted: Counted, figures: Figures | None) -> dict[str, Any]:
    """Return the context of the next step: its conditions, none while they are not counted yet."""
    rows = known_conditions(target, counted) or []
    problems = figures.verification.problems if figures else {}
    return {
        "next": target,
        "needs_scan": target.stage not in WITHOUT_SCAN,
        "is_contract": target.stage == Stage.CONTRACTED,
        "conditions": rows,
        "missing": sum(not row.holds for row in rows),
        "problems": {kind: count for kind, count in problems.items() if count},
    }
