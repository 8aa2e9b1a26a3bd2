"""What agents hand over, as JSON that PostgreSQL can hold: nothing lost where it can be kept, every change marked.

What jsonb takes is stored as it is. In the place of what it refuses stands ``{"$unstorable": kind, "value": …}``:

``string``
    A text with NUL characters or lone surrogates; the value is the text with JSON's escapes.
``number``
    NaN, infinity, or more digits than PostgreSQL's ``numeric`` has; the number as text.
``object``
    A dict with a key that is no plain text; its ``[key, value]`` pairs.
``set``, ``frozenset``
    Its members, as a list.
``bytes``, ``bytearray``, ``memoryview``
    Base64.
``cycle``
    Something that holds itself; how many levels up it stands.
``depth``
    What lies deeper than 500 levels; its JSON text.
``size``
    A document of more than 100 MB; the beginning of its JSON text.
a class, as in ``uuid.UUID``
    Any other object; the fields of a dataclass or of a Pydantic model, an enum's value, a date in ISO format, or else
    its ``repr``.

A tuple becomes a list, as JSON has it, without a mark. A dict that has the key ``$unstorable`` itself is kept as
pairs, so that a mark is always ours.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from base64 import b64encode
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any, cast

MARK = "$unstorable"
DEEPEST = 500
LARGEST = 100_000_000
CUT_TO = 100_000

# The bounds of PostgreSQL's numeric: digits before and after the decimal point.
_DIGITS_BEFORE, _DIGITS_AFTER = 131072, 16383
_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(value: object) -> str:
    """Return JSON text that jsonb takes, with a mark for each change. It never raises."""
    text = _plain(value)
    if text is None:
        try:
            text = "".join(_Writer().write(value))
        except Exception:  # an object whose own code does not even let itself be looked at
            text = _as_repr(value)
    if len(text) > LARGEST // 4 and len(text.encode()) > LARGEST:
        return _marked_text("size", text[:CUT_TO])
    return text


def storable_text(text: str) -> str:
    """Return text that PostgreSQL takes: NUL characters and lone surrogates become escapes such as ``\\u0000``."""
    return _SURROGATES.sub(_escape, text.replace("\0", "\\u0000"))


def described(error: BaseException) -> str:
    """Return an error's class and text, ``ValueError: no such page``."""
    name, text = type(error).__name__, _guarded(str, error)
    return storable_text(f"{name}: {text}" if text else name)


def _plain(value: object) -> str | None:
    """Return JSON text if the value is JSON through and through, as most are. All of this runs at C's speed."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
        # Comparing finds keys that became text. What looks like NUL may be a backslash and u0000: the slow way knows.
        is_plain = "\\u0000" not in text and MARK not in text and bool(json.loads(text) == value)
        is_plain = is_plain and (text.count("[") + text.count("{") <= DEEPEST or _is_shallow(value))
    except Exception:  # whatever it is, the slow way copes with it
        return None
    return text if is_plain else None


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


class _Writer:
    """Writes JSON text piece by piece, without recursion: an agent's stack may be deep, and its data deeper."""

    def __init__(self, deepest: float = DEEPEST, around: dict[int, int] | None = None) -> None:
        self._deepest = deepest
        self._open = dict(around or {})  # the containers around this place: id to level

    def write(self, value: object) -> list[str]:
        parts: list[str] = []
        stack: list[tuple[int, Iterator[tuple[str, object]], str, bool]] = []
        self._enter(value, "", parts, stack)
        while stack:
            identity, members, closing, is_first = stack[-1]
            member = next(members, None)
            if member is None:
                stack.pop()
                del self._open[identity]
                parts.append(closing)
                continue
            stack[-1] = (identity, members, closing, False)
            prefix, inner = member
            self._enter(inner, prefix if is_first else f",{prefix}", parts, stack)
        return parts

    def _enter(self, value: object, prefix: str, parts: list[str], stack: list[Any]) -> None:
        """Write a scalar, or open a container."""
        parts.append(prefix)
        scalar = _scalar(value)
        if scalar is not None:
            parts.append(scalar)
        elif id(value) in self._open:
            parts.append(_marked("cycle", str(len(self._open) - self._open[id(value)])))
        elif len(self._open) >= self._deepest:
            parts.append(_marked_text("depth", "".join(_Writer(math.inf, self._open).write(value))))
        else:
            opening, members, closing = _container(value)
            self._open[id(value)] = len(self._open)
            parts.append(opening)
            stack.append((id(value), members, closing, True))


def _scalar(value: object) -> str | None:
    """Return a scalar's JSON text, None for what holds others."""
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]  # type: ignore[index]
    if kind is str:
        return _text(value)  # type: ignore[arg-type]
    if kind in (int, float, Decimal):
        return _number(value)  # type: ignore[arg-type]
    if issubclass(kind, bytes | bytearray | memoryview):
        return _marked_text(kind.__name__, b64encode(bytes(value)).decode())  # type: ignore[call-overload]
    if issubclass(kind, dict | list | tuple | set | frozenset) or _fields(value) is not None:
        return None
    return _of_object(value)


def _text(text: str) -> str:
    written = json.dumps(text, ensure_ascii=False)
    if "\0" not in text and not _SURROGATES.search(text):
        return written
    return _marked_text("string", _SURROGATES.sub(_escape, written)[1:-1])


def _number(number: float | Decimal) -> str:
    # Not str() for an integer: Python refuses to convert more than some thousand digits.
    exact = Decimal(number) if isinstance(number, int) else number
    text = format(exact, "f") if isinstance(number, int) else str(exact)
    if not (exact.is_finite() if isinstance(exact, Decimal) else math.isfinite(exact)):
        return _marked_text("number", {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(text, text))
    if isinstance(exact, Decimal):
        exponent = exact.as_tuple().exponent
        if exact.adjusted() >= _DIGITS_BEFORE or (isinstance(exponent, int) and -exponent > _DIGITS_AFTER):
            return _marked_text("number", text)
    return text


def _of_object(value: object) -> str:
    kind = type(value)
    if issubclass(kind, str):
        return _text(str.__str__(value))
    if issubclass(kind, int):
        return _number(int.__int__(value))  # type: ignore[arg-type]
    if issubclass(kind, float):
        return _number(float.__float__(value))  # type: ignore[arg-type]
    if issubclass(kind, Enum):
        return _marked(_name(kind), storable(_guarded(lambda enum: enum.value, value)))
    written = _guarded(lambda moment: moment.isoformat(), value) if hasattr(kind, "isoformat") else None
    return _marked(_name(kind), _text(written)) if type(written) is str else _as_repr(value)


def _as_repr(value: object) -> str:
    return _marked(_name(type(value)), _text(_guarded(repr, value)))


def _container(value: object) -> tuple[str, Iterator[tuple[str, object]], str]:
    """Return how a container's text opens, its members each with what stands before it, and how the text closes."""
    kind = type(value)
    if issubclass(kind, dict):
        pairs: list[tuple[object, object]] = list(dict.items(cast("dict[object, object]", value)))
        if all(_is_plain_key(key) for key, _ in pairs):
            return "{", iter([(f"{json.dumps(key, ensure_ascii=False)}:", inner) for key, inner in pairs]), "}"
        return _opening("object", "["), iter([("", [key, inner]) for key, inner in pairs]), "]}"
    if issubclass(kind, list | tuple):
        return "[", iter([("", inner) for inner in list(value)]), "]"  # type: ignore[call-overload]
    if issubclass(kind, set | frozenset):
        members = iter([("", inner) for inner in list(value)])  # type: ignore[call-overload]
        return _opening(kind.__name__, "["), members, "]}"
    return _opening(_name(kind), ""), iter([("", _fields(value))]), "}"


def _is_plain_key(key: object) -> bool:
    return type(key) is str and key != MARK and "\0" not in key and not _SURROGATES.search(key)


def _opening(kind: str, bracket: str) -> str:
    return f'{{"{MARK}":{json.dumps(kind)},"value":{bracket}'


def _fields(value: object) -> dict[str, object] | None:
    """Return the fields of a dataclass or of a Pydantic model, None for anything else."""
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        missing = object()
        fields = {field.name: getattr(value, field.name, missing) for field in dataclasses.fields(kind)}
        return {name: inner for name, inner in fields.items() if inner is not missing}
    if hasattr(kind, "model_dump") and hasattr(kind, "model_fields"):
        dumped = _guarded(lambda model: model.model_dump(), value)
        return dumped if type(dumped) is dict else None
    return None


def _guarded(act: Any, value: object) -> Any:
    """Return what comes of a call into somebody else's code, or a word on its failure."""
    try:
        return act(value)
    except Exception as error:
        return f"<{type(value).__name__} that raises {type(error).__name__}>"


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _marked(kind: str, written: str) -> str:
    return f'{{"{MARK}":{json.dumps(kind)},"value":{written}}}'


def _marked_text(kind: str, text: str) -> str:
    return _marked(kind, json.dumps(text, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
