"""How values are displayed: JSON indented digit for digit, moments, durations, offsets."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from agentstate.distant_times import DistantTime
from agentstate.state import UnsuitableDocument
from agentstate.state.documents import ABSENT, as_text

if TYPE_CHECKING:
    from decimal import Decimal

# A string may lack its end, since text that is too long is cut.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[{]\s*[\]}]|[\[\]{},:]|[^\s\[\]{},:"]+')
# Deeper levels are not indented further: the spaces of a deep document would be megabytes.
_DEEPEST_INDENT = 40

# Longer only where one of two times is wrong.
_LONGEST = timedelta(days=100_000)
# Between a number and its unit, which belong on one line.
NO_BREAK = "\N{NO-BREAK SPACE}"
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
        return "absent"
    try:
        return indented(as_text(document))
    except UnsuitableDocument as error:
        return f"Cannot be shown: {error}"


def indented_if_json(value: Any) -> str:
    """Return a value as indented JSON. Of a text, only the line breaks change, and none if it is not JSON."""
    if not isinstance(value, str):
        return pretty_json(value)
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return value
    return indented(value)


def moment(when: datetime, timespec: str = "seconds") -> str:
    """Return a moment in UTC: ``2026-01-02 03:04:05 UTC``. ``times.js`` shows it in the browser's zone on request."""
    if isinstance(when, DistantTime):
        return when.text
    return f"{when.astimezone(UTC).replace(tzinfo=None).isoformat(' ', timespec)} UTC"


def moment_of_axis(when: datetime) -> str:
    """Return a moment as the axis of a plot has it, in UTC: ``01-02 03:04``. The plot's caption names the zone."""
    return moment(when, "minutes")[5:16]


def length_of_time(length: timedelta) -> str:
    """Return a length of time in its two largest units: ``350 ms``, ``1.2 s``, ``3 min 5 s``, ``2 d 4 h``."""
    seconds = length.total_seconds()
    if seconds < 0:
        return f"\N{MINUS SIGN}{length_of_time(-length)}"
    if 0 < seconds < 0.001:
        return f"{seconds * 1_000_000:.0f}{NO_BREAK}µs"
    if seconds < 1:
        return f"{seconds * 1000:.0f}{NO_BREAK}ms"
    if seconds < 60:
        return f"{seconds:.1f}{NO_BREAK}s"
    if length > _LONGEST:
        return f"over {_LONGEST.days:,}{NO_BREAK}d"
    rest = round(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{NO_BREAK}{unit}")
    return " ".join(part for part in parts[:2] if not part.startswith(f"0{NO_BREAK}"))


def dollars(amount: float | Decimal) -> str:
    """Return an amount of dollars, small ones with two significant digits: ``$12.50``, ``$0.0019``."""
    if amount == 0 or amount >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.{1 - math.floor(math.log10(amount))}f}" if amount >= 1e-6 else "under $0.000001"


def cost_in_words(cost: float | Decimal | None, unpriced_requests: float | Decimal) -> str:
    """Return a cost in dollars, None where it is not known, and how many requests it leaves out."""
    if cost is None:
        return "cost unknown"
    if not unpriced_requests:
        return dollars(cost)
    return f"{dollars(cost)} and {unpriced_requests:,.0f} unpriced request{'' if unpriced_requests == 1 else 's'}"


def offset(length: timedelta) -> str:
    """Return a time since a start, so that neighbours differ: ``+1 µs``, ``+2.35 s``, ``+3:05.1``, ``+2:46:30.1``."""
    if length < timedelta(0):
        return f"\N{MINUS SIGN}{offset(-length)[1:]}"
    if length < timedelta(seconds=1):
        return f"+{length_of_time(length)}"
    if length > _LONGEST:
        return f"+{length_of_time(length)}"
    if length < timedelta(seconds=59.995):
        return f"+{length.total_seconds():.2f}{NO_BREAK}s"
    return f"+{clock(length, digits=1)}"


def tick(length: timedelta) -> str:
    """Return a round time since a start, as an axis has it: ``500 ms``, ``10 s``, ``4:25``."""
    if length < timedelta(0):
        return f"\N{MINUS SIGN}{tick(-length)}"
    if not length:
        return "0"
    if length < timedelta(seconds=1):
        return length_of_time(length)
    if length < timedelta(minutes=1):
        return f"{length.total_seconds():.4g}{NO_BREAK}s"
    return clock(length, digits=0 if length % timedelta(seconds=1) == timedelta(0) else 1)


def clock(length: timedelta, digits: int) -> str:
    """Return minutes and more as a clock counts them: ``3:05``, ``2:46:30``, ``3 d 02:46:30``."""
    units = 10**digits
    whole, fraction = divmod(round(length.total_seconds() * units), units)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    end = f"{seconds:02}" + (f".{fraction:0{digits}}" if digits else "")
    if days:
        return f"{days:,}{NO_BREAK}d{NO_BREAK}{hours:02}:{minutes:02}:{end}"
    return f"{hours}:{minutes:02}:{end}" if hours else f"{minutes}:{end}"
