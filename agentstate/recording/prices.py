"""What tokens cost, by the price table of the setting ``AGENTSTATE_PRICES``.

::

    AGENTSTATE_PRICES = {"gpt-5": {"input": 1.25, "cached": 0.125, "output": 10}}

Prices are US dollars per million tokens, by the model's exact name. ``cached`` is the price of input tokens that came
from the provider's cache, by default that of other input tokens. A model without prices has no cost.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUIRED, OPTIONAL = ("input", "output"), ("cached",)
_MILLION = 1_000_000


def cost_of(model: str, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal | None:
    """Return the cost in US dollars; None if the table has no prices of the model, or unusable ones.

    Args:
        input_tokens: with the cached ones.
        output_tokens: with those of reasoning.
    """
    table = getattr(settings, "AGENTSTATE_PRICES", None) or {}
    prices = table.get(model) if isinstance(table, dict) else None
    if prices is None or any(_problems_of(model, prices)):
        return None
    per_million = {name: Decimal(str(price)) for name, price in prices.items()}
    cached = min(cached_tokens, input_tokens)
    total = (
        (input_tokens - cached) * per_million["input"]
        + cached * per_million.get("cached", per_million["input"])
        + output_tokens * per_million["output"]
    )
    return total / _MILLION


def problems_of_prices() -> list[str]:
    """Return what is wrong with the setting, one sentence each."""
    table = getattr(settings, "AGENTSTATE_PRICES", None)
    if table is None:
        return []
    if not isinstance(table, dict):
        return ["It is no dict."]
    return [problem for model, prices in table.items() for problem in _problems_of(model, prices)]


def _problems_of(model: object, prices: Any) -> Iterable[str]:
    if not isinstance(model, str):
        yield f"{model!r} is no name of a model."
    if not isinstance(prices, dict):
        yield f"The prices of {model!r} are no dict."
        return
    for name in REQUIRED:
        if name not in prices:
            yield f"{model!r} has no price {name!r}."
    for name, price in prices.items():
        if name not in (*REQUIRED, *OPTIONAL):
            yield f"{model!r} has an unknown price {name!r}."
        elif not is_amount(price):
            yield f"The price {name!r} of {model!r} is {price!r}, which is no amount of dollars."


def is_amount(value: object) -> bool:
    """Return whether a value is a finite number, zero or more."""
    return type(value) in (int, float, Decimal) and math.isfinite(value) and value >= 0  # type: ignore[arg-type,operator]
