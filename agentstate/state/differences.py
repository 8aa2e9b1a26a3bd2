"""Where two documents differ: the JSON paths, and both values."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from agentstate.state.documents import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Difference(NamedTuple):
    """A place at which two documents differ, ``ABSENT`` where one of them has nothing there."""

    path: str
    one: Any
    other: Any


class _Place(NamedTuple):
    """A place in a document: put together to text only where somebody wants to know."""

    inside: _Place | None
    step: str

    def __str__(self) -> str:
        steps: list[str] = []
        place: _Place | None = self
        while place is not None:
            steps.append(place.step)
            place = place.inside
        return "".join(reversed(steps)).removeprefix(".")


def step(key: str | int) -> str:
    """Return how a path goes on to a member or an entry: ``.status``, ``["two words"]``, ``[3]``."""
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_NAME.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


def differences(one: Any, other: Any, path: str = "") -> Iterator[Difference]:
    """Walk two documents, and yield each place at which they differ as jsonb compares them, in order.

    Paths read like ``coverage.requirements[3].status``. Depth does not matter, and numbers are compared digit for
    digit: ``0.10`` equals ``0.1``, and true does not equal 1.

    Args:
        path: the name of both documents, with which each path begins.
    """
    waiting = [(_Place(None, path), one, other)]
    while waiting:
        place, one, other = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            keys = sorted(one.keys() | other.keys(), reverse=True)
            waiting += ((_Place(place, step(key)), one.get(key, ABSENT), other.get(key, ABSENT)) for key in keys)
        elif isinstance(one, list) and isinstance(other, list):
            for index in range(max(len(one), len(other)) - 1, -1, -1):
                waiting.append((_Place(place, step(index)), _entry(one, index), _entry(other, index)))
        elif not _same(one, other):
            yield Difference(str(place), one, other)


def _entry(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else ABSENT


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values, not both of them arrays or objects, are the same JSON."""
    if _is_number(one) and _is_number(other):
        return _exactly(one) == _exactly(other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _exactly(number: float | Decimal) -> Decimal:
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
