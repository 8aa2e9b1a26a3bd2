"""Read and write JSON nested more deeply than Python's json module can: jsonb allows 6,000 levels and more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, count, repeat
from typing import TYPE_CHECKING, Any

from agentstate.state.errors import UnsuitableDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')
CONTAINERS = (dict, list, tuple)


class NotJson(Exception):
    """A value cannot be written; the text says why."""


@dataclass(slots=True)
class _Level:
    """An array or object that is being written: its remaining members, and the key or index of the present one."""

    container: Any
    members: Iterator[tuple[str, int | str, Any]]
    closing: str
    step: int | str = ""


def parse(text: str, scalar: Callable[[str], Any]) -> Any:
    """Parse valid JSON text.

    Args:
        scalar: parses a string, a number, true, false and null.
    """
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
        path: the document's name, with which the path in an error begins.
        scalar: writes everything but arrays and objects, or raises ``NotJson``.

    Raises:
        UnsuitableDocument: a value is not JSON, or contains itself.
    """
    levels = [_Level(None, iter([("", "", document)]), "")]
    try:
        return "".join(_pieces(levels, scalar))
    except NotJson as refused:
        steps = "".join(f"[{level.step}]" if isinstance(level.step, int) else f".{level.step}" for level in levels[1:])
        raise UnsuitableDocument(path + steps, str(refused)) from None


def _pieces(levels: list[_Level], scalar: Callable[[Any], str]) -> Iterator[str]:
    """Yield the text in pieces. ``levels`` holds what is being written, the outermost first."""
    around = set()
    while levels:
        level = levels[-1]
        for before, step, value in level.members:
            level.step = step
            yield before
            if not isinstance(value, CONTAINERS):
                yield scalar(value)
                continue
            if id(value) in around:
                raise NotJson("contains itself")
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
