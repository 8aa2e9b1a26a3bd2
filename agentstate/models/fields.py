"""Field types for the legacy schema, and ids."""

from __future__ import annotations

import time
from base64 import b32encode
from datetime import UTC, datetime
from os import urandom
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    DateTimeField = models.DateTimeField[datetime | str | None, datetime | None]
else:
    DateTimeField = models.DateTimeField


def new_id() -> str:
    """Return the id of a new row that no backfill made: like a cuid, ``c``, the time, then 60 random bits.

    Ids that begin with the time go to the end of an index, so writing does not slow down as a table grows.
    """
    return f"c{time.time_ns() // 1_000_000:011x}{b32encode(urandom(8))[:12].decode().lower()}"


def possible_id(given: str) -> str | None:
    """Return the id if PostgreSQL can store it, else None, which no row has.

    PostgreSQL stores neither NUL nor half of a surrogate pair, and refuses a query with either.
    """
    try:
        given.encode()
    except UnicodeEncodeError:
        return None
    return None if "\0" in given else given


class PrismaDateTimeField(DateTimeField):
    """A ``timestamp(3)`` without time zone that holds UTC, as Prisma makes it, as an aware UTC datetime in Python."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "timestamp(3) without time zone"

    def from_db_value(self, value: datetime | None, *args: object) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC).replace(tzinfo=None)
        return value
