"""Keyset pagination: pages of rows in a fixed order, each as cheap as the first.

Conditions that no index serves are the business of a :class:`Walk`: it reads rows in the order and keeps those that
match, until a page is full or its time is over. Then the page says how far it came, and the next one goes on there.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ValidationError
from django.db.models import F, Func, Lookup, Value
from django.db.models.fields import BooleanField, DateTimeField, Field
from django.db.models.lookups import GreaterThan, LessThan
from django.utils.duration import duration_iso_string

from agentstate.admin.shared.time_limit import TookTooLong, list_time_limit
from agentstate.distant_times import DistantTime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.models import Model, QuerySet

    Rows = QuerySet[Model, Any]

# A key may hold text as long as an index allows.
LONGEST_CURSOR = 16_000
# How many rows a walk looks at in one statement: at first, and at most. After each quick statement it looks at more.
FIRST_LOOK, LARGEST_LOOK = 200, 5_000
_GROWTH, _QUICK = 4, 0.2


class BadCursor(ValueError):
    """The text is not a valid cursor."""


@dataclass(frozen=True)
class Cursor:
    """The place before or after a row, named by the row's key."""

    key: tuple[Any, ...]
    is_before: bool = False


@dataclass(frozen=True)
class KeysetPage:
    """Some rows by their primary keys, and the texts of the places at both ends: empty where nothing lies beyond."""

    pks: list[Any]
    before: str = ""
    after: str = ""


@dataclass
class Walk:
    """Looks at rows in a keyset's order, and keeps those that match, until its time is over.

    Args:
        matching: returns the matching ones of some primary keys.
        first_look: how many rows it looks at in the first statement; one where a row may be large.
        seconds: how long it may take.

    Attributes:
        looked_at: how many rows it has looked at.
        reached: the last of them; its key, and its primary key.
        stopped: whether its time was over before it was done.
        skipped: the primary keys of rows that took all the time alone. Whether they match is not known.
    """

    matching: Callable[[list[Any]], set[Any]]
    first_look: int = FIRST_LOOK
    seconds: float = 2

    def __post_init__(self) -> None:
        self.looked_at = 0
        self.reached: tuple[Any, ...] | None = None
        self.stopped = False
        self.skipped: list[Any] = []
        self._end = time.monotonic() + self.seconds

    def rows(self, read: Callable[[tuple[Any, ...] | None, int], list[tuple[Any, ...]]], most: int) -> list[Any]:
        """Return the first rows that match.

        Args:
            read: returns so many rows after one, or the first.
        """
        found: list[tuple[Any, ...]] = []
        look, self.reached = self.first_look, None
        while len(found) < most:
            began = time.monotonic()
            if began >= self._end:
                self.stopped = True
                break
            try:
                with list_time_limit(self._end - began):
                    rows = read(self.reached, look)
                    matching = self.matching([row[-1] for row in rows])
            except TookTooLong:
                self.stopped = True
                if not self.looked_at:
                    self._skip(read)
                break
            found += [row for row in rows if row[-1] in matching]
            self.looked_at += len(rows)
            self.reached = rows[-1] if rows else self.reached
            if len(rows) < look:
                break
            if time.monotonic() - began < _QUICK:
                look = min(look * _GROWTH, LARGEST_LOOK)
        return found[:most]

    def _skip(self, read: Callable[[tuple[Any, ...] | None, int], list[tuple[Any, ...]]]) -> None:
        """Skip the first row, so that the next walk begins behind it."""
        for row in read(None, 1):
            self.looked_at, self.reached = 1, row
            self.skipped.append(row[-1])


class _Row(Func):
    """Columns as one value: PostgreSQL compares these by the first that differs, and looks them up in an index."""

    function = "ROW"
    output_field = BooleanField()  # any will do: only comparisons use it


@dataclass(frozen=True)
class Keyset:
    """An order of rows that no two share a place in, and the size of a page.

    Args:
        order: columns, annotations or aliases as for ``order_by``: all ascending or all descending, none nullable.
        size: how many rows a page has.
    """

    order: tuple[str, ...]
    size: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name.removeprefix("-") for name in self.order)

    @property
    def is_descending(self) -> bool:
        return self.order[0].startswith("-")

    def page(self, parts: Sequence[Rows], cursor: Cursor | None = None, walk: Walk | None = None) -> KeysetPage:
        """Return the page at a place, or the first.

        Before a place with less than a page before it, that is the first page too, so that it is full.

        Args:
            parts: querysets that have no row in common; the page is one of all their rows. Each part is read as far as
                the page needs, so give parts that an index has in this order.
            walk: chooses of these rows. A page whose walk stopped has what was found until then.
        """
        if cursor and cursor.is_before:
            rows = self._rows(parts, cursor, walk)
            if len(rows) > self.size or (walk and walk.stopped):
                shown = rows[: self.size][::-1]
                reached = shown[0] if len(rows) > self.size else walk and walk.reached
                last = shown[-1] if shown else cursor.key
                return KeysetPage([row[-1] for row in shown], self.text(reached or cursor.key), self.text(last))
            cursor = None
        rows = self._rows(parts, cursor, walk)
        shown = rows[: self.size]
        after = shown[-1] if len(rows) > self.size else walk.reached if walk and walk.stopped else None
        before = (shown[0] if shown else cursor.key) if cursor and (shown or after) else None
        return KeysetPage(
            [row[-1] for row in shown],
            before=self.text(before) if before else "",
            after=self.text(after) if after else "",
        )

    def next_to(self, parts: Sequence[Rows], cursor: Cursor, walk: Walk | None = None) -> Any:
        """Return the primary key of the row next to a place, None where there is none or the walk stopped before."""
        rows = self._rows(parts, cursor, walk)
        return rows[0][-1] if rows else None

    def key_of(self, row: Rows) -> Cursor | None:
        """Return the place of a queryset's first row, None where it has none."""
        key = _selecting(row, self.names).values_list(*self.names).first()
        return None if key is None else Cursor(tuple(key))

    def cursor(self, text: str, queryset: Rows, *, is_before: bool) -> Cursor:
        """Return the place that a page named.

        Raises:
            BadCursor: the text is not one of ours, or not of this order.
        """
        try:
            if len(text) > LONGEST_CURSOR:
                raise ValueError("too long")
            values = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
            fields = [_field(queryset, name) for name in self.names]
            return Cursor(tuple(_parsed(field, value) for field, value in zip(fields, values, strict=True)), is_before)
        except (ValueError, TypeError, OverflowError, RecursionError, ValidationError) as error:
            raise BadCursor(text) from error

    def _keys_beyond(self, part: Rows, cursor: Cursor | None) -> QuerySet[Model, tuple[Any, ...]]:
        """Return the keys and primary keys of the rows from a place on, in the direction that it looks."""
        order = self._reversed() if cursor and cursor.is_before else self.order
        selected = _selecting(self._beyond(part, cursor), self.names)
        return selected.order_by(*order).values_list(*self.names, "pk")

    def _rows(self, parts: Sequence[Rows], cursor: Cursor | None, walk: Walk | None = None) -> list[tuple[Any, ...]]:
        """Return the keys and primary keys from a place on, in the direction that it looks, one more than a page."""
        if walk is None:
            return self._read(parts, cursor, self.size + 1)
        is_before = bool(cursor and cursor.is_before)

        def read(reached: tuple[Any, ...] | None, number: int) -> list[tuple[Any, ...]]:
            place = Cursor(reached[: len(self.order)], is_before) if reached else cursor
            return self._read(parts, place, number)

        return walk.rows(read, self.size + 1)

    def _read(self, parts: Sequence[Rows], cursor: Cursor | None, most: int) -> list[tuple[Any, ...]]:
        order = self._reversed() if cursor and cursor.is_before else self.order
        heads = [self._keys_beyond(part, cursor)[:most] for part in parts]
        if len(heads) > 1:
            return list(heads[0].union(*heads[1:], all=True).order_by(*order)[:most])
        return list(heads[0]) if heads else []

    def _beyond(self, part: Rows, cursor: Cursor | None) -> Rows:
        if cursor is None:
            return part
        comparison: type[Lookup[Any]] = GreaterThan if self.is_descending == cursor.is_before else LessThan
        columns = _Row(*(F(name) for name in self.names))
        values = (Value(value, output_field=_field(part, n)) for value, n in zip(cursor.key, self.names, strict=True))
        return part.filter(comparison(columns, _Row(*values)))

    def _reversed(self) -> tuple[str, ...]:
        return self.names if self.is_descending else tuple(f"-{name}" for name in self.names)

    def text(self, row: tuple[Any, ...]) -> str:
        """Return the row's key as text for an address."""
        values = [_as_json(value) for value in row[: len(self.order)]]
        return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).rstrip(b"=").decode()


def estimated_rows(parts: Sequence[Rows]) -> int:
    """Return about how many rows querysets have together, as the database's planner thinks; nothing is counted."""
    first, *rest = (part.order_by().values("pk") for part in parts)
    plan = json.loads((first.union(*rest, all=True) if rest else first).explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])


def in_round_figures(number: int) -> int:
    """Return a number with two digits that say something, as an estimate has no more."""
    return round(number, 2 - len(str(number))) if number >= 100 else number


def _selecting(queryset: Rows, names: Sequence[str]) -> Rows:
    """Return the queryset with aliases among the names made annotations, which can be selected."""
    annotations = {name: F(name) for name in names if name in queryset.query.annotations}
    selecting: Rows = queryset.annotate(**annotations)
    return selecting


def _field(queryset: Rows, name: str) -> Field[Any, Any]:
    if annotation := queryset.query.annotations.get(name):
        return annotation.output_field
    return cast("Field[Any, Any]", queryset.model._meta.get_field(name))


def _as_json(value: Any) -> Any:
    if isinstance(value, timedelta):
        return duration_iso_string(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _parsed(field: Field[Any, Any], value: Any) -> Any:
    """Return a key's value as the field has it."""
    distant = DistantTime.parse(value) if isinstance(field, DateTimeField) and isinstance(value, str) else None
    value = distant or field.to_python(value)
    if value is None or (isinstance(value, datetime) and value.utcoffset() is None):
        raise ValueError("a key has no nulls, and its times have a zone")
    if isinstance(value, str) and b"\0" in value.encode():  # which refuses half characters too
        raise ValueError("no text in the database has this character")
    return value
