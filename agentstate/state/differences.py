"""List where two documents differ: JSON paths and both values.

For the few documents of a page. The database compares many rows with the SQL in paths.py, which ends at the first
difference of each.
"""

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
    """A path at which two documents differ; a missing value is ``ABSENT``."""

    path: str
    one: Any
    other: Any


class _Path(NamedTuple):
    """A path as a linked list: most paths are never turned into text."""

    parent: _Path | None
    step: str

    def __str__(self) -> str:
        steps: list[str] = []
        path: _Path | None = self
        while path is not None:
            steps.append(path.step)
            path = path.parent
        return "".join(reversed(steps)).removeprefix(".")


def step(key: str | int) -> str:
    """Return the step of a path to a member or an entry: ``.status``, ``["two words"]``, ``[3]``."""
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_NAME.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


def differences(one: Any, other: Any, path: str = "") -> Iterator[Difference]:
    """Yield each path at which two documents differ as jsonb compares them, in order.

    Paths read like ``coverage.requirements[3].status``. Documents may be of any depth. Numbers are compared exactly:
    ``0.10`` equals ``0.1``, and true does not equal 1.

    Args:
        path: the name of both documents, with which each path begins.
    """
    waiting = [(_Path(None, path), one, other)]
    while waiting:
        here, one, other = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            keys = sorted(one.keys() | other.keys(), reverse=True)
            waiting += ((_Path(here, step(key)), one.get(key, ABSENT), other.get(key, ABSENT)) for key in keys)
        elif isinstance(one, list) and isinstance(other, list):
            for index in range(max(len(one), len(other)) - 1, -1, -1):
                waiting.append((_Path(here, step(index)), _entry(one, index), _entry(other, index)))
        elif not _same(one, other):
            yield Difference(str(here), one, other)


def _entry(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else ABSENT


def _same(one: Any, other: Any) -> bool:
    """Return whether two values, at most one of them an array or object, are the same JSON."""
    if _is_number(one) and _is_number(other):
        return _exactly(one) == _exactly(other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _exactly(number: float | Decimal) -> Decimal:
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
