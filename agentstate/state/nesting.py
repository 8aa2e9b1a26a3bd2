"""JSON nested as deeply as jsonb holds it, which is deeper than Python's own reader and writer go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, count, repeat
from typing import TYPE_CHECKING, Any

from agentstate.state.errors import UnsuitableDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')
_CONTAINERS = (dict, list, tuple)


class NotJson(Exception):
    """What is wrong with a value that was to be written."""


@dataclass(slots=True)
class _Level:
    """An array or an object that is being written: its members to come, and where the writer is in it."""

    container: Any
    members: Iterator[tuple[str, int | str, Any]]
    closing: str
    place: int | str = ""


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


def write(document: Any, path: str, scalar: Callable[[Any], str]) -> str:
    """Return a document as JSON text.

    Args:
        path: the document's own, to tell where something is wrong.
        scalar: writes everything but arrays and objects, or raises ``NotJson``.

    Raises:
        UnsuitableDocument: a value is not JSON, or holds itself.
    """
    levels = [_Level(None, iter([("", "", document)]), "")]
    try:
        return "".join(_pieces(levels, scalar))
    except NotJson as refused:
        places = [level.place for level in levels[1:]]
        steps = "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)
        raise UnsuitableDocument(path + steps, str(refused)) from None


def _pieces(levels: list[_Level], scalar: Callable[[Any], str]) -> Iterator[str]:
    """Yield the text, piece by piece. ``levels`` is what is being written, the outermost first."""
    around = set()
    while levels:
        level = levels[-1]
        for before, place, value in level.members:
            level.place = place
            yield before
            if not isinstance(value, _CONTAINERS):
                yield scalar(value)
                continue
            if id(value) in around:
                raise NotJson("is nested in itself")
            yield "{" if isinstance(value, dict) else "["
            levels.append(_object(value, scalar) if isinstance(value, dict) else _array(value))
            around.add(id(value))
            break
        else:
            levels.pop()
            around.discard(id(level.container))
            yield level.closing


def _array(items: list[Any] | tuple[Any, ...]) -> _Level:
    return _Level(items, zip(chain([""], repeat(",")), count(), items, strict=False), "]")


def _object(members: dict[Any, Any], scalar: Callable[[Any], str]) -> _Level:
    for key in members:
        if not isinstance(key, str):
            raise NotJson(f"has the key {key!r}, which is not a string")
    before = [f"{',' if number else ''}{scalar(key)}:" for number, key in enumerate(members)]
    return _Level(members, zip(before, members.keys(), members.values(), strict=True), "}")
