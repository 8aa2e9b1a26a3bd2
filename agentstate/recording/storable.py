"""Turn any Python value into JSON that PostgreSQL can store, and mark each change.

What jsonb accepts is stored unchanged. What it refuses is replaced by ``{"$unstorable": kind, "value": …}``:

``string``
    Text with NUL characters or lone surrogates; the text with JSON's escapes.
``number``
    NaN, infinity, or more digits than PostgreSQL's ``numeric`` has; the number as text.
``object``
    A dict with a key that is not plain text; its ``[key, value]`` pairs.
``set``, ``frozenset``
    Its members, as a list.
``bytes``, ``bytearray``, ``memoryview``
    Base64.
``cycle``
    A container inside itself; how many levels up it is.
``depth``
    A value nested more than 500 levels deep; its JSON text.
``size``
    A document of more than 100 MB or two million values; the beginning of its JSON text.
``redaction``
    Anything that the host's function for redaction failed on; null. See :mod:`agentstate.recording.redaction`.
a class, as in ``uuid.UUID``
    Any other object; the fields of a dataclass or of a Pydantic model, an enum's value, a date in ISO format, or else
    its ``repr``.

A tuple becomes a list, as JSON has it, without a mark. A dict that has the key ``$unstorable`` itself is kept as
pairs. So every mark is ours, and :func:`restored` undoes those of text, numbers and objects.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum
from typing import Any, cast

MARK = "$unstorable"
DEEPEST = 500
LARGEST = 100_000_000  # bytes
# The server needs up to 700 bytes to parse a value of two characters, and jsonb up to six times the text's size.
MOST_VALUES = 2_000_000
CUT_TO = 100_000

# The bounds of PostgreSQL's numeric: digits before and after the decimal point.
_DIGITS_BEFORE, _DIGITS_AFTER = 131072, 16383
_SURROGATES = re.compile("[\ud800-\udfff]")
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_ESCAPES = re.compile(r"\\(?:u[0-9a-f]{4}|.)")


def storable(value: object, *, keeps_marks: bool = False) -> str:
    """Return JSON text that jsonb accepts, with a mark for each change. Never raises.

    Args:
        keeps_marks: the value was read back, so that the marks in it are ours.
    """
    text = _plain(value, keeps_marks=keeps_marks)
    if text is None:
        try:
            text = "".join(_Writer(keeps_marks=keeps_marks).write(value))
        except Exception:  # a container whose own code raises while it is read
            text = _as_repr(value)
    return text if weight(text) <= 1 else _marked_text("size", text[:CUT_TO])


def storable_members(members: dict[str, object]) -> str:
    """Return the JSON text of an object. A member that is too large is marked by itself, and the others are kept."""
    if not all(_is_plain_key(name) for name in members):
        return storable(members)
    named = (f"{json.dumps(name, ensure_ascii=False)}:{storable(value)}" for name, value in members.items())
    return "{" + ",".join(named) + "}"


def weight(text: str) -> float:
    """Return how much of the largest document a JSON text takes, 1 for all of it."""
    values = text.count(",") + text.count("[") + text.count("{")
    return max(len(text.encode()) / LARGEST, values / MOST_VALUES)


def storable_text(text: str) -> str:
    """Return text that PostgreSQL accepts: NUL characters and lone surrogates become escapes such as ``\\u0000``."""
    return _SURROGATES.sub(_escape, text.replace("\0", "\\u0000"))


def restored(value: Any) -> Any:
    """Return a value that was read back with the marks ``string``, ``number`` and ``object`` undone, at any depth.

    So JSON from Python comes back equal, except that a whole float from 1e16 on may come back as an integer. Other
    marks stay, and so do objects that only look like a mark.
    """
    whole = [value]
    places: list[tuple[Any, Any]] = [(whole, 0)]  # containers, and where in them others are: the outer ones first
    for outer, place in places:
        inner = outer[place]
        if isinstance(inner, dict | list):
            inner = outer[place] = inner.copy()
            members = inner.items() if isinstance(inner, dict) else enumerate(inner)
            places += [(inner, key) for key, member in members if isinstance(member, dict | list)]
    for outer, place in reversed(places):
        if isinstance(outer[place], dict) and outer[place].keys() == {MARK, "value"}:
            outer[place] = _undone(outer[place])
    return whole[0]


def _undone(mark: dict[str, Any]) -> Any:
    try:
        return _UNDO[mark[MARK]](mark["value"])
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return mark


def _text_of(escaped: str) -> str:
    # One escape at a time: json would join two lone surrogates that happen to make a pair.
    return _ESCAPES.sub(lambda escape: str(json.loads(f'"{escape[0]}"')), escaped)


def _number_of(text: str) -> float | Decimal:
    if text in ("NaN", "Infinity", "-Infinity"):
        return float(text)
    number = Decimal(text)
    # Not int() of the text: Python refuses to convert more than some thousand digits.
    return int(number) if text.removeprefix("-").isdecimal() else number


_UNDO: dict[str, Callable[[Any], Any]] = {"string": _text_of, "number": _number_of, "object": dict}


def described(error: BaseException) -> str:
    """Return an error's class and text, ``ValueError: no such page``."""
    name, text = _class_name(type(error)), str.__str__(_guarded(str, error))
    return storable_text(f"{name}: {text}" if text else name)


def _plain(value: object, *, keeps_marks: bool = False) -> str | None:
    """Return the JSON text of a value that is JSON throughout, as most are; None for any other. Runs at C's speed."""
    try:
        text = _ENCODER.encode(value)
        if weight(text) > 1:
            return text  # to be cut
        # Comparing finds keys that became text. What looks like NUL may be a backslash and u0000: the writer decides.
        is_plain = "\\u0000" not in text and (keeps_marks or MARK not in text) and bool(json.loads(text) == value)
        is_plain = is_plain and (text.count("[") + text.count("{") <= DEEPEST or _is_shallow(value))
    except Exception:  # not JSON, or its own code raises: the writer copes with it
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
    """Writes JSON text piece by piece, without recursion: an agent's stack may be deep, and its data deeper.

    It stops where the text has more values than may be stored: each has three pieces at most.
    """

    def __init__(
        self, deepest: float = DEEPEST, around: dict[int, int] | None = None, *, keeps_marks: bool = False
    ) -> None:
        # What stands in three levels for one, a dict's pairs in their mark, was counted as one when it was marked.
        self._deepest = 4 * deepest if keeps_marks else deepest
        self._keeps_marks = keeps_marks
        self._open = dict(around or {})  # the enclosing containers: id to level

    def write(self, value: object) -> list[str]:
        parts: list[str] = []
        stack: list[tuple[int, Iterator[tuple[str, object]], str, bool]] = []
        self._enter(value, "", parts, stack)
        while stack and len(parts) <= 3 * (MOST_VALUES + 2):
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
        try:
            written = self._scalar_or_mark(value)
            opening, members, closing = (
                _container(value, keeps_marks=self._keeps_marks) if written is None else (written, iter(()), "")
            )
        except Exception:  # the value's own code, or its class's
            written = opening = _as_repr(value)
        parts.append(opening)
        if written is None:
            self._open[id(value)] = len(self._open)
            stack.append((id(value), members, closing, True))

    def _scalar_or_mark(self, value: object) -> str | None:
        """Return the JSON text of a scalar, or of the mark for a container that is not written; None for the rest."""
        scalar = _scalar(value)
        if scalar is not None:
            return scalar
        if id(value) in self._open:
            return _marked("cycle", str(len(self._open) - self._open[id(value)]))
        if len(self._open) >= self._deepest:
            return _marked_text("depth", "".join(_Writer(math.inf, self._open).write(value)))
        return None


def _scalar(value: object) -> str | None:
    """Return a scalar's JSON text, None for a container."""
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]  # type: ignore[index]
    if kind is str:
        return _text(value)  # type: ignore[arg-type]
    if kind in (int, float, Decimal):
        return _number(value)  # type: ignore[arg-type]
    if issubclass(kind, bytes | bytearray | memoryview):
        return _marked_text(_class_name(kind), b64encode(bytes(value)).decode())  # type: ignore[call-overload]
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
    return _marked(_name(type(value)), _text(str.__str__(_guarded(repr, value))))


def _container(value: object, *, keeps_marks: bool) -> tuple[str, Iterator[tuple[str, object]], str]:
    """Return how a container's text opens, its members, each with the text before it, and how the text closes."""
    kind = type(value)
    if issubclass(kind, dict):
        pairs: list[tuple[object, object]] = list(dict.items(cast("dict[object, object]", value)))
        if all(_is_plain_key(key) or (keeps_marks and key == MARK) for key, _ in pairs):
            return "{", iter([(f"{json.dumps(key, ensure_ascii=False)}:", inner) for key, inner in pairs]), "}"
        return _opening("object", "["), iter([("", [key, inner]) for key, inner in pairs]), "]}"
    if issubclass(kind, list | tuple):
        return "[", iter([("", inner) for inner in list(value)]), "]"  # type: ignore[call-overload]
    if issubclass(kind, set | frozenset):
        members = iter([("", inner) for inner in list(value)])  # type: ignore[call-overload]
        return _opening(_class_name(kind), "["), members, "]}"
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
    """Return the result of a call into the value's own code, or a text that says that it raised."""
    try:
        return act(value)
    except Exception as error:
        return f"<{_class_name(type(value))} that raises {_class_name(type(error))}>"


def _class_name(kind: type) -> str:
    return str(_of_class("__name__", kind))


def _name(kind: type) -> str:
    module = _of_class("__module__", kind)
    return storable_text(f"{module if type(module) is str else '?'}.{_of_class('__qualname__', kind)}")


def _of_class(attribute: str, kind: type) -> object:
    """Return an attribute of a class without calling its metaclass, which may raise."""
    return type.__dict__[attribute].__get__(kind)


def _marked(kind: str, written: str) -> str:
    return f'{{"{MARK}":{json.dumps(kind)},"value":{written}}}'


def _marked_text(kind: str, text: str) -> str:
    return _marked(kind, json.dumps(text, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
