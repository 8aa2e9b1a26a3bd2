"""What the rollout's page counts: the standings, the escapes, the conditions of the next step."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from agentstate.admin.rollout import lists, page
from agentstate.admin.shared.counted import Counted, counted
from agentstate.models import BackfillPass
from agentstate.rollout.escapes import Escapes, count_escapes, escapes
from agentstate.rollout.evidence import Evidence
from agentstate.rollout.freeze import frozen
from agentstate.rollout.stages import Stage, above, look
from agentstate.rollout.standings import count_standings
from agentstate.rollout.status import override_at
from agentstate.rollout.steps import CONTRACT, UNCONTRACT, unfinished_step

if TYPE_CHECKING:
    from agentstate.backfill.verification import Offender
    from agentstate.rollout.escapes import Escape
    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.flag_history import FlagHistory
    from agentstate.rollout.stages import Place

ADVANCE, RETREAT = (f"manage.py agentkit_rollout {action}" for action in ("advance", "retreat"))

# The steps up whose conditions need a scan: verification's, and that of escapes.
_BY_VERIFICATION = (Stage.SHADOW_READ, Stage.CONTRACTED)
_BY_ESCAPES = (Stage.AGENTKIT_ONLY, Stage.FROZEN)


class FoundEscapes(NamedTuple):
    """How many writes bypassed us, and the newest of them."""

    counts: Escapes
    newest: list[Escape]


class FoundConditions(NamedTuple):
    """The conditions of a step, and what verification found wrong if it was asked."""

    conditions: list[Condition]
    problems: dict[str, int]
    offenders: list[Offender]


def numbers(asked: str) -> dict[str, Any]:
    """Return the context of the stage and of all that is counted.

    Args:
        asked: which number to count anew.
    """
    standpoint, evidence = look(), Evidence()
    place = standpoint.place
    target, override = above(place) if place else None, override_at(place)
    # A toggle or a pass changes what there is to count.
    newest = BackfillPass.objects.order_by("-pk").values_list("pk", "outcome").first()
    version = ".".join(map(str, (evidence.history.newest_id, *(newest or ()))))
    standings = counted(f"standings.{version}", count_standings, anew=asked == "standings")
    found = counted(f"escapes.{version}", partial(_find_escapes, evidence.history), anew=asked == "escapes")
    return {
        "standpoint": standpoint,
        "place": place,
        "ladder": page.ladder(standpoint),
        "frozen": frozen(),
        "override": override,
        "not_held": lists.not_met_at(override) if override else [],
        "unfinished": unfinished_step(place),
        "advance": CONTRACT if target and target.stage == Stage.CONTRACTED else ADVANCE,
        "retreat": UNCONTRACT if place and place.stage == Stage.CONTRACTED else RETREAT,
        "gates": lists.gates(standpoint),
        "standings": standings,
        "parts": page.parts(standings.value) if standings.value else [],
        "escapes": found,
        **(_next_step(target, evidence, found, version, asked) if target else {}),
    }


def _find_escapes(history: FlagHistory) -> FoundEscapes:
    counts = count_escapes(history)
    return FoundEscapes(counts, escapes(lists.LISTED, history) if counts.count else [])


def _next_step(
    target: Place, evidence: Evidence, escaped: Counted[FoundEscapes], version: str, asked: str
) -> dict[str, Any]:
    """Return the context of the next step: its conditions, and the name of the number that they hang on."""
    name, found = _found(target, evidence, escaped, version, asked)
    rows = page.in_words(found.value.conditions) if found.value else []
    return {
        "next": target,
        "found": found,
        "counted_name": name,
        "conditions": rows,
        "missing": sum(not row.holds for row in rows),
    }


def _found(
    target: Place, evidence: Evidence, escaped: Counted[FoundEscapes], version: str, asked: str
) -> tuple[str, Counted[FoundConditions]]:
    if target.stage in _BY_VERIFICATION:
        name = "conditions"
        return name, counted(f"{target}.{version}", partial(_verify, target, evidence), anew=asked == name)
    if target.stage not in _BY_ESCAPES:
        return "", Counted(_conditions(target, evidence), None, evidence.now)
    if escaped.value:
        evidence.escapes = escaped.value.counts
    value = _conditions(target, evidence) if escaped.value else None
    return "escapes", Counted(value, escaped.at, escaped.tried_at, escaped.gave_up_after)


def _conditions(target: Place, evidence: Evidence) -> FoundConditions:
    return FoundConditions(evidence.conditions(target), {}, [])


def _verify(target: Place, evidence: Evidence) -> FoundConditions:
    conditions = evidence.conditions(target)
    problems = {kind: count for kind, count in evidence.verification.problems.items() if count}
    return FoundConditions(conditions, problems, evidence.verification.offenders)
