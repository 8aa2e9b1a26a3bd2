"""Convert documents between Python and jsonb without rounding or guessing."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from agentstate.state.nesting import CONTAINERS, NotJson, parse, write


class _Absent(Enum):
    ABSENT = "ABSENT"

    def __repr__(self) -> str:
        return "ABSENT"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return False


# A missing document: SQL NULL in the columns, no key in a snapshot. JSON null is None.
ABSENT: Final = _Absent.ABSENT

# How many digits PostgreSQL's numeric can have before and after the decimal point.
_BEFORE_POINT, _AFTER_POINT = 131_072, 16_383


def decode(text: str | None) -> Any:
    """Parse jsonb text; None (SQL NULL) becomes ABSENT.

    A number with a fraction becomes a float if the float's repr has the same digits, else a ``Decimal``. Saving it
    again writes the same digits.
    """
    if text is None:
        return ABSENT
    try:
        return _decode(text)
    except RecursionError:
        return parse(text, _decode)


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except ValueError:  # more digits than Python converts
        return _DECODER_OF_LONG_NUMBERS.decode(text)


def _number(text: str) -> float | Decimal:
    number = float(text)
    return number if repr(number) == text else Decimal(text)


def _whole_number(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        return Decimal(text)


def _not_json(constant: str) -> Any:
    """Refuse NaN and the infinities, which json would read and JSON does not have."""
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_not_json)
_DECODER_OF_LONG_NUMBERS = json.JSONDecoder(parse_float=_number, parse_int=_whole_number, parse_constant=_not_json)


def as_text(document: Any) -> str:
    """Return a document as JSON text to show or to compare; see :func:`encode`."""
    return encode(document, "")


def encode(document: Any, path: str) -> str:
    """Return a document as JSON text, with all digits of its numbers, at any depth.

    Args:
        path: the document's name, with which the path in an error begins.

    Raises:
        UnsuitableDocument: a value is not JSON, contains itself, or is refused by jsonb: NaN, infinity, a NUL
            character, a lone surrogate.
    """
    return _encode_plain(document) or write(document, path, _scalar)


def _encode_plain(document: Any) -> str | None:
    """Encode with json's C code, five times as fast; None for what it refuses or would change."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return None
    return text if "\\u0000" not in text and _has_text_keys(document) else None


def _has_text_keys(document: Any) -> bool:
    """Return whether all keys are strings: json would convert numbers, booleans and None."""
    containers = [document]
    for container in containers:
        if isinstance(container, dict):
            if not all(isinstance(key, str) for key in container):
                return False
            containers += [value for value in container.values() if isinstance(value, CONTAINERS)]
        elif isinstance(container, CONTAINERS):
            containers += [value for value in container if isinstance(value, CONTAINERS)]
    return True


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float | Decimal):
        return _digits(value)
    if value is ABSENT:
        raise NotJson("is ABSENT; only a whole document can be")
    raise NotJson(f"is a {type(value).__name__}, which is not JSON")


def _digits(number: float | Decimal) -> str:
    """Return a number's digits. Decimal prints integers of any length; int has a limit."""
    if isinstance(number, float) and math.isfinite(number):
        return float.__repr__(number)
    exact = Decimal(number)
    if not exact.is_finite():
        raise NotJson(f"is {number}, which is not a JSON number")
    before_point = exact.adjusted() + 1
    if before_point > _BEFORE_POINT or len(exact.as_tuple().digits) - before_point > _AFTER_POINT:
        raise NotJson("is a number with more digits than PostgreSQL can hold")
    return str(exact)


def _text(text: str) -> str:
    if "\0" in text:
        raise NotJson("contains a NUL character, which PostgreSQL refuses")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotJson("contains a lone surrogate, which is not valid text") from None
    return json.dumps(text, ensure_ascii=False)
