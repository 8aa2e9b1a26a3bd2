"""The time slider of a project's page: the moments of its history, and the present after them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from django.utils.dateparse import parse_datetime

from agentstate.distant_times import DistantTime
from agentstate.state.history import HistoryWindow, around

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentstate.state import Moment


@dataclass(frozen=True)
class Position:
    """A position on the time slider: a moment of the history by its number, or the present, which follows the last.

    Attributes:
        moment: None for the present.
        before: the moment before it, None if there is none.
    """

    number: int
    window: HistoryWindow
    moment: Moment | None
    before: Moment | None

    @property
    def last(self) -> int:
        return self.window.total + 1

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.moment else None

    @property
    def next_is_now(self) -> bool:
        return self.next == self.last

    @property
    def query(self) -> str:
        """A query string that keeps naming this moment when the history grows."""
        return f"?at={quote(self.at_text, safe=':')}" if self.moment else ""

    @property
    def at_text(self) -> str:
        """The moment as :func:`parse_moment` reads it, empty for the present."""
        return moment_text(self.moment.at) if self.moment else ""


def position(project_id: str, query: Mapping[str, str]) -> Position:
    """Return the position that an address names; the present if it names none."""
    number, when = _number(query.get("moment", "")), parse_moment(query.get("at", ""))
    window = around(project_id, number=number, when=when)
    is_now = number is None and when is None
    if window.total == 0 or is_now or (number or 0) > window.total:
        return Position(window.total + 1, window, None, window.moments.get(window.total))
    chosen = window.chosen
    return Position(chosen, window, window.moments[chosen], window.moments.get(chosen - 1))


def _number(text: str) -> int | None:
    return max(int(text), 1) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def plain_moment(text: str) -> datetime | None:
    """Return the moment of an address, None if the text is none or Python cannot calculate with it."""
    moment = parse_moment(text)
    return moment if isinstance(moment, datetime) else None


def moment_text(at: datetime) -> str:
    """Return a moment as text for an address."""
    return at.text if isinstance(at, DistantTime) else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def parse_moment(text: str) -> datetime | None:
    """Return the moment of an address, UTC without a zone; None if the text is none."""
    try:
        when = DistantTime.parse(text) or parse_datetime(text)
        return when and (when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
