"""Reading documents of any shape."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from agentstate.state.differences import step
from agentstate.state.documents import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable

    Kind = TypeVar("Kind")

_NUMBER = re.compile(r"-?[0-9]{1,50}(\.[0-9]{1,50})?([eE][+-]?[0-9]{1,5})?")
_SHORT = 8


@dataclass(frozen=True)
class Odd:
    """A part of a document that fits no known shape: its path and its value."""

    path: str
    document: Any


class Members:
    """The members of an object. ``take`` removes each once; ``rest`` holds the others.

    A member of another kind stays in ``rest``. Null is removed and returned as None.
    """

    def __init__(self, members: dict[str, Any]) -> None:
        self.rest = dict(members)

    def take(self, name: str, kind: Callable[[Any], Kind | None]) -> Kind | None:
        if name not in self.rest:
            return None
        value = self.rest[name]
        taken = None if value is None else kind(value)
        if value is None or taken is not None:
            del self.rest[name]
        return taken

    def text(self, name: str) -> str | None:
        return self.take(name, text)

    def number(self, name: str) -> Decimal | None:
        return self.take(name, number)

    def flag(self, name: str) -> bool | None:
        return self.take(name, lambda value: value if isinstance(value, bool) else None)

    def array(self, name: str) -> list[Any]:
        return self.take(name, lambda value: value if isinstance(value, list) else None) or []

    def object(self, name: str) -> Members | None:
        return self.take(name, lambda value: Members(value) if isinstance(value, dict) else None)

    def odd(self, path: str) -> list[Odd]:
        """Return the remaining members as odd parts."""
        return [Odd(f"{path}{step(name)}", value) for name, value in self.rest.items()]


def text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def number(value: Any) -> Decimal | None:
    """Return a number with all its digits, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def number_or_text(value: Any) -> Decimal | None:
    """Return a number, or the number that a text contains."""
    if isinstance(value, str):
        spelled = value.strip()
        return Decimal(spelled) if _NUMBER.fullmatch(spelled) else None
    return number(value)


def on_scale(score: Decimal) -> float:
    """Return a score, limited to the scale from 0 to 1."""
    return float(min(max(score, Decimal(0)), Decimal(1)))


def short_number(value: Decimal) -> str:
    """Return a number with all its digits if they are few, else with three."""
    exact = str(value)
    if len(exact) <= _SHORT:
        return exact
    digits, e, exponent = f"{value:.3G}".partition("E")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + e + exponent


def presence(document: Any) -> str:
    """Return ``absent``, ``null`` or ``there``."""
    if document is ABSENT:
        return "absent"
    return "null" if document is None else "there"


def entries(items: list[Any], path: str, read: Callable[[Members], Kind]) -> tuple[list[Kind], list[Odd]]:
    """Read the items that are objects; return the others as odd parts."""
    objects = [read(Members(item)) for item in items if isinstance(item, dict)]
    odd = [Odd(f"{path}[{place}]", item) for place, item in enumerate(items) if not isinstance(item, dict)]
    return objects, odd
