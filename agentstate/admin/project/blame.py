"""Blame: for a path of a document, which run set its value, and what it was before."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agentstate.state.keys import STATE_KEYS
from agentstate.state.past_values import LONGEST, SavedValue, column_value, values_at_path

if TYPE_CHECKING:
    from datetime import datetime

# A page names so many changes, and looks for them so long. A step looks at so many saves.
CHANGES, SECONDS = 25, 2.0
FIRST_STEP, LARGEST_STEP = 50, 500
LONGEST_PATH = 1_000

_NAME = r"[^\s.\[\]\"=]+"
_STEP = re.compile(
    rf"""\.(?P<name>{_NAME})|\[(?P<index>\d{{1,9}})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]"""
    rf"""|\[(?P<by>{_NAME})=(?P<value>"(?:[^"\\]|\\.)*"|[^\]]+)\]"""
)
EXAMPLES = 'coverage.score, facts.team[0].name, coverage.requirements[id=req_2].status, facts["two words"]'


class BadPath(ValueError):
    """The text is not a path of a document."""


class Path(NamedTuple):
    """A path: the state key, and the JSON path into its document as PostgreSQL has them."""

    key: str
    json_path: str


def parse_path(text: str) -> Path:
    """Parse a path such as ``coverage.requirements[3].status`` or ``coverage.requirements[id=req_2].status``.

    Raises:
        BadPath: it is none.
    """
    keys = [key.name for key in STATE_KEYS]
    found = re.match(rf"\s*({_NAME})", text)
    if found is None or found[1] not in keys or len(text) > LONGEST_PATH or "\0" in text:
        raise BadPath(f"A path begins with one of {', '.join(keys)}.")
    place, steps, end = found.end(), ["$"], len(text.rstrip())
    while place < end:
        step = _STEP.match(text, place)
        if step is None:
            raise BadPath(f"The path cannot be read from “{text[place : place + 40]}” on. Examples: {EXAMPLES}.")
        steps.append(_json_path(step))
        place = step.end()
    return Path(found[1], "".join(steps))


def _json_path(step: re.Match[str]) -> str:
    if step["index"]:
        return f"[{step['index']}]"
    if step["by"]:
        return f"[*] ? (@.{json.dumps(step['by'])} == {json.dumps(_unquoted(step['value']))})"
    return f".{json.dumps(step['name'] or _unquoted(step['quoted']))}"


def _unquoted(text: str) -> str:
    try:
        value = json.loads(text) if text.startswith('"') else text
    except ValueError as error:
        raise BadPath(f"{text} is not a JSON string.") from error
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise BadPath("A path has no characters that the database cannot store.")
    return str(value)


@dataclass(frozen=True)
class ValueChange:
    """A change of the value at a path.

    Attributes:
        save: the save that set it, with the value that it set.
        before: the save before it that wrote the document, None for the first one.
    """

    save: SavedValue
    before: SavedValue | None


@dataclass(frozen=True)
class Blame:
    """The newest changes of a value.

    Attributes:
        unsaved: the clock of the columns and their text, where they hold another value that no run has saved.
        until: where the next page goes on, None at the beginning of the history.
        pending: when the value was saved whose setting the next page names first.
        looked_at: how many saves.
    """

    changes: list[ValueChange]
    unsaved: tuple[datetime, str | None] | None
    until: datetime | None
    pending: datetime | None
    looked_at: int


def blame(
    project_id: str,
    path: Path,
    *,
    until: datetime | None = None,
    pending_at: datetime | None = None,
    longest: int = LONGEST,
) -> Blame:
    """Return the newest changes of the value at a path until a moment, as far as a time budget reaches.

    Args:
        until, pending_at: where the page before ended; without them from the present on.
        longest: cut values to so many characters.
    """
    changes: list[ValueChange] = []
    pending: SavedValue | None = None  # the oldest save known to have the newest value not named yet
    newest: SavedValue | None = None
    if pending_at:
        first = values_at_path(project_id, path.key, path.json_path, until=pending_at, limit=1, longest=longest)
        pending = first.values[0] if first.values else None
    end, step, looked_at, place = time.monotonic() + SECONDS, FIRST_STEP, 0, until

    def page(place: datetime | None) -> Blame:
        unsaved = _unsaved(project_id, path, newest) if until is None else None
        return Blame(changes, unsaved, place, pending and pending.at, looked_at)

    while True:
        saves = values_at_path(project_id, path.key, path.json_path, until=place, limit=step, longest=longest)
        looked_at += saves.looked_at - (1 if looked_at else 0)  # each step begins with the last save of the one before
        for value in saves.values:
            newest = newest or value
            if pending and pending.digest != value.digest:
                changes.append(ValueChange(pending, value))
            pending = value
            if len(changes) == CHANGES:
                return page(value.at)
        if saves.looked_at < step:
            if pending and pending.digest is not None:
                changes.append(ValueChange(pending, None))
            return page(None)
        if time.monotonic() > end:
            return page(saves.last)
        place, step = saves.last, LARGEST_STEP


def _unsaved(project_id: str, path: Path, newest: SavedValue | None) -> tuple[datetime, str | None] | None:
    """Return the columns' value if it is newer than what the newest save wrote, and another."""
    column = column_value(project_id, path.key, path.json_path)
    if column is None:
        return None
    at, text, digest = column
    is_newer = newest is None or at > newest.at
    return (at, text) if is_newer and digest != (newest.digest if newest else None) else None
