"""Keyset pagination: pages of rows in a fixed order, each as cheap as the first."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ValidationError
from django.db.models import F, Func, Lookup, Value
from django.db.models.fields import BooleanField, DateTimeField, Field
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual

from agentstate.distant_times import DistantTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import Model, QuerySet

    Rows = QuerySet[Model, Any]

# A key may hold text as long as an index allows.
LONGEST_CURSOR = 16_000


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

    def page(self, parts: Sequence[Rows], cursor: Cursor | None = None) -> KeysetPage:
        """Return the page at a place, or the first.

        Before a place with less than a page before it, that is the first page too, so that it is full.

        Args:
            parts: querysets that have no row in common; the page is one of all their rows. Each part is read as far as
                the page needs, so give parts that an index has in this order.
        """
        if cursor and cursor.is_before:
            rows = self._rows(parts, cursor)
            if len(rows) > self.size:
                rows = rows[self.size - 1 :: -1]
                return KeysetPage([row[-1] for row in rows], self.text(rows[0]), self.text(rows[-1]))
            cursor = None
        rows = self._rows(parts, cursor)
        shown = rows[: self.size]
        return KeysetPage(
            [row[-1] for row in shown],
            before=self.text(shown[0]) if cursor and shown else "",
            after=self.text(shown[-1]) if len(rows) > self.size else "",
        )

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

    def beyond(self, part: Rows, cursor: Cursor | None, pk: str = "pk") -> QuerySet[Model, tuple[Any, ...]]:
        """Return the keys and primary keys of the rows from a place on, in the direction that it looks."""
        order = self._reversed() if cursor and cursor.is_before else self.order
        selected = _selecting(self._beyond(part, cursor), self.names)
        return selected.order_by(*order).values_list(*self.names, pk)

    def upto(self, part: Rows, cursor: Cursor) -> Rows:
        """Return the rows that :meth:`beyond` does not: those of the place itself and before it."""
        comparison = LessThanOrEqual if self.is_descending == cursor.is_before else GreaterThanOrEqual
        return self._compared(part, cursor, comparison)

    def _rows(self, parts: Sequence[Rows], cursor: Cursor | None) -> list[tuple[Any, ...]]:
        """Return the keys and primary keys from a place on, in the direction that it looks, one more than a page."""
        order = self._reversed() if cursor and cursor.is_before else self.order
        most = self.size + 1
        heads = [self.beyond(part, cursor)[:most] for part in parts]
        if len(heads) > 1:
            return list(heads[0].union(*heads[1:], all=True).order_by(*order)[:most])
        return list(heads[0]) if heads else []

    def _beyond(self, part: Rows, cursor: Cursor | None) -> Rows:
        if cursor is None:
            return part
        comparison = GreaterThan if self.is_descending == cursor.is_before else LessThan
        return self._compared(part, cursor, comparison)

    def _compared(self, part: Rows, cursor: Cursor, comparison: type[Lookup[Any]]) -> Rows:
        columns = _Row(*(F(name) for name in self.names))
        values = (Value(value, output_field=_field(part, n)) for value, n in zip(cursor.key, self.names, strict=True))
        return part.filter(comparison(columns, _Row(*values)))

    def _reversed(self) -> tuple[str, ...]:
        return self.names if self.is_descending else tuple(f"-{name}" for name in self.names)

    def text(self, row: tuple[Any, ...]) -> str:
        """Return the row's key as text for an address."""
        values = [value.isoformat() if isinstance(value, datetime) else value for value in row[: len(self.order)]]
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


def _parsed(field: Field[Any, Any], value: Any) -> Any:
    """Return a key's value as the field has it."""
    distant = DistantTime.parse(value) if isinstance(field, DateTimeField) and isinstance(value, str) else None
    value = distant or field.to_python(value)
    if value is None or (isinstance(value, datetime) and value.utcoffset() is None):
        raise ValueError("a key has no nulls, and its times have a zone")
    if isinstance(value, str) and b"\0" in value.encode():  # which refuses half characters too
        raise ValueError("no text in the database has this character")
    return value
