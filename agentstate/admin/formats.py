"""How values read on our pages: JSON indented digit for digit, lengths of time, moments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agentstate.state import UnsuitableDocument
from agentstate.state.documents import ABSENT, encode

if TYPE_CHECKING:
    from datetime import timedelta

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]\s*[\]}]|[\[\]{},:]|[^\s\[\]{},:"]+')
# Deeper levels stand under one another: else the spaces alone of a deep document would be megabytes.
_DEEPEST_INDENT = 40

# Seconds of each unit, the longest first.
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def indented(text: str) -> str:
    """Return JSON text with a line for each member, and nothing else changed."""
    parts: list[str] = []
    depth = 0
    for piece in _TOKEN.findall(text):
        if piece in "[{":
            depth += 1
            parts += (piece, _new_line(depth))
        elif piece in "]}":
            depth -= 1
            parts += (_new_line(depth), piece)
        elif piece == ",":
            parts += (piece, _new_line(depth))
        else:
            parts.append(": " if piece == ":" else piece)
    return "".join(parts)


def _new_line(depth: int) -> str:
    return "\n" + "  " * min(depth, _DEEPEST_INDENT)


def pretty_json(document: Any) -> str:
    """Return a document as indented JSON; numbers show all their digits."""
    if document is ABSENT:
        return "not there"
    try:
        return indented(encode(document, ""))
    except UnsuitableDocument as error:
        return f"This cannot be shown: {error}"


def length_of_time(length: timedelta) -> str:
    """Return a length of time in its two largest units: ``350 ms``, ``1.2 s``, ``3 min 5 s``, ``2 d 4 h``."""
    seconds = length.total_seconds()
    if seconds < 0:
        return f"\N{MINUS SIGN}{length_of_time(-length)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    rest = round(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))
