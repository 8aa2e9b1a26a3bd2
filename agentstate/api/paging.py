"""Keyset paging: a page names where the next one begins, and costs the same wherever it is."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Q

from agentstate.api.problems import Problem
from agentstate.distant_times import DistantTime, distant_times
from agentstate.models.fields import possible_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet

LONGEST_CURSOR = 8_000


class Page(NamedTuple):
    """Some rows, and the text that names the place after them: None behind the last."""

    rows: list[Any]
    next: str | None


def newest_first(rows: QuerySet[Any], field: str, after: str | None, limit: int) -> Page:
    """Return a page of rows by a time and then the id, both descending.

    Raises:
        Problem: ``after`` does not come from an answer.
    """
    with distant_times():
        if after is not None:
            at, pk = _parse(after)
            # Redundant, but the first condition is one that an index on the time can use.
            rows = rows.filter(**{f"{field}__lte": at}).filter(Q(**{f"{field}__lt": at}) | Q(pk__lt=pk))
        found = list(rows.order_by(f"-{field}", "-pk")[: limit + 1])
    return Page(found[:limit], _text(found[limit - 1], field) if len(found) > limit else None)


def _text(row: Any, field: str) -> str:
    key = json.dumps([getattr(row, field).isoformat(), row.pk])
    return base64.urlsafe_b64encode(key.encode()).rstrip(b"=").decode()


def _parse(text: str) -> tuple[datetime, str]:
    try:
        if len(text) > LONGEST_CURSOR:
            raise ValueError
        key: Sequence[Any] = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
        at, pk = key
        moment = DistantTime.parse(at) or datetime.fromisoformat(at)
        if moment.utcoffset() is None or not isinstance(pk, str) or possible_id(pk) is None:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise bad_place("does not name a place of this list") from None
    return moment, pk


def bad_place(fact: str) -> Problem:
    return Problem(
        422,
        "invalid",
        f"The parameter after {fact}.",
        "Use the value of next from the answer before, or leave it out for the first page.",
        fields=[("after", fact)],
    )
