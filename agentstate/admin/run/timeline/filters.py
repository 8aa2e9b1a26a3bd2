"""The filter of a timeline's events, and the search for them within a time limit."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstate.admin.run.timeline.kinds import types_of
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models.expressions import IS_FAILURE

if TYPE_CHECKING:
    from datetime import datetime

SECONDS = 2.0
# How many events one statement examines. A search in payloads starts with one, since each can be megabytes. After
# each quick statement the number grows.
_FIRST_LOOK, _FIRST_LOOK_AT_PAYLOADS, _LARGEST_LOOK = 500, 1, 20_000
_GROWTH, _QUICK = 4, 0.2

_LOOK = """
    SELECT count(*), {furthest}(created_at),
        (array_agg(created_at ORDER BY created_at {direction}) FILTER (WHERE {matches}))[1:%(limit)s]
    FROM (
        SELECT type, payload, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s AND {indexed} AND {bound}
        ORDER BY created_at {direction} LIMIT %(look)s
    ) looked_at"""


@dataclass(frozen=True)
class Filter:
    """Conditions on events: one of these kinds, a call of this tool, a failure, a text in the payload."""

    kinds: tuple[str, ...] = ()
    failures: bool = False
    text: str = ""
    tool: str = ""

    def __bool__(self) -> bool:
        return bool(self.kinds or self.failures or self.text or self.tool)

    @property
    def reads_payloads(self) -> bool:
        """Whether it reads payloads, which takes longer."""
        return bool(self.text or self.tool)

    @property
    def indexed(self) -> str:
        """The part of the condition that an index has: the search examines no other events."""
        return IS_FAILURE if self.failures else "true"

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return the SQL condition beside ``indexed``, and its parameters. CASE evaluates the cheap part first."""
        matches, parameters = "true", dict[str, Any]()
        if self.text:
            matches, parameters["texts"] = "payload::text ILIKE ANY (%(texts)s)", self._patterns()
        if self.tool:
            matches = f"CASE WHEN payload ->> 'tool' = %(tool)s THEN {matches} ELSE false END"
            parameters["tool"] = self.tool
        if self.kinds:
            matches = f"CASE WHEN type = ANY (%(types)s) THEN {matches} ELSE false END"
            parameters["types"] = [type_ for kind in self.kinds for type_ in types_of(kind)]
        return matches, parameters

    def _patterns(self) -> list[str]:
        """Return patterns for the text as it is, and as it is escaped in a JSON string."""
        in_string = json.dumps(self.text, ensure_ascii=False)[1:-1]
        return [f"%{_escaped(text)}%" for text in dict.fromkeys((self.text, in_string))]


@dataclass
class Search:
    """The results of a search until its time limit.

    Attributes:
        moments: those of the events found, in the order of the search.
        looked_at: how many events it examined.
        reached: the moment of the last of them.
        stopped: whether there are more, and its time was over.
        skipped: whether the last of them took all the time alone, and was not looked into.
    """

    is_backwards: bool = False
    moments: list[datetime] = field(default_factory=list)
    looked_at: int = 0
    reached: datetime | None = None
    stopped: bool = False
    skipped: bool = False


def search(
    run_id: str,
    wanted: Filter,
    *,
    start: datetime | None,
    backwards: bool = False,
    limit: int,
    seconds: float | None = None,
) -> Search:
    """Search events after a moment, or before it, until enough are found or the time limit is reached."""
    found = Search(backwards, reached=start)
    look = _FIRST_LOOK_AT_PAYLOADS if wanted.reads_payloads else _FIRST_LOOK
    give_up_at = time.monotonic() + (SECONDS if seconds is None else seconds)
    while len(found.moments) < limit:
        began = time.monotonic()
        if began >= give_up_at:
            found.stopped = True
            break
        try:
            seen = _look(run_id, wanted, found, look, limit, give_up_at - began)
        except TookTooLong:
            found.stopped = True
            if not found.looked_at:
                _skip_one(run_id, wanted, found)
            break
        if seen < look:
            break
        if time.monotonic() - began < _QUICK:
            look = min(look * _GROWTH, _LARGEST_LOOK)
    return found


def _look(run_id: str, wanted: Filter, found: Search, look: int, limit: int, seconds: float) -> int:
    """Examine the next events, and return how many there were."""
    matches, parameters = wanted.condition()
    with time_limit(seconds) as cursor:
        cursor.execute(
            _sql(found, matches, wanted.indexed),
            parameters | {"run": run_id, "reached": found.reached, "look": look, "limit": limit - len(found.moments)},
        )
        seen, reached, moments = cursor.fetchone()
    found.looked_at += seen
    found.reached = reached or found.reached
    found.moments += moments or []
    return int(seen)


def _skip_one(run_id: str, wanted: Filter, found: Search) -> None:
    """Skip one event, so that the next search continues after it."""
    with time_limit(SECONDS) as cursor:
        cursor.execute(
            _sql(found, "false", wanted.indexed), {"run": run_id, "reached": found.reached, "look": 1, "limit": 1}
        )
        found.looked_at, reached, _ = cursor.fetchone()
    found.reached, found.skipped = reached or found.reached, bool(reached)


def _sql(found: Search, matches: str, indexed: str) -> str:
    comparison, direction, furthest = ("<", "DESC", "min") if found.is_backwards else (">", "ASC", "max")
    bound = "true" if found.reached is None else f"created_at {comparison} %(reached)s"
    return _LOOK.format(furthest=furthest, direction=direction, matches=matches, bound=bound, indexed=indexed)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
