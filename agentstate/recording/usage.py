"""Add up what a run's model calls use: an event ``model.usage`` each, and the totals in the run's ``usage``.

``usage`` is null until the first call, then::

    {"requests": 2, "input_tokens": 900, "cached_tokens": 0, "output_tokens": 80, "reasoning_tokens": 20,
     "unpriced_requests": 0, "cost_usd": 0.0019, "models": {"gpt-5": {…the same members…}}}

``cost_usd`` is the sum of the costs that are known, absent if none is. ``unpriced_requests`` is the number of requests
without a known cost.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from agentstate.recording import events
from agentstate.recording.prices import cost_of, is_amount
from agentstate.recording.storable import storable, storable_text
from agentstate.rounds import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE = "model.usage"

COUNTS = ("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
_ADDED = (*COUNTS, "unpriced_requests")


def _number(where: str, name: str) -> str:
    return f"CASE jsonb_typeof({where} -> '{name}') WHEN 'number' THEN ({where} -> '{name}')::numeric ELSE 0 END"


def sum_of(usage: str, name: str) -> str:
    """Return the SQL that adds up a member over rows whose ``usage`` is an object; what is no number counts as 0."""
    return f"sum({_number(usage, name)})"


def _sum(total: str) -> str:
    """Return the jsonb expression of a total with what was used added."""
    members = ", ".join(f"'{name}', {_number(total, name)} + {_number('spent', name)}" for name in _ADDED)
    cost = f"jsonb_build_object('cost_usd', {_number(total, 'cost_usd')} + {_number('spent', 'cost_usd')})"
    has_cost = f"coalesce(jsonb_exists({total}, 'cost_usd'), false) OR jsonb_exists(spent, 'cost_usd')"
    return f"jsonb_build_object({members}) || CASE WHEN {has_cost} THEN {cost} ELSE '{{}}' END"


# The lock on the run, which the event's write took, keeps concurrent additions apart.
_ADD = Statement(f"""
    UPDATE "AgentWorkflowRun" run
    SET usage = {_sum("run.usage")} || jsonb_build_object('models',
        coalesce(run.usage -> 'models', '{{}}')
        || jsonb_build_object(%(model)s::text, {_sum("(run.usage -> 'models' -> %(model)s::text)")}))
    FROM (SELECT %(spent)s::jsonb AS spent) given
    WHERE run.id = %(run)s AND EXISTS (SELECT FROM "AgentWorkflowRunEvent" WHERE id = %(id)s)""")


def add(run_id: str, model: str, counts: Mapping[str, int], cost_usd: object, more: dict[str, object]) -> str:
    """Write the event and add to the run's totals, in one transaction; return the event's id.

    Raises:
        ValueError: a number is negative, or no whole number of tokens, or no amount of dollars.
        RunNotFound, RowsDropped: see :func:`agentstate.recording.events.append`.
    """
    for name, count in counts.items():
        if type(count) is not int or count < 0:
            raise ValueError(f"{name} is {count!r}, and must be a whole number, 0 or more.")
    if cost_usd is not None and not is_amount(cost_usd):
        raise ValueError(f"cost_usd is {cost_usd!r}, and must be an amount of dollars, or None where it is not known.")
    tokens = {name: count for name, count in counts.items() if name not in ("requests", "reasoning_tokens")}
    cost = cost_of(model, **tokens) if cost_usd is None else Decimal(str(cost_usd))
    spent: dict[str, object] = {**counts, "unpriced_requests": counts["requests"] if cost is None else 0}
    if cost is not None:
        spent["cost_usd"] = cost
    return events.append_one(
        run_id,
        USAGE,
        {**more, "model": model, **counts, "cost_usd": cost},
        _ADD,
        model=storable_text(model),
        spent=storable(spent),
    )
