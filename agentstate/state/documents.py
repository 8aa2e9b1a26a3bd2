"""Documents between Python and jsonb: nothing rounded, nothing guessed."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from agentstate.state.nesting import NotJson, parse, write


class _Absent(Enum):
    ABSENT = "ABSENT"

    def __repr__(self) -> str:
        return "ABSENT"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return False


# A document that is not there: SQL NULL in the columns, no key in a snapshot. JSON null is None.
ABSENT: Final = _Absent.ABSENT

# How many digits PostgreSQL's numeric holds before and after the decimal point.
_BEFORE_POINT, _AFTER_POINT = 131_072, 16_383


def decode(text: str | None) -> Any:
    """Return the document that jsonb's text is, ABSENT for None.

    A number with a fraction is a float where the float is written with just these digits, and a ``Decimal`` elsewhere,
    so that saving it again writes the same digits.
    """
    if text is None:
        return ABSENT
    try:
        return _decode(text)
    except RecursionError:
        return parse(text, _decode)


def _decode(text: str) -> Any:
    return json.loads(text, parse_float=_number, parse_int=_whole_number)


def _number(text: str) -> float | Decimal:
    number = float(text)
    return number if repr(number) == text else Decimal(text)


def _whole_number(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:  # more digits than Python converts
        return Decimal(text)


def as_text(document: Any) -> str:
    """Return a document as JSON text to look at or to compare; see :func:`encode`."""
    return encode(document, "")


def encode(document: Any, path: str) -> str:
    """Return a document as JSON text, with the digits of its numbers, however deep it is.

    Raises:
        UnsuitableDocument: a value in it is not JSON, holds itself, or is what jsonb refuses: NaN, infinity, a NUL
            character, a lone surrogate.
    """
    return write(document, path, _scalar)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float | Decimal):
        return _digits(value)
    if value is ABSENT:
        raise NotJson("is ABSENT, which a whole document can be, but nothing in it")
    raise NotJson(f"is a {type(value).__name__}, which is not JSON")


def _digits(number: float | Decimal) -> str:
    """Return a number's digits. Decimal knows no limit to those of an integer, where int does."""
    if isinstance(number, float) and math.isfinite(number):
        return float.__repr__(number)
    exact = Decimal(number)
    if not exact.is_finite():
        raise NotJson(f"is {number}, which JSON has no number for")
    before_point = exact.adjusted() + 1
    if before_point > _BEFORE_POINT or len(exact.as_tuple().digits) - before_point > _AFTER_POINT:
        raise NotJson("is a number of more digits than PostgreSQL holds")
    return str(exact)


def _text(text: str) -> str:
    if "\0" in text:
        raise NotJson("holds a NUL character, which PostgreSQL refuses")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotJson("holds half of a surrogate pair, which is no text") from None
    return json.dumps(text, ensure_ascii=False)
