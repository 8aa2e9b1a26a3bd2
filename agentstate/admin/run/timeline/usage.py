"""A run's tokens and their cost, for the list and for the run's page."""

from __future__ import annotations

from typing import Any, NamedTuple

from agentstate.admin.run.timeline.summaries import number_of
from agentstate.admin.shared.formats import cost_in_words


class UsageLine(NamedTuple):
    """The usage of one model, or of all. Numbers are as people read them."""

    name: str
    requests: str
    tokens_in: str
    cached: str
    tokens_out: str
    reasoning: str
    cost: str

    @property
    def sentence(self) -> str:
        return f"{self.tokens_in} tokens in, {self.tokens_out} out, {self.cost}"


def usage_lines(usage: Any) -> list[UsageLine]:
    """Return the lines of a run's ``usage``: the total, then each model if there are several; none if it is empty."""
    if not isinstance(usage, dict):
        return []
    models = usage.get("models")
    by_model = [_line(name, each) for name, each in models.items()] if isinstance(models, dict) else []
    if len(by_model) == 1:
        return by_model
    return [_line("All models", usage), *by_model]


def usage_in_short(usage: Any) -> str:
    """Return a run's tokens, and their cost if it is known; empty if there is nothing."""
    if not isinstance(usage, dict):
        return ""
    tokens = f"{_number(usage, 'input_tokens') + _number(usage, 'output_tokens'):,.0f} tokens"
    return f"{tokens}, {_cost(usage)}" if "cost_usd" in usage else tokens


def _line(name: str, usage: Any) -> UsageLine:
    members = usage if isinstance(usage, dict) else {}
    return UsageLine(
        name,
        requests=_count(members, "requests"),
        tokens_in=_count(members, "input_tokens"),
        cached=_count(members, "cached_tokens"),
        tokens_out=_count(members, "output_tokens"),
        reasoning=_count(members, "reasoning_tokens"),
        cost=_cost(members),
    )


def _count(usage: dict[str, Any], name: str) -> str:
    return f"{_number(usage, name):,.0f}"


def _cost(usage: dict[str, Any]) -> str:
    known = _number(usage, "cost_usd") if "cost_usd" in usage else None
    return cost_in_words(known, _number(usage, "unpriced_requests"))


def _number(usage: dict[str, Any], name: str) -> float:
    return number_of(usage.get(name)) or 0.0
