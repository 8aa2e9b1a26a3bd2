"""JSON nested as deeply as jsonb holds it, which is deeper than Python's own reader and writer go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')


class _Written(str):
    """A piece of JSON text, where other strings are values still to be written."""

    __slots__ = ()


def parse(text: str, scalar: Callable[[str], Any]) -> Any:
    """Return the document that valid JSON text is; ``scalar`` reads a string, a number, true, false and null."""
    whole: list[Any] = []
    containers: list[Any] = [whole]
    keys: list[str | None] = [None]
    for piece in _TOKEN.findall(text):
        if piece in "]}":
            containers.pop()
            keys.pop()
        elif piece in ":,":
            continue
        elif isinstance(containers[-1], dict) and keys[-1] is None:
            keys[-1] = scalar(piece)
        else:
            value = [] if piece == "[" else {} if piece == "{" else scalar(piece)
            _put(containers[-1], keys, value)
            if piece in "[{":
                containers.append(value)
                keys.append(None)
    return whole[0]


def _put(container: list[Any] | dict[str, Any], keys: list[str | None], value: Any) -> None:
    key = keys[-1]
    if isinstance(container, list):
        container.append(value)
    elif key is not None:
        container[key] = value
        keys[-1] = None


def write(document: Any, scalar: Callable[[Any], str]) -> str:
    """Return a document as JSON text; ``scalar`` writes everything but arrays and objects."""
    parts: list[str] = []
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Written):
            parts.append(value)
        elif isinstance(value, dict):
            waiting.append(_Written("}"))
            for place, (key, member) in enumerate(reversed(value.items())):
                comma = "," if place < len(value) - 1 else ""
                waiting += (member, _Written(f"{comma}{scalar(key)}:"))
            parts.append("{")
        elif isinstance(value, list):
            waiting.append(_Written("]"))
            for place, item in enumerate(reversed(value)):
                waiting.append(item)
                if place < len(value) - 1:
                    waiting.append(_Written(","))
            parts.append("[")
        else:
            parts.append(scalar(value))
    return "".join(parts)
