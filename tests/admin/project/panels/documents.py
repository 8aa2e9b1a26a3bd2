"""Documents of any shape, and what stands in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

# Names that the panels know, so that what is made at random often looks like what they know.
NAMES = st.sampled_from(
    [
        *("score", "requirements", "suggestions", "id", "status", "weight", "source", "resolved", "previous", "next"),
        *("key", "type", "version", "items", "overrides", "fatal", "text", "by", "meta", "title", "sections", "org"),
        *("evidence", "team", "subsections", "provenance", "confidence", "scoring", "", "two words", "strength"),
    ]
)
# jsonb holds no NUL character and no half of a surrogate pair.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
DOCUMENTS = st.recursive(
    SCALARS | st.sampled_from(["0.85", "missing", "latest", "<script>alert(1)</script>"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)


def leaves(value: Any) -> Counter[str]:
    """Return the scalars of a document or a panel, but null, as texts."""
    found = []
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):  # most are
            found.append(value)
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif is_dataclass(value):
            waiting += (getattr(value, field.name) for field in fields(value))
        elif value is not None:
            found.append(as_leaf(value))
    return Counter(found)


def as_leaf(value: Any) -> str:
    if isinstance(value, bool):
        return repr(value)
    return str(Decimal(repr(value)) if isinstance(value, float) else value)


def dropped(document: Any, panel: Any) -> Counter[str]:
    """Return the scalars of a document that its panel has not: lines of a text stand in it together."""
    kept = leaves(panel)
    lines = Counter(line for text, number in kept.items() for line in text.split("\n") for _ in range(number))
    return leaves(document) - kept - lines
