"""Walking a list for rows that no index finds: in the list's order, as far as a time budget reaches.

A page of such a list says how far it has looked, and its link to the next page goes on from there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstate.admin.shared.keyset import Cursor, KeysetPage

if TYPE_CHECKING:
    from django.db.models import Model, Q, QuerySet

    from agentstate.admin.shared.keyset import Keyset

# How many rows one query looks at: at first, and at most. It is meant to take about so many seconds.
FIRST_STEP, LARGEST_STEP, SECONDS_A_STEP = 50, 50_000, 0.5


@dataclass(frozen=True)
class Walked:
    """A page of what was found on the way.

    Attributes:
        looked_at: how many rows.
        is_unfinished: the budget ended before the page was full and before the list's end.
    """

    page: KeysetPage
    looked_at: int
    is_unfinished: bool


def walk(
    keyset: Keyset,
    rows: QuerySet[Model, Any],
    matches: Q,
    cursor: Cursor | None,
    seconds: float,
    pk: str = "pk",
) -> Walked:
    """Look at rows from a place on until a page of them matches, within a time budget.

    Args:
        rows: in the keyset's order they come from an index.
        matches: what no index finds.
        seconds: the budget; the query under way at its end is finished.
        pk: what names the rows on the page.
    """
    found, looked_at, place, is_done = _look(keyset, rows, matches, cursor, seconds, pk)
    if cursor and cursor.is_before:
        if is_done and len(found) <= keyset.size:
            return walk(keyset, rows, matches, None, seconds, pk)
        shown = found[: keyset.size][::-1]
        before = shown[0] if len(found) > keyset.size else place
        page = KeysetPage(
            [row[-1] for row in shown], keyset.text(before), keyset.text(shown[-1] if shown else cursor.key)
        )
    else:
        shown = found[: keyset.size]
        after = shown[-1] if len(found) > keyset.size else place
        page = KeysetPage(
            [row[-1] for row in shown],
            before=keyset.text(shown[0]) if cursor and shown else "",
            after="" if is_done and len(found) <= keyset.size else keyset.text(after),
        )
    return Walked(page, looked_at, not is_done and len(found) <= keyset.size)


def _look(
    keyset: Keyset, rows: QuerySet[Model, Any], matches: Q, cursor: Cursor | None, seconds: float, pk: str
) -> tuple[list[tuple[Any, ...]], int, tuple[Any, ...], bool]:
    """Return one match more than a page at most, how many rows it looked at, the last of them, and if none is left."""
    found: list[tuple[Any, ...]] = []
    end, step, looked_at = time.monotonic() + seconds, FIRST_STEP, 0
    is_before = bool(cursor and cursor.is_before)
    while True:
        started = time.monotonic()
        last = keyset.beyond(rows, cursor)[step - 1 : step].first()
        part = keyset.upto(rows, Cursor(last[:-1], is_before)) if last else rows
        found += keyset.beyond(part.filter(matches), cursor, pk)[: keyset.size + 1 - len(found)]
        if last is None or len(found) > keyset.size:
            return found, looked_at, (), last is None
        looked_at += step
        cursor = Cursor(last[:-1], is_before)
        now = time.monotonic()
        if now > end:
            return found, looked_at, last, False
        step = max(FIRST_STEP, min(LARGEST_STEP, round(step * SECONDS_A_STEP / max(now - started, 0.001))))
