"""Documents between Python and jsonb: nothing rounded, nothing guessed."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from agentstate.state.errors import UnsuitableDocument
from agentstate.state.nesting import parse, write


class _Absent(Enum):
    ABSENT = "ABSENT"

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


# A document that is not there: SQL NULL in the columns, no key in a snapshot. JSON null is None.
ABSENT: Final = _Absent.ABSENT
Absent = _Absent

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
    """Return a document as JSON text to look at or to compare, however deep it is; see :func:`encode`."""
    return write(document, lambda value: encode(value, ""))


def encode(document: Any, path: str) -> str:
    """Return a document as JSON text, with the digits of its numbers.

    Raises:
        UnsuitableDocument: a value in it is not JSON, or is what jsonb refuses: NaN, infinity, a NUL character, a lone
            surrogate.
    """
    parts: list[str] = []
    try:
        _encode(document, path, parts)
    except RecursionError:
        raise UnsuitableDocument(path, "is nested too deeply, or in itself") from None
    return "".join(parts)


def _encode(value: Any, path: str, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(_text(value, path))
    elif value is None or isinstance(value, bool):
        parts.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, int | float | Decimal):
        parts.append(_digits(value, path))
    elif isinstance(value, list | tuple):
        _encode_list(value, path, parts)
    elif isinstance(value, dict):
        _encode_object(value, path, parts)
    else:
        raise UnsuitableDocument(path, f"is a {type(value).__name__}, which is not JSON")


def _encode_list(items: list[Any] | tuple[Any, ...], path: str, parts: list[str]) -> None:
    parts.append("[")
    for place, item in enumerate(items):
        if place:
            parts.append(",")
        _encode(item, f"{path}[{place}]", parts)
    parts.append("]")


def _encode_object(members: dict[Any, Any], path: str, parts: list[str]) -> None:
    parts.append("{")
    for place, (key, value) in enumerate(members.items()):
        if not isinstance(key, str):
            raise UnsuitableDocument(path, f"has the key {key!r}, which is not a string")
        if place:
            parts.append(",")
        parts.append(f"{_text(key, path)}:")
        _encode(value, f"{path}.{key}", parts)
    parts.append("}")


def _digits(number: float | Decimal, path: str) -> str:
    """Return a number's digits. Decimal knows no limit to those of an integer, where int does."""
    if isinstance(number, float) and math.isfinite(number):
        return float.__repr__(number)
    exact = Decimal(number)
    if not exact.is_finite():
        raise UnsuitableDocument(path, f"is {number}, which JSON has no number for")
    before_point = exact.adjusted() + 1
    if before_point > _BEFORE_POINT or len(exact.as_tuple().digits) - before_point > _AFTER_POINT:
        raise UnsuitableDocument(path, "is a number of more digits than PostgreSQL holds")
    return str(exact)


def _text(text: str, path: str) -> str:
    if "\0" in text:
        raise UnsuitableDocument(path, "holds a NUL character, which PostgreSQL refuses")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnsuitableDocument(path, "holds half of a surrogate pair, which is no text") from None
    return json.dumps(text, ensure_ascii=False)
